"""Juju's resources in AWS: machines with tags and groups, and their removal with the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sandbox.aws import aws_resources, ec2_rules

if TYPE_CHECKING:
    from moto.ec2.models.security_groups import SecurityGroup

CONTROLLER_UUID = "deadbeef-0bad-400d-8000-4b1d0d06f00d"  # from Juju's own tests
SSH_PORT = "22"
LAST_PORT = "65535"


class Hung(Exception):  # noqa: N818 - what the user sees, not a failure of the sandbox
    """A `juju destroy-model` that does not end.

    Args:
        holders: The users of each security group that Juju cannot delete, by the group's id.
    """

    def __init__(self, holders: dict[str, list[str]]) -> None:
        held = "; ".join(f"{group} by {', '.join(by)}" for group, by in holders.items())
        super().__init__(f"juju destroy-model hangs on security groups in use: {held}")
        self.holders = holders


@dataclasses.dataclass(frozen=True)
class Instance:
    """A machine launched by Juju.

    Attributes:
        id: The instance's id.
        machine: The machine's number in the model.
        private_address: Its address in the VPC.
        public_address: Its public address.
        zone: Its availability zone.
        subnet_id: Its subnet.
        vpc_id: Its VPC.
        provider_id: The spec.providerID of its Kubernetes Node.
    """

    id: str
    machine: str
    private_address: str
    public_address: str
    zone: str
    subnet_id: str
    vpc_id: str
    provider_id: str


def launch(
    region: aws_resources.Region,
    machine: str,
    subnet_id: str,
    *,
    model_uuid: str,
    units: Sequence[str],
) -> Instance:
    """Launch a machine as Juju does: with its tags, the model's group and its own group."""
    subnet = region.ec2.get_subnet(subnet_id)
    zone = subnet.availability_zone
    groups = [
        _model_group(region, subnet.vpc_id, model_uuid),
        _group(region, subnet.vpc_id, f"juju-{model_uuid}-{machine}", model_uuid),
    ]
    nic = {
        "DeviceIndex": 0,
        "AssociatePublicIpAddress": True,
        "DeleteOnTermination": True,
    }
    reservation = region.ec2.run_instances(
        "ami-00000000000000000",
        1,
        None,
        [],
        instance_type="m5.large",
        is_instance_type_default=False,
        placement=zone,
        region_name=region.name,
        subnet_id=subnet_id,
        security_group_ids=[group.id for group in groups],
        nics=[nic],
        block_device_mappings=[],
        tags={
            "instance": {
                "Name": f"juju-{model_uuid[-6:]}-machine-{machine}",
                "juju-machine-id": f"{model_uuid[-6:]}-machine-{machine}",
                "juju-units-deployed": " ".join(units),
                **_tags(model_uuid),
            }
        },
    )
    instance = reservation.instances[0]
    return Instance(
        id=instance.id,
        machine=machine,
        private_address=str(instance.private_ip_address),
        public_address=str(instance.public_ip_address),
        zone=zone,
        subnet_id=subnet_id,
        vpc_id=subnet.vpc_id,
        provider_id=f"aws:///{zone}/{instance.id}",
    )


def destroy_model(region: aws_resources.Region, model_uuid: str) -> None:
    """Terminate and delete everything with the model's tag, as `juju destroy-model` does.

    Raises:
        Hung: A group with the model's tag is in use, or named by a rule of a remaining group.
    """
    tag = {"tag:juju-model-uuid": [model_uuid]}
    instances = [
        instance.id
        for reservation in region.ec2.describe_instances(tag)
        for instance in reservation.instances
        if instance.state != "terminated"
    ]
    if instances:
        region.ec2.terminate_instances(instances)
    left = region.ec2.describe_security_groups(filters=tag)
    while left:
        free = [group for group in left if not ec2_rules.holders(region, group.id)]
        if not free:
            raise Hung({each.id: ec2_rules.holders(region, each.id) for each in left})
        for group in free:
            region.ec2.delete_security_group(group_id=group.id)
        left = region.ec2.describe_security_groups(filters=tag)


def _tags(model_uuid: str) -> dict[str, str]:
    return {"juju-model-uuid": model_uuid, "juju-controller-uuid": CONTROLLER_UUID}


def _model_group(region: aws_resources.Region, vpc_id: str, model_uuid: str) -> SecurityGroup:
    """Return the model's group: ssh from anywhere, and all traffic between its machines."""
    name = f"juju-{model_uuid}"
    existing = region.ec2.get_security_group_from_name(name, vpc_id)
    if existing is not None:
        return existing
    group = _group(region, vpc_id, name, model_uuid)
    anywhere = [{"CidrIp": "0.0.0.0/0"}]
    region.ec2.authorize_security_group_ingress(group.id, "tcp", SSH_PORT, SSH_PORT, anywhere)
    for protocol, first, last in (
        ("tcp", "0", LAST_PORT),
        ("udp", "0", LAST_PORT),
        ("icmp", "-1", "-1"),
    ):
        region.ec2.authorize_security_group_ingress(
            group.id, protocol, first, last, [], source_groups=[{"GroupId": group.id}]
        )
    return group


def _group(region: aws_resources.Region, vpc_id: str, name: str, model_uuid: str) -> SecurityGroup:
    existing = region.ec2.get_security_group_from_name(name, vpc_id)
    return existing or region.ec2.create_security_group(
        name, "juju group", vpc_id, _tags(model_uuid)
    )
