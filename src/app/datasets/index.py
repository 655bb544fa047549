"""The index of data sets: a record of each, which outlives its Job and pods.

`update_index` updates it from the Jobs, `refresh_index` from the volume, which is authoritative.
Records come from the cluster, where they can be edited: each is validated. A record is believed
only if it is of the present file system, since the data of another one are not there.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import pydantic

from cluster import records
from datasets import dataset, parameter_values, protocol

if TYPE_CHECKING:
    from cluster import client

logger = logging.getLogger(__name__)

# The kind of the records, and of the Jobs that load the data sets.
KIND = "dataset"
QUEUED = "queued"
PREPARING, TRANSFERRING = protocol.PREPARING, protocol.TRANSFERRING
VERIFYING, PUBLISHED = protocol.VERIFYING, protocol.PUBLISHED
FAILED, DELETING = protocol.FAILED, protocol.DELETING
ENDED = (PUBLISHED, FAILED)

# Ours are smaller: a few URLs and an error.
MOST_BYTES = 256 * 1024
# The end of the year 9999: a time beyond it cannot be shown.
_LAST_SECOND = 253_402_300_799

_STATES = (QUEUED, PREPARING, TRANSFERRING, VERIFYING, PUBLISHED, FAILED, DELETING)
_State = Annotated[str, pydantic.Field(pattern=f"^({'|'.join(_STATES)})$")]
_Time = Annotated[float, pydantic.Field(ge=0, le=_LAST_SECOND, allow_inf_nan=False)]
_Count = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
_Pods = Annotated[int, pydantic.Field(ge=1, le=dataset.MOST_PODS)]


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
        file_system: The file system that it is of.
    """

    name: str
    state: _State = QUEUED
    source: str = ""
    fingerprint: str = ""
    request: str = ""
    created: _Time = 0
    parallelism: _Pods = 1
    error: str = ""
    answered: str = ""
    version: str = ""
    published: _Time = 0
    files: _Count | None = None
    bytes: _Count | None = None
    seconds: _Time = 0
    checksum: str = ""
    verified: _Time = 0
    file_system: str = ""

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


_RECORD = pydantic.TypeAdapter(DatasetRecord)


class MalformedError(Exception):
    """A record that is not one that we have saved."""


@dataclasses.dataclass(frozen=True)
class IndexContents:
    """The content of the index.

    Attributes:
        records: The records that are believed, by name.
        others: The reasons why other records are not believed, by name.
    """

    records: Mapping[str, DatasetRecord]
    others: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Index:
    """The index of a file system's data sets.

    Attributes:
        cluster: The cluster that keeps it.
        file_system: The file system.
    """

    cluster: client.Cluster
    file_system: str

    def read(self) -> IndexContents:
        """Return all records, with one API call."""
        believed: dict[str, DatasetRecord] = {}
        others: dict[str, str] = {}
        for name, content in records.read_all(self.cluster, KIND).items():
            record = self._believe(name, content)
            if isinstance(record, str):
                others[name] = record
            else:
                believed[name] = record
        return IndexContents(believed, others)

    def find(self, name: str) -> DatasetRecord | None:
        """Return the record of a data set; None where there is none that is believed."""
        content = records.find(self.cluster, KIND, name)
        record = None if content is None else self._believe(name, content)
        return None if isinstance(record, str) else record

    def save(self, record: DatasetRecord) -> None:
        """Save a record."""
        content = write_record(dataclasses.replace(record, file_system=self.file_system))
        records.save(self.cluster, KIND, record.name, content)

    def delete(self, name: str) -> None:
        """Delete a record."""
        records.delete(self.cluster, KIND, name)

    def _believe(self, name: str, content: str) -> DatasetRecord | str:
        """Return a record, or the reason why it is not believed."""
        try:
            record = read_record(name, content)
        except MalformedError as error:
            logger.warning("the record of data set %r is not used: it %s", name, error)
            return str(error)
        if record.file_system != self.file_system:
            other = record.file_system or "no known file system"
            return f"is of {other}, not of {self.file_system}"
        return record


def read_record(name: str, content: str) -> DatasetRecord:
    """Return the record with this content.

    Args:
        name: The data set's name.
        content: The content, as `write_record` returns it; it may have other fields too.

    Raises:
        MalformedError: It is not a record; the message completes "the record ...".
    """
    try:
        parameter_values.validate_name(name)
    except ValueError:
        raise MalformedError("has a name that no data set can have") from None
    if len(content.encode(errors="replace")) > MOST_BYTES:
        raise MalformedError(f"is larger than {MOST_BYTES} bytes")
    try:
        fields: object = json.loads(content)
    except (ValueError, RecursionError):
        raise MalformedError("is not JSON") from None
    if not isinstance(fields, dict):
        raise MalformedError("is not a JSON object")
    try:
        return _RECORD.validate_json(json.dumps({**fields, "name": name}), strict=True)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise MalformedError(f"is malformed: {place}: {first['msg']}") from None


def is_valid(record: DatasetRecord) -> bool:
    """Return whether a record, made from what a pod has reported, can be read again.

    Args:
        record: The record.
    """
    try:
        read_record(record.name, write_record(record))
    except MalformedError:
        return False
    return True


def write_record(record: DatasetRecord) -> str:
    """Return a record's content.

    Args:
        record: The record.
    """
    fields = dataclasses.asdict(record)
    fields.pop("name")
    return json.dumps(fields, sort_keys=True)
