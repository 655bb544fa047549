"""Tell what is no problem but worth knowing: machines that need not be served, slow mounts."""

from __future__ import annotations

from collections.abc import Collection

import problems
from cluster import probe

# AWS advises 15 MiB; Linux reads 128 KiB ahead on NFS since 5.4.
READ_AHEAD_KIB = 15360
# They set it on a worker, for the mounts to come: nfs-utils does it since 2.6.2, udev before.
NFSRAHEAD = ("printf '[nfsrahead]\\nnfs4=15360\\n' | sudo tee /etc/nfs.conf.d/read-ahead.conf",)
UDEV = (
    "sudo tee /etc/udev/rules.d/99-nfs-read-ahead.rules <<'EOF'",
    'SUBSYSTEM=="bdi", ACTION=="add", PROGRAM="/usr/bin/awk -v bdi=$kernel '
    "'BEGIN{ret=1} {if ($$4 == bdi) {ret=0}} END{exit ret}' /proc/fs/nfsfs/volumes\", "
    'ATTR{read_ahead_kb}="15360"',
    "EOF",
    "sudo udevadm control --reload",
)
_MOST_NAMED = 20


def find(proof: probe.ProbeOutcome, unplaced: Collection[str]) -> dict[str, str]:
    """Return what show-mount tells besides the commands, by the names of its results.

    Args:
        proof: The results of the probes.
        unplaced: The addresses of machines that are in no subnet of the VPC.
    """
    found: dict[str, str] = {}
    unserved = [f"{address}: in no subnet of the VPC" for address in sorted(unplaced)]
    unserved += [f"{node}: {reason}" for node, reason in sorted(proof.unserved.items())]
    if unserved:
        found["not-served"] = "\n".join(problems.list_some(unserved, _MOST_NAMED, "and {} more"))
    slow = {node: kib for node, kib in proof.read_ahead_kib.items() if kib < READ_AHEAD_KIB}
    if slow:
        least = min(slow.values())
        lines = (
            f"{len(slow)} of {len(proof.read_ahead_kib)} nodes read {least} KiB ahead, AWS advises"
            f" {READ_AHEAD_KIB} for large files. On each worker whose nfs-common is 2.6.2 or newer"
            " (Ubuntu 24.04):",
            *NFSRAHEAD,
            "and on those with an older one (Ubuntu 22.04):",
            *UDEV,
            "It holds for what is mounted afterwards.",
        )
        found["read-ahead"] = "\n".join(lines)
    return found
