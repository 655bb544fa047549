"""The sandbox's AWS: one account over HTTP on loopback that refuses what AWS refuses.

It consists of moto's networks, instances and file systems with AWS's rules on top. Resources are
in aws_resources, calls in efs_rules and ec2_rules, injected faults in aws_faults; this module is
the interface for tests.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import json
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
    iam_policy,
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

POLICY = pathlib.Path(__file__).parents[2] / "docs" / "reference" / "iam-policy.json"
SUBNET_PREFIX = 24
ZONES = 3


class Cloud(aws_faults.AwsFaults):
    """A running AWS account: `with aws_cloud.Cloud.start() as cloud`.

    The base class has the injected faults and the list of calls.

    Attributes:
        region: The region that the machines are in.
        credentials: The access key that the charm gets; the project's IAM policy is attached.
        administrator: An access key without limits, for whatever the charm does not do.
        account_id: The id of the account.
        endpoint_url: The URL of the API.
        vpc: The default VPC, which Juju uses, with one subnet in each used zone.
        vpc_id: The id of that VPC.
        subnets: The ids of its subnets, by zone.
    """

    def __init__(self, latencies: Latencies, region: str) -> None:
        super().__init__()
        self.region = region
        self.credentials = identity.AwsCredentials("sandbox-access-key", "sandbox-secret-key")
        self.administrator = identity.AwsCredentials("sandbox-admin-key", "sandbox-admin-secret")
        self._files = tempfile.TemporaryDirectory(prefix="sandbox-efs-")
        self._account = aws_resources.Account(latencies, pathlib.Path(self._files.name))
        self._other_accounts: list[aws_resources.Account] = []
        self.account_id = self._account.id
        self._accepted = {
            self.credentials: aws_api.Principal(self._account, "user/juju", _policy()),
            self.administrator: aws_api.Principal(self._account, "user/administrator", None),
        }
        self._home = self._account.region(region)
        self.vpc = _default_vpc(self._home)
        self.vpc_id, self.subnets = self.vpc.id, self.vpc.subnets
        self._closing = threading.Event()
        self._api = aws_api.AwsApi(self._account, self, self._accepted)
        self._server = faulty_http_server.FaultyServer(self._api.answer)
        self._metadata = instance_metadata.MetadataService(next(iter(self.subnets)))
        self._metadata_server = faulty_http_server.FaultyServer(self._metadata.answer)
        self.endpoint_url = self._server.url

    @classmethod
    def start(cls, latencies: Latencies | None = None, region: str = "us-east-1") -> Cloud:
        """Start the API on a free port."""
        return cls(latencies or Latencies.none(), region)

    def close(self) -> None:
        """End running requests, and remove sockets, threads and files."""
        self._closing.set()
        self.hang(0)
        self._server.close()
        self._metadata_server.close()
        for account in (self._account, *self._other_accounts):
            account.discard()
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
        """Return the environment that points AWS clients here and hides other credentials."""
        no_file = str(pathlib.Path(self._files.name) / "no-such-file")
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{self._metadata_server.url}/",
            "AWS_SHARED_CREDENTIALS_FILE": no_file,
            "AWS_CONFIG_FILE": no_file,
            "NO_PROXY": faulty_http_server.HOST,
            "no_proxy": faulty_http_server.HOST,
        }

    def attach_role(self) -> None:
        """Attach an instance role to the charm's machine: the metadata service has its keys."""
        role = identity.AwsCredentials(
            "sandbox-role-key", "sandbox-role-secret", "sandbox-role-token"
        )
        self._metadata.role = role
        self._accepted[role] = aws_api.Principal(self._account, "role/juju", _policy())

    def detach_role(self) -> None:
        """Detach the instance role."""
        if self._metadata.role is not None:
            self._accepted.pop(self._metadata.role, None)
            self._metadata.role = None

    def rotate_credentials(self) -> identity.AwsCredentials:
        """Replace the access key; the old one is refused from now on."""
        owner = self._accepted.pop(self.credentials)
        self.credentials = identity.AwsCredentials(
            f"sandbox-access-key-{secrets.token_hex(4)}", "sandbox-rotated-secret-key"
        )
        self._accepted[self.credentials] = owner
        return self.credentials

    def add_account(self) -> tuple[str, identity.AwsCredentials]:
        """Add an empty account; return its id and the access key of its administrator."""
        directory = pathlib.Path(self._files.name) / f"account-{len(self._other_accounts)}"
        directory.mkdir()
        account = aws_resources.Account(self._account.latencies, directory)
        self._other_accounts.append(account)
        key = identity.AwsCredentials(f"sandbox-key-{account.id}", "sandbox-other-secret")
        self._accepted[key] = aws_api.Principal(account, "user/administrator", None)
        return account.id, key

    def add_vpc(
        self, cidr: str = "10.0.0.0/16", zones: Sequence[str] = (), prefix: int = SUBNET_PREFIX
    ) -> Vpc:
        """Create another VPC with a subnet in each zone and both DNS flags on."""
        with self._up_to_date():
            vpc = self._home.ec2.create_vpc(cidr)
            blocks = ipaddress.ip_network(cidr).subnets(new_prefix=prefix)
            subnets = {
                zone: self._home.ec2.create_subnet(vpc.id, str(block), availability_zone=zone).id
                for zone, block in zip(zones or self.subnets, blocks, strict=False)
            }
        self.set_dns(vpc.id, support=True, hostnames=True)
        return Vpc(vpc.id, cidr, subnets)

    def set_dns(self, vpc_id: str, *, support: bool, hostnames: bool) -> None:
        """Set the two DNS flags of a VPC."""
        with self._up_to_date():
            vpc = self._home.ec2.get_vpc(vpc_id)
            vpc.enable_dns_support, vpc.enable_dns_hostnames = support, hostnames

    def add_ipv6(self, subnet_id: str, cidr: str) -> None:
        """Make a subnet dual-stack."""
        with self._up_to_date():
            self._home.ec2.associate_subnet_cidr_block(subnet_id, cidr)

    def fill_subnet(self, subnet_id: str, *, leave: int = 0) -> None:
        """Use up a subnet's addresses, all but `leave`."""
        with self._up_to_date():
            subnet = self._home.ec2.get_subnet(subnet_id)
            free = subnet.available_ip_address_count
            subnet._available_ip_addresses -= free - leave  # pyright: ignore[reportPrivateUsage]

    def refuse_zone(self, zone: str) -> None:
        """Make EFS not support a zone."""
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
        with self._up_to_date():
            return juju_machines.launch(
                self._home, machine, subnet, model_uuid=model_uuid, units=units
            )

    def terminate(self, instance_id: str) -> None:
        """Terminate an instance."""
        with self._up_to_date():
            self._home.ec2.terminate_instances([instance_id])

    def destroy_model(self, model_uuid: str) -> None:
        """Do what `juju destroy-model` does; raise Hung where Juju would wait forever."""
        with self._up_to_date():
            juju_machines.destroy_model(self._home, model_uuid)

    def file_systems(self, region: str = "") -> tuple[FileSystem, ...]:
        """Return the existing file systems, without an API call."""
        with self._up_to_date():
            return aws_views.file_systems(self._account.region(region or self.region))

    def mount_targets(self, file_system_id: str = "") -> tuple[MountTarget, ...]:
        """Return the mount targets of one file system, or of all."""
        with self._up_to_date():
            return aws_views.mount_targets(self._home, file_system_id)

    def security_groups(self, vpc_id: str = "") -> tuple[SecurityGroup, ...]:
        """Return the security groups of one VPC, or of all, without the default groups."""
        with self._up_to_date():
            return aws_views.security_groups(self._home, vpc_id)

    def interfaces(self) -> tuple[str, ...]:
        """Return the ids of EFS's network interfaces."""
        with self._up_to_date():
            return aws_views.interfaces(self._home)

    def skip(self, seconds: float) -> None:
        """Advance the clock."""
        self._account.timeline.skip(seconds)

    def directory(self, file_system_id: str) -> pathlib.Path:
        """Return the directory of a file system's files."""
        return self._home.directory(file_system_id)

    def mount(self, server: str, instance_id: str, options: Sequence[str]) -> pathlib.Path:
        """Mount as mount.nfs on an instance does, and return the mounted directory.

        Raises:
            MountError: It cannot be mounted there, or not yet; raised after mount.nfs's timeout.
        """
        try:
            with self._up_to_date():
                return nfs_mount.mount(self._home, server, instance_id, options)
        except MountError as error:
            self._closing.wait(error.seconds)
            raise

    def stop_api(self) -> None:
        """Refuse connections to the API; the metadata service keeps running."""
        self.hang(0)
        self._server.suspend()

    def start_api(self) -> None:
        """Accept connections to the API again, at the same address."""
        self._server.resume()

    @contextlib.contextmanager
    def _up_to_date(self) -> Generator[None]:
        """Hold the lock, with all due changes applied."""
        with self._api.lock:
            self._account.timeline.settle()
            yield


@functools.cache
def _policy() -> iam_policy.Policy:
    """Return the IAM policy that the documentation has users attach to the charm's key."""
    return json.loads(POLICY.read_text(encoding="utf-8"))


def _default_vpc(region: aws_resources.Region) -> Vpc:
    vpc = region.ec2.get_default_vpc()
    assert vpc is not None, f"{region.name} has no default VPC"  # noqa: S101 - moto creates it
    subnets = region.ec2.get_default_subnets()
    return Vpc(
        vpc.id, vpc.cidr_block, {zone: subnets[zone].id for zone in sorted(subnets)[:ZONES]}
    )
