"""Generate data sets of many shapes from a seed: the archives and files that the origin serves.

It knows nothing of the contestants. `ServedData.expected` has the expected files on the volume.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import pathlib
import random
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping

MIB = 2**20
CHUNK_BYTES = 16 * MIB
# Only six bits of each byte are random, so that the data can be compressed somewhat.
ALPHABET = bytes(byte & 63 | 32 for byte in range(256))


@dataclasses.dataclass(frozen=True)
class ExpectedFile:
    """The expected size and checksum of a file."""

    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class ServedData:
    """A data set that the origin serves.

    Attributes:
        path: The served file.
        expected: The expected files on the volume, by path.
        plain: A tar of the same tree, for the ideal writer; None if there is no tree.
        archive: The archive format: `tar`, `tar.gz`, `zip`, `nested` or empty.
    """

    path: pathlib.Path
    expected: Mapping[str, ExpectedFile]
    plain: pathlib.Path | None
    archive: str

    @property
    def served(self) -> str:
        """Return the file's name in the origin's directory."""
        return self.path.name

    @property
    def files(self) -> int:
        """Return the number of files."""
        return len(self.expected)

    @property
    def bytes(self) -> int:
        """Return the total size of the files."""
        return sum(file.size for file in self.expected.values())


Sizes = Iterator[tuple[str, int]]
Shape = Callable[[random.Random], Sizes]


def even(files: int, directories: int, smallest: int, largest: int) -> Shape:
    """Return a shape of equally large directories (0 for none) and files of similar sizes."""

    def shape(generator: random.Random) -> Sizes:
        for number in range(files):
            parent = f"class-{number * directories // files:04d}/" if directories else ""
            yield f"{parent}sample-{number:06d}.bin", generator.randint(smallest, largest)

    return shape


def deep(files: int) -> Shape:
    """Return a shape with some full and many empty directories, up to six levels deep."""

    def shape(generator: random.Random) -> Sizes:
        directories = [""]
        for number in range(files // 25):
            parent = generator.choice(directories)
            if parent.count("/") < 6:
                directories.append(f"{parent}part-{number}/")
        for number in range(files):
            count = len(directories)
            parent = directories[min(int(generator.expovariate(8 / count)), count - 1)]
            size = min(int(generator.lognormvariate(8.5, 1.6)), 4 * MIB)
            yield f"{parent}record-{number}.json", size

    return shape


def mixed(large: int, small: int) -> Shape:
    """Return a shape of large and small files, like videos and their labels."""

    def shape(generator: random.Random) -> Sizes:
        for number in range(max(large, small)):
            if number < large:
                yield (
                    f"video/{number % 16:02d}/clip-{number}.mp4",
                    generator.randint(2 * MIB, 12 * MIB),
                )
            if number < small:
                yield f"label/{number % 40:02d}/clip-{number}.txt", generator.randint(20, 2000)

    return shape


def packed(home: pathlib.Path, name: str, archive: str, shape: Shape, seed: int) -> ServedData:
    """Generate a tree of files in an archive."""
    generator = random.Random(seed)
    names = list(shape(generator))
    plain = home / f"{name}.plain.tar"
    expected: dict[str, ExpectedFile] = {}
    with tarfile.open(plain, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path, content in _contents(names, generator):
            expected[path] = ExpectedFile(len(content), hashlib.sha256(content).hexdigest())
            _add(tar, path, content)
    served = home / "served" / f"{name}.{'tar' if archive == 'nested' else archive}"
    _repack(plain, served, archive)
    return ServedData(served, expected, plain, archive)


def _contents(
    names: list[tuple[str, int]], generator: random.Random
) -> Iterator[tuple[str, bytes]]:
    for path, size in names:
        yield path, generator.randbytes(size).translate(ALPHABET)


def _add(tar: tarfile.TarFile, path: str, content: bytes) -> None:
    info = tarfile.TarInfo(path)
    info.size = len(content)
    info.mtime = 1_700_000_000
    tar.addfile(info, io.BytesIO(content))


def _repack(plain: pathlib.Path, packed_as: pathlib.Path, archive: str) -> None:
    if archive == "tar":
        packed_as.hardlink_to(plain)
    elif archive == "tar.gz":
        with gzip.open(packed_as, "wb", compresslevel=6) as out, plain.open("rb") as data:
            while chunk := data.read(CHUNK_BYTES):
                out.write(chunk)
    elif archive == "zip":
        with zipfile.ZipFile(packed_as, "w", zipfile.ZIP_DEFLATED) as out:
            for path, content in _members(plain):
                out.writestr(path, content)
    else:
        _nest(plain, packed_as)


def _members(plain: pathlib.Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(plain) as tar:
        for member in tar:
            data = tar.extractfile(member)
            assert data
            yield member.name, data.read()


def _nest(plain: pathlib.Path, packed_as: pathlib.Path) -> None:
    """Pack each top directory into a separate tar inside the outer tar, as ImageNet does."""
    inner: dict[str, list[tuple[str, bytes]]] = {}
    for path, content in _members(plain):
        top, _, rest = path.partition("/")
        inner.setdefault(top, []).append((rest, content))
    with tarfile.open(packed_as, "w", format=tarfile.USTAR_FORMAT) as outer:
        for top, members in inner.items():
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for path, content in members:
                    _add(tar, path, content)
            _add(outer, f"{top}.tar", buffer.getvalue())


def single(home: pathlib.Path, name: str, size: int, seed: int) -> ServedData:
    """Generate one file."""
    generator = random.Random(seed)
    digest = hashlib.sha256()
    served = home / "served" / f"{name}.bin"
    with served.open("wb") as out:
        for start in range(0, size, CHUNK_BYTES):
            chunk = generator.randbytes(min(CHUNK_BYTES, size - start))
            digest.update(chunk)
            out.write(chunk)
    return ServedData(served, {served.name: ExpectedFile(size, digest.hexdigest())}, None, "")
