"""The time that late answers may take in a hook, all of them together."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

import identity
import polling
import problems
from aws import errors, session
from cluster import client
from sandbox.base import certificates
from sandbox.juju import hook_process

OWNER = identity.Owner("6f4bf1dd-0000-4000-8000-000000000000", "aws-efs")
KEY = identity.AwsCredentials("AKIAIOSFODNN7EXAMPLE", "secret")


@pytest.fixture(autouse=True)
def scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "PATIENCE_SECONDS", polling.PATIENCE_SECONDS / 100)
    monkeypatch.setattr(polling, "ANSWER_SECONDS", polling.ANSWER_SECONDS / 100)


@pytest.fixture
def mute() -> Iterator[Callable[[], str]]:
    """Return a request that is answered when the test has ended."""
    end = threading.Event()
    yield lambda: str(end.wait(60))
    end.set()


def test_a_hook_is_held_for_25_seconds_at_most():
    assert polling.PATIENCE_SECONDS * 100 == 25


def test_answers_that_never_come_take_the_time_once(mute):
    patience = polling.Patience()
    sent: list[str] = []
    for expected in (polling.MuteError, polling.MuteError, polling.ImpatientError):
        with pytest.raises(expected):
            patience.ask(lambda: sent.append("a request") or mute())
    assert len(sent) == 2, "one takes the longest time for an answer, the next one what is left"


def test_an_answer_and_an_error_are_those_of_the_request():
    patience = polling.Patience()
    assert patience.ask(lambda: "yes") == "yes"
    with pytest.raises(TimeoutError, match="its own"):
        patience.ask(lambda: raise_(TimeoutError("its own")))
    assert patience.ask(lambda: "still") == "still"


def raise_(error: Exception) -> None:
    raise error


def test_late_answers_take_the_time_too_and_quick_ones_do_not(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(polling.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(polling, "PATIENCE_SECONDS", 25.0)
    monkeypatch.setattr(polling, "ANSWER_SECONDS", 20.0)
    patience = polling.Patience()

    def answer(seconds: float) -> str:
        now[0] += seconds
        return "late or not"

    for _ in range(100):
        patience.ask(lambda: answer(1.9))
    for _ in range(5):
        patience.ask(lambda: answer(5))
    with pytest.raises(polling.ImpatientError):
        patience.ask(lambda: answer(0))


@contextlib.contextmanager
def trickling(greeting: bytes) -> Iterator[int]:
    """Run a server that goes on sending the same bytes; yield its port."""
    end = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def trickle(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            while not end.wait(0.01):
                connection.sendall(greeting)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=trickle, args=(server.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    end.set()
    server.shutdown(socket.SHUT_RDWR)
    server.close()


HEADERS = b"X-More: more\r\n"
BODY = b"Content-Length: 100000\r\n\r\n" + b" "


def ask_aws(url: str, patience: polling.Patience) -> None:
    with hook_process.environment({"AWS_ENDPOINT_URL": url, "NO_PROXY": "*"}):
        aws = session.connect("us-east-1", KEY, {}, patience)
        with errors.translated("look"):
            aws.sts.get_caller_identity()


@pytest.mark.parametrize("greeting", [HEADERS[:1], BODY], ids=["headers", "body"])
def test_an_answer_of_aws_that_trickles_is_given_up(greeting):
    patience = polling.Patience()
    with trickling(greeting) as port:
        for _ in range(2):
            with pytest.raises(problems.Waiting, match=r"127\.0\.0\.1 does not answer in time"):
                ask_aws(f"http://127.0.0.1:{port}", patience)
    with pytest.raises(polling.ImpatientError):
        patience.ask(lambda: None)


def test_a_name_server_that_is_mute_is_given_up(monkeypatch, mute, tmp_path):
    authority = certificates.Authority(tmp_path)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: mute())
    patience = polling.Patience()
    with pytest.raises(problems.Waiting, match="efs does not answer in time"):
        ask_aws("http://efs", patience)
    access = identity.ClusterAccess("https://api:6443", authority.pem, "token")
    with (
        client.Cluster(access, OWNER, patience) as cluster,
        pytest.raises(problems.Waiting, match="does not answer in time"),
    ):
        cluster.nodes()


def test_an_api_server_that_is_mute_leaves_no_time_to_aws(tmp_path: pathlib.Path):
    authority = certificates.Authority(tmp_path)
    patience = polling.Patience()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        access = identity.ClusterAccess(f"https://127.0.0.1:{port}", authority.pem, "token")
        with client.Cluster(access, OWNER, patience) as cluster:
            for _ in range(3):
                with pytest.raises(problems.Waiting, match="does not answer in time"):
                    cluster.nodes()
        with pytest.raises(problems.Waiting, match="does not answer in time"):
            ask_aws(f"http://127.0.0.1:{port}", patience)
        # The two that were sent, and no third one.
        silent.settimeout(1)
        silent.accept()[0].close()
        silent.accept()[0].close()
        with pytest.raises(TimeoutError):
            silent.accept()
