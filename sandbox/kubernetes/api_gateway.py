"""A load balancer in front of the API server, with a certificate of another authority."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import urllib.parse

from sandbox.base import certificates
from sandbox.kubernetes import control_plane

HOST = "127.0.0.1"


class ApiGateway:
    """A running load balancer; `close` ends it, and then its port refuses.

    Args:
        plane: The control plane behind it.
        pair: Its certificate.

    Attributes:
        endpoint: Its URL.
        alive: Whether it forwards connections; else it closes them at once.
        connections: The number of connections that it has accepted.
    """

    def __init__(self, plane: control_plane.ControlPlane, pair: certificates.KeyPair) -> None:
        self.alive = True
        self.connections = 0
        self.renew(pair)
        self._outgoing = ssl.create_default_context(cadata=plane.ca)
        # Version 1.3 has messages between those of the program, which would have to be awaited.
        self._outgoing.maximum_version = ssl.TLSVersion.TLSv1_2
        backend = urllib.parse.urlsplit(plane.endpoint)
        self._backend = (backend.hostname or HOST, backend.port or 443)
        self._listener = socket.create_server((HOST, 0))
        self.endpoint = f"https://{HOST}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def renew(self, pair: certificates.KeyPair) -> None:
        """Use another certificate for the connections to come."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(pair.certificate, pair.key)
        self._incoming = context

    def close(self) -> None:
        """End it; the open connections end with their clients."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            if not self.alive:
                return
            try:
                with (
                    self._incoming.wrap_socket(connection, server_side=True) as client,
                    socket.create_connection(self._backend) as plain,
                    self._outgoing.wrap_socket(plain, server_hostname=HOST) as server,
                ):
                    _relay(client, server)
            except OSError:
                return  # a client that does not trust the certificate, or went away


def _relay(client: ssl.SSLSocket, server: ssl.SSLSocket) -> None:
    """Forward what each sends to the other, until one of them ends."""
    others = {client: server, server: client}
    while True:
        ready = [each for each in others if each.pending()]
        for each in ready or select.select(list(others), [], [])[0]:
            data = each.recv(65536)
            if not data:
                return
            others[each].sendall(data)
