"""The plan of a load: its shards and their items, written once and read by all of its pods.

A shard is what one pod takes at a time, an item what one connection or a few can fetch. A URL that
the user gave is not in it, since it may be signed: an item names the source by its number.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

# The kinds of items. A source is looked at, and then kept as a file or unpacked; a file is kept;
# a part is a range of a large file; an inner archive or file is a range of an archive that is
# unpacked, and a directory stood in one; and what is only hashed is read for its checksum.
SOURCE, FILE, PART, INNER, HASH = "source", "file", "part", "inner", "hash"
DIRECTORY = "directory"

SHARD_BYTES = 64 * 2**20
# What an item costs beside its bytes, in bytes that could be fetched meanwhile.
ITEM_BYTES = 64 * 2**10
LEAST_SHARDS_PER_POD, MOST_SHARDS = 4, 4096


@dataclasses.dataclass(frozen=True)
class Item:
    """Something to fetch.

    Attributes:
        kind: SOURCE, FILE, PART, INNER, DIRECTORY or HASH.
        url: Its URL; empty where `source` tells it.
        source: The number of the source in the task; -1 where `url` tells it.
        path: The file's path in the data set, or the directory that an archive is unpacked in.
        size: The object's bytes; None where nobody knows.
        validator: What tells the object's version from others.
        checksum: `algorithm:digest` of the object, or empty.
        auth: The name of what signs requests for it.
        start: Where in the object the part begins.
        end: Where it ends; None for the object's end.
        name: What an inner archive or file is called.
        executable: Whether an inner file may be executed.
    """

    kind: str
    url: str = ""
    source: int = -1
    path: str = ""
    size: int | None = None
    validator: str = ""
    checksum: str = ""
    auth: str = ""
    start: int = 0
    end: int | None = None
    name: str = ""
    executable: bool = False

    @property
    def length(self) -> int | None:
        """How many bytes are fetched for it; None where nobody knows."""
        end = self.size if self.end is None else self.end
        return None if end is None else end - self.start

    @property
    def counted(self) -> int:
        """How many bytes of what is to be fetched it is, as far as anybody knows."""
        return 0 if self.kind == HASH else self.length or 0

    @property
    def weight(self) -> int:
        """What it costs, in bytes."""
        return ITEM_BYTES + (self.length or 0)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What there is to do.

    Attributes:
        path: The file that it stands in.
        spans: For each shard, where in the file its items stand, and the number of the first one.
        items: How many items there are.
        total: The bytes to fetch; None where nobody knows.
    """

    path: pathlib.Path
    spans: tuple[tuple[int, int, int], ...]
    items: int
    total: int | None

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return len(self.spans)

    def read(self, shard: int) -> Iterator[tuple[int, Item]]:
        """The items of a shard with their numbers."""
        start, end, number = self.spans[shard]
        with self.path.open("rb") as file:
            file.seek(start)
            while file.tell() < end:
                yield number, Item(**json.loads(file.readline()))
                number += 1

    def order(self, index: int, indexes: int) -> tuple[Sequence[int], Sequence[int]]:
        """The shards that are a pod's share, and those of the others.

        Args:
            index: The pod's index.
            indexes: How many pods there are.
        """
        own = range(index, self.shards, indexes)
        # From the end: that is what the others come to last.
        return own, [shard for shard in reversed(range(self.shards)) if shard not in own]


def write(path: pathlib.Path, items: Iterable[Item], *, indexes: int) -> Plan:
    """Writes a plan, which is there when all of it is.

    Args:
        path: Its file.
        items: All items; those of one shard will be neighbours.
        indexes: How many pods there are.

    Returns:
        The plan.
    """
    draft = path.with_name("plan-draft")
    # For root alone: a list that the user named may hold signed links.
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with os.fdopen(os.open(draft, flags, 0o600), "w+b") as file:
        count = weight = total = 0
        known = True
        for item in items:
            file.write(json.dumps(_fields(item)).encode() + b"\n")
            count, weight = count + 1, weight + item.weight
            total += item.counted
            known = known and (item.kind == HASH or item.length is not None)
        # As many for each pod: one more would be a pod's work when all others have done theirs.
        per_pod = max(LEAST_SHARDS_PER_POD, -(-weight // (SHARD_BYTES * indexes)))
        shards = min(count, indexes * min(per_pod, MOST_SHARDS // indexes or 1))
        file.seek(0)
        spans = _spans(file, weight / max(shards, 1))
        # Behind the items, whose number it needs to know; its own place stands at the very end.
        at = file.seek(0, os.SEEK_END)
        planned = Plan(path, tuple(spans), count, total if known else None)
        head = {"spans": spans, "items": count, "total": planned.total}
        file.write(f"{json.dumps(head)}\n{at:020}".encode())
    draft.replace(path)
    return planned


def read(path: pathlib.Path) -> Plan | None:
    """The plan in a file; None where there is none yet."""
    try:
        with path.open("rb") as file:
            file.seek(-20, os.SEEK_END)
            at = int(file.read())
            file.seek(at)
            head: dict[str, Any] = json.loads(file.readline())
    except FileNotFoundError:
        return None
    spans = tuple((start, end, number) for start, end, number in head["spans"])
    return Plan(path, spans, head["items"], head["total"])


def _fields(item: Item) -> dict[str, Any]:
    """What is not as it is by default."""
    return {
        field.name: getattr(item, field.name)
        for field in dataclasses.fields(item)
        if getattr(item, field.name) != field.default
    }


def _spans(file: Iterable[bytes], goal: float) -> list[tuple[int, int, int]]:
    """Neighbours as shards of about the same weight."""
    spans: list[tuple[int, int, int]] = []
    start = at = first = 0
    weight = done = 0
    for number, line in enumerate(file):
        at += len(line)
        weight += Item(**json.loads(line)).weight
        # Against the sum of all goals, so that what one shard has too much the next has less.
        if weight + done >= goal * (len(spans) + 1) - 1:
            spans.append((start, at, first))
            start, first = at, number + 1
            done, weight = done + weight, 0
    if at > start:
        spans.append((start, at, first))
    return spans
