"""The cause that keeps a pod from running, as a message for the user; no I/O."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Cause:
    """The cause that keeps a pod from running.

    Attributes:
        sentence: The message: a fact, then what to do.
        blocked: Whether the user has to act; if not, it may resolve itself.
        stamp: An identity of the occurrence, another one for each: the cause of an old event may
            be fixed meanwhile. "" for a cause that was seen as it is now.
        about_node: The sentence without its subject, the node; "" where it is about no node.
        unscheduled: Whether the scheduler has found no node for it.
    """

    sentence: str
    blocked: bool
    stamp: str = ""
    about_node: str = ""
    unscheduled: bool = False
