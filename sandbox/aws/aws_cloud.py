"""The sandbox's AWS: one account over HTTP on loopback, that says no where AWS does.

It is moto's networks, instances and file systems with AWS's rules on top. What exists stands in
aws_resources, what a call does in efs_rules and ec2_rules, what goes wrong on purpose in
aws_faults; this module is what a test holds in its hand.
"""

from __future__ import annotations

import contextlib
import ipaddress
import pathlib
import secrets
import tempfile
import threading
import types
from collections.abc import Generator, Sequence

import identity
from sandbox.aws import (
    aws_api,
    aws_faults,
    aws_resources,
    aws_views,
    instance_metadata,
    juju_machines,
    nfs_mount,
)
from sandbox.base import faulty_http_server

Call = aws_faults.Call
FileSystem = aws_views.FileSystem
Hung = juju_machines.Hung
Instance = juju_machines.Instance
Latencies = aws_resources.Latencies
MountError = nfs_mount.MountError
MountTarget = aws_views.MountTarget
SecurityGroup = aws_views.SecurityGroup
Vpc = aws_views.Vpc

SUBNET_PREFIX = 24
ZONES = 3


class Cloud(aws_faults.Faults):
    """One AWS account, until it is closed: `with aws.Cloud.start() as cloud`.

    What can be made to go wrong, and the calls so far, are in aws_faults.Faults.

    Attributes:
        region: The region that the machines are in.
        credentials: The access key that is let in.
        endpoint_url: Where the API answers.
        vpc: The default VPC, which Juju uses, with the subnets of the zones that are used.
        vpc_id: Its id.
        subnets: Its subnets' ids by zone.
    """

    def __init__(self, latencies: Latencies, region: str) -> None:
        super().__init__()
        self.region = region
        self.credentials = identity.AwsCredentials("sandbox-access-key", "sandbox-secret-key")
        self._accepted = {self.credentials}
        self._files = tempfile.TemporaryDirectory(prefix="sandbox-efs-")
        self._account = aws_resources.Account(latencies, pathlib.Path(self._files.name))
        self._home = self._account.region(region)
        self.vpc = _default_vpc(self._home)
        self.vpc_id, self.subnets = self.vpc.id, self.vpc.subnets
        self._closing = threading.Event()
        self._api = aws_api.Api(self._account, self, self._accepted)
        self._door = faulty_http_server.Door(self._api.answer)
        self._metadata = instance_metadata.Metadata(next(iter(self.subnets)))
        self._metadata_door = faulty_http_server.Door(self._metadata.answer)
        self.endpoint_url = self._door.url

    @classmethod
    def start(cls, latencies: Latencies | None = None, region: str = "us-east-1") -> Cloud:
        """Start the API on a free port."""
        return cls(latencies or Latencies.none(), region)

    def close(self) -> None:
        """End everything: requests under way, sockets, threads, files."""
        self._closing.set()
        self.hang(0)
        self._door.close()
        self._metadata_door.close()
        self._account.forget()
        self._files.cleanup()

    def __enter__(self) -> Cloud:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self.close()

    def environ(self) -> dict[str, str]:
        """The environment that leads AWS clients here, and to no key but those they are given."""
        nowhere = str(pathlib.Path(self._files.name) / "no-such-file")
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{self._metadata_door.url}/",
            "AWS_SHARED_CREDENTIALS_FILE": nowhere,
            "AWS_CONFIG_FILE": nowhere,
            "NO_PROXY": faulty_http_server.HOST,
            "no_proxy": faulty_http_server.HOST,
        }

    def give_role(self) -> None:
        """Give the charm's machine an instance role: the metadata service lends its keys."""
        role = identity.AwsCredentials(
            "sandbox-role-key", "sandbox-role-secret", "sandbox-role-token"
        )
        self._metadata.role = role
        self._accepted.add(role)

    def take_role(self) -> None:
        """Take the instance role away again."""
        if self._metadata.role is not None:
            self._accepted.discard(self._metadata.role)
            self._metadata.role = None

    def rotate_credentials(self) -> identity.AwsCredentials:
        """Make a new access key; the one before is refused from now on."""
        self._accepted.discard(self.credentials)
        self.credentials = identity.AwsCredentials(
            f"sandbox-access-key-{secrets.token_hex(4)}", "sandbox-rotated-secret-key"
        )
        self._accepted.add(self.credentials)
        return self.credentials

    def add_vpc(
        self, cidr: str = "10.0.0.0/16", zones: Sequence[str] = (), prefix: int = SUBNET_PREFIX
    ) -> Vpc:
        """Make another VPC with a subnet in each zone, its DNS flags on."""
        with self._looking():
            made = self._home.ec2.create_vpc(cidr)
            blocks = ipaddress.ip_network(cidr).subnets(new_prefix=prefix)
            subnets = {
                zone: self._home.ec2.create_subnet(made.id, str(block), availability_zone=zone).id
                for zone, block in zip(zones or self.subnets, blocks, strict=False)
            }
        self.set_dns(made.id, support=True, hostnames=True)
        return Vpc(made.id, cidr, subnets)

    def set_dns(self, vpc_id: str, *, support: bool, hostnames: bool) -> None:
        """Set a VPC's two DNS flags."""
        with self._looking():
            vpc = self._home.ec2.get_vpc(vpc_id)
            vpc.enable_dns_support, vpc.enable_dns_hostnames = support, hostnames

    def fill_subnet(self, subnet_id: str, *, leave: int = 0) -> None:
        """Let others take a subnet's addresses, all but some."""
        with self._looking():
            subnet = self._home.ec2.get_subnet(subnet_id)
            free = subnet.available_ip_address_count
            subnet._available_ip_addresses -= free - leave  # pyright: ignore[reportPrivateUsage]

    def refuse_zone(self, zone: str) -> None:
        """Let EFS not support a zone."""
        self._home.unsupported_zones.add(zone)

    def launch(
        self,
        machine: str,
        zone: str,
        *,
        model_uuid: str,
        units: Sequence[str] = (),
        vpc: Vpc | None = None,
    ) -> Instance:
        """Launch a machine of a Juju model."""
        subnet = (vpc or self.vpc).subnets[zone]
        with self._looking():
            return juju_machines.launch(
                self._home, machine, subnet, model_uuid=model_uuid, units=units
            )

    def terminate(self, instance_id: str) -> None:
        """Terminate an instance."""
        with self._looking():
            self._home.ec2.terminate_instances([instance_id])

    def destroy_model(self, model_uuid: str) -> None:
        """Do what `juju destroy-model` does; raises Hung where Juju's does not end."""
        with self._looking():
            juju_machines.destroy_model(self._home, model_uuid)

    def file_systems(self, region: str = "") -> tuple[FileSystem, ...]:
        """The file systems that exist now; looking is no call."""
        with self._looking():
            return aws_views.file_systems(self._account.region(region or self.region))

    def mount_targets(self, file_system_id: str = "") -> tuple[MountTarget, ...]:
        """The mount targets of one file system, or of all."""
        with self._looking():
            return aws_views.mount_targets(self._home, file_system_id)

    def security_groups(self, vpc_id: str = "") -> tuple[SecurityGroup, ...]:
        """The security groups of one VPC, or of all, the VPCs' default ones left out."""
        with self._looking():
            return aws_views.security_groups(self._home, vpc_id)

    def interfaces(self) -> tuple[str, ...]:
        """The ids of the network interfaces that EFS holds."""
        with self._looking():
            return aws_views.interfaces(self._home)

    def skip(self, seconds: float) -> None:
        """Let time pass at once."""
        self._account.timeline.skip(seconds)

    def directory(self, file_system_id: str) -> pathlib.Path:
        """The directory that holds a file system's files."""
        return self._home.directory(file_system_id)

    def mount(self, server: str, instance_id: str, options: Sequence[str]) -> pathlib.Path:
        """Mount as an instance's mount.nfs does; the directory that is then seen.

        Raises:
            MountError: It can not be mounted there, or not yet; after as long as mount.nfs takes.
        """
        try:
            with self._looking():
                return nfs_mount.mount(self._home, server, instance_id, options)
        except MountError as error:
            self._closing.wait(error.seconds)
            raise

    def down(self) -> None:
        """Refuse connections to the API; the machine's own metadata service goes on."""
        self.hang(0)
        self._door.shut()

    def up(self) -> None:
        """Answer again, at the same address."""
        self._door.open()

    @contextlib.contextmanager
    def _looking(self) -> Generator[None]:
        with self._api.lock:
            self._account.timeline.settle()
            yield


def _default_vpc(region: aws_resources.Region) -> Vpc:
    vpc = region.ec2.get_default_vpc()
    assert vpc is not None, f"{region.name} has no default VPC"  # noqa: S101 - moto makes it
    subnets = region.ec2.get_default_subnets()
    return Vpc(
        vpc.id, vpc.cidr_block, {zone: subnets[zone].id for zone in sorted(subnets)[:ZONES]}
    )
