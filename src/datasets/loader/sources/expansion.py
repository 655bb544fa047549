"""Brings all sources of a task into one stream of entries, whatever kind of source they are."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping

from ..base import duplicate_names, failure, file_names, tasks, urls
from ..http import http_client, remote_object
from . import source_object, table
from .source_object import SourceObject

CHUNK_BYTES = 2**16


def expand(task: tasks.Task, client: http_client.Client) -> Iterator[SourceObject]:
    """The entries of all sources of a task, as they are found.

    Args:
        task: The task.
        client: What asks; it has the signers of `signers`.

    Raises:
        Failure: A source is not to be had, or two entries have one path; that is known in the end.
        StartOver: A list changed while it was read.
    """
    names = duplicate_names.DuplicateNames()
    for _, each in _Sources(task, client).entries():
        names.add(_name(each))
        yield each
    suspects = names.suspects()
    if suspects:
        _look_again(task, client, suspects)


def signers(task: tasks.Task) -> tuple[Mapping[str, http_client.Signer], Mapping[str, str]]:
    """What signs requests for the entries of a task, and what is said where that does not do.

    Args:
        task: The task.

    Returns:
        By the name that entries have in `auth`: the signers, and the ends of sentences.
    """
    used = {table.row_of(source.url) for source in task.sources}
    found: dict[str, http_client.Signer] = {}
    advice: dict[str, str] = {}
    for row in table.WITH_CREDENTIALS:
        # A source list may name objects of each listable kind.
        if row in used or (task.source_list and row.listable):
            module = row.load()
            found[module.AUTH] = module.signer(task)
            advice[module.AUTH] = module.advice(task)
    return found, advice


class _Sources:
    """The sources of a task; each entry comes with who named it."""

    def __init__(self, task: tasks.Task, client: http_client.Client) -> None:
        self._task = task
        self._client = client
        self._readers: dict[str, table.SourceReader] = {}

    def _reader(self, url: str) -> table.SourceReader:
        row = table.row_of(url)
        if row.module not in self._readers:
            self._readers[row.module] = row.load().reader(self._client, self._task)
        return self._readers[row.module]

    def entries(self) -> Iterator[tuple[str, SourceObject]]:
        for number, source in enumerate(self._task.sources):
            for found in self._source(number, source):
                yield f"the source {urls.redact(source.url)}", found
        if self._task.source_list:
            for line, found in self._read_source_list(self._task.source_list):
                yield f"line {line} of the list", found

    def _source(self, number: int, source: tasks.Source) -> Iterator[SourceObject]:
        shown = urls.redact(source.url)
        path = source_object.check_path(source.path, f"the source {shown}")
        for each in self._reader(source.url).expand(source.url):
            if each.listed and source.checksum:
                raise failure.Failure(
                    f"{shown} is many files, which one checksum can not stand for: leave checksum "
                    "out, or name one file"
                )
            checksum = source.checksum or each.checksum
            own = number if each.url == source.url else -1
            yield dataclasses.replace(each, path=_below(path, each), checksum=checksum, source=own)

    def _read_source_list(self, url: str) -> Iterator[tuple[int, SourceObject]]:
        from . import source_list

        listed = self._reader(url).locate(url)
        for line, found in source_list.parse(self._chunks(listed), url):
            yield line, self._located(found)

    def _located(self, found: SourceObject) -> SourceObject:
        """An entry of a list with the URL that is asked for."""
        place = self._reader(found.url).locate(found.url)
        if place.url == found.url:
            return found
        return dataclasses.replace(found, url=place.url, auth=place.auth)

    def _chunks(self, listed: SourceObject) -> Iterator[bytes]:
        whole = remote_object.RemoteObject(
            self._client,
            listed.url,
            auth=listed.auth,
            opening_seconds=self._task.opening_seconds,
            patience_seconds=self._task.patience_seconds,
        )
        with contextlib.closing(whole):
            whole.probe()
            with contextlib.closing(whole.open_range()) as line:
                while chunk := line.read(CHUNK_BYTES):
                    yield chunk


def _below(path: str, found: SourceObject) -> str:
    """Where an entry goes whose source the user has given a path."""
    if not found.listed or not path:
        return path or found.path
    return f"{path.rstrip('/')}/{found.path}"


def _name(found: SourceObject) -> str:
    """What no two entries may have in common: the path of the file, or else the URL.

    An archive is unpacked in a directory, where others may be, too; and the name of what a query
    leads to is only known when it answers.
    """
    if found.path and not found.path.endswith("/"):
        return found.path
    name = urls.file_name(found.url)
    if not name or "?" in found.url or file_names.ARCHIVE_NAME.search(name):
        return found.url
    return source_object.file_path(found.path, name)


def _look_again(task: tasks.Task, client: http_client.Client, suspects: set[int]) -> None:
    """Finds the two entries that have one name, if they really have."""
    seen: dict[str, str] = {}
    for where, each in _Sources(task, client).entries():
        name = _name(each)
        if hash(name) not in suspects:
            continue
        if name in seen:
            what = f"the path {failure.quote(name)}" if name != each.url else urls.redact(name)
            raise failure.Failure(
                f"{what} comes twice, by {seen[name]} and by {where}: give one of them another "
                "path, or leave it out"
            )
        seen[name] = where
