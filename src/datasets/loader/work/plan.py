"""The plan of a load: its shards and their items, written once and read by all of its pods.

A pod takes one shard at a time; an item is fetched by one connection or a few. No query is in the
plan, since it may sign its URL: an item names a source of the user, or the query of a URL in a
source list, by its number.
"""

from __future__ import annotations

import bisect
import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..access import open_directory, ownership
from . import list_queries

# The kinds of items. SOURCE is recognised by its content, then kept as a file or unpacked; FILE
# is kept; PART is a range of a large file; INNER is a member of an archive, read as a range of it;
# DIRECTORY is a directory of an archive; HASH is read only for its checksum; JOINED is an archive
# that was split into several objects.
SOURCE, FILE, PART, INNER, HASH = "source", "file", "part", "inner", "hash"
DIRECTORY, JOINED = "directory", "joined"

SHARD_BYTES = 64 * 2**20
# The cost of an item beside its bytes, in bytes that could be fetched meanwhile.
ITEM_BYTES = 64 * 2**10
LEAST_SHARDS_PER_POD, MOST_SHARDS = 4, 4096
NAME, DRAFT = "plan", "plan-draft"


@dataclasses.dataclass(frozen=True)
class Item:
    """An item of a plan.

    Attributes:
        kind: SOURCE, FILE, PART, INNER, DIRECTORY, HASH or JOINED.
        url: Its URL, without the query that `query` names; empty where `source` names the source.
        source: The number of the source in the task; -1 where `url` is set.
        query: The number of its URL's query in the source list; -1 where it has none.
        path: The file's path in the data set, or the directory that an archive is unpacked in.
        size: The object's bytes; None if unknown.
        validator: The object's version: an ETag or a date.
        checksum: `algorithm:digest` of the object, or empty.
        auth: The name of the signer of its requests.
        start: The position in the object where the item begins.
        end: The position where it ends; None for the object's end.
        name: The name of an inner archive or file, or of a joined archive.
        executable: Whether a file is executable, as far as its origin tells.
        parts: The objects that a joined archive was split into: FILE if it has ranges, or SOURCE.
    """

    kind: str
    url: str = ""
    source: int = -1
    query: int = -1
    path: str = ""
    size: int | None = None
    validator: str = ""
    checksum: str = ""
    auth: str = ""
    start: int = 0
    end: int | None = None
    name: str = ""
    executable: bool = False
    parts: tuple[Item, ...] = ()

    @property
    def length(self) -> int | None:
        """Return the number of bytes to fetch; None if unknown."""
        end = self.size if self.end is None else self.end
        return None if end is None else end - self.start

    @property
    def planned_bytes(self) -> int:
        """Return the bytes that it adds to the total, as far as they are known."""
        return 0 if self.kind == HASH else self.length or 0

    @property
    def weight(self) -> int:
        """Return the cost of the item, in bytes."""
        return ITEM_BYTES + (self.length or 0)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The shards and items of a load.

    Attributes:
        directory: The directory of the load, which has the plan.
        spans: For each shard, the start and end of its items in the file, and the first one's
            number.
        items: The number of items.
        total: The bytes to fetch; None if unknown.
        list_digest: The digest of the source list, as `ListQueries` makes it.
    """

    directory: open_directory.OpenDirectory
    spans: tuple[tuple[int, int, int], ...]
    items: int
    total: int | None
    list_digest: str

    @property
    def shards(self) -> int:
        """Return the number of shards."""
        return len(self.spans)

    def read(self, shard: int) -> Iterator[tuple[int, Item]]:
        """Read the items of a shard, with their numbers."""
        start, end, number = self.spans[shard]
        with os.fdopen(ownership.open_own_file(self.directory, NAME), "rb") as file:
            file.seek(start)
            while file.tell() < end:
                yield number, _item(json.loads(file.readline()))
                number += 1

    def find(self, number: int) -> Item:
        """Return the item of a number."""
        firsts = [first for _, _, first in self.spans]
        shard = bisect.bisect_right(firsts, number) - 1
        return next(item for each, item in self.read(shard) if each == number)

    def with_query(self, item: Item, queries: list_queries.ListQueries) -> Item:
        """Return an item with its whole URL, which is not to be written anywhere.

        Raises:
            StartOver: The source list has other entries than when the plan was made.
            Failure: The source list cannot be read.
        """
        if item.parts:
            parts = tuple(self.with_query(each, queries) for each in item.parts)
            return dataclasses.replace(item, url=parts[0].url, parts=parts)
        if item.query < 0:
            return item
        query = queries.find(item.query, self.list_digest)
        return dataclasses.replace(item, url=f"{item.url}?{query}")

    def divide(self, index: int, indexes: int) -> tuple[Sequence[int], Sequence[int]]:
        """Return the shards of a pod's share, and those of the other pods, each in order.

        Args:
            index: The pod's index.
            indexes: The number of pods.
        """
        own = range(index, self.shards, indexes)
        # From the end: the other pods take those last.
        return own, [shard for shard in reversed(range(self.shards)) if shard not in own]


def write(
    directory: open_directory.OpenDirectory,
    items: Iterable[Item],
    queries: list_queries.ListQueries,
    *,
    indexes: int,
) -> Plan:
    """Write a plan; its file appears when it is complete.

    Args:
        directory: The directory of the load.
        items: All items; those of one shard will be neighbours.
        queries: The queries of the source list, complete when all items are read.
        indexes: The number of pods.

    Returns:
        The plan.
    """
    descriptor = directory.create_anew(DRAFT, ownership.PRIVATE_FILE, os.O_RDWR)
    with os.fdopen(descriptor, "w+b") as file:
        count = weight = total = 0
        known = True
        for item in items:
            if any("?" in each.url for each in (item, *item.parts)):
                raise ValueError("a query is not written to the volume")
            file.write(json.dumps(_fields(item)).encode() + b"\n")
            count, weight = count + 1, weight + item.weight
            total += item.planned_bytes
            known = known and (item.kind == HASH or item.length is not None)
        # The same number for each pod: the others would wait for the pod that has one more.
        per_pod = max(LEAST_SHARDS_PER_POD, -(-weight // (SHARD_BYTES * indexes)))
        shards = min(count, indexes * min(per_pod, MOST_SHARDS // indexes or 1))
        file.seek(0)
        spans = _spans(file, weight / max(shards, 1))
        # The head follows the items, as it holds their number; its position is at the very end.
        at = file.seek(0, os.SEEK_END)
        planned = Plan(directory, tuple(spans), count, total if known else None, queries.digest)
        head = {
            "spans": spans,
            "items": count,
            "total": planned.total,
            "list_digest": planned.list_digest,
        }
        file.write(f"{json.dumps(head)}\n{at:020}".encode())
    directory.rename(DRAFT, directory, NAME)
    return planned


def read(directory: open_directory.OpenDirectory) -> Plan | None:
    """Read the plan of a load; None if there is none yet.

    Raises:
        NotOwnError: Others could have written it.
    """
    try:
        with os.fdopen(ownership.open_own_file(directory, NAME), "rb") as file:
            file.seek(-20, os.SEEK_END)
            at = int(file.read())
            file.seek(at)
            head: dict[str, Any] = json.loads(file.readline())
    except FileNotFoundError:
        return None
    spans = tuple((start, end, number) for start, end, number in head["spans"])
    return Plan(directory, spans, head["items"], head["total"], head["list_digest"])


def _fields(item: Item) -> dict[str, Any]:
    """Return the fields that differ from their defaults."""
    fields = {
        field.name: getattr(item, field.name)
        for field in dataclasses.fields(item)
        if getattr(item, field.name) != field.default
    }
    return {**fields, "parts": [*map(_fields, item.parts)]} if item.parts else fields


def _item(fields: dict[str, Any]) -> Item:
    """Return the item with these fields."""
    fields["parts"] = tuple(map(_item, fields.get("parts", ())))
    return Item(**fields)


def _spans(file: Iterable[bytes], goal: float) -> list[tuple[int, int, int]]:
    """Divide the items into shards of about the same weight, neighbours together."""
    spans: list[tuple[int, int, int]] = []
    start = at = first = 0
    weight = done = 0
    for number, line in enumerate(file):
        at += len(line)
        weight += _item(json.loads(line)).weight
        # Against the sum of all goals: if one shard is too heavy, the next is lighter.
        if weight + done >= goal * (len(spans) + 1) - 1:
            spans.append((start, at, first))
            start, first = at, number + 1
            done, weight = done + weight, 0
    if at > start:
        spans.append((start, at, first))
    return spans
