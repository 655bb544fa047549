"""The requests for one object, which go where an earlier one was redirected."""

from __future__ import annotations

from collections.abc import Mapping

from ..base import urls
from . import http_client

NOTHING: Mapping[str, str] = {}
# How origins refuse a connection more than they allow at once, beside the statuses that say so.
BUSY = {400, 401, 403, 416}
# How S3 and the Hub say that they refuse the object itself.
REASON, REASON_HEADER = b"<Code>", "X-Error-Code"


class ObjectRequests:
    """The requests for one object.

    Args:
        client: The HTTP client.
        url: The object's URL.
        auth: The name of the signer of the requests.
    """

    def __init__(self, client: http_client.Client, url: str, auth: str) -> None:
        self._client = client
        self._url = url
        self._auth = auth

    def send(self, headers: Mapping[str, str] = NOTHING) -> http_client.Response:
        """Send a request.

        Raises:
            RetryLater: The origin or the network is in trouble, or the origin serves no further
                connection now.
            Refused: The origin refuses the request.
        """
        known = self._client.origins.open_responses
        # Those that wait have no connection.
        self._client.origins.wait_for_host(self._url, self._client.check)
        known.requested(self._url)
        try:
            response = self._redirected(headers)
        except http_client.Refused as refused:
            known.failed(self._url)
            # A refused range is left to other connections; the whole is read by this one.
            if "Range" in headers or not _may_be_busy(refused) or not known.is_busy(self._url):
                raise
            raise http_client.RetryLater(
                f"answers {refused.status}", soon=known.ends_soon(self._url)
            ) from None
        except BaseException:
            known.failed(self._url)
            raise
        known.began(self._url)
        response.on_close(lambda: known.closed(self._url))
        return response

    def _redirected(self, headers: Mapping[str, str]) -> http_client.Response:
        """Send a request to where an earlier one was redirected, or to its own URL."""
        redirects = self._client.origins.redirects
        target = redirects.find(self._url)
        if target:
            own = urls.site_of(target) == urls.site_of(self._url)
            try:
                return self._client.request(
                    target,
                    headers,
                    auth=self._auth if own else "",
                    redirected_from=self._url,
                )
            except (http_client.Refused, http_client.RetryLater):
                # The signed link has expired, or there may be another mirror.
                redirects.forget(self._url, target)
                raise
        response = self._client.request(self._url, headers, auth=self._auth)
        if response.url != self._url:
            redirects.keep(self._url, response.url)
        return response


def _may_be_busy(refused: http_client.Refused) -> bool:
    """Tell whether a refusal may be that of a connection, and not of the object."""
    told = REASON in refused.content or REASON_HEADER in refused.headers
    return refused.status in BUSY and not told
