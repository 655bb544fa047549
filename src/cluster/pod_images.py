"""Tell the causes for which an image cannot be pulled apart, each with its fix; no I/O."""

from __future__ import annotations

import dataclasses
import re

# The kubelet's reasons of a container that waits for its image.
FAILURES = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
)

_LIMIT = "the registry's rate limit is reached: {login}, or a mirror by {image}"
_DISK = "{node} has no disk space for the image: free some there"
_UNREACHED = "{node} does not reach the image's registry: check its network, or {image}"
_PROXIED = "{node}'s proxy wants a login for the image's registry: check its proxy, or {image}"
_EXPIRED = (
    "the registry's certificate is out of date, or the clock of {node}: renew it, or {image}"
)
_UNTRUSTED = "{node} does not trust the registry's certificate: add its CA there, or {image}"
_LOGIN = "the registry wants a login for this image, or has none of its name: {login}, or {image}"
_PLATFORM = "the image is not made for the processor of {node}: {image}"
_MISSING = "there is no such image: {image}"
_NAME = "the image's name is malformed: {image}"
_SHORT = "the image's name has no registry, and {node} knows no default: {image}"
_UNSIGNED = "{node} does not accept the image's signature: {image}"
_BUSY = "{node} pulls too many images at once: it tries again"
_OTHER = "the image cannot be pulled: {image}"

# Words of registries, container runtimes and kubelets, in the order in which to look for them: a
# part of theirs in lower case, our message, and whether the user has to act.
_CAUSES = (
    ("pull qps exceeded", _BUSY, False),
    ("toomanyrequests", _LIMIT, True),
    ("too many requests", _LIMIT, True),
    ("rate limit", _LIMIT, True),
    ("ratelimit", _LIMIT, True),
    ("no space left on device", _DISK, True),
    ("disk quota exceeded", _DISK, True),
    ("quota exceeded", _LIMIT, True),
    ("proxy authentication required", _PROXIED, True),
    ("proxyconnect", _UNREACHED, True),
    ("no such host", _UNREACHED, True),
    ("server misbehaving", _UNREACHED, True),
    ("name resolution", _UNREACHED, True),
    ("timeout", _UNREACHED, True),
    ("timed out", _UNREACHED, True),
    ("deadline exceeded", _UNREACHED, True),
    ("connection refused", _UNREACHED, True),
    ("connection reset", _UNREACHED, True),
    ("unreachable", _UNREACHED, True),
    ("no route to host", _UNREACHED, True),
    ("gave http response to https client", _UNREACHED, True),
    ("registryunavailable", _UNREACHED, True),
    ("registry is unavailable", _UNREACHED, True),
    ("bad gateway", _UNREACHED, True),
    ("gateway time-out", _UNREACHED, True),
    ("unexpected media type text/html", _UNREACHED, True),
    ("service unavailable", _UNREACHED, True),
    ("internal server error", _UNREACHED, True),
    ("unexpected eof", _UNREACHED, True),
    (": eof", _UNREACHED, True),
    ("has expired or is not yet valid", _EXPIRED, True),
    ("x509:", _UNTRUSTED, True),
    ("certificate", _UNTRUSTED, True),
    ("no match for platform", _PLATFORM, True),
    ("no matching manifest", _PLATFORM, True),
    ("no image found in manifest list", _PLATFORM, True),
    ("no image found in image index", _PLATFORM, True),
    ("cannot be used on this platform", _PLATFORM, True),
    ("short-name", _SHORT, True),
    ("short name", _SHORT, True),
    ("connect: permission denied", _UNREACHED, True),
    ("permission denied", _OTHER, True),
    ("getting credentials", _LOGIN, True),
    ("unauthorized", _LOGIN, True),
    ("forbidden", _LOGIN, True),
    ("denied", _LOGIN, True),
    ("authorization failed", _LOGIN, True),
    ("authentication", _LOGIN, True),
    ("no basic auth credentials", _LOGIN, True),
    ("signature", _UNSIGNED, True),
    ("invalid reference format", _NAME, True),
    ("invalidimagename", _NAME, True),
    ("couldn't parse image", _NAME, True),
    ("manifest unknown", _MISSING, True),
    ("not found", _MISSING, True),
    ("does not exist", _MISSING, True),
    ("name unknown", _MISSING, True),
    ("", _OTHER, True),
)
# What comes before the cause in the words of kubelet, containerd and CRI-O.
_PREAMBLE = re.compile(
    r'(Back-off pulling image "[^"]*"(: )?|Failed to (pull|inspect) image "[^"]*": |'
    r"ErrImagePull: |rpc error: code = \w+ desc = |Error response from daemon: |"
    r"failed to (pull and unpack image|resolve reference|resolve image|pull image|copy|do request)"
    r'( "[^"]*")?: |(initializing source|pinging container registry) \S+: |unable to pull image: )'
)


@dataclasses.dataclass(frozen=True)
class ImageFix:
    """The commands that give a container another image, or the login for its own.

    Attributes:
        image: The one for another image.
        login: The one for the login.
    """

    image: str
    login: str


def explain(reason: str, message: str, image: str, node: str, fix: ImageFix) -> tuple[str, bool]:
    """Return the cause with its fix, then the registry's words; and whether the user has to act.

    Args:
        reason: The kubelet's reason.
        message: Its message, and those of its events.
        image: The image.
        node: The node.
        fix: The commands for the fix.
    """
    said = strip_preamble(message)
    searched = f"{reason} {_without_names(said, image)}".lower()
    words = said if image in said else ": ".join(filter(None, (image, said or reason)))
    for theirs, ours, blocked in _CAUSES:
        if theirs in searched:
            sentence = ours.format(node=node, image=fix.image, login=fix.login)
            return f"{sentence} ({words})", blocked
    raise AssertionError(reason)


def _without_names(said: str, image: str) -> str:
    """Return the words without names, which may be anything: python-timeout, certificates.corp."""
    path = image.split("/")
    tagged = ["/".join(path[start:]) for start in range(len(path))]
    # A name of one word without its tag may be a word of the cause.
    names = [re.split("[@:](?!.*/)", name)[0] for name in tagged[:-1]]
    for name in (*tagged, *names):
        said = said.replace(name, "")
    return re.sub(r'"[^"]*"|\w+://\S+', "", said)


def strip_preamble(message: str) -> str:
    """Return a message of a failed pull from its cause on, on one line.

    Args:
        message: The message.
    """
    text = " ".join(message.split())
    while (match := _PREAMBLE.match(text)) and match.end():
        text = text[match.end() :]
    return text
