"""Which URLs are read, and how they are shown: without credentials, and without their query.

A query is never shown: it is where signed links keep what opens them.
"""

from __future__ import annotations

import posixpath
import re
import urllib.parse

SCHEMES = ("https", "http")


def check(url: str) -> None:
    """Refuses a URL that is not plain http(s), or that carries credentials.

    Raises:
        ValueError: What is wrong with it, without repeating it.
    """
    if not re.fullmatch(r"[!-~]*", url):
        raise ValueError("has blanks or letters beyond ASCII: write them as %20 and the like")
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError:
        raise ValueError("is not a URL: use https://host/path") from None
    if "@" in parts.netloc:
        raise ValueError(
            "has credentials in its URL, where all can read them: use a link that needs none, "
            "such as a signed one"
        )
    if parts.scheme not in SCHEMES:
        raise ValueError("is not an http or https URL: use https://host/path")
    if not host:
        raise ValueError("names no host: use https://host/path")


def shown(url: str) -> str:
    """The URL without what may be secret in it."""
    parts = urllib.parse.urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{netloc}{parts.path}" + ("?..." if parts.query else "")


def file_name(url: str) -> str:
    """The last part of the URL's path; empty where there is none."""
    return safe_name(urllib.parse.unquote(urllib.parse.urlsplit(url).path))


def safe_name(path: str) -> str:
    """The last part of a path as the name of one file; empty where it can not be one."""
    name = posixpath.basename(path.replace("\\", "/")).strip()
    return name if name.isprintable() and name not in {".", ".."} else ""
