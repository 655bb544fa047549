"""Check the values of a data set's parameters, and read sizes and durations."""

from __future__ import annotations

import re
from collections.abc import Sequence

from datasets import protocol
from datasets.loader.base import split_names, tasks, urls
from datasets.loader.sources import table
from problems import quote

# Other services than AWS have region names of their own: auto, garage, fr-par.
REGION = re.compile(r"[a-z0-9-]{1,32}")
LARGEST_ID = 2**31
SIZE = re.compile(r"([1-9][0-9]{0,17})(?:([KMGTP])(i?)B?)?", re.IGNORECASE)
DURATION = re.compile(r"([1-9][0-9]{0,5})([mhd]?)")
UNIT_SECONDS = {"m": 60, "h": 3600, "d": 86400, "": 86400}
DEADLINE_DAYS, LONGEST_DEADLINE_DAYS = 7, 366


def validate_name(name: str) -> str:
    """Return the name if it is valid for a data set.

    Raises:
        ValueError: It is not; the message describes a valid one.
    """
    if not tasks.NAME.fullmatch(name):
        raise ValueError(
            f"{quote(name)}: use 1 to 50 lower-case letters, digits and dashes, with a letter or "
            "digit at both ends"
        )
    return name


def validate_source(source: str) -> str:
    """Return the source if it is a URL that the loader can read.

    Raises:
        ValueError: It is not; the message does not repeat it, since it may contain a password.
    """
    table.check(source)
    return source


def validate_source_list(url: str) -> str:
    """Return the URL of a source list, if the loader can read one there.

    Raises:
        ValueError: It cannot; the message does not repeat it, since it may contain a password.
    """
    table.check(url)
    if table.row_of(url).local:
        raise ValueError("is a path of the volume: name the directory of the files as source")
    return url


def validate_base(base: str) -> str:
    """Return the URL of a directory, with a slash at its end.

    Raises:
        ValueError: It is not one; the message does not repeat it.
    """
    table.check(base)
    if urls.scheme(base) not in table.LISTABLE_SCHEMES or "?" in base or "#" in base:
        raise ValueError("is not the URL of a directory: use https://host/directory/")
    return base.rstrip("/") + "/"


def validate_endpoint(endpoint: str) -> str:
    """Return the endpoint, without a slash at its end, if it is the URL of a service.

    Raises:
        ValueError: It is not; the message does not repeat it.
    """
    table.check_service(endpoint)
    return endpoint.rstrip("/")


def validate_region(region: str) -> str:
    """Return the region if its name is valid.

    Raises:
        ValueError: It is not; the message shows a valid one.
    """
    if not REGION.fullmatch(region):
        raise ValueError(f"{quote(region)}: use the region's name, as in us-east-1")
    return region


def are_parts(sources: Sequence[str]) -> bool:
    """Tell whether sources are called like the parts of one split archive."""
    found = [split_names.parse(urls.file_name(source)) for source in sources]
    return len({each and (each.whole, each.mark) for each in found}) == 1 and None not in found


def validate_checksum(checksum: str) -> str:
    """Return the checksum in lower case, if it is valid.

    Raises:
        ValueError: It is not; the message describes a valid one.
    """
    algorithm, _, digest = checksum.lower().partition(":")
    digits = protocol.DIGEST_DIGITS.get(algorithm)
    if digits is None:
        raise ValueError(f"{quote(checksum)}: use sha256:, sha512: or md5: and hex digits")
    if not re.fullmatch(rf"[0-9a-f]{{{digits}}}", digest):
        raise ValueError(f"{quote(checksum)}: {algorithm} has {digits} hex digits")
    return f"{algorithm}:{digest}"


def validate_owner(owner: str) -> str:
    """Return the owner as `uid:gid`; a single number is both.

    Raises:
        ValueError: It is not valid; the message describes a valid one.
    """
    match = re.fullmatch(r"([0-9]{1,10})(?::([0-9]{1,10}))?", owner)
    ids = [int(part) for part in (match[1], match[2] or match[1])] if match else []
    if not ids or max(ids) > LARGEST_ID:
        raise ValueError(f"{quote(owner)}: use uid or uid:gid, numbers from 0 to {LARGEST_ID}")
    return f"{ids[0]}:{ids[1]}"


def validate_mode(mode: str) -> str:
    """Return the mode with four digits, if it is valid for data files.

    YAML parses 0644 as the number 420, so unusual modes are refused instead of guessed.

    Raises:
        ValueError: It is not valid; the message describes a valid one.
    """
    match = re.fullmatch(r"0?([46])([046])([046])", mode)
    if match is None or not match[1] >= match[2] >= match[3]:
        raise ValueError(
            f"{quote(mode)}: use three octal digits without x, as in 644 or 640: the owner may "
            "read, and nobody may do more than the digit before allows"
        )
    return f"0{match[1]}{match[2]}{match[3]}"


def validate_size(size: str) -> str:
    """Return the size if it is a number of bytes with an optional unit.

    Raises:
        ValueError: It is not; the message shows a valid one.
    """
    if not SIZE.fullmatch(size):
        raise ValueError(f"{quote(size)}: use a number of bytes, or one with a unit as in 500G")
    return size


def size_bytes(size: str) -> int:
    """Return the bytes of a valid size; of an empty one, the most that a data set may have."""
    match = SIZE.fullmatch(size)
    if not match:
        return tasks.Limits.most_bytes
    power = "kmgtp".find((match[2] or "-").lower()) + 1
    return int(match[1]) * (1024 if match[3] else 1000) ** power


def validate_duration(duration: str) -> str:
    """Return the duration if it is a number of days, or of another unit that it names.

    Raises:
        ValueError: It is not, or is too long; the message shows a valid one.
    """
    if not DURATION.fullmatch(duration):
        raise ValueError(f"{quote(duration)}: use a number of days, or one as in 12h or 90m")
    if duration_seconds(duration) > LONGEST_DEADLINE_DAYS * 86400:
        raise ValueError(f"{quote(duration)}: use {LONGEST_DEADLINE_DAYS} days at most")
    return duration


def duration_seconds(duration: str) -> int:
    """Return the seconds of a valid duration; of an empty one, the default deadline."""
    match = DURATION.fullmatch(duration)
    return int(match[1]) * UNIT_SECONDS[match[2]] if match else DEADLINE_DAYS * 86400
