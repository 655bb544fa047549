"""Read the loader's progress and results from the log and termination message of its pods."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from datasets import protocol
from datasets.loader.base import tasks

Result = tasks.Result

WAITING = re.compile(r"[ -~]{1,200}")
# No count of bytes or files, and no time, is greater.
_GREATEST = 2**63
BAR_WIDTH = 10
UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB", "EB")


@dataclasses.dataclass(frozen=True)
class Failed:
    """A failure of the loader.

    Attributes:
        error: Its last error message; "" where it could not write one.
    """

    error: str = ""


@dataclasses.dataclass(frozen=True)
class Progress:
    """The progress of a pod, or of all pods of a load together.

    Attributes:
        state: `preparing`, `transferring`, `verifying`, `done`, `verified`, `deleted`, ...
        index: The pod's index.
        seconds: The running time in seconds.
        fetched: The number of bytes that it fetched.
        total: The number of bytes that all pods have to fetch; None where it is unknown.
        files: The number of files that it wrote.
        bytes: The total size of these files.
        rate: The rate in bytes per second, of what is done.
        eta: The remaining time in seconds; None where it is unknown.
        waiting: What it waits for, and how long; empty if it waits for nothing.
        done: The number of bytes of the source whose content is on the volume; None where a loader
            of an earlier release does not tell it.
    """

    state: str
    index: int = 0
    seconds: float = 0
    fetched: int = 0
    total: int | None = None
    files: int = 0
    bytes: int = 0
    rate: float = 0
    eta: float | None = None
    waiting: str = ""
    done: int | None = None

    @property
    def percent(self) -> int | None:
        """Return the written part of the total in percent; None where the total is unknown."""
        if not self.total:
            return None
        # A log may have any numbers.
        return int(max(0, min(100, 100 * self.written // self.total)))

    @property
    def written(self) -> int:
        """Return the number of bytes of the source whose content is on the volume."""
        return self.fetched if self.done is None else self.done


@dataclasses.dataclass(frozen=True)
class InventoryEntry:
    """A data set on the volume.

    Attributes:
        name: Its name.
        is_published: Whether it is published; if not, the volume has an unfinished load of it.
        files: The number of its files; None where it is unknown.
        bytes: The total size of its files; None where it is unknown.
        checksum: `algorithm:digest` of the source.
        published: The time of its publication, in seconds since 1970.
        source: Its source.
        fingerprint: The fingerprint of its parameters.
        version: The published directory.
    """

    name: str
    is_published: bool
    files: int | None = None
    bytes: int | None = None
    checksum: str = ""
    published: float = 0
    source: str = ""
    fingerprint: str = ""
    version: str = ""


def read_outcome(message: str) -> Result | Progress | Failed:
    """Read a pod's termination message.

    If the loader was killed, Kubernetes puts the end of its log there.

    Returns:
        The result of the pod that published the data set; the final progress of another pod that
        succeeded; or the failure.
    """
    for fields in reversed(read_lines(message)):
        state = fields.get("state")
        if state == protocol.FAILED:
            return Failed(str(fields.get("error")))
        if state in {protocol.DONE, protocol.VERIFIED, protocol.DELETED}:
            return _progress(fields)
        if state == protocol.PUBLISHED:
            # The index checks what it saves; these two decide before that.
            if (
                type(fields.get("version")) is not str
                or type(fields.get("existing", False)) is not bool
            ):
                break
            try:
                return Result.from_fields(fields)
            except TypeError:
                break
    return Failed()


def read_progress(log: str) -> Progress | None:
    """Return the last progress in a pod's log; None where there is none."""
    return next((_progress(each) for each in reversed(read_lines(log)) if "state" in each), None)


def combine(pods: Sequence[Progress]) -> Progress:
    """Return the progress of a load from that of its pods; at least one."""
    for pod in pods:
        # The pod that publishes reports the totals of all pods, but the data set counts as
        # published only when that pod has succeeded.
        if pod.state == protocol.PUBLISHED:
            return dataclasses.replace(pod, state=protocol.VERIFYING)
    states = {pod.state for pod in pods}
    state = protocol.PREPARING
    if protocol.VERIFYING in states:
        state = protocol.VERIFYING
    elif states & {protocol.TRANSFERRING, protocol.DONE}:
        state = protocol.TRANSFERRING
    total = max((pod.total for pod in pods if pod.total is not None), default=None)
    fetched = sum(pod.fetched for pod in pods)
    rate = sum(pod.rate for pod in pods if pod.state == protocol.TRANSFERRING)
    written = sum(pod.written for pod in pods)
    left = max(0, total - written) / rate if total is not None and rate >= 1 else None
    return Progress(
        state=state,
        seconds=max(pod.seconds for pod in pods),
        fetched=fetched,
        total=total,
        files=sum(pod.files for pod in pods),
        bytes=sum(pod.bytes for pod in pods),
        rate=rate,
        eta=left,
        waiting=next((pod.waiting for pod in pods if pod.waiting), ""),
        done=written if any(pod.done is not None for pod in pods) else None,
    )


def read_inventory(log: str) -> list[InventoryEntry] | None:
    """Return the entries in the log of an inventory; None where the log is incomplete."""
    listed = read_listed(log, "name")
    return None if listed is None else [_entry(each) for each in listed]


def read_listed(log: str, key: str) -> list[dict[str, Any]] | None:
    """Return the lines of a log that list something; None where it is incomplete.

    Args:
        log: The log.
        key: The field that names what is listed.
    """
    lines = read_lines(log)
    if not lines or lines[-1].get("state") != protocol.INVENTORIED:
        return None
    listed = [each for each in lines if each.get("state") == protocol.LISTED]
    named = [each for each in listed if isinstance(each.get(key), str)]
    return named if len(named) == lines[-1].get("count") else None


def format_progress(progress: Progress) -> str:
    """Return the progress as text: `transferring: [#####-----] 43 % (6.5 of 15.0 GB), ...`."""
    parts: list[str] = []
    if progress.state == protocol.TRANSFERRING:
        if progress.percent is not None and progress.total:
            written = format_size(progress.written, like=progress.total)
            total = format_size(progress.total)
            parts.append(f"{format_percent(progress.percent)} ({written} of {total})")
        elif progress.fetched:
            parts.append(f"{format_size(progress.fetched)} fetched")
    if progress.files or progress.state == protocol.TRANSFERRING:
        parts.append(f"{progress.files} file{'s'[: progress.files != 1]}")
    if progress.state not in {protocol.TRANSFERRING, protocol.PREPARING} and progress.bytes:
        parts.append(format_size(progress.bytes))
    if progress.state == protocol.TRANSFERRING and progress.rate:
        parts.append(f"{format_size(progress.rate)}/s")
        if progress.eta is not None:
            parts.append(f"{format_duration(progress.eta)} left")
    if progress.waiting:
        parts.append(f"waiting: {progress.waiting}")
    return f"{progress.state}: {', '.join(parts)}" if parts else progress.state


def format_percent(percent: int) -> str:
    """Return a percentage from 0 to 100 with a bar: `[#####-----] 43 %`.

    Each tenth that has begun is a #, so that what has begun at all can be seen.
    """
    begun = -(-percent * BAR_WIDTH // 100)
    return f"[{'#' * begun}{'-' * (BAR_WIDTH - begun)}] {percent} %"


def format_size(count: float, *, like: float | None = None) -> str:
    """Return a number of bytes in decimal units.

    Args:
        count: The number of bytes.
        like: Another number of bytes: its unit is used, and left out.
    """
    measure = count if like is None else like
    power = 0
    while measure >= 1000 and power < len(UNITS) - 1:
        measure /= 1000
        power += 1
    value = count / 1000**power
    # Two significant digits are enough to show progress.
    text = f"{value:.0f}" if power == 0 or measure >= 100 else f"{value:.1f}"
    return text if like is not None else f"{text} {UNITS[power]}"


def format_duration(seconds: float) -> str:
    """Return a time in its two largest units, as in `2 h 5 min`."""
    rest = round(seconds)
    if rest < 60:
        return f"{rest} s"
    minutes, rest = divmod(rest, 60)
    if minutes < 10:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min"


def _progress(fields: Mapping[str, Any]) -> Progress:
    """Return the progress in a line; fields that are not numbers get their default."""
    known = {field.name: fields.get(field.name) for field in dataclasses.fields(Progress)}
    numbers: dict[str, Any] = {
        name: value
        for name, value in known.items()
        if name not in {"state", "waiting"} and isinstance(value, (int, float))
    }
    # It has the name of a host that an origin may have chosen.
    waiting = WAITING.fullmatch(str(fields.get("waiting") or ""))
    return Progress(state=str(fields["state"]), waiting=waiting[0] if waiting else "", **numbers)


def _entry(fields: Mapping[str, Any]) -> InventoryEntry:
    names = {field.name for field in dataclasses.fields(InventoryEntry)} - {"is_published"}
    known = {key: value for key, value in fields.items() if key in names}
    return InventoryEntry(is_published=fields.get("dataset") == protocol.PUBLISHED, **known)


def read_lines(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects in a text, one per line; the first line may be cut off."""
    return [fields for fields in map(_object, text.splitlines()) if fields is not None]


def _object(line: str) -> dict[str, Any] | None:
    """Return the values in a line that an answer can have; None where it is no JSON object."""
    try:
        fields: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    known = cast("dict[str, object]", fields)
    return {name: value for name, value in known.items() if _is_plain(value)}


def _is_plain(value: object) -> bool:
    """Return whether a value is a text, a truth value, or a number that can be reckoned with."""
    if isinstance(value, (int, float)):
        return abs(value) <= _GREATEST  # neither infinite nor NaN
    return isinstance(value, str)
