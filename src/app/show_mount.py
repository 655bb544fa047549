"""Run show-mount: return the commands that mount the file system outside the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws import session


def instructions(
    file_system_id: str,
    region: str,
    *,
    options: Sequence[str],
    path: str,
    targets: Mapping[str, str],
) -> dict[str, str]:
    """Return the commands for a host in the same subnets as an action's results; no I/O.

    Args:
        file_system_id: The file system.
        region: Its region.
        options: The NFS mount options.
        path: The directory to mount it at.
        targets: The address of each zone's mount target, where hosts cannot resolve the name.
    """
    name = session.connect(region, None, {}).file_system_name(file_system_id)
    joined = ",".join(options)
    # A host mounts the mount target of its own zone.
    servers = {f"# in {zone}": address for zone, address in sorted(targets.items())} or {"": name}
    commands = ["sudo apt-get install -y nfs-common", f"sudo mkdir -p {path}"]
    fstab: list[str] = []
    for where, server in servers.items():
        commands += [where, f"sudo mount -t nfs4 -o {joined} {server}:/ {path}"]
        fstab += [where, f"{server}:/ {path} nfs4 {joined},_netdev 0 0"]
    return {
        "commands": "\n".join(filter(None, commands)),
        "fstab": "\n".join(filter(None, fstab)),
    }
