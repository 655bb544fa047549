"""The calls that EC2 refuses but moto accepts; moto answers all others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from sandbox.aws import aws_resources

Params = Mapping[str, str]
Refused = aws_resources.Refused

MAX_FILTER_VALUES = 200
PAGE_SIZES = range(5, 1001)
_FILTER_VALUE = re.compile(r"Filter\.\d+\.Value\.\d+")
_GROUP_TEXT = re.compile(r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}")


def check(region: aws_resources.Region, operation: str, params: Params) -> None:
    """Refuse a call that EC2 refuses.

    Args:
        region: The region of the call.
        operation: The operation's name.
        params: The posted form.

    Raises:
        Refused: EC2 answers with an error.
    """
    _check_filters(params)
    _check_page(params)
    if operation in _RULES:
        _RULES[operation](region, params)


def undo(region: aws_resources.Region, operation: str, params: Params) -> Callable[[], None]:
    """Return a function that undoes a refused call: moto adds the rules before the faulty one."""
    group = region.ec2.get_security_group_from_id(params.get("GroupId", ""))
    if group is None or operation != "AuthorizeSecurityGroupIngress":
        return lambda: None
    before = list(group.ingress_rules)
    return lambda: setattr(group, "ingress_rules", before)


def _check_filters(params: Params) -> None:
    if sum(1 for name in params if _FILTER_VALUE.fullmatch(name)) > MAX_FILTER_VALUES:
        raise Refused(
            "FilterLimitExceeded",
            "The maximum number of filter values specified on a single call is "
            f"{MAX_FILTER_VALUES}",
        )


def _check_page(params: Params) -> None:
    size = params.get("MaxResults")
    if size is not None and int(size) not in PAGE_SIZES:
        raise Refused(
            "InvalidParameterValue",
            f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value between "
            f"{PAGE_SIZES.start} and {PAGE_SIZES.stop - 1}.",
        )


def _create_group(region: aws_resources.Region, params: Params) -> None:
    name = params.get("GroupName", "")
    if not _GROUP_TEXT.fullmatch(name) or name.startswith("sg-"):
        raise Refused(
            "InvalidParameterValue",
            f"Value ({name}) for parameter GroupName is invalid. Group names may not be in the "
            "format sg-*, and have at most 255 characters of a-z, A-Z, 0-9, spaces and "
            "._-:/()#,@[]+=&;{}!$*",
        )
    if not _GROUP_TEXT.fullmatch(params.get("GroupDescription", "")):
        raise Refused(
            "InvalidParameterValue",
            "Value for parameter GroupDescription is invalid. It has at most 255 characters of "
            "a-z, A-Z, 0-9, spaces and ._-:/()#,@[]+=&;{}!$*",
        )
    vpc_id = params.get("VpcId")
    if vpc_id and vpc_id not in region.ec2.vpcs:
        raise Refused("InvalidVpcID.NotFound", f"The vpc ID '{vpc_id}' does not exist")


def _delete_group(region: aws_resources.Region, params: Params) -> None:
    group = region.ec2.get_security_group_from_id(params.get("GroupId", ""))
    if group is None:
        return  # moto refuses it
    if group.is_default:
        raise Refused(
            "CannotDelete",
            f'the specified group: "{group.id}" name: "default" cannot be deleted by a user',
        )
    if holders(region, group.id):
        raise Refused("DependencyViolation", f"resource {group.id} has a dependent object")


def holders(region: aws_resources.Region, group_id: str) -> list[str]:
    """Return what uses a security group: interfaces in it, and groups whose rules name it."""
    interfaces = [
        interface.id
        for interface in region.ec2.get_all_network_interfaces()
        if group_id in {group.id for group in interface.group_set}
    ]
    groups = [
        other.id
        for other in region.ec2.describe_security_groups()
        if other.id != group_id
        and any(
            (rule.source_group or {}).get("GroupId") == group_id
            for rule in (*other.ingress_rules, *other.egress_rules)
        )
    ]
    return interfaces + groups


def _refuse_interface(region: aws_resources.Region, params: Params) -> None:
    interface = region.ec2.enis.get(params.get("NetworkInterfaceId", ""))
    if interface is not None and interface.requester_managed:
        raise Refused(
            "OperationNotPermitted",
            f"You are not allowed to manage interface '{interface.id}': it belongs to EFS.",
            403,
        )


_RULES: Mapping[str, Callable[[aws_resources.Region, Params], None]] = {
    "CreateSecurityGroup": _create_group,
    "DeleteSecurityGroup": _delete_group,
    "DeleteNetworkInterface": _refuse_interface,
    "ModifyNetworkInterfaceAttribute": _refuse_interface,
}
