"""Prepare the action setup: check that starting anew loses nothing that exists."""

from __future__ import annotations

from app import reconcile
from aws import adoption, inventory, teardown


def prepare(context: reconcile.Context) -> None:
    """Cancel an interrupted teardown; afterwards the record of the old resources may go.

    Args:
        context: The inputs.

    Raises:
        problems.Blocked: The option file-system-id names another file system while the recorded
            one exists, or the credentials are of another account.
    """
    standing = inventory.observe(context.aws, context.key)
    if standing.file_system:
        adoption.check_option(context.aws, context.key, standing.file_system)
    teardown.unmark(context.aws, standing)
