"""The index of the data sets: a record of each that outlives its Job and its pods.

`update_index` brings it up to the Jobs, `refresh_index` to the volume, which is the truth.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from app.datasets import loader_jobs
from cluster import records
from datasets import protocol

if TYPE_CHECKING:
    from cluster import client

KIND = loader_jobs.LOAD
QUEUED = "queued"
PREPARING, TRANSFERRING = protocol.PREPARING, protocol.TRANSFERRING
VERIFYING, PUBLISHED = protocol.VERIFYING, protocol.PUBLISHED
FAILED, DELETING = protocol.FAILED, protocol.DELETING
ENDED = (PUBLISHED, FAILED)


@dataclasses.dataclass(frozen=True)
class Record:
    """A data set as the index knows it; nothing in it is secret.

    `version` and the fields of its content are those of the published version, even while another
    is being loaded.

    Attributes:
        name: Its name.
        state: queued, preparing, transferring, verifying, published, failed, deleting.
        source: Where it comes from.
        fingerprint: What it is made from.
        request: The request that it is of: that of its Job.
        created: When it was asked for, in seconds since 1970.
        parallelism: How many pods load it.
        error: What is wrong, in a sentence.
        answered: The last request whose publication create-dataset has reported.
        version: The version that is published; empty for none.
        published: When it was, in seconds since 1970.
        files: Its files; None where that is lost.
        bytes: Their sizes together; None where that is lost.
        seconds: How long it took to load.
        checksum: `algorithm:digest` of what was fetched.
        verified: When its files were last compared, in seconds since 1970; 0 for never.
    """

    name: str
    state: str = QUEUED
    source: str = ""
    fingerprint: str = ""
    request: str = ""
    created: float = 0
    parallelism: int = 1
    error: str = ""
    answered: str = ""
    version: str = ""
    published: float = 0
    files: int | None = None
    bytes: int | None = None
    seconds: float = 0
    checksum: str = ""
    verified: float = 0

    @property
    def ended(self) -> bool:
        """Return whether its load is over, either way."""
        return self.state in ENDED

    @property
    def is_answered(self) -> bool:
        """Return whether create-dataset has reported the publication of this request."""
        return self.answered == self.request

    @property
    def path(self) -> str:
        """Return its path from the volume's root."""
        return f"/datasets/{self.name}"


def read(cluster: client.Cluster) -> dict[str, Record]:
    """Return all records by name, in one call."""
    return {
        name: _record(name, fields) for name, fields in records.read_all(cluster, KIND).items()
    }


def find(cluster: client.Cluster, name: str) -> Record | None:
    """Return the record of a data set; None where there is none."""
    fields = records.find(cluster, KIND, name)
    return _record(name, fields) if fields else None


def save(cluster: client.Cluster, record: Record) -> None:
    """Keep a record."""
    fields = dataclasses.asdict(record)
    fields.pop("name")
    records.save(cluster, KIND, record.name, fields)


def forget(cluster: client.Cluster, name: str) -> None:
    """Remove a record."""
    records.delete(cluster, KIND, name)


def _record(name: str, fields: Mapping[str, Any]) -> Record:
    known = {field.name for field in dataclasses.fields(Record)} - {"name"}
    return Record(name, **{key: value for key, value in fields.items() if key in known})
