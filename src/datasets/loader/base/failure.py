"""What ends a load: one sentence that says what is so and what to do, and carries no secret."""

from __future__ import annotations

import errno
import os

LONGEST_NAME_SHOWN = 120


class Failure(Exception):  # noqa: N818 - the word that the user meets
    """The load can not be done; the text is for the user.

    Attributes:
        resumable: Whether another try goes on with what was done; else it is removed.
        soon: Whether another pod may do it at once.
    """

    resumable = soon = False


class Later(Failure):
    """It may be done later; what has been done is kept for that.

    Args:
        sentence: For the user.
        soon: Whether another pod may do it at once.
    """

    resumable = True

    def __init__(self, sentence: str, *, soon: bool = False) -> None:
        super().__init__(sentence)
        self.soon = soon


class StartOver(Exception):  # noqa: N818 - not an error, an order
    """What was read so far can not be gone on with; all of it has to be read again.

    Args:
        reason: What happened, as the end of a sentence about the source.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def stopped() -> Later:
    """What was under way when a load ended is for nobody."""
    return Later("the load was stopped before its end")


def from_os(error: OSError, where: str = "") -> Failure:
    """What the volume answered, as a failure.

    Only for calls on the volume: the texts of network errors can carry a URL.

    Args:
        error: The answer.
        where: The path in the data set, where it is one.
    """
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    place = quote(where or os.fsdecode(error.filename or "the volume"))
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        # What there is is removed: others need the room, too.
        return Failure(f"no room is left on the volume ({reason}): free some, then try again")
    if error.errno in {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}:
        return Failure(
            f"the volume does not take the name {place} ({reason}): a part of a path has at most "
            "255 bytes, so shorten it in the source"
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return Later(
            f"the loader may not write {place} ({reason}): check the options root-mode and "
            "mount-options, and who owns the directory"
        )
    return Later(
        f"the volume failed at {place} ({reason}): try again; if that does not "
        "help, look at the file system in AWS",
        soon=True,
    )


def quote(name: str) -> str:
    """A name out of an archive, quoted and short enough for a sentence."""
    if len(name) > LONGEST_NAME_SHOWN:
        name = f"{name[: LONGEST_NAME_SHOWN // 2]}...{name[-LONGEST_NAME_SHOWN // 2 :]}"
    return ascii(name) if not name.isprintable() else f"'{name}'"
