"""Read what the loader's pods tell of the versions of a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from datasets import answers, protocol

# The end of the year 9999: a time beyond it cannot be shown.
LAST_SECOND = 253_402_300_799


@dataclasses.dataclass(frozen=True)
class VersionEntry:
    """A version of a data set on the volume.

    Attributes:
        version: Its directory.
        is_published: Whether readers get it; another one is kept for those who still read it.
        published: The time of its publication, in seconds since 1970; 0 where it is unknown.
        files: The number of its files; None where it is unknown.
        bytes: The total size of its files; None where it is unknown.
        source: Its source.
        verified: The time of its last verification, in seconds since 1970; 0 for never.
        differences: The number of entries that differed then.
    """

    version: str
    is_published: bool
    published: float = 0
    files: int | None = None
    bytes: int | None = None
    source: str = ""
    verified: float = 0
    differences: int = 0


def read_versions(log: str) -> list[VersionEntry] | None:
    """Return the entries in the log of a list of versions; None where the log is incomplete."""
    listed = answers.read_listed(log, "version")
    return None if listed is None else [_entry(each) for each in listed]


@dataclasses.dataclass(frozen=True)
class RolledBack:
    """The end of a rollback.

    Attributes:
        published: The version that readers get now.
        replaced: The version that they got before; empty if it is the same one.
        fingerprint: The fingerprint of the parameters of the published version.
        checksum: `algorithm:digest` of its source.
    """

    published: VersionEntry
    replaced: str
    fingerprint: str
    checksum: str


def read_rolled_back(message: str) -> RolledBack | None:
    """Return the end of a rollback in its pod's termination message; None where it has none."""
    for fields in reversed(answers.read_lines(message)):
        if fields.get("state") == protocol.ROLLED_BACK and isinstance(fields.get("version"), str):
            published = dataclasses.replace(_entry(fields), is_published=True)
            texts = (
                str(fields.get(name) or "") for name in ("replaced", "fingerprint", "checksum")
            )
            return RolledBack(published, *texts)
    return None


def _entry(fields: Mapping[str, Any]) -> VersionEntry:
    """Return a version in a line; what is not of its field's kind is left out."""
    source = fields.get("source")
    return VersionEntry(
        fields["version"],
        is_published=fields.get("dataset") == protocol.PUBLISHED,
        published=_time(fields, "published"),
        files=_count(fields, "files"),
        bytes=_count(fields, "bytes"),
        source=source if isinstance(source, str) else "",
        verified=_time(fields, "verified"),
        differences=_count(fields, "differences") or 0,
    )


def _time(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name)
    if isinstance(value, (int, float)) and 0 <= value <= LAST_SECOND:
        return value
    return 0


def _count(fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    return value if type(value) is int and value >= 0 else None
