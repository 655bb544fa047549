"""Read Metalink, versions 3 and 4: files with their sizes, checksums and mirrors.

See RFC 5854, and http://www.metalinker.org/Metalink_3.0_Spec.pdf.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator

from ... import protocol
from ..base import failure
from . import table, xml_reader

LAST_PRIORITY = 999_999


@dataclasses.dataclass(frozen=True)
class MetalinkFile:
    """A file in a Metalink.

    Attributes:
        line: The line that it begins in.
        name: Its path, as in the Metalink.
        url: The preferred mirror.
        checksum: `algorithm:digest` of it, or empty.
        size: Its bytes; None if the Metalink does not tell.
    """

    line: int
    name: str
    url: str
    checksum: str
    size: int | None


def files(chunks: Iterable[bytes]) -> Iterator[MetalinkFile]:
    """Yield the files of a Metalink.

    Args:
        chunks: The Metalink's bytes.

    Raises:
        Failure: It is not a Metalink, or a file in it has no supported URL or checksum.
    """
    try:
        for element in xml_reader.elements(chunks, ["file", "html", "HTML"]):
            if element.name != "file":
                raise xml_reader.Malformed("it is a web page")
            yield MetalinkFile(
                line=element.line,
                name=element.attributes.get("name", ""),
                url=_url(element),
                checksum=_checksum(element),
                size=_size(element),
            )
    except xml_reader.Malformed as error:
        raise failure.Failure(
            f"the list begins like XML, but is not a Metalink ({error}): use the link to the list "
            "itself"
        ) from None


def _url(file: xml_reader.Element) -> str:
    found = [*file.all("url"), *file.all("resources", "url")]
    # In version 3 a torrent of the file has a URL among those of the file.
    mirrors = [
        (_rank(each), each.text.strip())
        for each in found
        if each.attributes.get("type", "").lower() != "bittorrent"
    ]
    known = [
        each for each in mirrors if each[1].partition(":")[0].lower() in table.LISTABLE_SCHEMES
    ]
    if not known:
        raise failure.Failure(
            f"line {file.line} of the list has a file without an http, https or s3 URL: add one"
        )
    return min(known, key=lambda each: each[0])[1]


def _rank(url: xml_reader.Element) -> int:
    """Return a mirror's rank, best first: by version 4's priority, or version 3's preference."""
    preference = _number(url.attributes.get("preference", ""))
    if preference is not None:
        return -preference
    priority = _number(url.attributes.get("priority", ""))
    return LAST_PRIORITY if priority is None else priority


def _checksum(file: xml_reader.Element) -> str:
    digests = {
        re.sub("[-/]", "", each.attributes.get("type", "").lower()): each.text.strip().lower()
        for each in (*file.all("hash"), *file.all("verification", "hash"))
    }
    for algorithm, digits in protocol.DIGEST_DIGITS.items():
        if re.fullmatch(rf"[0-9a-f]{{{digits}}}", digests.get(algorithm, "")):
            return f"{algorithm}:{digests[algorithm]}"
    if digests:
        raise failure.Failure(
            f"line {file.line} of the list has a file with unsupported checksums only: add its "
            "sha-256, or remove the others"
        )
    return ""


def _size(file: xml_reader.Element) -> int | None:
    return _number(file.value("size"))


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None
