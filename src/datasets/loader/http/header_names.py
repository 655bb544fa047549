"""Read file names and URLs in the headers of responses, which may be in raw UTF-8."""

from __future__ import annotations

import contextlib
import email.errors
import email.header
import email.utils
import itertools
import urllib.parse
from email import message as email_message

from ..base import urls

# The characters of a URL that stay as they are.
URL_CHARACTERS = "%/:=&?~#+!$,;'@()*[]"


def text(value: str) -> str:
    """Return a header's value as its origin meant it: http.client decodes it as Latin-1."""
    with contextlib.suppress(UnicodeError):
        return value.encode("latin-1").decode()
    return value


def location(value: str) -> str:
    """Return the URL in a Location header, with escapes for what a URL cannot have."""
    raw = value.encode("latin-1", "replace")
    quoted = urllib.parse.quote(raw, safe=URL_CHARACTERS)
    host = urllib.parse.urlsplit(quoted).netloc
    if "%" in host:
        with contextlib.suppress(UnicodeError):
            name = urllib.parse.unquote(host, errors="strict").encode("idna").decode()
            return quoted.replace(host, name, 1)
    return quoted


def attachment(headers: email_message.Message) -> str:
    """Return the file name in the Content-Disposition headers; empty if there is none."""
    found = headers.get_all("Content-Disposition", [])
    # A name that is not in its charset goes after those that are.
    for errors in ("strict", "replace"):
        for value in itertools.chain.from_iterable(map(_parameters, found)):
            with contextlib.suppress(ValueError, LookupError, email.errors.MessageError):
                name = _safe(email.utils.collapse_rfc2231_value(value, errors))
                if name:
                    return name
    return ""


def _parameters(value: str) -> list[str | tuple[str | None, str | None, str]]:
    """Return the values of the file names in a header."""
    parsed = email_message.Message()
    parsed["Content-Disposition"] = text(value).replace("\n", " ")
    try:
        named = [
            value
            for key, value in parsed.get_params([], "Content-Disposition")
            if key.lower() == "filename"
        ]
    except (ValueError, LookupError, email.errors.MessageError):
        return []
    # The one with a charset goes before the one for old clients (RFC 6266).
    return sorted(named, key=lambda value: not isinstance(value, tuple))


def _safe(name: str) -> str:
    name = _decoded(name)
    if "%" in name:
        # Not allowed, but some origins do it, and browsers decode it.
        with contextlib.suppress(UnicodeError):
            name = urllib.parse.unquote(name, errors="strict")
    return urls.safe_name(name)


def _decoded(name: str) -> str:
    """Return a name without the encoded words of mail (RFC 2047), which some origins use."""
    if not name.startswith("=?"):
        return name
    return str(email.header.make_header(email.header.decode_header(name)))


def media_type(headers: email_message.Message) -> str:
    """Return the type of the content, in lower case; empty if the origin does not tell."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def codings(headers: email_message.Message) -> tuple[str, ...]:
    """Return the codings that were applied to the content, in their order."""
    words = headers.get("Content-Encoding", "").lower().split(",")
    return tuple(word.strip() for word in words if word.strip() not in {"", "identity"})
