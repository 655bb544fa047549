"""URLs of paths on the volume itself: volume:/path, from the volume's root."""

from __future__ import annotations

from ..base import urls
from . import source_object

# The loader's own directory: what is in it is a data set already, or part of one.
DATASETS = "datasets"
# The charm's own directory, in which claims of others have theirs.
CHARM = ".aws-efs"
FORM = "volume:/path"


def path_of(url: str) -> str:
    """Return the path from the volume's root that a volume URL names, without slashes around it.

    Raises:
        ValueError: It names none that can be read.
    """
    parts = urls.split_plain(url)
    whole = urls.unquote(parts.path)
    if parts.netloc or not whole.startswith("/"):
        raise ValueError(f"names no path from the volume's root: use {FORM}, with one slash")
    path = whole[1:].removesuffix("/")
    if not path:
        raise ValueError(
            "is the whole volume: name a directory or a file on it, as in volume:/inbox/photos"
        )
    problem = source_object.path_problem(path)
    if problem:
        raise ValueError(f"names no path of the volume ({problem}): use {FORM}")
    first = path.partition("/")[0]
    if first == CHARM:
        raise ValueError(f"is in /{CHARM}, which is the charm's: copy it elsewhere by a pod first")
    if first == DATASETS:
        raise ValueError(
            f"is in /{DATASETS}, which has the data sets: use one where it is, or the source that "
            "it came from"
        )
    return path


def check_listed(_url: str) -> None:
    """Refuse a URL in a source list: whoever writes a list must not choose a path of the volume.

    Raises:
        ValueError: Always.
    """
    raise ValueError("is a path of the volume: give it as a source of its own")
