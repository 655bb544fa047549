"""Expand all sources of a task into one stream of objects, whatever their kind."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping

from ..base import failure, file_names, name_set, tasks, urls
from ..http import addresses, http_client, remote_object
from . import selection, source_object, table
from .source_object import SourceObject

CHUNK_BYTES = 2**16
MOST_SUSPECTS = 10_000


def expand(task: tasks.Task, client: http_client.Client) -> Iterator[SourceObject]:
    """Yield the objects of all sources of a task, as they are read.

    Args:
        task: The task.
        client: The HTTP client, with the signers of `signers`.

    Raises:
        Failure: A source cannot be read, or two objects have one path, as is known at the end.
        StartOver: A list changed while it was read.
    """
    names = name_set.NameSet()
    for _, each in _Sources(task, client).objects():
        names.add(_identity(each))
        yield each
    suspects = names.repeated()
    if suspects:
        _refuse_duplicates(task, client, suspects)


def read_list(task: tasks.Task, client: http_client.Client) -> Iterator[SourceObject]:
    """Yield the entries of a task's source list as they are in it, without requests for them.

    Args:
        task: The task.
        client: The HTTP client, with the signers of `signers`.

    Raises:
        Failure: The list cannot be read.
        StartOver: It changed while it was read.
    """
    return (entry for _, entry in _Sources(task, client).entries())


def signers(
    task: tasks.Task,
) -> tuple[Mapping[str, http_client.Signer], Mapping[str, http_client.Explainer]]:
    """Return the signers of requests for a task's objects, and explanations of their refusals.

    Args:
        task: The task.

    Returns:
        The signers and the explanations, by the name that objects have in `auth`.
    """
    used = {table.row_of(source.url) for source in task.sources}
    by_name: dict[str, http_client.Signer] = {}
    explainers: dict[str, http_client.Explainer] = {}
    for row in table.WITH_CREDENTIALS:
        # A source list may name objects of each listable kind.
        if row in used or (task.source_list and row.listable):
            module = row.load()
            by_name[module.AUTH] = module.signer(task)
            explainers[module.AUTH] = module.explainer(task)
    return by_name, explainers


def openers(task: tasks.Task) -> Mapping[str, http_client.Opener]:
    """Return what opens a task's objects that are not requested over the network, by scheme."""
    rows = {table.row_of(source.url) for source in task.sources}
    return {row.schemes[0]: row.load().opener(task) for row in rows if row.local}


def address_policy(task: tasks.Task) -> addresses.AddressPolicy:
    """Return the addresses that the origins of a task may have: private ones by name only."""
    return addresses.AddressPolicy(
        addresses.hosts(url for url in task.named_urls if url.startswith(urls.WEB)),
        addresses.hosts([task.endpoint, task.hub]),
        task.cluster_networks,
    )


class _Sources:
    """The sources of a task; each object comes with the source or line that names it."""

    def __init__(self, task: tasks.Task, client: http_client.Client) -> None:
        self._task = task
        self._client = client
        self._selection = selection.of_task(task)
        self._readers: dict[str, table.SourceReader] = {}

    def _reader(self, url: str) -> table.SourceReader:
        row = table.row_of(url)
        if row.module not in self._readers:
            self._readers[row.module] = row.load().reader(self._client, self._task)
        return self._readers[row.module]

    def objects(self) -> Iterator[tuple[str, SourceObject]]:
        for number, source in enumerate(self._task.sources):
            for entry in self._source(number, source):
                yield f"the source {urls.redact(source.url)}", entry
        if self._task.source_list:
            for line, entry in self.entries():
                yield f"line {line} of the list", self._resolve(entry)

    def _source(self, number: int, source: tasks.Source) -> Iterator[SourceObject]:
        shown = urls.redact(source.url)
        path = source_object.check_path(source.path, f"the source {shown}")
        for each in self._reader(source.url).expand(source.url):
            if each.listed and source.checksum:
                raise failure.Failure(
                    f"{shown} has many files, which one checksum cannot cover: leave checksum "
                    "out, or name one file"
                )
            if each.listed and not self._selection.takes(each.path):
                continue
            checksum = source.checksum or each.checksum
            own = number if each.url == source.url else -1
            yield dataclasses.replace(each, path=_path(path, each), checksum=checksum, source=own)

    def entries(self) -> Iterator[tuple[int, SourceObject]]:
        """Yield the entries of the source list, each with its line's number."""
        from . import source_list

        url = self._task.source_list
        base = self._task.list_base
        chunks = self._chunks(self._reader(url).locate(url))
        found = source_list.parse(chunks, base or url, keep_directories=bool(base))
        for line, entry in found:
            name = source_object.file_path(entry.path, urls.file_name(entry.url))
            if self._selection.takes(name):
                yield line, entry

    def _resolve(self, entry: SourceObject) -> SourceObject:
        """Return an object of a list with the URL to request."""
        located = self._reader(entry.url).locate(entry.url)
        return dataclasses.replace(entry, url=located.url, auth=located.auth, in_list=True)

    def _chunks(self, listed: SourceObject) -> Iterator[bytes]:
        remote = remote_object.RemoteObject(
            self._client,
            listed.url,
            auth=listed.auth,
        )
        with contextlib.closing(remote):
            remote.probe()
            with contextlib.closing(remote.open_rest()) as data:
                while chunk := data.read(CHUNK_BYTES):
                    yield chunk


def _path(path: str, entry: SourceObject) -> str:
    """Return the path of an object whose source may have a path of its own."""
    if not entry.listed or not path:
        return path or entry.path
    return f"{path.rstrip('/')}/{entry.path}"


def _identity(entry: SourceObject) -> str:
    """Return what no two objects may share: the path of the file, or else the URL.

    Archives may be unpacked in one directory; and the name of a file behind a URL with a query is
    known only from the response.
    """
    if entry.path and not entry.path.endswith("/"):
        return entry.path
    name = urls.file_name(entry.url)
    if not name or "?" in entry.url or file_names.ARCHIVE_NAME.search(name):
        return entry.url
    return source_object.file_path(entry.path, name)


def _refuse_duplicates(
    task: tasks.Task, client: http_client.Client, suspects: name_set.NameSet
) -> None:
    """Refuse two objects of one identity, unless only their hashes are the same."""
    first: dict[str, str] = {}
    for named_by, each in _Sources(task, client).objects():
        name = _identity(each)
        if name not in suspects:
            continue
        if name in first:
            shown = f"the path {failure.quote(name)}" if name != each.url else urls.redact(name)
            raise failure.Failure(
                f"{shown} comes twice, by {first[name]} and by {named_by}: give one of them "
                "another path, or leave it out"
            )
        # Nearly each of them does come twice: a part of them is enough to find one that does.
        if len(first) < MOST_SUSPECTS:
            first[name] = named_by
