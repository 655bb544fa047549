"""Sources on web servers: each http or https URL is one object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..base import tasks
from ..http import http_client
from .source_object import SourceObject

AUTH = ""


class WebReader:
    """A reader of objects on web servers."""

    def expand(self, url: str) -> Iterator[SourceObject]:
        """Return the object of a URL."""
        return iter([self.locate(url)])

    def locate(self, url: str) -> SourceObject:
        """Return the object of a URL."""
        return SourceObject(url)


def reader(_client: http_client.Client, _task: tasks.Task) -> WebReader:
    """Return the reader of web sources."""
    return WebReader()


def signer(_task: tasks.Task) -> http_client.Signer:
    """Return a signer that adds nothing."""
    nothing: Mapping[str, str] = {}
    return lambda _method, _url: nothing


def advice(_task: tasks.Task) -> str:
    """Return no advice: the message of a refusal has its own."""
    return ""
