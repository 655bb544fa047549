"""Where data sets live on the volume, and the one rename that publishes one.

    /datasets/<name>                        -> .versions/<name>/<version>, a relative link
    /datasets/.versions/<name>/<version>    the files
    /datasets/.versions/<name>/<version>.json   the record: what it was made from, and from when on
    /datasets/.versions/<name>/.attempt-*   what a load has not finished
    /datasets/.versions/.lock               one byte of it is locked for each data set

A reader sees one version or the next, never half of one. What no link leads to, and was not there
just before, is litter: it goes at the beginning and at the end of each load.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import stat
import tempfile
import time
from collections.abc import Generator
from typing import Any

from . import failure, spec

DATASETS, VERSIONS = "datasets", ".versions"
ATTEMPT_PREFIX = ".attempt-"
GIVEN_PREFIX = f"{ATTEMPT_PREFIX}given-"
FILES = "files"
LOCK_WAIT_SECONDS = 120.0
LOCK_POLL_SECONDS = 0.1


@dataclasses.dataclass(frozen=True)
class Record:
    """What is known of a published version.

    Attributes:
        version: Its directory's name.
        fingerprint: What it was made from.
        previous: The version that it replaced, empty for none; it stays for its readers.
        result: What the load brought; None where that is lost.
    """

    version: str
    fingerprint: str
    previous: str
    result: spec.Result | None


def given_files(name: str, version: str) -> str:
    """The directory, from the volume's root, that a loader of the user's own fills."""
    return f"{DATASETS}/{VERSIONS}/{name}/{GIVEN_PREFIX}{version}/{FILES}"


class Slot:
    """The place of one data set on the volume.

    Args:
        root: Where the volume is mounted.
        name: The data set's name.
    """

    def __init__(self, root: pathlib.Path, name: str) -> None:
        self._name = name
        self._datasets = root / DATASETS
        self._link = self._datasets / name
        self._versions = self._datasets / VERSIONS
        self._home = self._versions / name

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Keeps other loads of this data set away; the lock goes with the process that holds it.

        Raises:
            Failure: Another load does not end, or a file stands where a directory is needed.
        """
        for directory in (self._datasets, self._versions):
            _make_directory(directory)
        # One file for all: a lock file of each data set would have to be removed, and a lock on
        # a removed file keeps nobody away.
        with (self._versions / ".lock").open("a") as file:
            self._lock(file.fileno())
            _make_directory(self._home)
            try:
                yield
            finally:
                # It stays where it is not empty.
                with contextlib.suppress(OSError):
                    self._home.rmdir()

    def _lock(self, descriptor: int) -> None:
        digest = hashlib.sha256(self._name.encode()).digest()
        where = int.from_bytes(digest[:7], "big")
        deadline = time.monotonic() + LOCK_WAIT_SECONDS
        while not _locks(descriptor, where):
            if time.monotonic() > deadline:
                raise failure.Failure(
                    f"another load of {self._name} is still running: wait for it, then run "
                    "create-dataset again"
                )
            time.sleep(LOCK_POLL_SECONDS)

    def current(self) -> Record | None:
        """The version that is published; None where there is none.

        Raises:
            Failure: Something that is not ours stands in its place.
        """
        version = self._current_version()
        if not version:
            return None
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            fields: dict[str, Any] = json.loads(self._record(version).read_text())
            result = spec.Result.from_fields(fields.pop("result"))
            return Record(**fields, result=result)
        # It is ours by its link, but what it was made from is lost: it can only be replaced.
        return Record(version=version, fingerprint="", previous="", result=None)

    def _current_version(self) -> str:
        try:
            target = os.readlink(self._link)  # noqa: PTH115 - of 3.9, and as text
        except FileNotFoundError:
            return ""
        except OSError:
            raise self._foreign() from None
        head, _, version = target.rpartition("/")
        if head != f"{VERSIONS}/{self._name}" or not version:
            raise self._foreign()
        return version

    def _foreign(self) -> failure.Failure:
        return failure.Failure(
            f"/{DATASETS}/{self._name} is on the volume already and was not made by this charm: "
            "move it away, or choose another name"
        )

    def attempt(self) -> pathlib.Path:
        """A new directory for what a load has not finished."""
        attempt = pathlib.Path(tempfile.mkdtemp(prefix=ATTEMPT_PREFIX, dir=self._home))
        attempt.chmod(0o755)
        return attempt

    def given(self, version: str) -> pathlib.Path:
        """Where a loader of the user's own leaves its files: known before it runs."""
        return self._home / f"{GIVEN_PREFIX}{version}"

    def publish(self, attempt: pathlib.Path, tree: pathlib.Path, record: Record) -> None:
        """Makes a finished tree the data set, by one rename.

        Args:
            attempt: The attempt's directory; it goes with the next `sweep`.
            tree: The directory in it that holds the files.
            record: What is kept of it.
        """
        record_draft = attempt / "record"
        record_draft.write_text(json.dumps(dataclasses.asdict(record), sort_keys=True) + "\n")
        record_draft.replace(self._record(record.version))
        tree.rename(self._home / record.version)
        link_draft = attempt / "link"
        link_draft.symlink_to(f"{VERSIONS}/{self._name}/{record.version}")
        # The rename would put it over a file of somebody else's that came meanwhile.
        self._current_version()
        link_draft.replace(self._link)

    def sweep(self) -> None:
        """Removes what is neither the published version nor the one before it."""
        for entry in self._litter():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()

    def _litter(self) -> list[pathlib.Path]:
        entries = list(self._home.iterdir())
        attempts = [entry for entry in entries if entry.name.startswith(ATTEMPT_PREFIX)]
        try:
            current = self.current()
        except failure.Failure:
            # Somebody put something in the link's place: what it led to is not ours to judge.
            return attempts
        kept = {current.version, current.previous} if current else set[str]()
        return [entry for entry in entries if entry.name.removesuffix(".json") not in kept]

    def _record(self, version: str) -> pathlib.Path:
        return self._home / f"{version}.json"


def _locks(descriptor: int, where: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, where)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _make_directory(path: pathlib.Path) -> None:
    try:
        path.mkdir()
    except FileExistsError:
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise failure.Failure(
                f"{failure.shown(path.name)} is on the volume, but is no directory: move it away, "
                "then run create-dataset again"
            ) from None
