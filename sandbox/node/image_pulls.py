"""Tell which images a node can pull, and with which error it cannot pull the others; no I/O."""

from __future__ import annotations

import re

_MISSING = re.compile(r"(^|[/:])missing([:@]|$)")
_NO_HOST = re.compile(r"^([\w.-]+\.invalid)/([\w./-]+)")


def failure(image: str) -> str:
    """Return the error of pulling an image, in the words of containerd and the kubelet.

    Those named or tagged `missing` do not exist, and no registry's name ends with .invalid.

    Args:
        image: The image.

    Returns:
        The error; "" for an image that every node has.
    """
    tagged = image if re.search(r":[^/]+$", image) else f"{image}:latest"
    failed = (
        f'failed to pull and unpack image "{tagged}": failed to resolve reference "{tagged}": '
    )
    if match := _NO_HOST.search(image):
        host, name = match.groups()
        tag = tagged.rpartition(":")[2]
        asked = f'failed to do request: Head "https://{host}/v2/{name}/manifests/{tag}"'
        return f"{failed}{asked}: dial tcp: lookup {host}: no such host"
    if _MISSING.search(image):
        # The kubelet leaves out the code of gRPC only where it is Unknown.
        return f"rpc error: code = NotFound desc = {failed}{tagged}: not found"
    return ""
