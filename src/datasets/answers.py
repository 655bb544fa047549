"""What the loader answers: its progress and its end, read from a pod's log and last words."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import protocol
from datasets.loader.base import tasks

Result = tasks.Result

NO_LAST_WORDS = "the loader ended without a word (out of memory, or its node was lost): try again"
UNITS = ("bytes", "KB", "MB", "GB", "TB", "PB", "EB")


@dataclasses.dataclass(frozen=True)
class Failed:
    """The loader's own last error: what is so, then what to do."""

    error: str


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a pod is; or, combined, a load.

    Attributes:
        state: `preparing`, `transferring`, `verifying`, `done`, `verified`, `deleted`, ...
        index: The pod's index.
        seconds: How long it has been running.
        fetched: The bytes that it fetched.
        total: The bytes that all pods will have fetched in the end; None where nobody knows.
        files: The files that it wrote.
        bytes: Their sizes together.
        rate: Bytes a second.
        eta: Seconds that are left; None where nobody knows.
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

    @property
    def percent(self) -> int | None:
        """How much of what is to be fetched is there; None where nobody knows."""
        if not self.total:
            return None
        return min(100, 100 * self.fetched // self.total)


@dataclasses.dataclass(frozen=True)
class Listed:
    """A data set that is on the volume.

    Attributes:
        name: Its name.
        whole: Whether it is published; else a load of it was begun.
        files: Its files; None where that is lost.
        bytes: Their sizes together; None where that is lost.
        checksum: `algorithm:digest` of what was fetched.
        published: When it was, in seconds since 1970.
        source: Where it came from.
        fingerprint: What it was made from.
        version: The directory that it is in.
    """

    name: str
    whole: bool
    files: int | None = None
    bytes: int | None = None
    checksum: str = ""
    published: float = 0
    source: str = ""
    fingerprint: str = ""
    version: str = ""


def outcome(message: str) -> Result | Progress | Failed:
    """Reads a pod's termination message.

    Where the loader was killed, Kubernetes puts the end of its log there.

    Returns:
        What was published; or how far a pod was that ended well and published nothing.
    """
    for fields in reversed(_lines(message)):
        state = fields.get("state")
        if state == protocol.FAILED:
            return Failed(str(fields.get("error")))
        if state in {protocol.DONE, protocol.VERIFIED, protocol.DELETED}:
            return _progress(fields)
        if state == protocol.PUBLISHED:
            try:
                return Result.from_fields(fields)
            except TypeError:
                break
    return Failed(NO_LAST_WORDS)


def progress(log: str) -> Progress | None:
    """The last line of progress in a pod's log; None where there is none."""
    return next((_progress(each) for each in reversed(_lines(log)) if "state" in each), None)


def combined(pods: Sequence[Progress]) -> Progress:
    """How far a load is, of which these are the pods; at least one."""
    for pod in pods:
        # Whoever publishes it tells of all of it; but it is published when its pod has ended well.
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
    left = max(0, total - fetched) / rate if total is not None and rate else None
    return Progress(
        state=state,
        seconds=max(pod.seconds for pod in pods),
        fetched=fetched,
        total=total,
        files=sum(pod.files for pod in pods),
        bytes=sum(pod.bytes for pod in pods),
        rate=rate,
        eta=left,
    )


def listed(log: str) -> list[Listed] | None:
    """Reads the log of an inventory; None where it is not whole."""
    lines = _lines(log)
    if not lines or lines[-1].get("state") != protocol.INVENTORIED:
        return None
    found = [_listed(each) for each in lines if each.get("state") == protocol.LISTED]
    return found if len(found) == lines[-1].get("count") else None


def words(progress: Progress) -> str:
    """Progress as people read it, as in `transferring: 43% (6.5 of 15.0 GB), 120 files, ...`."""
    parts: list[str] = []
    if progress.state == protocol.TRANSFERRING:
        if progress.percent is not None and progress.total:
            of = f"{size(progress.fetched, like=progress.total)} of {size(progress.total)}"
            parts.append(f"{progress.percent}% ({of})")
        elif progress.fetched:
            parts.append(f"{size(progress.fetched)} fetched")
    if progress.files or progress.state == protocol.TRANSFERRING:
        parts.append(f"{progress.files} file{'s'[: progress.files != 1]}")
    if progress.state not in {protocol.TRANSFERRING, protocol.PREPARING} and progress.bytes:
        parts.append(size(progress.bytes))
    if progress.state == protocol.TRANSFERRING and progress.rate:
        parts.append(f"{size(progress.rate)}/s")
        if progress.eta is not None:
            parts.append(f"{duration(progress.eta)} left")
    return f"{progress.state}: {', '.join(parts)}" if parts else progress.state


def size(count: float, *, like: float | None = None) -> str:
    """A number of bytes in decimal units.

    Args:
        count: The bytes.
        like: The bytes whose unit is used, and not written.
    """
    measure = count if like is None else like
    power = 0
    while measure >= 1000 and power < len(UNITS) - 1:
        measure /= 1000
        power += 1
    value = count / 1000**power
    # Two figures are enough to see that it moves.
    text = f"{value:.0f}" if power == 0 or measure >= 100 else f"{value:.1f}"
    return text if like is not None else f"{text} {UNITS[power]}"


def duration(seconds: float) -> str:
    """A time in its two largest units, as in `2 h 5 min`."""
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
    """Its line; a field that has no number has its default."""
    known = {field.name: fields.get(field.name) for field in dataclasses.fields(Progress)}
    numbers: dict[str, Any] = {
        name: value
        for name, value in known.items()
        if name != "state" and isinstance(value, (int, float))
    }
    return Progress(state=str(fields["state"]), **numbers)


def _listed(fields: Mapping[str, Any]) -> Listed:
    names = {field.name for field in dataclasses.fields(Listed)} - {"whole"}
    known = {key: value for key, value in fields.items() if key in names}
    return Listed(whole=fields.get("dataset") == protocol.PUBLISHED, **known)


def _lines(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text, one a line; the first line may be cut off."""
    return [fields for fields in map(_object, text.splitlines()) if fields is not None]


def _object(line: str) -> dict[str, Any] | None:
    try:
        fields: Any = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None  # pyright: ignore[reportUnknownVariableType]
