"""Bearer tokens that can be revoked, and the webhook with which the API server reviews them."""

from __future__ import annotations

import dataclasses
import http.server
import json
import logging
import secrets
import ssl
import threading
from collections.abc import Sequence
from typing import Any, cast

from sandbox.base import certificates

logger = logging.getLogger(__name__)

_API_VERSION = "authentication.k8s.io/v1"


@dataclasses.dataclass(frozen=True)
class Identity:
    """The user and groups of a token."""

    user: str
    groups: tuple[str, ...]


class Tokens:
    """The issued tokens, and a TLS server for the API server's token reviews.

    Args:
        serving: The certificate and key of the server.
    """

    def __init__(self, serving: certificates.KeyPair) -> None:
        self._identities: dict[str, Identity] = {}
        self._server = _Server(self._identities, serving)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="token reviews", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Return the URL of the webhook."""
        return f"https://127.0.0.1:{self._server.server_port}/"

    def issue(self, user: str, groups: Sequence[str] = ()) -> str:
        """Issue a token for a user."""
        token = secrets.token_urlsafe(24)
        self._identities[token] = Identity(user, tuple(groups))
        logger.debug("issued a token to %s", user)
        return token

    def revoke(self, token: str) -> None:
        """Revoke a token; unknown ones are ignored."""
        identity = self._identities.pop(token, None)
        if identity is not None:
            logger.debug("revoked a token of %s", identity.user)

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, identities: dict[str, Identity], serving: certificates.KeyPair) -> None:
        self.identities = identities
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(serving.certificate, serving.key)
        super().__init__(("127.0.0.1", 0), _Handler)

    def get_request(self) -> tuple[Any, Any]:
        # The handler's thread does the handshake: a silent client must not block the others.
        plain, address = super().get_request()
        secure = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        return secure, address

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        # The sandbox kills the API server, so broken connections are normal.
        logger.debug("a token review from %s was interrupted", client_address, exc_info=True)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        review = json.loads(self.rfile.read(length))
        identities = cast(_Server, self.server).identities
        identity = identities.get(review["spec"]["token"])
        status: dict[str, object] = {"authenticated": identity is not None}
        if identity is not None:
            user = {"username": identity.user, "groups": list(identity.groups)}
            status |= {"user": user, "audiences": review["spec"].get("audiences", [])}
        answer = {"apiVersion": _API_VERSION, "kind": "TokenReview", "status": status}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        logger.debug(format, *args)
