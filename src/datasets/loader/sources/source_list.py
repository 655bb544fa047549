"""Parse a source list: lines of URLs, lines as sha256sum writes them, or Metalink.

It does not know where the list comes from, and fetches nothing.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
import urllib.parse
from collections.abc import Iterable, Iterator

from ... import protocol
from ..base import failure, urls
from . import list_text, metalink, source_object, table
from .source_object import SourceObject

MOST_LINE_BYTES = 16 * 2**10
MOST_ENTRIES = 5_000_000
MOST_BYTES = 2**31
LINE_FORMAT = "a line is `URL [checksum] [path]`, or `<hex digits>  path` as sha256sum writes it"
ALGORITHMS = {digits: name for name, digits in protocol.DIGEST_DIGITS.items()}
UNUSED_ALGORITHMS = {40: "sha1", 56: "sha224", 96: "sha384"}
DIGEST = "|".join(f"[0-9a-fA-F]{{{digits}}}" for digits in (*ALGORITHMS, *UNUSED_ALGORITHMS))
# GNU's tools put a backslash before a line whose path contains one.
SUM_LINE = re.compile(rf"(\\?)({DIGEST})[ \t][ *]?(.+)")
BSD_LINE = re.compile(r"(\\?)([A-Za-z0-9/-]+) ?\((.+)\) ?= ?([0-9a-fA-F]+)")
# OpenSSL 3 calls the algorithms by their families.
FAMILY = re.compile(r"sha2-?(?=256$|512$)")
# The first line of a list for Google's Storage Transfer Service; its digests are in Base64.
TRANSFER_LIST = re.compile(r"TsvHttpData-1\.\d+")
BASE64 = re.compile(r"[A-Za-z0-9+/]{22,86}={0,2}")
SIZE = re.compile(r"[0-9]{1,18}")
CHECKSUM = re.compile(rf"(?:([A-Za-z0-9-]+)[:=])?({DIGEST})")
NAMED_CHECKSUM = re.compile(r"(?:md5|sha-?\d+)[:=].*", re.IGNORECASE)
OPTION = re.compile(r"\s+[a-z][a-z-]*=")
ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
PRINTABLE = "".join(map(chr, range(ord("!"), ord("~") + 1)))
ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}


def parse(
    chunks: Iterable[bytes], base_url: str, *, keep_directories: bool = False
) -> Iterator[tuple[int, SourceObject]]:
    """Yield the objects of a list, each with its line's number; their URLs are http(s) or s3.

    Args:
        chunks: The list's bytes, split anywhere; they may be compressed by gzip.
        base_url: The base of paths and relative URLs in it: the list's own URL or another one.
        keep_directories: Whether absolute URLs below the base keep their directories.

    Raises:
        Failure: A line is invalid, or there are none; the text names the line.
    """
    count = 0
    reader = _Reader(base_url, keep_directories=keep_directories)
    for number, entry in _entries(_bounded(list_text.utf8(chunks)), reader):
        count += 1
        if count > MOST_ENTRIES:
            raise failure.Failure(
                f"the list has more than {MOST_ENTRIES} entries: pack the files into archives, or "
                "give their prefix as the source"
            )
        yield number, entry
    if not count:
        raise failure.Failure(f"the list names nothing: {LINE_FORMAT}")


def _bounded(chunks: Iterable[bytes]) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > MOST_BYTES:
            raise failure.Failure(f"the list has more than {MOST_BYTES} bytes: split it")
        yield chunk


def _entries(chunks: Iterator[bytes], reader: _Reader) -> Iterator[tuple[int, SourceObject]]:
    head = b""
    while not head.lstrip().startswith(b"<") and len(head) < 1024:
        chunk = next(chunks, b"")
        if not chunk:
            break
        head += chunk
    whole = _chained(head, chunks)
    if head.lstrip().startswith(b"<"):
        for file in metalink.files(whole):
            reader.number = file.line
            yield file.line, reader.metalink(file)
        return
    for reader.number, text in list_text.without_signature(_lines(whole)):
        entry = reader.line(text)
        if entry:
            yield reader.number, entry


def _chained(head: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from chunks


def _lines(chunks: Iterator[bytes]) -> Iterator[tuple[int, str]]:
    number, rest = 0, b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            number += 1
            yield number, _decode(number, line)
        if len(rest) > MOST_LINE_BYTES:
            _decode(number + 1, rest)
    if rest:
        yield number + 1, _decode(number + 1, rest)


def _decode(number: int, line: bytes) -> str:
    if len(line) > MOST_LINE_BYTES:
        raise failure.Failure(
            f"line {number} of the list has more than {MOST_LINE_BYTES} bytes: {LINE_FORMAT}"
        )
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise failure.Failure(
            f"line {number} of the list is not UTF-8: convert it; {LINE_FORMAT}"
        ) from None
    if "\0" in text:
        raise failure.Failure(f"line {number} of the list has a zero byte: {LINE_FORMAT}")
    return text.rstrip("\r")


class _Reader:
    """A reader of the lines of a list, or of the files of a Metalink.

    Args:
        base_url: The base of paths and relative URLs.
        keep_directories: Whether absolute URLs below the base keep their directories.

    Attributes:
        number: The number of the line.
    """

    def __init__(self, base_url: str, *, keep_directories: bool = False) -> None:
        self.number = 0
        self._base_url = base_url
        self._keep_directories = keep_directories
        self._transfer_list = False
        self._directory = self._joined(".")

    def line(self, text: str) -> SourceObject | None:
        """Return the object that a line names; None if it is empty or a comment."""
        stripped = text.strip(" \t")
        if not stripped or stripped.startswith("#"):
            return None
        if TRANSFER_LIST.fullmatch(stripped):
            self._transfer_list = True
            return None
        if OPTION.match(text):
            raise self._failure("is an option of another tool: write the path after the URL")
        sums = SUM_LINE.fullmatch(text.lstrip())
        if sums:
            escaped, digest, path = sums.groups()
            return self._relative(_unescaped(escaped, path), self._checksum("", digest))
        bsd = BSD_LINE.fullmatch(stripped)
        if bsd:
            escaped, algorithm, path, digest = bsd.groups()
            checksum = self._checksum(algorithm, digest)
            return self._relative(_unescaped(escaped, path), checksum)
        return self._columns(stripped) or self._url_line(stripped)

    def _columns(self, text: str) -> SourceObject | None:
        """Return the object of a line with its size; None if the line has no such column."""
        url, *columns = (column.strip(" ") for column in text.split("\t"))
        if not columns:
            # The same with blanks: a number alone may be a path.
            url, *columns = text.split(" ")
            columns = [column for column in columns if column]
            sized = len(columns) == 2 and self._digest(columns[1])
        else:
            sized = True
        sizes = [column for column in columns if SIZE.fullmatch(column)]
        if not sized or (len(sizes) != 1 and not self._transfer_list):
            return None
        if " " in url:
            raise self._failure("has a URL with blanks: write them as %20")
        if sizes:
            columns.remove(sizes[0])
        digests = [column for column in columns if self._digest(column)]
        paths = [column for column in columns if column not in {"", "-"} and column not in digests]
        if len(digests) > 1 or len(paths) > 1:
            raise self._failure("has more columns than a URL, a size, a checksum and a path")
        line = " ".join([url, *map(self._digest, digests), *paths])
        return dataclasses.replace(self._url_line(line), size=int(sizes[0]) if sizes else None)

    def _digest(self, text: str) -> str:
        """Return a checksum as it is written in a line of this list; empty if it is none."""
        if CHECKSUM.fullmatch(text):
            return text
        if not BASE64.fullmatch(text):
            return ""
        try:
            digest = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).hex()
        except binascii.Error:
            return ""
        return digest if len(digest) in ALGORITHMS else ""

    def metalink(self, file: metalink.MetalinkFile) -> SourceObject:
        """Return the object that a file of a Metalink names."""
        path = self._path(file.name)
        if not path or path.endswith("/"):
            raise self._failure("names no file")
        entry = self._absolute(file.url, file.checksum)
        if path.rpartition("/")[2] == urls.file_name(file.url):
            path = path[: path.rfind("/") + 1]
        return dataclasses.replace(entry, path=path, size=file.size)

    def _url_line(self, text: str) -> SourceObject:
        url, _, rest = text.replace("\t", " ").partition(" ")
        rest = rest.strip()
        word, _, path = rest.partition(" ")
        checksum = ""
        match = CHECKSUM.fullmatch(word)
        if match:
            checksum, rest = self._checksum(match[1] or "", match[2]), path.strip()
        elif word == "-":
            rest = path.strip()
        elif NAMED_CHECKSUM.fullmatch(word):
            raise self._failure("has a checksum of another length than its algorithm's")
        if rest.startswith("#"):
            # A comment behind the URL.
            rest = ""
        if ABSOLUTE.match(url):
            return self._absolute(url, checksum, self._path(rest))
        relative = urllib.parse.unquote(url)
        if url.startswith("/") or "?" in url or ".." in relative.split("/"):
            return self._absolute(self._joined(url), checksum, self._path(rest))
        entry = self._relative(relative, checksum)
        return SourceObject(entry.url, self._path(rest) or entry.path, checksum=checksum)

    def _relative(self, path: str, checksum: str) -> SourceObject:
        """Return the file at a path relative to the list."""
        path = path.removeprefix("./")
        checked = self._path(path)
        if not checked or checked.endswith("/"):
            raise self._failure("names no file")
        url = self._directory + urllib.parse.quote(checked)
        return SourceObject(url, checked[: checked.rfind("/") + 1], checksum=checksum)

    def _absolute(self, url: str, checksum: str, path: str = "") -> SourceObject:
        if not url.isascii():
            url = urllib.parse.quote(url, safe=PRINTABLE)
        try:
            table.check(url)
            table.row_of(url).check_listed(url)
        except ValueError as error:
            raise self._failure(f"has a URL that {error}") from None
        url = urllib.parse.urldefrag(url).url
        if self._keep_directories and not path and url.startswith(self._directory):
            below = url[len(self._directory) :].partition("?")[0]
            path = self._path(urllib.parse.unquote(below[: below.rfind("/") + 1]))
        return SourceObject(url, path, checksum=checksum)

    def _joined(self, url: str) -> str:
        scheme, colon, rest = self._base_url.partition(":")
        if scheme.lower() in urls.WEB:
            return urllib.parse.urljoin(self._base_url, url)
        # urljoin resolves no paths of schemes that it does not know.
        joined = urllib.parse.urljoin(f"https:{rest}", url)
        return scheme + colon + joined.partition(":")[2]

    def _checksum(self, algorithm: str, digest: str) -> str:
        by_length = ALGORITHMS.get(len(digest), "")
        name = FAMILY.sub("sha", algorithm.lower()).replace("-", "").replace("/", "")
        if not by_length or name not in {"", by_length}:
            other = algorithm or UNUSED_ALGORITHMS.get(len(digest), "a checksum")
            raise self._failure(
                f"has {other} with {len(digest)} hex digits, which is not supported: use sha256, "
                "sha512 or md5"
            )
        return f"{by_length}:{digest.lower()}"

    def _path(self, path: str) -> str:
        return source_object.check_path(path, f"line {self.number} of the list")

    def _failure(self, problem: str) -> failure.Failure:
        mark = ";" if ": " in problem else ":"
        return failure.Failure(f"line {self.number} of the list {problem}{mark} {LINE_FORMAT}")


def _unescaped(escaped: str, path: str) -> str:
    """Return a path without the escapes that GNU's tools announce."""
    return re.sub(r"\\[\\nr]", lambda each: ESCAPES[each[0]], path) if escaped else path
