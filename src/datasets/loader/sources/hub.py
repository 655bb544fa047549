"""Finds files in data sets of the Hugging Face Hub, at one commit; by the Hub's own API.

See https://huggingface.co/docs/hub/api: it answers with JSON, and a list's next page is in the
header Link.
"""

from __future__ import annotations

import dataclasses
import json
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any, cast

from ... import protocol
from ..base import failure, tasks, urls
from ..http import http_client
from . import hub_url, source_object
from .source_object import SourceObject

AUTH = "hub"
HUB = "https://huggingface.co"
MAIN = "main"
# Of 1,000 files.
PAGE_BYTES = 8 * 2**20
COMMIT = re.compile(r"[0-9a-f]{40,64}")
SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
NEXT = re.compile(r'<([^<>]*)>\s*;[^,<]*\brel="?next\b')
ACCEPT_TERMS = (
    "accept its terms on the Hub, and give a token of that user by credentials=secret:<id>"
)
SIGNED_ADVICE = (
    "the token does not open it, or it is gated; check the secret that credentials= names, and "
    "that its user has accepted the data set's terms on the Hub"
)
UNSIGNED_ADVICE = f"it is private or gated; {ACCEPT_TERMS}"


@dataclasses.dataclass(frozen=True)
class HubService:
    """Where the Hub is, and how it is spoken to.

    Attributes:
        endpoint: Its URL; empty for huggingface.co.
        token: Whether requests carry a token.
        opening_seconds: How long it may refuse to begin.
        patience_seconds: How long it may be in trouble once it has begun.
    """

    endpoint: str = ""
    token: bool = False
    opening_seconds: float = 25
    patience_seconds: float = 300

    @property
    def url(self) -> str:
        """Its URL, without a slash at its end."""
        return (self.endpoint or HUB).rstrip("/")

    @property
    def advice(self) -> str:
        """What a user is told to do where a request is refused."""
        return SIGNED_ADVICE if self.token else UNSIGNED_ADVICE


class HubReader:
    """The data sets of the Hub."""

    def __init__(self, client: http_client.Client, service: HubService) -> None:
        self._client = client
        self._service = service

    def expand(self, url: str) -> Iterator[SourceObject]:
        """Return the files of an hf URL."""
        return expand(url, self._client, self._service)

    def locate(self, url: str) -> SourceObject:
        """Refuse to read a source list from the Hub.

        Raises:
            Failure: Always.
        """
        raise failure.Failure(
            f"{urls.redact(url)} is on the Hub, which lists its files itself: give the data "
            "set as the source"
        )


def reader(client: http_client.Client, task: tasks.Task) -> HubReader:
    """Return the reader of a task's hf sources."""
    return HubReader(client, _service(task))


def signer(task: tasks.Task) -> http_client.Signer:
    """Return the signer of requests to the Hub: it adds the token, if there is one."""
    token = task.credentials.get(protocol.TOKEN, "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return lambda _method, _url: headers


def advice(task: tasks.Task) -> str:
    """Return what a user is told to do where a request is refused."""
    return _service(task).advice


def _service(task: tasks.Task) -> HubService:
    return HubService(
        endpoint=task.hub,
        token=bool(task.credentials.get(protocol.TOKEN)),
        opening_seconds=task.opening_seconds,
        patience_seconds=task.patience_seconds,
    )


def expand(url: str, client: http_client.Client, service: HubService) -> Iterator[SourceObject]:
    """The file that an hf URL names, or all files of the repository or directory.

    Args:
        url: The URL.
        client: What asks; it signs with what is called AUTH.
        service: The Hub.

    Raises:
        Failure: There is nothing, or it can not be read.
    """
    yield from _Hub(url, client, service).expand()


class _Hub:
    """One hf URL."""

    def __init__(self, url: str, client: http_client.Client, service: HubService) -> None:
        self._shown = urls.redact(url)
        self._wanted = hub_url.repository(url)
        self._client = client
        self._service = service
        self._begun = False

    def expand(self) -> Iterator[SourceObject]:
        name, commit, path = self._resolve()
        files = f"{self._service.url}/datasets/{name}/resolve/{commit}"
        empty = True
        for found in self._found(f"{self._service.url}/api/datasets/{name}/tree/{commit}", path):
            empty = False
            made = self._entry(files, found)
            if made.path == path:
                yield dataclasses.replace(made, path="", listed=False)
            else:
                yield dataclasses.replace(made, path=made.path[len(path) :].lstrip("/"))
        if empty:
            raise failure.Failure(f"{self._shown} holds no files: check the source")

    def _resolve(self) -> tuple[str, str, str]:
        """The repository's id, what its revision is now, and the path in it."""
        revision = _quoted(self._wanted.revision or MAIN, but="")
        refusals: list[http_client.Refused] = []
        for name, path in self._wanted.candidates:
            try:
                api = f"{self._service.url}/api/datasets/{name}/revision/{revision}"
                fields = self._decoded(self._ask(api), dict)
            except http_client.Refused as refused:
                refusals.append(refused)
                if not _is_missing(refused):
                    break
                continue
            if fields.get("gated") and not self._service.token:
                raise failure.Failure(f"{self._shown} is gated: {ACCEPT_TERMS}")
            commit = fields.get("sha")
            if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
                raise self._no_hub()
            return self._moved(name, fields.get("id")), commit, path
        raise self._explained(refusals[0])

    def _moved(self, name: str, found: object) -> str:
        """The id that a repository has now: the oldest have moved below an organisation."""
        return found if isinstance(found, str) and hub_url.is_repository(found) else name

    def _found(self, tree: str, path: str) -> Iterator[Mapping[str, Any]]:
        """The files at a path, which may be a file's own."""
        try:
            yield from self._files(f"{tree}/{_quoted(path)}" if path else tree, recursive=True)
        except http_client.Refused as refused:
            if refused.status != 404 or not path:
                raise self._explained(refused) from None
            yield self._file(tree, path)

    def _file(self, tree: str, path: str) -> Mapping[str, Any]:
        """The one file at a path."""
        parent = path.rpartition("/")[0]
        try:
            around = self._files(f"{tree}/{_quoted(parent)}" if parent else tree, recursive=False)
            for found in around:
                if found.get("path") == path:
                    return found
        except http_client.Refused as refused:
            if refused.status != 404:
                raise self._explained(refused) from None
        raise failure.Failure(f"{self._shown} is not there: check its path")

    def _files(self, url: str, *, recursive: bool) -> Iterator[Mapping[str, Any]]:
        """The files of a directory, page after page."""
        query = f"recursive={str(recursive).lower()}&expand=false"
        while query:
            body = self._ask(f"{url}?{query}")
            for found in self._decoded(body, list):
                if not isinstance(found, dict):
                    raise self._no_hub()
                fields = cast("dict[str, Any]", found)
                if fields.get("type") != "directory":
                    yield fields
            # Only the link's query: the token goes nowhere else.
            link = NEXT.search(body.headers.get("Link", ""))
            following = urllib.parse.urlsplit(link[1]).query if link else ""
            if following == query:
                raise self._no_hub()
            query = following

    def _entry(self, files: str, fields: Mapping[str, Any]) -> SourceObject:
        path, size = fields.get("path"), fields.get("size")
        if not isinstance(path, str) or not isinstance(size, int):
            raise self._no_hub()
        reason = (
            "it is no file" if fields.get("type") != "file" else source_object.path_problem(path)
        )
        if reason:
            raise failure.Failure(
                f"{self._shown} holds {failure.quote(path)}, which can not stand in a data set "
                f"({reason}): name a directory without it"
            )
        lfs = cast("dict[str, Any]", fields.get("lfs") or {})
        digest = SHA256.fullmatch(str(lfs.get("oid")))
        # No validator: who serves the file in the end has one of its own, and what the commit
        # names never changes.
        return SourceObject(
            f"{files}/{_quoted(path)}",
            path=path,
            size=size,
            checksum=f"sha256:{digest[1]}" if digest else "",
            auth=AUTH,
            listed=True,
        )

    def _ask(self, url: str) -> http_client.Body:
        service = self._service
        seconds = service.patience_seconds if self._begun else service.opening_seconds
        body = self._client.body(url, auth=AUTH, limit_bytes=PAGE_BYTES, patience_seconds=seconds)
        self._begun = True
        return body

    def _decoded(self, body: http_client.Body, kind: type[Any]) -> Any:
        try:
            decoded = json.loads(body.content)
        except ValueError:
            raise self._no_hub() from None
        if not isinstance(decoded, kind):
            raise self._no_hub()
        return decoded

    def _explained(self, refused: http_client.Refused) -> failure.Failure:
        code, status = refused.headers.get("X-Error-Code", ""), refused.status
        if code == "RevisionNotFound":
            return failure.Failure(
                f"{self._shown} has no such revision: check what stands behind the @"
            )
        if code == "GatedRepo":
            return failure.Failure(f"{self._shown} is gated: {ACCEPT_TERMS}")
        if status in {401, 404} and not self._service.token:
            return failure.Failure(
                f"{self._shown} is not there, or is private: check the source, or give a token by "
                "credentials=secret:<id>"
            )
        if status in {401, 403}:
            return failure.Failure(f"{self._shown} answers {status}: {SIGNED_ADVICE}")
        return failure.Failure(
            f"{self._shown} answers {status}: check the source, and that the token's user may "
            "read it"
        )

    def _no_hub(self) -> failure.Failure:
        return failure.Failure(
            f"what answers for {self._shown} does not speak as the Hub does: check endpoint="
        )


def _is_missing(refused: http_client.Refused) -> bool:
    """Whether there is no such repository; the Hub does not tell that from a private one."""
    code = refused.headers.get("X-Error-Code", "RepoNotFound")
    return refused.status in {401, 404} and code == "RepoNotFound"


def _quoted(text: str, *, but: str = "/") -> str:
    return urllib.parse.quote(text, safe=but)
