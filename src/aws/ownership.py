"""The creation token, names and tags that mark an AWS resource as the application's; no I/O."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import identity

MODEL_TAG = "aws-efs/model-uuid"
APPLICATION_TAG = "aws-efs/application"
STATE_TAG = "aws-efs/state"
TEARING_DOWN = "tearing-down"
_USER_TAGS_TAG = "aws-efs/user-tags"

# AWS allows 50 tags on a resource, and 256 characters in a value: 42 fingerprints fit.
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


def check(owner: identity.Owner, resource_id: str, present: Mapping[str, str]) -> None:
    """Refuse a resource that has the application's name but belongs to somebody else.

    Raises:
        problems.Blocked: It lacks the application's tags; the message names it.
    """
    if not is_ours(owner, present):
        raise problems.Blocked(
            f"{resource_id} has this application's name but not its tags: delete it"
        )


def check_not_tearing_down(resource_id: str, present: Mapping[str, str]) -> None:
    """Refuse a resource that a teardown has begun to remove.

    Raises:
        problems.Blocked: A teardown has tagged it.
    """
    if present.get(STATE_TAG) == TEARING_DOWN:
        raise problems.Blocked(
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
