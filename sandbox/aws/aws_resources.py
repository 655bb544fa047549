"""The resources of the sandbox's AWS, kept by moto in a separate account, and its clock.

It knows nothing of HTTP; efs_rules and ec2_rules implement the calls.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import os
import pathlib
import secrets
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

# moto takes 0.4 s to load thousands of machine images that the sandbox does not use.
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")

from moto.ec2.models import ec2_backends
from moto.efs.models import efs_backends

if TYPE_CHECKING:
    from moto.ec2.models import EC2Backend
    from moto.ec2.models.instances import Instance
    from moto.efs.models import EFSBackend, FileSystem, MountTarget


Params = Mapping[str, Any]
Answer = tuple[int, dict[str, Any]]

PAGE = 100


class Refused(Exception):  # noqa: N818 - an answer of AWS, not a failure of the sandbox
    """An error response of AWS.

    Args:
        code: The error's code.
        message: The error's text.
        status: The HTTP status.
        extra: More members of the response's body.
    """

    def __init__(
        self, code: str, message: str, status: int = 400, extra: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status, self.extra = code, message, status, extra or {}


@dataclasses.dataclass(frozen=True)
class Latencies:
    """The time that AWS takes, in seconds.

    Attributes:
        file_system_seconds: From the creation of a file system until it is available.
        file_system_update_seconds: From a change of a file system until it is available again.
        file_system_deletion_seconds: From the call that deletes a file system until it is gone.
        mount_target_seconds: From the creation of a mount target until it is available.
        mount_target_deletion_seconds: From the call that deletes a mount target until it is gone.
        interface_release_seconds: From then until its network interface is gone too.
        dns_seconds: From the time a mount target is available until its name resolves.
        mount_timeout_seconds: The timeout of a mount without an answer.
        call_seconds: The duration of each API call.
    """

    file_system_seconds: float = 12
    file_system_update_seconds: float = 10
    file_system_deletion_seconds: float = 8
    mount_target_seconds: float = 84
    mount_target_deletion_seconds: float = 40
    interface_release_seconds: float = 15
    dns_seconds: float = 60
    mount_timeout_seconds: float = 120
    call_seconds: float = 0.08

    @classmethod
    def real(cls) -> Latencies:
        """Return the times measured on AWS."""
        return cls()

    @classmethod
    def none(cls) -> Latencies:
        """Return no latencies: each change is visible to the next call, not in its own answer."""
        return cls.real().scaled(0)

    def scaled(self, factor: float) -> Latencies:
        """Return the same latencies multiplied by a factor."""
        return Latencies(
            **{name: each * factor for name, each in dataclasses.asdict(self).items()}
        )


class Timeline:
    """A clock with scheduled changes, which are applied when the resources are read."""

    def __init__(self) -> None:
        self._skipped = 0.0
        self._settling: float | None = None
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def now(self) -> float:
        """Return the time in seconds; while a change is applied, the time at which it was due."""
        return self._moment() if self._settling is None else self._settling

    def skip(self, seconds: float) -> None:
        """Advance the clock."""
        self._skipped += seconds

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Schedule a change some seconds from now."""
        heapq.heappush(self._events, (self.now() + seconds, next(self._order), event))

    def settle(self) -> None:
        """Apply all changes that are due, each at its own time."""
        while self._events and self._events[0][0] <= self._moment():
            self._settling, _, event = heapq.heappop(self._events)
            event()
        self._settling = None

    def _moment(self) -> float:
        return time.monotonic() + self._skipped


@dataclasses.dataclass(frozen=True)
class Replication:
    """A replication of one file system to another, by their ids and regions."""

    source_id: str
    source_region: str
    destination_id: str
    destination_region: str


class Region:
    """One region of the account: moto's resources, and the data on them that moto lacks.

    Attributes:
        account: The account.
        unsupported_zones: The zones in which no mount target can be created.
        resolvable_at: The time from which the name of each available mount target resolves.
        throughput_changed_at: The time of the last change of each file system's throughput mode.
        backup_status: The status of the backup policy of each file system that ever had one.
    """

    def __init__(self, account: Account, name: str) -> None:
        self.name = name
        self.account = account
        self.account_id = account.id
        self.latencies = account.latencies
        self.timeline = account.timeline
        self.ec2: EC2Backend = ec2_backends[account.id][name]
        self.efs: EFSBackend = efs_backends[account.id][name]
        self.dns_suffix = "amazonaws.com.cn" if name.startswith("cn-") else "amazonaws.com"
        self.partition = "aws-cn" if name.startswith("cn-") else "aws"
        self.unsupported_zones: set[str] = set()
        self.resolvable_at: dict[str, float] = {}
        self.throughput_changed_at: dict[str, float] = {}
        self.backup_status: dict[str, str] = {}
        self._directories = account.directory

    def file_system(self, file_system_id: str) -> FileSystem:
        """Return the file system with this id."""
        try:
            return self.efs.file_systems_by_id[file_system_id]
        except KeyError:
            raise Refused(
                "FileSystemNotFound", f"File system '{file_system_id}' does not exist.", 404
            ) from None

    def mount_target(self, mount_target_id: str) -> MountTarget:
        """Return the mount target with this id."""
        try:
            return self.efs.mount_targets_by_id[mount_target_id]
        except KeyError:
            raise Refused(
                "MountTargetNotFound", f"Mount target '{mount_target_id}' does not exist.", 404
            ) from None

    def default_group(self, vpc_id: str) -> str:
        """Return the id of a VPC's default security group."""
        group = self.ec2.get_default_security_group(vpc_id)
        assert group is not None, f"{vpc_id} has no default group"  # noqa: S101 - made by moto
        return str(group.id)

    def interface(self, mount_target: MountTarget) -> Any:
        """Return the network interface of a mount target."""
        return self.ec2.get_network_interface(str(mount_target.network_interface_id))

    def instance(self, instance_id: str) -> Instance:
        """Return the instance with this id."""
        instance = self.ec2.get_instance_by_id(instance_id)
        if instance is None:
            raise Refused(
                "InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist"
            )
        return instance

    def directory(self, file_system_id: str) -> pathlib.Path:
        """Return the directory of a file system's files; a new one is root's, with mode 0755."""
        path = self._directories / file_system_id
        if not path.exists():
            path.mkdir(mode=0o755)
            path.chmod(0o755)
        return path


class Account:
    """An AWS account; several clouds of one process share nothing.

    Args:
        latencies: The latencies of its resources.
        directory: The directory of the file systems' files.

    Attributes:
        has_efs_role: Whether EFS's service-linked role exists, which the first file system makes.
        replications: The replications of its file systems.
    """

    def __init__(self, latencies: Latencies, directory: pathlib.Path) -> None:
        self.has_efs_role = False
        self.replications: list[Replication] = []
        self.id = f"{secrets.randbelow(10**12):012d}"
        self.latencies = latencies
        self.timeline = Timeline()
        self.directory = directory
        self._regions: dict[str, Region] = {}

    def has_region(self, name: str) -> bool:
        """Return whether AWS has a region with this name."""
        try:
            self.region(name)
        except KeyError:
            return False
        return True

    def region(self, name: str) -> Region:
        """Return the region with this name; raise KeyError if AWS has none."""
        if name not in self._regions:
            self._regions[name] = Region(self, name)
        return self._regions[name]

    def replication(self, file_system_id: str) -> Replication | None:
        """Return the replication that a file system is part of, at either end."""
        for each in self.replications:
            if file_system_id in (each.source_id, each.destination_id):
                return each
        return None

    def discard(self) -> None:
        """Free the memory that moto would keep until the process ends."""
        for backends in (ec2_backends, efs_backends):
            if self.id in backends:
                del backends[self.id]


def require_available(system: FileSystem) -> None:
    """Refuse a call on a file system that is not available."""
    if system.life_cycle_state != "available":
        raise Refused(
            "IncorrectFileSystemLifeCycleState",
            f"File system '{system.file_system_id}' is {system.life_cycle_state}, not available.",
            409,
        )


def entries(params: Params, name: str) -> list[Any]:
    """Return a list parameter, or an empty list if it is missing."""
    return params.get(name) or []


def page(name: str, items: list[dict[str, Any]], params: Params) -> dict[str, Any]:
    """Return one page of a list as EFS does; the marker is the index of its first item."""
    size, marker = str(params.get("MaxItems", PAGE)), str(params.get("Marker", "0"))
    if not size.isdigit() or int(size) < 1 or not marker.isdigit():
        raise Refused("BadRequest", "Invalid MaxItems or Marker.")
    start, end = int(marker), int(marker) + min(int(size), PAGE)
    cut: dict[str, Any] = {name: items[start:end]}
    if start:
        cut["Marker"] = marker
    if end < len(items):
        cut["NextMarker"] = str(end)
    return cut
