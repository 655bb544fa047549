"""Parse the header of a user's secret that is sent to web servers: `Name: value`."""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
VALUE = re.compile(r"[!-~](?:[ -~\t]{0,8190}[!-~])?")
# Headers that would change what is requested, or how it is sent.
RESERVED = {
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "if-range",
    "range",
    "trailer",
    "transfer-encoding",
    "upgrade",
}


def parse(text: str) -> tuple[str, str]:
    """Return the name and the value of a header.

    Raises:
        ValueError: It is none; the text does not repeat it.
    """
    name, _, value = text.partition(":")
    name, value = name.strip(), value.strip()
    if not NAME.fullmatch(name) or not VALUE.fullmatch(value):
        raise ValueError("is not `Name: value` in one line of ASCII: write it as in HTTP")
    if name.lower() in RESERVED:
        raise ValueError(f"is {name}, which the loader itself sends: give the header of a login")
    return name, value
