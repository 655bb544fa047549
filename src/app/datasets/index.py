"""The index of data sets: a record of each, which outlives its Job and pods.

`update_index` updates it from the Jobs, `refresh_index` from the volume, which is authoritative.
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
class DatasetRecord:
    """The record of a data set in the index; it contains no secrets.

    `version` and the fields of its content describe the published version, even while another one
    is being loaded.

    Attributes:
        name: Its name.
        state: queued, preparing, transferring, verifying, published, failed, deleting.
        source: Its source.
        fingerprint: The fingerprint of its parameters.
        request: The id of the last request, which its Job belongs to.
        created: The time of that request, in seconds since 1970.
        parallelism: The number of pods that load it.
        error: The last error message.
        answered: The last request whose publication create-dataset has reported.
        version: The published version; empty for none.
        published: The time of its publication, in seconds since 1970.
        files: The number of its files; None where it is unknown.
        bytes: The total size of its files; None where it is unknown.
        seconds: The duration of the load.
        checksum: `algorithm:digest` of the source.
        verified: The time of the last verification, in seconds since 1970; 0 for never.
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
        """Return whether its load has ended, published or failed."""
        return self.state in ENDED

    @property
    def is_answered(self) -> bool:
        """Return whether create-dataset has reported the publication of this request."""
        return self.answered == self.request

    @property
    def path(self) -> str:
        """Return its path on the volume."""
        return f"/datasets/{self.name}"


def read(cluster: client.Cluster) -> dict[str, DatasetRecord]:
    """Return all records by name, with one API call."""
    return {
        name: _record(name, fields) for name, fields in records.read_all(cluster, KIND).items()
    }


def find(cluster: client.Cluster, name: str) -> DatasetRecord | None:
    """Return the record of a data set; None where there is none."""
    fields = records.find(cluster, KIND, name)
    return _record(name, fields) if fields else None


def save(cluster: client.Cluster, record: DatasetRecord) -> None:
    """Save a record."""
    fields = dataclasses.asdict(record)
    fields.pop("name")
    records.save(cluster, KIND, record.name, fields)


def delete(cluster: client.Cluster, name: str) -> None:
    """Delete a record."""
    records.delete(cluster, KIND, name)


def _record(name: str, fields: Mapping[str, Any]) -> DatasetRecord:
    known = {field.name for field in dataclasses.fields(DatasetRecord)} - {"name"}
    return DatasetRecord(name, **{key: value for key, value in fields.items() if key in known})
