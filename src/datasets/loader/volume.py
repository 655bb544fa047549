"""Where data sets live on the volume, and the one rename that publishes one.

    /datasets/<name>                        -> .versions/<name>/<version>, a relative link
    /datasets/.versions/<name>/<version>    the files
    /datasets/.versions/<name>/<version>.json    the record: what it was made from, and when
    /datasets/.versions/<name>/<version>.files   the list of files: path, bytes and sha256
    /datasets/.versions/<name>/.load-<fingerprint>-<version>     a load that is not finished: see
                                                 place; the first of a version's two names is
                                                 what it is made from
    /datasets/.versions/.lock               one byte of it is locked for each data set

A reader sees one version or the next, never half of one. What no link leads to, and was not there
just before, and is no load that goes on, is litter.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import stat
import time
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

from . import failure, locks, place, spec

DATASETS, VERSIONS = "datasets", ".versions"
LOAD_PREFIX, GIVEN_PREFIX, TRASH_PREFIX = ".load-", ".given-", ".trash-"
FILES = "files"
RECORD_SUFFIX, MANIFEST_SUFFIX = ".json", ".files"
LOCK_WAIT_SECONDS = 120.0


@dataclasses.dataclass(frozen=True)
class Record:
    """What is known of a published version.

    Attributes:
        version: Its directory's name.
        fingerprint: What it was made from.
        previous: The version that it replaced, empty for none; it stays for its readers.
        result: What the load brought; None where that is lost.
        request: The request that made it.
        source: Where it came from, without what may be secret.
        published: When, in seconds since 1970.
    """

    version: str
    fingerprint: str
    previous: str
    result: spec.Result | None
    request: str = ""
    source: str = ""
    published: float = 0


class Published(NamedTuple):
    """A data set that is there.

    Attributes:
        result: What it is.
        litter: What no reader and no load needs any more, for `removal`.
    """

    result: spec.Result
    litter: list[pathlib.Path]


class Unfinished(NamedTuple):
    """A load that is not finished.

    Attributes:
        path: Its directory.
        fingerprint: What it is made from.
        version: The version that it becomes.
    """

    path: pathlib.Path
    fingerprint: str
    version: str


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
        self.link = self._datasets / name
        self._versions = self._datasets / VERSIONS
        self.home = self._versions / name
        self._looked = False

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Keeps all other processes away; the lock goes with the process that holds it.

        Raises:
            Failure: Another one does not end, or a file stands where a directory is needed.
        """
        if not self._looked:
            for directory in (self._datasets, self._versions):
                _make_directory(directory)
            self._looked = True
        # One file for all: a lock file of each data set would have to be removed, and a lock on
        # a removed file keeps nobody away.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._versions / ".lock", flags, 0o644)
        try:
            self._lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        digest = hashlib.sha256(self._name.encode()).digest()
        where = int.from_bytes(digest[:7], "big")
        if not locks.lock(descriptor, where, LOCK_WAIT_SECONDS):
            raise failure.Later(
                f"another load of {self._name} is still running: wait for it, then run "
                "create-dataset again"
            )

    # --- what is published

    def forget(self) -> None:
        """Has the system ask the volume again what is published.

        A node may trust what it knows of a directory for a minute (acdirmax in nfs(5)), also that
        something is not there; what it changes there itself makes it look again.
        """
        with contextlib.suppress(OSError):
            os.utime(self._datasets)

    def current(self) -> Record | None:
        """The version that is published; None where there is none.

        Raises:
            Failure: Something that is not ours stands in its place.
        """
        version = self._current_version()
        if not version:
            return None
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            fields: dict[str, Any] = json.loads(self.record_of(version).read_text())
            result = spec.Result.from_fields(fields.pop("result"))
            return Record(**fields, result=result)
        # It is ours by its link, but what it was made from is lost: it can only be replaced.
        return Record(version=version, fingerprint="", previous="", result=None)

    def _current_version(self) -> str:
        try:
            target = os.readlink(self.link)  # noqa: PTH115 - of 3.9, and as text
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

    def record_of(self, version: str) -> pathlib.Path:
        """The file that a version's record is in."""
        return self.home / f"{version}{RECORD_SUFFIX}"

    def manifest_of(self, version: str) -> pathlib.Path:
        """The file that a version's list of files is in."""
        return self.home / f"{version}{MANIFEST_SUFFIX}"

    # --- what is not finished

    def loads(self) -> Iterator[Unfinished]:
        """The loads that are not finished and can be gone on with."""
        for path in sorted(self.home.glob(f"{LOAD_PREFIX}*")):
            fingerprint, _, version = path.name[len(LOAD_PREFIX) :].partition("-")
            if not place.is_over(path):
                yield Unfinished(path, fingerprint, version)

    def load(self, task: spec.Spec, current: Record | None) -> place.Place:
        """The unfinished load of what a task asks for, or a new one. The slot is locked.

        Args:
            task: The task.
            current: What is published.
        """
        version = task.version
        if not self.make_home():
            # What is left of those that made them is litter.
            kept = {current.version, current.previous} if current else set[str]()
            for each in self.loads():
                if each.fingerprint == task.fingerprint and each.version not in kept:
                    # It may have been cut off between the renames that publish it.
                    with contextlib.suppress(OSError):
                        (self.home / each.version).rename(each.path / place.TREE)
                    return place.Place(each.path, each.version)
            version = self._unused(version)
        path = self.home / f"{LOAD_PREFIX}{task.fingerprint}-{version}"
        # For the loader alone: what is in it keeps no mode of its own.
        path.mkdir(mode=0o700)
        return place.Place(path, version)

    def make_home(self) -> bool:
        """Makes the directory of the data set's versions; False where it is there."""
        return _make_directory(self.home)

    def remove_home(self) -> None:
        """Removes it, if nothing is in it."""
        with contextlib.suppress(OSError):
            self.home.rmdir()

    def _unused(self, version: str) -> str:
        """A version's name that nothing has, like this one."""
        number, found = 1, version
        while any(self.home.glob(f"{LOAD_PREFIX}*-{found}")) or self.record_of(found).exists():
            number += 1
            found = f"{version}-{number}"
        return found

    def given(self, version: str) -> pathlib.Path:
        """Where a loader of the user's own leaves its files: known before it runs."""
        return self.home / f"{GIVEN_PREFIX}{version}"

    # --- publishing

    def publish(
        self, tree: pathlib.Path, manifest: pathlib.Path, task: spec.Spec, result: spec.Result
    ) -> Published:
        """Makes a finished tree the data set, by one rename. The slot is locked.

        It can be cut off anywhere, and called again.

        Args:
            tree: The directory that holds the files.
            manifest: The list of them.
            task: What was asked for.
            result: What was brought.

        Returns:
            What is published, and what is litter now.
        """
        version = result.version
        before = self.current()
        previous = before.version if before and before.version != version else ""
        record = Record(
            version=version,
            fingerprint=task.fingerprint,
            previous=previous,
            result=result,
            request=task.version,
            source=task.shown,
            published=round(time.time(), 3),
        )
        draft = manifest.with_name("record")
        with place.create_text(draft) as file:
            file.write(json.dumps(dataclasses.asdict(record), sort_keys=True) + "\n")
        with contextlib.suppress(FileNotFoundError):
            manifest.replace(self.manifest_of(version))
        draft.replace(self.record_of(version))
        with contextlib.suppress(FileNotFoundError):
            tree.rename(self.home / version)
        link_draft, target = manifest.with_name("link"), f"{VERSIONS}/{self._name}/{version}"
        try:
            link_draft.symlink_to(target)
        except FileExistsError:
            link_draft.unlink()
            link_draft.symlink_to(target)
        # The rename would put it over a file of somebody else's that came meanwhile.
        self._current_version()
        link_draft.replace(self.link)
        return self.published(record, result)

    def published(self, current: Record, result: spec.Result) -> Published:
        """What a load ends with. The slot is locked."""
        found: list[pathlib.Path] = []
        # What can not be renamed now is left to the next load of that name.
        with contextlib.suppress(OSError):
            found = self.litter(current)
        return Published(result, found)

    def litter(self, current: Record | None) -> list[pathlib.Path]:
        """What is neither the published version nor the one before it: no load goes on now.

        It is renamed, so that nobody takes it for something else. The slot is locked.

        Args:
            current: What is published.
        """
        kept = {current.version, current.previous} if current else set[str]()
        found: list[pathlib.Path] = []
        for entry in self.home.iterdir() if self.home.exists() else ():
            name = entry.name
            for suffix in (RECORD_SUFFIX, MANIFEST_SUFFIX):
                name = name.removesuffix(suffix)
            if name not in kept:
                found.append(to_trash(entry))
        return found


def to_trash(entry: pathlib.Path) -> pathlib.Path:
    """Renames what is to be removed, so that nobody takes it for something else."""
    if entry.name.startswith(TRASH_PREFIX):
        return entry
    trash = entry.with_name(f"{TRASH_PREFIX}{entry.name.lstrip('.')}-{os.urandom(4).hex()}")
    entry.rename(trash)
    return trash


def _make_directory(path: pathlib.Path) -> bool:
    """Makes a directory; False where it is there."""
    try:
        path.mkdir(mode=0o755)
        return True
    except FileExistsError:
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise failure.Failure(
                f"{failure.shown(path.name)} is on the volume, but is no directory: move it away, "
                "then run create-dataset again"
            ) from None
        return False
