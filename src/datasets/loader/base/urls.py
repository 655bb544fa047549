"""Check URLs in ways that are the same for all schemes, and redact them for messages.

A query is never shown: signed links have their signature in it.
"""

from __future__ import annotations

import posixpath
import re
import urllib.parse

from . import file_names

WEB = ("https", "http")
# The scheme of paths on the volume itself: volume:/path.
VOLUME = "volume"
# Older versions of Python take very long to encode longer ones (CVE-2022-45061).
LONGEST_HOST = 253
LOOPBACK = ("127.0.0.1", "::1", "localhost")
WEB_FORM = "https://host/path"
# The parameters of a query that sign a URL but do not identify the object: they change each time
# that a URL is signed (S3, Cloudflare R2, CloudFront; Google; Azure; and custom ones).
SIGNATURE = re.compile(
    r"(x-amz-.*|x-goog-.*|awsaccesskeyid|googleaccessid|key-pair-id|policy|signature|expires"
    r"|s[eiprtv]|sig|sk[estv]|skoid|sktid|token|access_token|auth)",
    re.IGNORECASE,
)

# Control characters, and bytes that are no text; blanks of all alphabets are letters of names.
UNSAFE = re.compile(r"[\0-\x1f\x7f-\x9f\ud800-\udfff]")
# What Java's servers add to a path: it is another one for each visitor.
SESSION = re.compile(r";jsessionid=[^/]*$", re.IGNORECASE)
# The parameters of a query that may have the name of a file.
NAME_PARAMETERS = {"file", "filename", "file_name", "fname", "name", "path", "f", "download"}


def split(url: str, forms: str = WEB_FORM) -> urllib.parse.SplitResult:
    """Return the parts of a URL that carries no credentials.

    Args:
        url: The URL.
        forms: The forms of URL to use instead, for the refusal.

    Raises:
        ValueError: It is wrong; the text does not repeat it.
    """
    if not re.fullmatch(r"[!-~]*", url):
        raise ValueError("has blanks or letters beyond ASCII: write them as %20 and the like")
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
        if parts.scheme in WEB:
            if host and len(host) > LONGEST_HOST:
                raise ValueError
            (host or "").encode("idna")
    except ValueError:
        raise ValueError(f"is not a URL: use {forms}") from None
    if "@" in parts.netloc:
        raise ValueError(
            "has credentials in its URL, where all can read them: use a link that needs none, "
            "such as a signed one"
        )
    return parts


def check_web(url: str, forms: str = WEB_FORM) -> None:
    """Refuse a URL that is not http or https, names no host or carries credentials.

    Args:
        url: The URL.
        forms: The forms of URL to use instead, for the refusal.

    Raises:
        ValueError: It is wrong; the text does not repeat it.
    """
    parts = split(url, forms)
    if parts.scheme not in WEB:
        raise ValueError("is not an http or https URL")
    if not parts.hostname:
        raise ValueError(f"names no host: use {forms}")


def is_private_way(url: str) -> bool:
    """Tell whether nobody else reads what is sent to a URL: https, or on this machine."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)


def scheme(url: str) -> str:
    """Return the scheme of a URL, in lower case."""
    return urllib.parse.urlsplit(url).scheme


def split_plain(url: str) -> urllib.parse.SplitResult:
    """Return the parts of a URL that has no query and no fragment.

    Raises:
        ValueError: It has one.
    """
    parts = urllib.parse.urlsplit(url)
    if "?" in url or "#" in url:
        raise ValueError(
            "has a query or a fragment, which it cannot have: write ? and # as %3F "
            "and %23 where they belong to a name"
        )
    return parts


def unquote(text: str) -> str:
    """Return a path without its %-escapes.

    Raises:
        ValueError: It cannot name a file.
    """
    try:
        path = urllib.parse.unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("has a name that is not UTF-8: rename it at its origin") from None
    if "\0" in path:
        raise ValueError("has a name with a zero byte, which no file can have")
    return path


def host_of(url: str) -> str:
    """Return the host of a URL, with its port if it has one."""
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2]


def site_of(url: str) -> tuple[str, str]:
    """Return what two URLs of one host have in common, over which the same may be sent."""
    return scheme(url), host_of(url)


def redact(url: str) -> str:
    """Return a URL without what may be secret in it."""
    parts = urllib.parse.urlsplit(url)
    slashes = "" if parts.scheme == VOLUME and not parts.netloc else "//"
    shown = f"{parts.scheme}:{slashes}{host_of(url)}{parts.path}"
    return shown + ("?..." if parts.query else "")


def redact_redirected(url: str, target: str) -> str:
    """Return a URL without what may be secret in it, and the host that it was redirected to.

    The path of such a target may be as good as a signature: services make one for each download.
    """
    return f"{redact(url)} (redirected to {host_of(target)})"


def unsigned(url: str) -> str:
    """Return a URL without its signature: it stays the same each time that the URL is signed."""
    parts = urllib.parse.urlsplit(url)
    kept = [
        each for each in parts.query.split("&") if not SIGNATURE.fullmatch(each.partition("=")[0])
    ]
    return parts._replace(query="&".join(kept)).geturl()


def file_name(url: str) -> str:
    """Return the last part of a URL's path; empty if there is none.

    Where that is a program, as in `get.php?file=x.zip`, its parameter may have the name.
    """
    parts = urllib.parse.urlsplit(url)
    name = safe_name(urllib.parse.unquote(SESSION.sub("", parts.path)))
    if parts.query and not file_names.is_file_name(name):
        for key, value in urllib.parse.parse_qsl(parts.query):
            if key.lower() in NAME_PARAMETERS and file_names.is_file_name(safe_name(value)):
                return safe_name(value)
    return name


def safe_name(path: str) -> str:
    """Return the last part of a path as a file name; empty if it cannot be one."""
    name = posixpath.basename(path.replace("\\", "/")).strip(" \t\r\n")
    return "" if UNSAFE.search(name) or name in {".", ".."} else name
