"""Compare the files on the volume with the data set that was made, byte for byte."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import pathlib
from collections.abc import Iterator, Mapping

from benchmarks import processes, shapes

READERS = 8
CHUNK_BYTES = 2**20


def check(root: pathlib.Path, expected: Mapping[str, shapes.ExpectedFile]) -> None:
    """Read all files of a tree, and compare them.

    Raises:
        BrokenRunError: A file is missing, different, or one too many.
    """
    if (link := pathlib.Path(root)).is_symlink():
        root = link.resolve(strict=True)
    found = set(_files(root, ""))
    if found != set(expected):
        odd = sorted(found ^ set(expected))
        raise processes.BrokenRunError(f"{len(odd)} files are missing or too many: {odd[:3]}")
    with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
        digests = pool.map(_read, (root / path for path in expected))
        for (path, file), seen in zip(expected.items(), digests, strict=True):
            if seen != file:
                raise processes.BrokenRunError(f"{path} holds {seen} and not {file}")


def _files(root: pathlib.Path, under: str) -> Iterator[str]:
    with os.scandir(root / under) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(root, f"{under}{entry.name}/")
            else:
                yield f"{under}{entry.name}"


def _read(path: pathlib.Path) -> shapes.ExpectedFile:
    digest = hashlib.sha256()
    size = 0
    with path.open("rb", buffering=0) as data:
        while chunk := data.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return shapes.ExpectedFile(size, digest.hexdigest())
