"""Find the files of repositories of the Hugging Face Hub at one commit, with the Hub's API.

See https://huggingface.co/docs/hub/api: responses are JSON, and the header Link has the URL of a
list's next page.
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
from . import hub_url, listing_pages, source_object
from .source_object import SourceObject

AUTH = "hub"
HUB = "https://huggingface.co"
MAIN = "main"
# A page lists 1,000 files. Parsed, it may take thirty times its bytes.
PAGE_BYTES = 2 * 2**20
COMMIT = re.compile(r"[0-9a-f]{40,64}")
SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
NEXT = re.compile(r'<([^<>]*)>\s*;[^,<]*\brel="?next\b')
ACCEPT_TERMS = (
    "accept its terms on the Hub, and give a token of that user by credentials=secret:<id>"
)
SIGNED_ADVICE = (
    "the token gives no access to it, or has expired, or it is gated; check the secret that "
    "credentials= names, and that its user has accepted the terms on the Hub; then run "
    "create-dataset again"
)
UNSIGNED_ADVICE = f"it is private or gated; {ACCEPT_TERMS}"


@dataclasses.dataclass(frozen=True)
class HubService:
    """The Hub that a task uses.

    Attributes:
        endpoint: Its URL; empty for huggingface.co.
        token: Whether requests have a token.
    """

    endpoint: str = ""
    token: bool = False

    @property
    def url(self) -> str:
        """Return its URL, without a slash at the end."""
        return (self.endpoint or HUB).rstrip("/")

    @property
    def advice(self) -> str:
        """Return the advice to the user for a refused request."""
        return SIGNED_ADVICE if self.token else UNSIGNED_ADVICE


class HubReader:
    """A reader of data sets of the Hub."""

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


def explainer(task: tasks.Task) -> http_client.Explainer:
    """Return the explanation of refused requests for files."""
    advice = _service(task).advice
    return lambda refused, _url: refused.explained_by(advice)


def _service(task: tasks.Task) -> HubService:
    return HubService(
        endpoint=task.hub,
        token=bool(task.credentials.get(protocol.TOKEN)),
    )


def expand(url: str, client: http_client.Client, service: HubService) -> Iterator[SourceObject]:
    """Yield the file that an hf URL names, or all files of the repository or directory.

    Args:
        url: The URL.
        client: The HTTP client; its signer's name is AUTH.
        service: The Hub.

    Raises:
        Failure: There is nothing, or it cannot be read.
    """
    yield from _Hub(url, client, service).expand()


class _Hub:
    """The files of one hf URL."""

    def __init__(self, url: str, client: http_client.Client, service: HubService) -> None:
        self._shown = urls.redact(url)
        self._repository = hub_url.repository(url)
        self._client = client
        self._service = service
        self._api = f"{service.url}/api/{self._repository.kind}"

    def expand(self) -> Iterator[SourceObject]:
        name, commit, path = self._resolve()
        files = f"{self._service.url}{self._repository.prefix}/{name}/resolve/{commit}"
        empty = True
        for fields in self._files_at(f"{self._api}/{name}/tree/{commit}", path):
            empty = False
            entry = self._source_object(files, fields)
            if entry.path == path:
                yield dataclasses.replace(entry, path="", listed=False)
            elif path and not entry.path.startswith(f"{path}/"):
                # What follows the path's length could lead upwards.
                raise self._not_a_hub()
            else:
                yield dataclasses.replace(entry, path=entry.path[len(path) :].lstrip("/"))
        if empty:
            raise failure.Failure(f"{self._shown} holds no files: check the source")

    def _resolve(self) -> tuple[str, str, str]:
        """Return the repository's id, the commit of its revision, and the path in it."""
        revision = _quote(self._repository.revision or MAIN, safe="")
        refusals: list[http_client.Refused] = []
        for name, path in self._repository.candidates:
            try:
                api = f"{self._api}/{name}/revision/{revision}"
                fields = self._decode(self._request(api), dict)
            except http_client.Refused as refused:
                refusals.append(refused)
                if not _is_missing(refused):
                    break
                continue
            if fields.get("gated") and not self._service.token:
                raise failure.Failure(f"{self._shown} is gated: {ACCEPT_TERMS}")
            commit = fields.get("sha")
            if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
                raise self._not_a_hub()
            return self._current_id(name, fields.get("id")), commit, path
        raise self._explain(refusals[0])

    def _current_id(self, name: str, reported: object) -> str:
        """Return the id that a repository has now: the oldest have moved to an organisation."""
        return reported if isinstance(reported, str) and hub_url.is_repository(reported) else name

    def _files_at(self, tree: str, path: str) -> Iterator[Mapping[str, Any]]:
        """Yield the files at a path, which may be that of one file."""
        try:
            yield from self._list_directory(
                f"{tree}/{_quote(path)}" if path else tree, recursive=True
            )
        except http_client.Refused as refused:
            if refused.status != 404 or not path:
                raise self._explain(refused) from None
            yield self._single_file(tree, path)

    def _single_file(self, tree: str, path: str) -> Mapping[str, Any]:
        """Return the one file at a path."""
        parent = path.rpartition("/")[0]
        try:
            siblings = self._list_directory(
                f"{tree}/{_quote(parent)}" if parent else tree, recursive=False
            )
            for fields in siblings:
                if fields.get("path") == path:
                    return fields
        except http_client.Refused as refused:
            if refused.status != 404:
                raise self._explain(refused) from None
        raise failure.Failure(f"{self._shown} is not there: check its path")

    def _list_directory(self, url: str, *, recursive: bool) -> Iterator[Mapping[str, Any]]:
        """Yield the files of a directory, page by page."""
        query = f"recursive={str(recursive).lower()}&expand=false"
        pages = listing_pages.ListingPages()
        while query:
            body = self._request(f"{url}?{query}")
            entries = self._decode(body, list)
            if not pages.add(len(entries)):
                raise self._not_a_hub()
            for entry in entries:
                if not isinstance(entry, dict):
                    raise self._not_a_hub()
                fields = cast("dict[str, Any]", entry)
                if fields.get("type") != "directory":
                    yield fields
            # Only the link's query: the token must not go to another host.
            link = NEXT.search(body.headers.get("Link", ""))
            following = urllib.parse.urlsplit(link[1]).query if link else ""
            if following == query:
                raise self._not_a_hub()
            query = following

    def _source_object(self, files: str, fields: Mapping[str, Any]) -> SourceObject:
        path, size = fields.get("path"), fields.get("size")
        if not isinstance(path, str) or not isinstance(size, int) or size < 0:
            raise self._not_a_hub()
        reason = (
            "it is not a file"
            if fields.get("type") != "file"
            else source_object.path_problem(path)
        )
        if reason:
            raise failure.Failure(
                f"{self._shown} holds {failure.quote(path)}, which cannot be in a data set "
                f"({reason}): name a directory without it"
            )
        lfs = cast("dict[str, Any]", fields.get("lfs") or {})
        digest = SHA256.fullmatch(str(lfs.get("oid")))
        # No validator: the server that the Hub redirects to has its own, and the files of a commit
        # never change.
        return SourceObject(
            f"{files}/{_quote(path)}",
            path=path,
            size=size,
            checksum=f"sha256:{digest[1]}" if digest else "",
            auth=AUTH,
            listed=True,
        )

    def _request(self, url: str) -> http_client.Body:
        return self._client.body(url, auth=AUTH, limit_bytes=PAGE_BYTES)

    def _decode(self, body: http_client.Body, kind: type[Any]) -> Any:
        try:
            decoded = json.loads(body.content)
        except (ValueError, RecursionError):
            raise self._not_a_hub() from None
        if not isinstance(decoded, kind):
            raise self._not_a_hub()
        return decoded

    def _explain(self, refused: http_client.Refused) -> failure.Failure:
        code, status = refused.headers.get("X-Error-Code", ""), refused.status
        if code == "RevisionNotFound":
            return failure.Failure(f"{self._shown} has no such revision: check what follows the @")
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

    def _not_a_hub(self) -> failure.Failure:
        return failure.Failure(
            f"the service that answers for {self._shown} is not a Hub: check endpoint="
        )


def _is_missing(refused: http_client.Refused) -> bool:
    """Tell whether a repository is missing, or private: the Hub answers both alike."""
    code = refused.headers.get("X-Error-Code", "RepoNotFound")
    return refused.status in {401, 404} and code == "RepoNotFound"


def _quote(text: str, *, safe: str = "/") -> str:
    return urllib.parse.quote(text, safe=safe)
