"""The endings of file names that tell a file's kind, and the lengths that paths may have."""

from __future__ import annotations

import re

ARCHIVE_NAME = re.compile(r"\.(zip|tar(\.\w+)?|tgz|tbz2?|txz|tzst|7z|rar)$", re.IGNORECASE)
# With a name of 255 bytes, and the path of the tree itself, it is as long as Linux allows.
LONGEST_PATH = 3700
# Each directory of a path takes memory while the path is created.
MOST_DIRECTORIES = 255
LONGEST_TARGET = 4095


def is_too_long(path: str) -> bool:
    """Tell whether a path has more bytes or directories than any in a data set may have."""
    return (
        len(path) > LONGEST_PATH
        or len(path.encode(errors="surrogateescape")) > LONGEST_PATH
        or path.count("/") > MOST_DIRECTORIES
    )
