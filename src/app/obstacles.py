"""Find in the cluster what speaks against deleting the file system; change nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cluster import file_system_users

if TYPE_CHECKING:
    from cluster import client

# A message names only some.
MOST_NAMED = 5


def find_foreign_users(
    cluster: client.Cluster, file_system_id: str, addresses: Iterable[str] = ()
) -> list[str]:
    """Return the volumes and pods that use the file system, and not through volumes of ours.

    Args:
        cluster: The cluster.
        file_system_id: The file system.
        addresses: The addresses of its mount targets.

    Returns:
        Their titles, as in "volume theirs (claim research/data)" and "pod research/reader".
    """
    return file_system_users.observe(cluster, file_system_id, addresses).foreign()


def name_some(users: list[str]) -> str:
    """Return users as a message names them: the first ones, and the number of others.

    Args:
        users: Their titles.
    """
    more = len(users) - MOST_NAMED
    return ", ".join(users[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
