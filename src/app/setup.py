"""Prepare the action setup: check that starting anew loses nothing that exists."""

from __future__ import annotations

import problems
from app import reconcile
from aws import adoption, inventory, teardown


def prepare(context: reconcile.Context) -> None:
    """Cancel an interrupted teardown; afterwards the record of the old resources may go.

    Args:
        context: The inputs.

    Raises:
        problems.Blocked: The option file-system-id names another file system while the recorded
            one exists, another one has its creation token, or the credentials are of another
            account.
    """
    standing = inventory.observe(context.aws, context.key)
    # Without a record of the lost one, that one would be taken for the application's own.
    if standing.unrecorded and not context.key.option:
        raise problems.Blocked(
            f"{standing.unrecorded.id} has the creation token of "
            f"{context.key.record.file_system_id} but is another file system: delete it, or set "
            "file-system-id to it and run setup again"
        )
    if standing.file_system:
        adoption.check_option(context.aws, context.key, standing.file_system)
    teardown.unmark(context.aws, standing)
