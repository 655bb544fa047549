"""Find the parts of split archives among the objects of a plan, and make one item of them.

They are recognised by their names, and by their first bytes: the first one begins an archive, and
the second one does not, or the first one has no end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ..archives import formats
from ..base import byte_streams, failure, large_memory, split_names, tasks, urls
from ..http import http_client, object_reader, object_stream, remote_object
from ..sources import source_object
from ..store import readback
from . import plan

# More candidates are not kept until all objects are known.
MOST_HELD = 10_000
# The last bytes of a tar are zeros; those of a zip have the record of its end.
TAIL_BYTES = 1024
END_OF_ZIP = b"PK\5\6"


class _Part(NamedTuple):
    """A candidate: an object that is called like a part."""

    name: split_names.PartName
    item: plan.Item
    candidate: source_object.SourceObject


class SplitArchives:
    """The split archives of a plan.

    Args:
        task: The task.
        client: The HTTP client.
        whole: Makes the items of an object that is none of their parts.
    """

    def __init__(
        self,
        task: tasks.Task,
        client: http_client.Client,
        whole: Callable[[plan.Item, source_object.SourceObject], Iterable[plan.Item]],
    ) -> None:
        self._task = task
        self._client = client
        self._whole = whole
        self._held: dict[tuple[str, ...], list[_Part]] = {}
        self._count = 0

    def add(self, item: plan.Item, candidate: source_object.SourceObject) -> Iterable[plan.Item]:
        """Add an object; return the items of those that are no parts, for any thread."""
        name = None
        if self._task.unpack != "false" and not candidate.listed:
            name = split_names.parse(urls.file_name(candidate.url))
        if name is None:
            return self._whole(item, candidate)
        directory = item.path[: item.path.rfind("/") + 1]
        base = candidate.url.partition("?")[0].rpartition("/")[0]
        # Three letters are never mixed with two.
        kind = "digits" if name.number.isdigit() else str(len(name.number) % 2)
        key = (base, name.whole, name.mark, directory, kind)
        self._held.setdefault(key, []).append(_Part(name, item, candidate))
        self._count += 1
        return [*self._release()] if self._count > MOST_HELD else ()

    def _release(self) -> Iterator[plan.Item]:
        """Yield the items of candidates that are alone; of all of them if there are too many."""
        most = len(self._held) // 2
        alone = [key for key, parts in self._held.items() if len(parts) == 1]
        for key in alone if len(alone) > most else tuple(self._held):
            parts = self._held.pop(key)
            self._count -= len(parts)
            yield from self._each(parts)

    def finish(self) -> Iterator[plan.Item]:
        """Yield the items of split archives, and of all others that were kept.

        Raises:
            StartOver: A part changed while it was probed.
            Failure: A part is missing, or cannot be read.
        """
        for parts in self._held.values():
            parts.sort(key=lambda each: split_names.order(each.name.number))
            end = split_names.sequence_length([each.name.number for each in parts])
            yield from self._each(parts[end:])
            del parts[end:]
            if len(parts) == 1 and not parts[0].name.of_archive:
                yield from self._each(parts)
            else:
                yield from self._joined(parts)

    def _each(self, parts: Iterable[_Part]) -> Iterator[plan.Item]:
        for each in parts:
            if each.candidate.source >= 0 and each.item.checksum and len(self._task.sources) > 1:
                raise failure.Failure(
                    "checksum goes with one source, or with the parts of one archive: for "
                    "several sources, put checksums into a source-list"
                )
            yield from self._whole(each.item, each.candidate)

    def _joined(self, parts: list[_Part]) -> Iterator[plan.Item]:
        first = parts[0]
        whole = first.name.whole
        if not first.name.is_first:
            # Alone, it may be a signature, or a second download.
            if first.name.of_archive and len(parts) > 1 and not _gap(parts):
                raise _missing(whole, f"the first part, before {_shown(first)},")
            yield from self._each(parts)
            return
        with contextlib.closing(self._source(first)) as source:
            begins = self._begins(source, whole if first.name.of_archive else "")
            if not begins and first.name.of_archive and len(parts) > 1:
                raise _missing(whole, f"the first part, before {_shown(first)},")
            if not begins or (self._is_alone(parts) and _is_whole(source)):
                yield from self._each(parts)
                return
        if gap := _gap(parts):
            raise _missing(whole, f"a part between {gap[0]} and {gap[1]}")
        yield self._item(parts)

    def _is_alone(self, parts: list[_Part]) -> bool:
        """Tell whether no second part follows, or one that begins an archive itself."""
        if len(parts) == 1:
            return True
        with contextlib.closing(self._source(parts[1])) as second:
            return self._begins(second, "")

    def _begins(self, source: remote_object.RemoteObject, name: str) -> bool:
        """Tell whether an object begins an archive, which may be called so."""
        source.probe()
        with contextlib.closing(object_stream.open_whole(source)) as opened:
            head = formats.head_of(opened.peek)
        with large_memory.LARGE.scope():
            found = formats.recognise_inner(head, name) if name else formats.begun_by(head)
        return found != formats.FILE

    def _item(self, parts: list[_Part]) -> plan.Item:
        found = list(readback.map_concurrently(self._probed, parts))
        first = found[0]
        name = parts[0].name.whole
        sizes = [each.size for each in found]
        known = [size for size in sizes if size is not None]
        versions = [each.validator for each in found]
        version = hashlib.sha256("\n".join(versions).encode()).hexdigest()
        checksum = ""
        if len(self._task.sources) == len(parts) and parts[0].candidate.source >= 0:
            # It was given for all sources together.
            checksum = first.checksum
            found = [dataclasses.replace(each, checksum="") for each in found]
        return dataclasses.replace(
            first,
            kind=plan.JOINED,
            path=parts[0].item.path[: parts[0].item.path.rfind("/") + 1],
            name=name,
            size=sum(known) if len(known) == len(sizes) else None,
            validator=f'"{version}"' if all(versions) else "",
            checksum=checksum,
            parts=tuple(found),
        )

    def _probed(self, part: _Part) -> plan.Item:
        """Return the item of a part, with its size and version; FILE if it has ranges of it."""
        with contextlib.closing(self._source(part)) as source:
            source.probe()
            if source.codings:
                raise failure.Failure(
                    f"{_shown(part)} is sent compressed (Content-Encoding), so it cannot be "
                    "joined: have its origin send it as it is"
                )
            with contextlib.closing(object_stream.open_whole(source)) as opened:
                # Those bytes are compared with a range.
                opened.peek(1)
                source.confirm_ranges()
            kind = plan.FILE if source.await_ranges() else plan.SOURCE
            return dataclasses.replace(
                part.item, kind=kind, size=source.size, validator=source.lasting_validator
            )

    def _source(self, part: _Part) -> remote_object.RemoteObject:
        entry = part.candidate
        return remote_object.RemoteObject(
            self._client,
            entry.url,
            auth=entry.auth,
            size=entry.size,
            validator=entry.validator,
        )


def _is_whole(source: remote_object.RemoteObject) -> bool:
    """Tell whether an object ends like an archive, as far as it can be told."""
    if not source.confirm_ranges() or source.size is None:
        return True
    start = max(0, source.size - TAIL_BYTES)
    try:
        with contextlib.closing(source.open_range(start, source.size)) as data:
            tail = byte_streams.read_exactly(data, source.size - start)
    except object_reader.NoRanges:
        source.read_whole()
        return True
    return not any(tail) or END_OF_ZIP in tail


def _gap(parts: Iterable[_Part]) -> tuple[str, str] | None:
    return split_names.gap([each.name.number for each in parts])


def _shown(part: _Part) -> str:
    return failure.quote(urls.file_name(part.candidate.url))


def _missing(whole: str, what: str) -> failure.Failure:
    return failure.Failure(
        f"{what} of the split archive {failure.quote(whole)} is not listed: list all of its "
        "parts, or keep them as files with unpack=false"
    )
