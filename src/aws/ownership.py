"""The creation token, names and tags that mark an AWS resource as the application's; no I/O."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import problems

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    import identity
    from aws import security_groups

MODEL_TAG = "aws-efs/model-uuid"
APPLICATION_TAG = "aws-efs/application"
STATE_TAG = "aws-efs/state"
TEARING_DOWN = "tearing-down"
# On the security group: the zones in which the charm has created a mount target.
ZONES_TAG = "aws-efs/mount-targets"
GROUP_DESCRIPTION = "NFS to an EFS file system, made by the aws-efs charm"
_USER_TAGS_TAG = "aws-efs/user-tags"

# AWS allows 50 tags on a resource, and 256 characters in a value: 42 fingerprints fit, and the
# zones of any region.
MOST_USER_TAGS = 40
# Juju deletes resources that carry its tags, AWS reserves aws:, and the charm's tags are aws-efs/.
_RESERVED = ("juju-", "aws:", "aws-efs/")


def creation_token(owner: identity.Owner) -> str:
    """Return the creation token, by which AWS creates only one file system for all requests."""
    digest = hashlib.sha256(f"{owner.model_uuid}/{owner.application}".encode()).hexdigest()
    return f"aws-efs-{digest[:56]}"


def group_name(owner: identity.Owner) -> str:
    """Return the security group's name."""
    return f"aws-efs-{owner.application}-{owner.model_uuid}"


def tags(owner: identity.Owner, user_tags: Mapping[str, str]) -> dict[str, str]:
    """Return all tags of a resource: the user's, as far as they are allowed, and the charm's."""
    refused = {*reserved_keys(user_tags), *excess_keys(user_tags)}
    allowed = {key: value for key, value in user_tags.items() if key not in refused}
    all_tags = {
        "Name": f"aws-efs {owner.application}",
        **allowed,
        MODEL_TAG: owner.model_uuid,
        APPLICATION_TAG: owner.application,
    }
    if allowed:
        all_tags[_USER_TAGS_TAG] = " ".join(sorted(_fingerprint(key) for key in allowed))
    return all_tags


def group_tags(
    owner: identity.Owner, user_tags: Mapping[str, str], zones: Collection[str]
) -> dict[str, str]:
    """Return all tags of the security group.

    Args:
        owner: The application.
        user_tags: The user's tags.
        zones: The zones in which the charm has created, or is about to create, a mount target.
    """
    return {**tags(owner, user_tags), ZONES_TAG: " ".join(sorted(zones))}


def recorded_zones(present: Mapping[str, str]) -> frozenset[str] | None:
    """Return the zones that the security group's tags record; None if the tag was removed."""
    text = present.get(ZONES_TAG)
    return None if text is None else frozenset(text.split())


def reserved_keys(user_tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return the keys of the user's tags that are not set because their prefix is reserved."""
    return tuple(sorted(key for key in user_tags if key.lower().startswith(_RESERVED)))


def excess_keys(user_tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return the keys of the user's tags that are not set because a resource has no room."""
    return tuple(sorted(set(user_tags).difference(reserved_keys(user_tags)))[MOST_USER_TAGS:])


def obsolete_keys(present: Mapping[str, str], desired: Mapping[str, str]) -> tuple[str, ...]:
    """Return the keys of tags that an earlier configuration set and this one does not.

    An organisation's own tools tag resources too, so tags of unknown origin must stay. The keys
    that the charm set for the user are therefore kept in a tag of the resource; as fingerprints,
    since a key may contain any separator.
    """
    set_by_charm = set(present.get(_USER_TAGS_TAG, "").split())
    stale = {key for key in present if key not in desired and _fingerprint(key) in set_by_charm}
    if set_by_charm and _USER_TAGS_TAG not in desired:
        stale.add(_USER_TAGS_TAG)
    return tuple(sorted(stale))


def missing_tags(present: Mapping[str, str], desired: Mapping[str, str]) -> dict[str, str]:
    """Return the desired tags that are missing or have another value."""
    return {key: value for key, value in desired.items() if present.get(key) != value}


def is_ours(owner: identity.Owner, present: Mapping[str, str]) -> bool:
    """Return whether a resource with these tags belongs to this application."""
    return (
        present.get(MODEL_TAG) == owner.model_uuid
        and present.get(APPLICATION_TAG) == owner.application
    )


def is_our_group(owner: identity.Owner, group: security_groups.SecurityGroup) -> bool:
    """Return whether a security group is this application's.

    Tags alone are no proof: tools copy them from one resource to another. Name and description
    cannot be changed, and no other group of the VPC can have that name.
    """
    fixed = (group.name, group.description) == (group_name(owner), GROUP_DESCRIPTION)
    return fixed and is_ours(owner, group.tags)


def check(owner: identity.Owner, resource_id: str, present: Mapping[str, str]) -> None:
    """Refuse a resource that has the application's name but belongs to somebody else.

    Raises:
        problems.Blocked: It lacks the application's tags; the message names it.
    """
    if not is_ours(owner, present):
        raise problems.Blocked(
            f"{resource_id} has this application's name but not its tags: delete it"
        )


def check_group(owner: identity.Owner, group: security_groups.SecurityGroup) -> None:
    """Refuse a security group that has the application's name but belongs to somebody else.

    Raises:
        problems.Blocked: It lacks the application's tags or description; the message names it.
    """
    if not is_our_group(owner, group):
        raise problems.Blocked(
            f"{group.id} has this application's name but not its tags and description: delete it"
        )


class TeardownBegan(problems.Blocked):
    """A teardown has tagged a resource: nothing may be created or changed any more."""


def check_not_tearing_down(resource_id: str, present: Mapping[str, str]) -> None:
    """Refuse a resource that a teardown has begun to remove.

    Raises:
        TeardownBegan: A teardown has tagged it.
    """
    if present.get(STATE_TAG) == TEARING_DOWN:
        raise TeardownBegan(
            f"teardown of {resource_id} began: run teardown to finish it, or setup to keep it"
        )


def from_list(listed: Iterable[Mapping[str, object]]) -> dict[str, str]:
    """Return the tags in an AWS answer as a mapping."""
    return {str(tag.get("Key", "")): str(tag.get("Value", "")) for tag in listed}


def to_list(mapping: Mapping[str, str]) -> list[Any]:
    """Return tags as AWS takes them; EFS and EC2 each have a type of their own for that."""
    return [{"Key": key, "Value": value} for key, value in sorted(mapping.items())]


def _fingerprint(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:5]
