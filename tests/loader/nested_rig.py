"""An archive of archives like ImageNet's, its unpacked files, and their file list."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping

from tests.loader import loader_rig

_CHANCE = random.Random(11)
INNER = {
    f"n{number:02}": {
        f"{index}.jpg": _CHANCE.randbytes(_CHANCE.randint(20_000, 60_000)) for index in range(12)
    }
    for number in range(12)
}
UNPACKED = {f"{top}/{name}": data for top, files in INNER.items() for name, data in files.items()}


def nested(archive_format: str = "tar") -> bytes:
    """Return an archive of archives, each with one directory's files."""
    inner = {f"{top}.tar": loader_rig.archive("tar", files) for top, files in INNER.items()}
    return loader_rig.archive(archive_format, inner)


NESTED = nested()


def listed(files: Mapping[str, bytes]) -> dict[str, dict[str, object]]:
    """Return the file list of a data set with these files, by path."""
    return {
        path: {"path": path, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for path, data in files.items()
    }
