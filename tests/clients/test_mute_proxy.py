"""A proxy before AWS that refuses or is mute, before or after CONNECT: what a hook waits."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

import identity
import polling
import problems
from aws import errors, session

KEYS = identity.AwsCredentials("AKIAIOSFODNN7EXAMPLE", "secret", "")


class Proxy:
    """A proxy on loopback that gives each connection one answer, and is mute from then on.

    Args:
        answer: The answer to CONNECT; empty for none.
    """

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._open: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://me:hunter2@127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def connections(self) -> int:
        """Return the number of connections that it got."""
        return len(self._open)

    def close(self) -> None:
        """End it."""
        self._server.close()
        for each in self._open:
            each.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._open.append(connection)
            if self._answer:
                connection.recv(4096)
                connection.sendall(self._answer)


@pytest.fixture
def proxy(request: pytest.FixtureRequest) -> Iterator[Proxy]:
    running = Proxy(request.param)
    yield running
    running.close()


def ask(proxy: Proxy, patience: polling.Patience) -> problems.Problem:
    aws = session.connect("us-east-1", KEYS, {"https": proxy.url}, patience)
    with pytest.raises(problems.Problem) as raised, errors.translated("look at the file system"):
        aws.efs.describe_file_systems()
    assert "hunter2" not in raised.value.message
    return raised.value


@pytest.mark.parametrize(
    "proxy", [b"", b"HTTP/1.1 200 Connection established\r\n\r\n"], indirect=True
)
def test_a_mute_proxy_takes_the_patience_of_a_hook_once(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The whole patience is a moment here; the timeouts of botocore are those of a hook.
    monkeypatch.setattr(polling, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(polling, "QUICK_SECONDS", 0.0)
    patience = polling.Patience()
    problem = ask(proxy, patience)
    assert type(problem) is problems.Waiting
    assert "does not answer in time, cannot look at the file system" in problem.message
    assert proxy.connections == 1
    # All that the hook asks besides is not even sent.
    assert "does not answer in time" in ask(proxy, patience).message
    assert proxy.connections == 1


@pytest.mark.parametrize(
    ("proxy", "status"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", 407),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403),
    ],
    indirect=["proxy"],
)
def test_a_proxy_that_refuses_is_told_with_its_status(proxy: Proxy, status: int) -> None:
    problem = ask(proxy, polling.Patience())
    assert type(problem) is problems.Waiting
    assert problem.message.startswith(f"the proxy refuses ({status}), cannot look at the file")
