"""Tell the answers that an origin gives instead of data: web pages, and texts about an error."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection

from ..base import failure, file_names

PAGE_TYPES = {"text/html", "application/xhtml+xml"}
# A page begins with one of these elements, whatever its type.
PAGE_ELEMENTS = {
    b"html",
    b"head",
    b"body",
    b"script",
    b"noscript",
    b"iframe",
    b"meta",
    b"style",
    b"h1",
}
# Files with these endings may begin with any element but those that make a page.
WITH_ELEMENTS = re.compile(r"\.(md|markdown|mdx|rmd|vue|svelte|astro|xml)$", re.IGNORECASE)
PAGE_ROOTS = {b"html", b"head", b"body"}
# Of what is called a page, it is enough that one of these is near its beginning.
PAGE_BYTES = 4096
PAGE_PARTS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<title")
# What stands in a Git repository for a file whose content is elsewhere.
LFS_POINTER, LFS_DIGEST = b"version https://git-lfs.github.com/spec/v", b"\noid sha256:"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
DOCTYPE = re.compile(rb"<!doctype[ \t\r\n]+html\b", re.IGNORECASE)
ELEMENT = re.compile(rb"[A-Za-z][A-Za-z0-9]*")
BLANKS = b" \t\r\n\f"
BLANK = re.compile(rb"[ \t\r\n\f]*")
# Files with these endings are never texts of JSON or XML; those of the second line are no texts.
TABLES = re.compile(r"\.(csv|tsv)$", re.IGNORECASE)
BINARIES = re.compile(
    r"\.(parquet|feather|arrow|orc|avro|npy|npz|h5|hdf5|mat|pt|pth|bin|safetensors|onnx|gguf|pkl"
    r"|jpe?g|png|gif|tiff?|webp|mp4|mkv|webm|wav|flac|mp3|ogg|pdf|gz|bz2|xz|zst|lz4|sqlite|db"
    r"|docx|xlsx|pptx|odt|jar|whl)$",
    re.IGNORECASE,
)
CONTROL = re.compile(rb"[\0-\x08\x0b\x0e-\x1a\x1c-\x1f]")
TEXT_TYPE = re.compile(r"text/.*|application/(?:.*\+)?(?:json|xml)|application/xhtml\+xml")


def check(head: bytes, names: tuple[str, ...], media_type: str) -> None:
    """Refuse an answer that is not the data.

    Args:
        head: Its first bytes.
        names: The names that the object has: the best one, then those that the user gave it.
        media_type: Its type, as the origin tells it; empty if it does not.

    Raises:
        Failure: It is a web page, or a text where something else should be.
    """
    if head.startswith(LFS_POINTER) and LFS_DIGEST in head[:PAGE_BYTES]:
        raise failure.Failure(
            "the source is a pointer of Git LFS, not the data: use the link to the file itself, "
            "on GitHub https://media.githubusercontent.com/media/OWNER/REPOSITORY/BRANCH/PATH"
        )
    if any(map(file_names.PAGE_NAME.search, names[1:] or names)):
        return
    elements = PAGE_ROOTS if any(map(WITH_ELEMENTS.search, names)) else PAGE_ELEMENTS
    if is_page(head, media_type, elements):
        raise failure.Failure(
            "the source is a web page (HTML), not the data: use the link to the file itself, and "
            "one that needs no login; a page that is the data needs a name with .html"
        )
    if any(_is_other(head, name, media_type) for name in names):
        raise failure.Failure(
            f"the source is a text ({media_type}), not what {failure.quote(names[0])} should be: "
            "look at it in a browser; if it is the data, give its checksum"
        )


def is_page(head: bytes, media_type: str, elements: Collection[bytes] = PAGE_ELEMENTS) -> bool:
    """Tell whether an answer is a web page.

    Args:
        head: Its first bytes.
        media_type: Its type.
        elements: The elements that a page of another type begins with.
    """
    element = _first_element(head)
    if media_type not in PAGE_TYPES:
        return element in elements
    if head.startswith(b"<?xml") and element not in PAGE_ELEMENTS:
        return False
    beginning = head[:PAGE_BYTES].lower()
    # PHP calls everything a page unless it is told otherwise.
    marked = b"\0" not in beginning and any(part in beginning for part in PAGE_PARTS)
    return bool(element) or marked


def _first_element(head: bytes) -> bytes:
    """Return the name of the first element of HTML or XML; "!" if that is not reached."""
    head = head.removeprefix(BYTE_ORDER_MARK)
    at = 0
    while True:
        at = BLANK.match(head, at).end()  # type: ignore[union-attr] - it matches nothing, too
        end = b""
        if head.startswith(b"<!--", at):
            end = b"-->"
        elif head.startswith(b"<?", at):
            end = b"?>"
        if not end:
            break
        found = head.find(end, at)
        if found < 0:
            return b"!"
        at = found + len(end)
    if DOCTYPE.match(head, at):
        return b"html"
    if head.startswith(b"<!", at):
        return b"!"
    element = ELEMENT.match(head, at + 1) if head.startswith(b"<", at) else None
    return element[0].lower() if element else b""


def _is_other(head: bytes, name: str, media_type: str) -> bool:
    """Tell whether an answer is a text, by its type and bytes, where its name has another kind."""
    if not TEXT_TYPE.fullmatch(media_type):
        return False
    if TABLES.search(name):
        return not media_type.startswith("text/") and head.lstrip(BLANKS)[:1] in b"{[<"
    return bool(BINARIES.search(name)) and _is_text(head[:PAGE_BYTES])


def _is_text(head: bytes) -> bool:
    try:
        # A letter may be cut off at the end.
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return not CONTROL.search(head)
