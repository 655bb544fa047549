"""The endings of file names that tell a file's kind, and the lengths that paths may have."""

from __future__ import annotations

import re

# Beside an archive are files such as set.tar.md5: not every ending after .tar is a compression.
ARCHIVE_NAME = re.compile(
    r"\.(zip|tar(\.(gz|gzip|bz2?|bzip2|xz|zstd?|lzma|lz[4o]?|z|br|zip|7z|rar))?"
    r"|tgz|tbz2?|tb2|tz2|txz|tzst|tlz|taz|7z|rar)$",
    re.IGNORECASE,
)
# The endings of programs that answer requests, and of pages: they tell nothing of the content.
PROGRAM_NAME = re.compile(
    r"\.(php\d?|phtml|f?cgi|pl|aspx?|ashx|axd|jspx?|do|action|cfm|dll|[sx]?html?)$", re.IGNORECASE
)
PAGE_NAME = re.compile(r"\.[sx]?html?$", re.IGNORECASE)
# Signed links may have their signature in the path.
TOKEN = re.compile(r"[0-9a-f]{32,}|(?=.*[0-9])(?=.*[a-z])(?=.*[A-Z])[\w~=+.-]{32,}", re.ASCII)
ENDING = re.compile(r"\.[A-Za-z]\w{0,9}$")
# With a name of 255 bytes, and the path of the tree itself, it is as long as Linux allows.
LONGEST_NAME, LONGEST_PATH = 255, 3700
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


def best(attachment: str, final: str, first: str) -> str:
    """Return the name of an object, from the names that its origin and its URLs give it.

    Args:
        attachment: The name that the origin gives it; it counts first.
        final: The name in the URL after redirects.
        first: The name in the URL before them; it counts if it is a file's, and the other is not,
            or if the other may be a signature.
    """
    for name in (attachment, final, first):
        if name and _fits(name) and (name == attachment or is_file_name(name)):
            return name
    signature = TOKEN.fullmatch(final) or not _fits(final)
    return first if first and signature else final or first


def _fits(name: str) -> bool:
    return len(name.encode(errors="replace")) <= LONGEST_NAME


def is_file_name(name: str) -> bool:
    """Tell whether a name has the ending of a file, and not that of a program."""
    return bool(ENDING.search(name)) and not PROGRAM_NAME.search(name)
