"""Teardown: the cluster's half, then AWS's; only what is ours, resumable at any point."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import problems
from app.datasets import index
from aws import file_system, teardown
from cluster.volumes import volume_removal

if TYPE_CHECKING:
    import action_params
    import identity
    from aws import session
    from cluster import client


@dataclasses.dataclass(frozen=True)
class Removal:
    """What teardown works on.

    Attributes:
        aws: The region.
        owner: Whose resources go.
        cluster: The cluster, or None where it is out of reach.
        unreachable: Why it is out of reach.
        stays: What stays in a cluster that is out of reach, as far as the settings tell.
    """

    aws: session.Aws
    owner: identity.Owner
    cluster: client.Cluster | None
    unreachable: problems.Problem
    stays: Sequence[str]

    def run(
        self,
        params: action_params.TeardownParams,
        say: Callable[[str], None],
        timeout_seconds: float,
    ) -> list[str]:
        """Delete it all, or only tell what would go.

        Args:
            params: What the user said.
            say: Told of each thing as it goes.
            timeout_seconds: How long to wait for pods, claims and AWS together.

        Returns:
            What was said.

        Raises:
            problems.Blocked: It is not confirmed, or there is no cluster; nothing was changed.
            problems.Waiting: Something is still in use or going: run again, it goes on from there.
        """
        found = file_system.find(self.aws, self.owner)
        # The cluster's half is made after the first mount target, and goes before the last.
        served = bool(found and file_system.list_mount_targets(self.aws, found.id))
        if not params.dry_run:
            if found and params.confirm != found.id:
                raise problems.Blocked(self._refusal(found.id, found.size_bytes))
            if served and self.cluster is None and not params.force:
                raise problems.Blocked(
                    f"the cluster is out of reach ({self.unreachable.message}): relate it again, "
                    "or force=true leaves what is in it"
                )
            teardown.mark(self.aws, self.owner)
        deadline = time.monotonic() + timeout_seconds
        lines: list[str] = []
        if self.cluster is not None:
            lines += volume_removal.remove(
                self.cluster, say=say, timeout_seconds=timeout_seconds, dry_run=params.dry_run
            )
        elif served:
            lines += [f"stays in the cluster: {thing}" for thing in self.stays]
            for line in lines:
                say(line)
        return lines + teardown.teardown(
            self.aws,
            self.owner,
            say=say,
            timeout_seconds=deadline - time.monotonic(),
            dry_run=params.dry_run,
        )

    def _refusal(self, file_system_id: str, size_bytes: int) -> str:
        """What would be lost. Pods write too, so the size counts, not only our data sets."""
        names = sorted(self._data_sets())
        what = f"{size_bytes:,} bytes as AWS last metered"
        if names:
            what += f", data sets {', '.join(names)}"
        return (
            f"nothing was deleted: this deletes {file_system_id} with all its data ({what}) for "
            f"good; if that is meant, run it with confirm={file_system_id}"
        )

    def _data_sets(self) -> Iterator[str]:
        """Those that are there, or are being loaded."""
        known = index.read(self.cluster) if self.cluster is not None else {}
        return (name for name, each in known.items() if each.version or not each.ended)
