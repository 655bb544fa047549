"""Failures of a load: one sentence each, with what is so and what to do, without secrets."""

from __future__ import annotations

import errno
import os

LONGEST_NAME_SHOWN = 120


class Failure(Exception):  # noqa: N818 - the word that the user meets
    """A failure of a load, with a text for the user.

    Attributes:
        resumable: Whether another attempt can continue what was done; otherwise it is removed.
        soon: Whether another pod may try at once.
    """

    resumable = soon = False


class Later(Failure):
    """A failure that a later attempt may not have; what was done is kept for it.

    Args:
        sentence: The text for the user.
        soon: Whether another pod may try at once.
    """

    resumable = True

    def __init__(self, sentence: str, *, soon: bool = False) -> None:
        super().__init__(sentence)
        self.soon = soon


class StartOver(Exception):  # noqa: N818 - not an error, an instruction
    """An instruction to read everything again: what was read so far cannot be continued.

    Args:
        reason: What happened, as the end of a sentence about the source.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def stopped() -> Later:
    """Return the failure of work that was cancelled because the load ended."""
    return Later("the load was stopped before it finished")


def from_os(error: OSError, path: str = "") -> Failure:
    """Return an error of the volume as a failure.

    It is only for calls on the volume: the texts of network errors can contain a URL.

    Args:
        error: The error.
        path: The path in the data set, if the error is about one.
    """
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    name = quote(path or os.fsdecode(error.filename or "the volume"))
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        # The load's files are removed: others need the space, too.
        return Failure(f"no space is left on the volume ({reason}): free some, then try again")
    if error.errno in {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}:
        return Failure(
            f"the volume does not accept the name {name} ({reason}): a part of a path has at most "
            "255 bytes, so shorten it in the source"
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return Later(
            f"the loader may not write {name} ({reason}): check the options root-mode and "
            "mount-options, and who owns the directory"
        )
    return Later(
        f"the volume failed at {name} ({reason}): try again; if that does not "
        "help, look at the file system in AWS",
        soon=True,
    )


def quote(name: str) -> str:
    """Return a name quoted, and short enough for a sentence."""
    if len(name) > LONGEST_NAME_SHOWN:
        name = f"{name[: LONGEST_NAME_SHOWN // 2]}...{name[-LONGEST_NAME_SHOWN // 2 :]}"
    return ascii(name) if not name.isprintable() else f"'{name}'"
