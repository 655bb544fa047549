"""Send requests to the API server: its certificate verified, its answers bounded."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable
from typing import Any

import httpx2

import polling

# An API server answers within its own 60 seconds, and a webhook may keep a write for 10 (its
# default). A hook that meets a mute one should end soon: a look gets less time.
_CONNECT_SECONDS = 3.0
_LOOK_SECONDS = 5.0
_WRITE_SECONDS = 15.0
GREETING_TIMEOUT = httpx2.Timeout(3.0, connect=2.0)
TIMEOUT = httpx2.Timeout(_WRITE_SECONDS, connect=_CONNECT_SECONDS)
_LARGEST_BYTES = 64 * 1024 * 1024
# Of 500 objects each.
MOST_PAGES = 200
_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----", re.ASCII)


class BoundedTransport(httpx2.HTTPTransport):
    """The transport of both clients; it gives up what takes too long, is too large, or endless.

    Args:
        certificates: The certificates to trust, in PEM, and no others.
        patience: The time for late answers.
    """

    def __init__(self, certificates: Iterable[str], patience: polling.Patience) -> None:
        super().__init__(verify=_trusting(certificates), trust_env=False)
        self._patience = patience
        self._further_pages = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the whole answer to a request.

        Args:
            request: The request.
        """
        self._count_pages(request)
        if request.method == "GET":
            limits: dict[str, Any] = request.extensions.get("timeout", {})
            limits["read"] = min(limits.get("read") or _LOOK_SECONDS, _LOOK_SECONDS)
        try:
            return self._patience.ask(lambda: self._fetch(request))
        except (polling.MuteError, polling.ImpatientError):
            raise httpx2.ReadTimeout("too slow", request=request) from None

    def _fetch(self, request: httpx2.Request) -> httpx2.Response:
        response = super().handle_request(request)
        body = bytearray()
        try:
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > _LARGEST_BYTES:
                    raise httpx2.DecodingError("too large", request=request)
        finally:
            response.close()
        return httpx2.Response(
            response.status_code, headers=response.headers, stream=httpx2.ByteStream(bytes(body))
        )

    def _count_pages(self, request: httpx2.Request) -> None:
        further = bool(request.url.params.get("continue"))
        self._further_pages = self._further_pages + 1 if further else 0
        if self._further_pages >= MOST_PAGES:
            raise httpx2.DecodingError("pages without an end", request=request)


def certificates_in(text: str) -> list[str]:
    """Return the readable certificates in a PEM text, which may have several.

    Args:
        text: The text; whatever else is in it does not matter.
    """
    return [each for each in _CERTIFICATE.findall(text) if _loads(each)]


def _loads(certificate: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate)
    except (ssl.SSLError, ValueError):
        return False
    return True


def _trusting(certificates: Iterable[str]) -> ssl.SSLContext:
    """Return a context that trusts these certificates, each by itself.

    An intermediate authority, such as Vault's, is trusted without the root that signed it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata="\n".join(certificates))
    return context
