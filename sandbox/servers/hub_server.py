"""A small Hugging Face Hub on loopback: data sets with revisions, large files at a CDN, and gates.

It answers what the Hub's HTTP API does where files are listed and fetched, and no more; see
https://huggingface.co/docs/hub/api.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import json
import re
import urllib.parse
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any

from sandbox.servers import origin_server

MAIN = "main"
# The real one keeps what has more than 10 MB as LFS files, and lists 1,000 on a page.
LFS_BYTES = 1000
PAGE = 100
API = re.compile(r"/api/datasets/(.+?)/(revision|tree)/([^/]+)(?:/(.*))?")
RESOLVE = re.compile(r"/datasets/(.+?)/resolve/([^/]+)/(.+)")
LINK = "Signature=0123abcd"


@dataclasses.dataclass(frozen=True)
class _Reply:
    """What is answered instead of a file."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])


class _Guarded(origin_server.Origin):
    """An origin that asks for each request whether there is something else to answer."""

    guard: Callable[[http.server.BaseHTTPRequestHandler], _Reply | None]

    def _answer(self, connection: http.server.BaseHTTPRequestHandler) -> None:
        reply = self.guard(connection)
        if reply is None:
            super()._answer(connection)
            return
        headers = {name.lower(): value for name, value in connection.headers.items()}
        with self._lock:
            self.requests.append(origin_server.Request(connection.path, headers, reply.status))
        body = b"" if reply.body is None else json.dumps(reply.body).encode()
        connection.send_response(reply.status)
        for name, value in reply.headers.items():
            connection.send_header(name, value)
        connection.send_header("Content-Type", "application/json; charset=utf-8")
        connection.send_header("Content-Length", str(len(body)))
        connection.end_headers()
        connection.wfile.write(body)


@dataclasses.dataclass
class _Repository:
    """A data set.

    Attributes:
        gated: Whether its files are for those alone who have accepted its terms...
        private: ...or whether nobody else knows that it exists.
        tokens: Their tokens.
        revisions: The commits that its branches and tags are at.
        commits: The files of each commit.
    """

    gated: bool
    private: bool
    tokens: set[str]
    revisions: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    commits: dict[str, Mapping[str, bytes]] = dataclasses.field(
        default_factory=dict[str, Mapping[str, bytes]]
    )


class Hub:
    """The running Hub.

    Args:
        front: Answers the API, and serves small files.
        cdn: Serves large files.

    Attributes:
        url: Where it listens, without a slash at its end.
        cdn: The origin of its large files.
        calls_itself: Where its links to further pages lead, as those of a mirror do.
        page: How many files a page has.
        renamed: The repositories that were renamed, and what to.
    """

    def __init__(self, front: _Guarded, cdn: _Guarded) -> None:
        self.url = self.calls_itself = front.url
        self.cdn: origin_server.Origin = cdn
        self.page = PAGE
        self.renamed: dict[str, str] = {}
        self._front = front
        self._repositories: dict[str, _Repository] = {}
        front.guard = self._answer
        cdn.guard = _check_link

    @classmethod
    @contextlib.contextmanager
    def start(cls) -> Generator[Hub]:
        """Runs a Hub until the end of the block."""
        with _Guarded.start() as front, _Guarded.start() as cdn:
            assert isinstance(front, _Guarded)  # noqa: S101 - for the type checker
            assert isinstance(cdn, _Guarded)  # noqa: S101
            yield cls(front, cdn)

    @property
    def requests(self) -> Sequence[origin_server.Request]:
        """What came so far, but for what came to the CDN."""
        return self._front.requests

    def put(
        self,
        repo: str,
        files: Mapping[str, bytes],
        *,
        revision: str = MAIN,
        gated: bool = False,
        private: bool = False,
        token: str = "",
        faults: Mapping[str, origin_server.Faults] | None = None,
    ) -> str:
        """Commits files to a data set, as all that it has from then on.

        Args:
            repo: The data set's id.
            files: What the files hold, by their paths.
            revision: The branch or tag that leads to the commit.
            gated: Whether its files are for those alone who have accepted its terms...
            private: ...or whether nobody else knows that it exists.
            token: The token of one of those.
            faults: How files misbehave, by their paths.

        Returns:
            The commit.
        """
        made = self._repositories.setdefault(repo, _Repository(gated, private, set()))
        made.gated, made.private = gated, private
        made.tokens |= {token} - {""}
        digest = hashlib.sha1(repr((repo, sorted(files.items()))).encode(), usedforsecurity=False)
        commit = digest.hexdigest()
        made.revisions[revision] = made.revisions[commit] = commit
        made.commits[commit] = dict(files)
        for path, content in files.items():
            fault = (faults or {}).get(path)
            if len(content) >= LFS_BYTES:
                self.cdn.put(_oid(content), content, faults=fault)
            else:
                place = f"datasets/{repo}/resolve/{commit}/{path}"
                self._front.put(place, content, faults=fault)
        return commit

    def _answer(self, connection: http.server.BaseHTTPRequestHandler) -> _Reply | None:
        target = urllib.parse.urlsplit(connection.path)
        api, resolve = API.fullmatch(target.path), RESOLVE.fullmatch(target.path)
        found = api or resolve
        if not found:
            return _refusal(404, "", "Not Found")
        name = found[1]
        if name in self.renamed:
            return _Reply(
                307, headers={"Location": connection.path.replace(name, self.renamed[name], 1)}
            )
        token = (connection.headers["Authorization"] or "").removeprefix("Bearer ")
        refusal = self._gate(name, token, file=api is None)
        if refusal:
            return refusal
        repository = self._repositories[name]
        if api:
            return self._api(api, repository, urllib.parse.parse_qs(target.query))
        return self._resolve(connection, found, repository)

    def _gate(self, name: str, token: str, *, file: bool) -> _Reply | None:
        """Why a data set, or a file of it, is not for who has this token."""
        if token and not any(token in each.tokens for each in self._repositories.values()):
            return _refusal(401, "", "Invalid credentials in Authorization header")
        repository = self._repositories.get(name)
        if repository is None or (repository.private and token not in repository.tokens):
            return _refusal(404 if token else 401, "RepoNotFound", "Repository not found")
        if file and repository.gated and token not in repository.tokens:
            return _refusal(403 if token else 401, "GatedRepo", f"Access to {name} is restricted")
        return None

    def _api(
        self, found: re.Match[str], repository: _Repository, query: Mapping[str, Sequence[str]]
    ) -> _Reply:
        name, kind, revision, path = found.groups()
        commit = repository.revisions.get(urllib.parse.unquote(revision))
        if commit is None:
            return _refusal(404, "RevisionNotFound", "Invalid rev id")
        if kind == "revision":
            return _Reply(
                200,
                {
                    "id": name,
                    "sha": commit,
                    "private": repository.private,
                    "gated": "auto" if repository.gated else False,
                },
            )
        recursive = query.get("recursive") == ["true"]
        path = urllib.parse.unquote(path or "")
        listed = list(_tree(repository.commits[commit], path, recursive=recursive))
        if not listed:
            return _refusal(404, "EntryNotFound", f"{path} does not exist on {revision}")
        start = int(query.get("cursor", ["0"])[0])
        end = start + self.page
        headers: dict[str, str] = {}
        if end < len(listed):
            following = f"recursive={str(recursive).lower()}&limit={self.page}&cursor={end}"
            link = f"{self.calls_itself}{found[0]}?{following}"
            headers["Link"] = f'<{link}>; rel="next"'
        return _Reply(200, listed[start:end], headers)

    def _resolve(
        self,
        connection: http.server.BaseHTTPRequestHandler,
        found: re.Match[str],
        repository: _Repository,
    ) -> _Reply | None:
        name, revision, path = found[1], *map(urllib.parse.unquote, found.groups()[1:])
        commit = repository.revisions.get(revision)
        if commit is None:
            return _refusal(404, "RevisionNotFound", "Invalid rev id")
        content = repository.commits[commit].get(path)
        if content is None:
            return _refusal(404, "EntryNotFound", "Entry not found")
        if len(content) < LFS_BYTES:
            # The front serves it, by its commit.
            connection.path = f"/datasets/{name}/resolve/{commit}/{urllib.parse.quote(path)}"
            return None
        return _Reply(
            302,
            headers={
                "Location": f"{self.cdn.url}/{_oid(content)}?{LINK}",
                "X-Repo-Commit": commit,
                "X-Linked-Size": str(len(content)),
                "X-Linked-ETag": f'"{_oid(content)}"',
            },
        )


def _tree(files: Mapping[str, bytes], path: str, *, recursive: bool) -> Generator[dict[str, Any]]:
    """What a directory holds, as the API lists it; directories come before what is in them."""
    top = f"{path}/" if path else ""
    seen: set[str] = set()
    for name, content in sorted(files.items()):
        if not name.startswith(top):
            continue
        for parent in _parents(name[len(top) :]):
            if parent not in seen and (recursive or "/" not in parent):
                seen.add(parent)
                yield {"type": "directory", "oid": "0" * 40, "size": 0, "path": top + parent}
        if recursive or "/" not in name[len(top) :]:
            yield _listed(name, content)


def _parents(path: str) -> Iterable[str]:
    parts = path.split("/")[:-1]
    return ("/".join(parts[: number + 1]) for number in range(len(parts)))


def _listed(path: str, content: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0%s" % (len(content), content), usedforsecurity=False)
    fields = {"type": "file", "oid": blob.hexdigest(), "size": len(content), "path": path}
    if len(content) < LFS_BYTES:
        return fields
    lfs = {"oid": _oid(content), "size": len(content), "pointerSize": 130}
    return {**fields, "lfs": lfs}


def _oid(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_link(connection: http.server.BaseHTTPRequestHandler) -> _Reply | None:
    """Refuses what has no signed link, or a token beside it, as the real CDN does."""
    if LINK not in connection.path:
        return _Reply(403)
    return _Reply(400) if connection.headers["Authorization"] else None


def _refusal(status: int, code: str, message: str) -> _Reply:
    headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
    return _Reply(status, {"error": message}, headers)
