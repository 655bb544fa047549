"""The file list of a version: a JSON object in each line for each of its entries.

path, bytes, sha256     a file; executable is true if it is
path, same              a file that the list has under another name already, a hard link
path, link              a symbolic link, and its target
path, directory         a directory; those that are part of another path may be left out
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, TextIO

from ..access import open_directory, ownership

NAME = "file-list"
# All may read it.
MODE = 0o644


def format_file(path: str, size: int, sha256: str, *, executable: bool) -> str:
    """Return the line of a file."""
    # Formatted by hand for speed: there may be millions.
    more = ', "executable": true' if executable else ""
    return f'{{"path": {json.dumps(path)}, "bytes": {size}, "sha256": "{sha256}"{more}}}\n'


def format_hard_link(path: str, same: str) -> str:
    """Return the line of another name of a file."""
    return json.dumps({"path": path, "same": same}) + "\n"


def format_symbolic_link(path: str, target: str) -> str:
    """Return the line of a symbolic link."""
    return json.dumps({"path": path, "link": target}) + "\n"


def format_directory(path: str) -> str:
    """Return the line of a directory."""
    return json.dumps({"path": path, "directory": True}) + "\n"


def create(work: open_directory.OpenDirectory) -> TextIO:
    """Open a new, empty list in the directory of a load; closing it writes it to the volume."""
    return os.fdopen(work.create_anew(NAME, MODE), "w", encoding="ascii")


def read(home: open_directory.OpenDirectory, name: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of a list.

    Raises:
        NotOwnError: Others could have written it.
        FileNotFoundError: There is none.
    """
    with os.fdopen(ownership.open_own_file(home, name), encoding="ascii") as lines:
        for line in lines:
            yield json.loads(line)
