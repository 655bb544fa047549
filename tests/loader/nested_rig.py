"""An archive of archives as ImageNet's, what it is unpacked to, and how that is listed."""

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
    """An archive of archives, each of one directory's files."""
    inner = {f"{top}.tar": loader_rig.archive("tar", files) for top, files in INNER.items()}
    return loader_rig.archive(archive_format, inner)


NESTED = nested()


def listed(files: Mapping[str, bytes]) -> dict[str, dict[str, object]]:
    """The list of files that a data set of these has, by path."""
    return {
        path: {"path": path, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for path, data in files.items()
    }
