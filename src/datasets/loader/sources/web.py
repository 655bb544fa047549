"""Sources on web servers: each http or https URL is one object.

A token or a header of the user's is sent to the hosts that he named as sources, by https, and to
no other: neither to those of redirects nor to those of a source list's lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ... import protocol
from ..base import failure, tasks, urls
from ..http import http_client
from . import web_header
from .source_object import SourceObject

AUTH = "web"
ADVICE = (
    "the token or header does not suffice, or has expired: put a new one into the secret that "
    "credentials= names, then run create-dataset again"
)


class WebReader:
    """A reader of objects on web servers.

    Args:
        auth: The name of the signer of requests; empty for none.
    """

    def __init__(self, auth: str) -> None:
        self._auth = auth

    def expand(self, url: str) -> Iterator[SourceObject]:
        """Return the object of a URL."""
        return iter([self.locate(url)])

    def locate(self, url: str) -> SourceObject:
        """Return the object of a URL."""
        return SourceObject(url, auth=self._auth)


def reader(_client: http_client.Client, task: tasks.Task) -> WebReader:
    """Return the reader of web sources."""
    return WebReader(AUTH if _header(task) else "")


def signer(task: tasks.Task) -> http_client.Signer:
    """Return the signer of requests: it adds the header for the hosts that the user named."""
    header, sites = _header(task), _sites(task)
    return lambda _method, url: header if urls.site_of(url) in sites else {}


def explainer(task: tasks.Task) -> http_client.Explainer:
    """Return the explanation of refused requests."""
    sites = _sites(task)

    def explain(refused: http_client.Refused, url: str) -> failure.Failure:
        own = urls.site_of(url) in sites
        return refused.explained_by(ADVICE) if own else refused

    return explain


def _header(task: tasks.Task) -> Mapping[str, str]:
    header = task.credentials.get(protocol.HEADER, "")
    if header:
        try:
            name, value = web_header.parse(header)
        except ValueError as error:
            raise failure.Failure(f"the header in the secret {error}") from None
        return {name: value}
    token = task.credentials.get(protocol.TOKEN, "")
    # With sources on the Hub, the token is the Hub's.
    if not token or any(urls.scheme(source.url) == "hf" for source in task.sources):
        return {}
    return {"Authorization": f"Bearer {token}"}


def _sites(task: tasks.Task) -> frozenset[tuple[str, str]]:
    named = [*(source.url for source in task.sources), task.source_list]
    return frozenset(urls.site_of(url) for url in named if urls.is_private_way(url))
