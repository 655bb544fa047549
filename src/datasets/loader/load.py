"""One load from beginning to end: fetch, unpack, verify, publish."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from . import (
    budget,
    decompress,
    failure,
    fetch,
    formats,
    members,
    report,
    spec,
    streams,
    tar_reader,
    tree,
    urls,
    volume,
    zip_reader,
)

MOST_ATTEMPTS = 5
UNNAMED = "data"


def load(task: spec.Spec, slot: volume.Slot, told: report.Report) -> spec.Result:
    """Puts the data set on the volume, or finds it there.

    Args:
        task: What to load.
        slot: Its place, locked.
        told: Is told how far it is.

    Raises:
        Failure: It can not be done; nothing was published.
    """
    current = slot.current()
    if current and _is_wanted(current, task) and current.result:
        return dataclasses.replace(current.result, existing=True)
    slot.sweep()
    reason = ""
    for _ in range(MOST_ATTEMPTS):
        told.state("preparing", source=urls.shown(task.source))
        try:
            with contextlib.ExitStack() as opened:
                attempt = _Attempt(task, slot.attempt(), told, opened)
                return attempt.publish(slot, previous=current.version if current else "")
        except fetch.StartOver as trouble:
            reason = trouble.reason
            told.state("starting over", reason=reason)
    raise failure.Failure(
        f"{urls.shown(task.source)} {reason}, {MOST_ATTEMPTS} times: check the source, or try "
        "again later"
    )


def _is_wanted(current: volume.Record, task: spec.Spec) -> bool:
    """Whether what is published is what the task would make; a version is made only once."""
    if current.result and current.version == task.version:
        return True
    if task.overwrite:
        return False
    if not current.result or current.fingerprint != task.fingerprint:
        raise failure.Failure(
            f"the data set {task.name} is there already, made with other parameters: choose "
            "another name, or replace it with overwrite=true"
        )
    return True


class _Attempt:
    """One reading of the source into a directory of its own."""

    def __init__(
        self,
        task: spec.Spec,
        place: pathlib.Path,
        told: report.Report,
        opened: contextlib.ExitStack,
    ) -> None:
        self._task = task
        self._place = place
        self._told = told
        self._opened = opened
        self._source = source = opened.enter_context(contextlib.closing(fetch.Source(task)))
        self._budget = budget.Budget(task.limits, lambda: source.received)
        self._files = place / "tree"
        self._files.mkdir()
        links = opened.enter_context((place / "links").open("w+"))
        self._tree = tree.Tree(self._files, links, self._budget, self._tick)

    def publish(self, slot: volume.Slot, *, previous: str) -> spec.Result:
        """Fetches, unpacks, verifies, and makes it the data set."""
        source, task = self._source, self._task
        head = source.peek(formats.HEAD_BYTES)
        form = formats.recognise(head, source.name, unpack=task.unpack)
        for member in self._members(form):
            self._tree.add(member)
        streams.drain(source)
        checksum = source.check()
        self._told.state("verifying", **self._so_far())
        self._tree.finish()
        if not self._tree.files:
            raise failure.Failure("the archive holds no files: check that the source is right")
        result = spec.Result(
            files=self._tree.files,
            bytes=self._tree.bytes,
            seconds=self._told.seconds,
            path=f"/{volume.DATASETS}/{task.name}",
            version=task.version,
            checksum=checksum,
            fetched=source.received,
            form=form,
        )
        record = volume.Record(task.version, task.fingerprint, previous, result)
        slot.publish(self._place, self._files, record)
        return result

    def _members(self, form: str) -> Iterable[members.Member]:
        if form == formats.FILE:
            return [members.File(self._source.name or UNNAMED, False, _chunks(self._source))]
        if form == formats.ZIP:
            return zip_reader.read(self._downloaded())
        if form == formats.TAR:
            return tar_reader.read(self._source)
        kind = form.rpartition(".")[2]
        return tar_reader.read(decompress.Decompressed(self._source, kind, self._budget.unpacked))

    def _downloaded(self) -> BinaryIO:
        """The whole source in a file that has no name any more, so that it can not stay behind."""
        path = self._place / "archive"
        archive = self._opened.enter_context(path.open("w+b"))
        path.unlink()
        for chunk in _chunks(self._source):
            archive.write(chunk)
            self._tick()
        # Nothing of a wrong archive has to be unpacked to know that it is wrong.
        self._source.check()
        return archive

    def _tick(self) -> None:
        self._told.progress("transferring", **self._so_far())

    def _so_far(self) -> dict[str, int | None]:
        return {
            "fetched": self._source.received,
            "total": self._source.size,
            "files": self._tree.files,
            "bytes": self._tree.bytes,
        }


def _chunks(source: fetch.Source) -> Iterator[bytes]:
    while chunk := source.read(fetch.CHUNK_BYTES):
        yield chunk
