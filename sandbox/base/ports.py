"""Loopback ports that stay ours while the server behind one is killed and started again."""

from __future__ import annotations

import socket


class Port:
    """A port that is bound but does not listen, so that nobody else is given it.

    A server that sets SO_REUSEPORT (an option of etcd and of the API server) listens on it beside
    us; while there is none, connections are refused.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()
