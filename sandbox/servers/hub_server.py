"""A small Hugging Face Hub on loopback: revisions, large files on a CDN, gated and private data.

It implements only the parts of the Hub's HTTP API that list and fetch files; see
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
# The real Hub stores files of more than 10 MB in LFS, and lists 1,000 files per page.
LFS_BYTES = 1000
PAGE_SIZE = 100
# A data set has its id as its name here, a model and a space also their kind.
API = re.compile(
    r"/api/(?:datasets/)?((?:(?:models|spaces)/)?.+?)/(revision|tree)/([^/]+)(?:/(.*))?"
)
RESOLVE = re.compile(r"/(?:datasets/)?(.+?)/resolve/([^/]+)/(.+)")
SIGNATURE = "Signature=0123abcd"


@dataclasses.dataclass(frozen=True)
class _Reply:
    """A response other than a file."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])


class _GuardedOrigin(origin_server.Origin):
    """An origin with a function that may answer a request in its place."""

    guard: Callable[[http.server.BaseHTTPRequestHandler], _Reply | None]

    def _answer(self, connection: http.server.BaseHTTPRequestHandler) -> None:
        reply = self.guard(connection)
        if reply is None:
            super()._answer(connection)
            return
        headers = {name.lower(): value for name, value in connection.headers.items()}
        with self._lock:
            self.requests.append(
                origin_server.OriginRequest(connection.path, headers, reply.status)
            )
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
        gated: Whether its files are only for users who have accepted its terms.
        private: Whether it is visible only to users with access.
        tokens: The tokens with access.
        revisions: The commit of each branch and tag.
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
    """A running Hub.

    Args:
        front: The server of the API and of small files.
        cdn: The server of large files.

    Attributes:
        url: The Hub's URL, without a trailing slash.
        cdn: The origin of large files.
        public_url: The URL in its links to more pages; another one for a mirror.
        page_size: The number of files per page.
        renamed: The new names of renamed repositories.
    """

    def __init__(self, front: _GuardedOrigin, cdn: _GuardedOrigin) -> None:
        self.url = self.public_url = front.url
        self.cdn: origin_server.Origin = cdn
        self.page_size = PAGE_SIZE
        self.renamed: dict[str, str] = {}
        self._front = front
        self._repositories: dict[str, _Repository] = {}
        front.guard = self._answer
        cdn.guard = _check_link

    @classmethod
    @contextlib.contextmanager
    def start(cls) -> Generator[Hub]:
        """Run a Hub until the end of the block."""
        with _GuardedOrigin.start() as front, _GuardedOrigin.start() as cdn:
            assert isinstance(front, _GuardedOrigin)  # noqa: S101 - for the type checker
            assert isinstance(cdn, _GuardedOrigin)  # noqa: S101
            yield cls(front, cdn)

    @property
    def requests(self) -> Sequence[origin_server.OriginRequest]:
        """Return the requests so far, without those to the CDN."""
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
        """Commit files to a data set, replacing all previous files.

        Args:
            repo: The data set's id; models/id or spaces/id for another repository.
            files: The files' contents by path.
            revision: The branch or tag of the commit.
            gated: Whether its files are only for users who have accepted its terms.
            private: Whether it is visible only to users with access.
            token: The token of a user with access.
            faults: The files' faults by path.

        Returns:
            The commit's id.
        """
        repository = self._repositories.setdefault(repo, _Repository(gated, private, set()))
        repository.gated, repository.private = gated, private
        repository.tokens |= {token} - {""}
        digest = hashlib.sha1(repr((repo, sorted(files.items()))).encode(), usedforsecurity=False)
        commit = digest.hexdigest()
        repository.revisions[revision] = repository.revisions[commit] = commit
        repository.commits[commit] = dict(files)
        for path, content in files.items():
            fault = (faults or {}).get(path)
            if len(content) >= LFS_BYTES:
                self.cdn.put(_oid(content), content, faults=fault)
            else:
                url_path = f"{_prefix(repo)}/resolve/{commit}/{path}"
                self._front.put(url_path, content, faults=fault)
        return commit

    def _answer(self, connection: http.server.BaseHTTPRequestHandler) -> _Reply | None:
        target = urllib.parse.urlsplit(connection.path)
        api, resolve = API.fullmatch(target.path), RESOLVE.fullmatch(target.path)
        match = api or resolve
        if not match:
            return _refusal(404, "", "Not Found")
        name = match[1]
        if resolve and not target.path.startswith(("/datasets/", "/spaces/")):
            name = f"models/{name}"
        if name in self.renamed:
            return _Reply(
                307, headers={"Location": connection.path.replace(name, self.renamed[name], 1)}
            )
        token = (connection.headers["Authorization"] or "").removeprefix("Bearer ")
        refusal = self._access_refusal(name, token, file=api is None)
        if refusal:
            return refusal
        repository = self._repositories[name]
        if api:
            return self._api(api, repository, urllib.parse.parse_qs(target.query))
        return self._resolve(connection, name, match, repository)

    def _access_refusal(self, name: str, token: str, *, file: bool) -> _Reply | None:
        """Return the refusal of a data set or its files for a token; None if it has access."""
        if token and not any(token in each.tokens for each in self._repositories.values()):
            return _refusal(401, "", "Invalid credentials in Authorization header")
        repository = self._repositories.get(name)
        if repository is None or (repository.private and token not in repository.tokens):
            return _refusal(404 if token else 401, "RepoNotFound", "Repository not found")
        if file and repository.gated and token not in repository.tokens:
            return _refusal(403 if token else 401, "GatedRepo", f"Access to {name} is restricted")
        return None

    def _api(
        self, match: re.Match[str], repository: _Repository, query: Mapping[str, Sequence[str]]
    ) -> _Reply:
        name, kind, revision, path = match.groups()
        commit = repository.revisions.get(urllib.parse.unquote(revision))
        if commit is None:
            return _refusal(404, "RevisionNotFound", "Invalid rev id")
        if kind == "revision":
            return _Reply(
                200,
                {
                    "id": name.removeprefix("models/").removeprefix("spaces/"),
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
        end = start + self.page_size
        headers: dict[str, str] = {}
        if end < len(listed):
            following = f"recursive={str(recursive).lower()}&limit={self.page_size}&cursor={end}"
            link = f"{self.public_url}{match[0]}?{following}"
            headers["Link"] = f'<{link}>; rel="next"'
        return _Reply(200, listed[start:end], headers)

    def _resolve(
        self,
        connection: http.server.BaseHTTPRequestHandler,
        name: str,
        match: re.Match[str],
        repository: _Repository,
    ) -> _Reply | None:
        revision, path = map(urllib.parse.unquote, match.groups()[1:])
        commit = repository.revisions.get(revision)
        if commit is None:
            return _refusal(404, "RevisionNotFound", "Invalid rev id")
        content = repository.commits[commit].get(path)
        if content is None:
            return _refusal(404, "EntryNotFound", "Entry not found")
        if len(content) < LFS_BYTES:
            # The front server has it under the commit's id.
            connection.path = f"/{_prefix(name)}/resolve/{commit}/{urllib.parse.quote(path)}"
            return None
        return _Reply(
            302,
            headers={
                "Location": f"{self.cdn.url}/{_oid(content)}?{SIGNATURE}",
                "X-Repo-Commit": commit,
                "X-Linked-Size": str(len(content)),
                "X-Linked-ETag": f'"{_oid(content)}"',
            },
        )


def _tree(files: Mapping[str, bytes], path: str, *, recursive: bool) -> Generator[dict[str, Any]]:
    """Yield the entries of a directory as the API lists them, directories before their content."""
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


def _prefix(repo: str) -> str:
    """Return the beginning of the paths of a repository's files."""
    if repo.startswith("models/"):
        return repo.removeprefix("models/")
    return repo if repo.startswith("spaces/") else f"datasets/{repo}"


def _oid(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _check_link(connection: http.server.BaseHTTPRequestHandler) -> _Reply | None:
    """Refuse requests without a signature, or with an additional token, as the real CDN does."""
    if SIGNATURE not in connection.path:
        return _Reply(403)
    return _Reply(400) if connection.headers["Authorization"] else None


def _refusal(status: int, code: str, message: str) -> _Reply:
    headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
    return _Reply(status, {"error": message}, headers)
