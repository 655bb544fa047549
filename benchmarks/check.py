"""Compare the files on the volume with the generated data set, byte for byte."""

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
    """Read all files of a tree, and compare them with the expected ones.

    Raises:
        BrokenRunError: A file is missing, different or unexpected.
    """
    if root.is_symlink():
        root = root.resolve(strict=True)
    present = set(_files(root, "")) if root.exists() else set[str]()
    if present != set(expected):
        wrong = sorted(present ^ set(expected))
        raise processes.BrokenRunError(
            f"{len(wrong)} files are missing or unexpected: {wrong[:3]}"
        )
    with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
        digests = pool.map(_read, (root / path for path in expected))
        for (path, file), actual in zip(expected.items(), digests, strict=True):
            if actual != file:
                raise processes.BrokenRunError(f"{path} is {actual} instead of {file}")


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
