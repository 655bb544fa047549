"""Make data sets of many shapes from a seed: the archives and files that the origin serves.

It knows nothing of who loads them. What each must become on the volume is in `Made.expected`.
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

KIB, MIB = 2**10, 2**20
CHUNK_BYTES = 16 * MIB
# Six bits of each byte are random: what packs well and what does not is a matter of the data.
ALPHABET = bytes(byte & 63 | 32 for byte in range(256))


@dataclasses.dataclass(frozen=True)
class ExpectedFile:
    """The size and checksum that a file must have."""

    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Made:
    """A data set that the origin serves.

    Attributes:
        path: The file that is served.
        expected: What must be on the volume, by path.
        plain: A tar of the same tree, for the ideal writer; None where there is no tree.
        archive: How it is packed: `tar`, `tar.gz`, `zip`, `nested` or empty.
    """

    path: pathlib.Path
    expected: Mapping[str, ExpectedFile]
    plain: pathlib.Path | None
    archive: str

    @property
    def served(self) -> str:
        """Its name in the origin's directory."""
        return self.path.name

    @property
    def files(self) -> int:
        """The number of files."""
        return len(self.expected)

    @property
    def bytes(self) -> int:
        """The sum of their sizes."""
        return sum(file.size for file in self.expected.values())


Sizes = Iterator[tuple[str, int]]
Shape = Callable[[random.Random], Sizes]


def even(files: int, directories: int, smallest: int, largest: int) -> Shape:
    """Files of about one size, as many in each directory; in none of them with 0 directories."""

    def shape(chance: random.Random) -> Sizes:
        for number in range(files):
            place = f"class-{number * directories // files:04d}/" if directories else ""
            yield f"{place}sample-{number:06d}.bin", chance.randint(smallest, largest)

    return shape


def deep(files: int) -> Shape:
    """A few full and many empty directories, up to six levels deep; sizes over four decades."""

    def shape(chance: random.Random) -> Sizes:
        places = [""]
        for number in range(files // 25):
            parent = chance.choice(places)
            if parent.count("/") < 6:
                places.append(f"{parent}part-{number}/")
        for number in range(files):
            place = places[min(int(chance.expovariate(8 / len(places))), len(places) - 1)]
            size = min(int(chance.lognormvariate(8.5, 1.6)), 4 * MIB)
            yield f"{place}record-{number}.json", size

    return shape


def mixed(large: int, small: int) -> Shape:
    """Files of some MiB among small ones: videos and their labels."""

    def shape(chance: random.Random) -> Sizes:
        for number in range(max(large, small)):
            if number < large:
                yield (
                    f"video/{number % 16:02d}/clip-{number}.mp4",
                    chance.randint(2 * MIB, 12 * MIB),
                )
            if number < small:
                yield f"label/{number % 40:02d}/clip-{number}.txt", chance.randint(20, 2000)

    return shape


def packed(home: pathlib.Path, name: str, archive: str, shape: Shape, seed: int) -> Made:
    """A tree of files in an archive."""
    chance = random.Random(seed)
    names = list(shape(chance))
    plain = home / f"{name}.plain.tar"
    expected: dict[str, ExpectedFile] = {}
    with tarfile.open(plain, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path, content in _contents(names, chance):
            expected[path] = ExpectedFile(len(content), hashlib.sha256(content).hexdigest())
            _add(tar, path, content)
    served = home / "served" / f"{name}.{'tar' if archive == 'nested' else archive}"
    _repack(plain, served, archive)
    return Made(served, expected, plain, archive)


def _contents(names: list[tuple[str, int]], chance: random.Random) -> Iterator[tuple[str, bytes]]:
    for path, size in names:
        yield path, chance.randbytes(size).translate(ALPHABET)


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
    """Each directory at the top becomes a tar of its own: ImageNet's shape."""
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


def single(home: pathlib.Path, name: str, size: int, seed: int) -> Made:
    """One file."""
    chance = random.Random(seed)
    digest = hashlib.sha256()
    served = home / "served" / f"{name}.bin"
    with served.open("wb") as out:
        for start in range(0, size, CHUNK_BYTES):
            chunk = chance.randbytes(min(CHUNK_BYTES, size - start))
            digest.update(chunk)
            out.write(chunk)
    return Made(served, {served.name: ExpectedFile(size, digest.hexdigest())}, None, "")
