"""An HTTP origin on loopback in a separate process: ranges, ETags, keep-alive, sendfile.

The path /50/x serves x at 50 MiB/s per connection, /0/x without a limit. The first 64 KiB of a
response are not limited, as with real rate limiters.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import re
import signal
import socket
import socketserver
import subprocess
import sys
import time
from collections.abc import Generator

MIB = 2**20
# The step of a limited connection, and the bytes before the limit applies.
STEP_SECONDS, MIN_STEP_BYTES, FREE_BYTES = 0.01, 2**16, 2**16
PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def serving(directory: pathlib.Path) -> Generator[str]:
    """Serve the files of a directory, and yield the URL for their paths."""
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.origin", directory],
        cwd=pathlib.Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.kill()
        server.wait()
        if server.stdout:
            server.stdout.close()


class _Connection(socketserver.StreamRequestHandler):
    """A connection; `_next` is the time of its next step."""

    rbufsize = 65536
    _next = 0.0

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):
            while self._answer():
                pass

    def _answer(self) -> bool:
        first = self.rfile.readline().decode("latin-1").split()
        if len(first) < 2:
            return False
        headers: dict[str, str] = {}
        while (line := self.rfile.readline().decode("latin-1").strip()) != "":
            key, _, value = line.partition(":")
            headers[key.lower()] = value.strip()
        cap, _, name = first[1].lstrip("/").partition("/")
        assert isinstance(self.server, _Server)
        path = self.server.directory / name
        if not path.is_file():
            self.request.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True
        with path.open("rb") as data:
            self._send(data.fileno(), headers, first[0] != "HEAD", float(cap) * MIB)
        return headers.get("connection", "").lower() != "close"

    def _send(self, data: int, headers: dict[str, str], with_body: bool, cap: float) -> None:
        status = os.fstat(data)
        etag = f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"'
        start, end, answer = 0, status.st_size, "200 OK"
        requested = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
        if requested and headers.get("if-range", etag) == etag:
            start = int(requested[1])
            end = min(int(requested[2]) + 1 if requested[2] else end, end)
            answer = "206 Partial Content"
        if start >= max(end, 1):
            start, end, answer = 0, 0, "416 Range Not Satisfiable"
        lines = [
            f"HTTP/1.1 {answer}",
            f"Content-Length: {end - start}",
            "Accept-Ranges: bytes",
            f"ETag: {etag}",
            f"Last-Modified: {time.strftime('%a, %d %b %Y %T GMT', time.gmtime(status.st_mtime))}",
        ]
        if answer.startswith("206"):
            lines.append(f"Content-Range: bytes {start}-{end - 1}/{status.st_size}")
        self.request.sendall("\r\n".join([*lines, "", ""]).encode())
        free = start + FREE_BYTES if cap else end
        self._next = time.monotonic()
        while with_body and start < end:
            count = (end if start >= free else min(end, free)) - start
            if start >= free:
                count = min(count, max(MIN_STEP_BYTES, int(cap * STEP_SECONDS)))
                self._wait(count / cap)
            start += os.sendfile(self.request.fileno(), data, start, count)

    def _wait(self, seconds: float) -> None:
        now = time.monotonic()
        # A late step is made up for by the next one: the limit is not lower on a busy machine.
        self._next = max(self._next, now - seconds) + seconds
        time.sleep(max(0.0, self._next - now))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        super().__init__(("127.0.0.1", 0), _Connection)


def main() -> None:
    """Serve the directory of the command line until the parent process ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with _Server(pathlib.Path(sys.argv[1])) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
