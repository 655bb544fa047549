"""Read elements of XML as it streams by; refuse XML that could fill the memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from xml.parsers import expat

# The limit of an element with its content, and of a tag, which the parser reads as a whole.
MOST_BYTES = 2**20
MOST_DEPTH = 64
CHUNK_BYTES = 2**16


class Malformed(ValueError):  # noqa: N818 - what it is
    """Malformed XML, or XML that is not supported."""


@dataclasses.dataclass
class Element:
    """An element with its content.

    Attributes:
        name: Its name, without a namespace.
        line: The line that it begins in.
        attributes: Its attributes.
        text: Its own text.
        parts: The elements in it.
    """

    name: str
    line: int
    attributes: Mapping[str, str]
    text: str = ""
    parts: list[Element] = dataclasses.field(default_factory=list["Element"])

    def all(self, *path: str) -> list[Element]:
        """Return the elements at a path in this one."""
        matches: list[Element] = [self]
        for name in path:
            matches = [part for each in matches for part in each.parts if part.name == name]
        return matches

    def value(self, *path: str) -> str:
        """Return the stripped text of the first element at a path in this one."""
        return next((each.text.strip() for each in self.all(*path)), "")


def elements(
    chunks: Iterable[bytes], names: Iterable[str], most_bytes: int = MOST_BYTES
) -> Iterator[Element]:
    """Yield the outermost elements of some names, each when it is complete.

    Args:
        chunks: The XML.
        names: The names, without namespaces.
        most_bytes: The most bytes of one of them with its content.

    Raises:
        Malformed: It is not XML, declares a document type, or has an element that is too large.
    """
    reader = _Reader(frozenset(names), most_bytes)
    for chunk in chunks:
        for at in range(0, len(chunk), CHUNK_BYTES):
            yield from reader.feed(chunk[at : at + CHUNK_BYTES])
    yield from reader.feed(b"", last=True)


class _Reader:
    def __init__(self, names: frozenset[str], most_bytes: int) -> None:
        self._names = names
        self._most_bytes = most_bytes
        self._open: list[Element] = []
        self._texts: list[list[str]] = []
        self._done: list[Element] = []
        self._size = self._depth = self._fed = 0
        self._parser = parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text

    def feed(self, data: bytes, *, last: bool = False) -> list[Element]:
        try:
            self._parser.Parse(data, last)
        except expat.ExpatError as error:
            raise Malformed(f"line {error.lineno} is not XML") from None
        self._fed += len(data)
        if self._fed - self._parser.CurrentByteIndex > MOST_BYTES:
            raise Malformed(f"a tag has more than {MOST_BYTES} bytes")
        done, self._done = self._done, []
        return done

    def _doctype(self, *_: object) -> None:
        raise Malformed("it declares a document type")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(" ")[2]
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise Malformed(f"elements are nested more than {MOST_DEPTH} deep")
        if not self._open and name not in self._names:
            return
        element = Element(name, self._parser.CurrentLineNumber, attributes)
        if self._open:
            self._open[-1].parts.append(element)
        self._open.append(element)
        self._texts.append([])
        self._grow(100 + sum(len(key) + len(value) for key, value in attributes.items()))

    def _text(self, text: str) -> None:
        if self._open:
            # Joined at the end: a text may come in very many parts.
            self._texts[-1].append(text)
            self._grow(len(text))

    def _end(self, _: str) -> None:
        self._depth -= 1
        if not self._open:
            return
        ended = self._open.pop()
        ended.text = "".join(self._texts.pop())
        if not self._open:
            self._done.append(ended)
            self._size = 0

    def _grow(self, count: int) -> None:
        self._size += count
        if self._size > self._most_bytes:
            raise Malformed(f"an element has more than {self._most_bytes} bytes")
