"""Run show-mount: return the commands that mount the file system outside the cluster."""

from __future__ import annotations

from collections.abc import Sequence

from aws import session


def instructions(
    file_system_id: str, region: str, *, options: Sequence[str], path: str
) -> dict[str, str]:
    """Return the commands for a host in the same subnets as an action's results; no I/O.

    Args:
        file_system_id: The file system.
        region: Its region.
        options: The NFS mount options.
        path: The directory to mount it at.
    """
    server = session.connect(region, None, {}).file_system_name(file_system_id)
    joined = ",".join(options)
    commands = (
        "sudo apt-get install -y nfs-common",
        f"sudo mkdir -p {path}",
        f"sudo mount -t nfs4 -o {joined} {server}:/ {path}",
    )
    return {
        "commands": "\n".join(commands),
        "fstab": f"{server}:/ {path} nfs4 {joined},_netdev 0 0",
    }
