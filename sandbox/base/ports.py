"""Loopback ports that stay reserved while their server is killed and started again."""

from __future__ import annotations

import socket


class Port:
    """A port that is bound but does not listen, so that no other program gets it.

    A server that sets SO_REUSEPORT (etcd and the API server have an option for it) can listen on
    the same port; while none does, connections are refused.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Release the port."""
        self._socket.close()
