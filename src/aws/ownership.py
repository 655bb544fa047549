"""What makes an AWS resource ours: its token, its name, its tags. Pure; it asks AWS nothing."""

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

# AWS takes 50 tags on a resource, and 256 characters in a value: that is 42 fingerprints.
MOST_USER_TAGS = 40
# Juju deletes what carries its tags, AWS keeps aws: to itself, aws-efs/ is how we know our own.
_RESERVED = ("juju-", "aws:", "aws-efs/")


def creation_token(owner: identity.Owner) -> str:
    """The token by which AWS makes one file system, however often it is asked for."""
    digest = hashlib.sha256(f"{owner.model_uuid}/{owner.application}".encode()).hexdigest()
    return f"aws-efs-{digest[:56]}"


def group_name(owner: identity.Owner) -> str:
    """The security group's name."""
    return f"aws-efs-{owner.application}-{owner.model_uuid}"


def tags(owner: identity.Owner, user_tags: Mapping[str, str]) -> dict[str, str]:
    """All the tags of a resource of ours: the user's that may be set, and our own above."""
    allowed = {
        key: value for key, value in user_tags.items() if key not in refused_keys(user_tags)
    }
    every = {
        "Name": f"aws-efs {owner.application}",
        **allowed,
        MODEL_TAG: owner.model_uuid,
        APPLICATION_TAG: owner.application,
    }
    if allowed:
        every[_USER_TAGS_TAG] = " ".join(sorted(_fingerprint(key) for key in allowed))
    return every


def refused_keys(user_tags: Mapping[str, str]) -> tuple[str, ...]:
    """The keys of the user's tags that are not set: reserved ones, and those too many."""
    reserved = {key for key in user_tags if key.lower().startswith(_RESERVED)}
    return tuple(sorted(reserved) + sorted(set(user_tags) - reserved)[MOST_USER_TAGS:])


def obsolete_keys(present: Mapping[str, str], wanted: Mapping[str, str]) -> tuple[str, ...]:
    """The keys of tags that a former configuration set and this one does not.

    An organisation's own tooling tags resources too, and would fight a charm that removes what it
    does not know. So the keys that were set for the user are remembered on the resource; as
    fingerprints, since keys may hold any character that could separate them.
    """
    ours = set(present.get(_USER_TAGS_TAG, "").split())
    stale = {key for key in present if key not in wanted and _fingerprint(key) in ours}
    if ours and _USER_TAGS_TAG not in wanted:
        stale.add(_USER_TAGS_TAG)
    return tuple(sorted(stale))


def missing_tags(present: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """The tags that are not there yet, or have another value."""
    return {key: value for key, value in wanted.items() if present.get(key) != value}


def is_ours(owner: identity.Owner, present: Mapping[str, str]) -> bool:
    """Whether a resource with these tags was made by this application."""
    return (
        present.get(MODEL_TAG) == owner.model_uuid
        and present.get(APPLICATION_TAG) == owner.application
    )


def check(owner: identity.Owner, resource_id: str, present: Mapping[str, str]) -> None:
    """Make sure that what was found under our name is ours.

    Raises:
        problems.Blocked: It is not; it names the resource.
    """
    if not is_ours(owner, present):
        raise problems.Blocked(
            f"{resource_id} has this application's name but not its tags, is not ours: delete it"
        )


def check_not_tearing_down(resource_id: str, present: Mapping[str, str]) -> None:
    """Make sure that nobody began to tear it down.

    Raises:
        problems.Blocked: A teardown has marked it.
    """
    if present.get(STATE_TAG) == TEARING_DOWN:
        raise problems.Blocked(
            f"teardown of {resource_id} began: run teardown to finish it, or setup to keep it"
        )


def from_list(listed: Iterable[Mapping[str, object]]) -> dict[str, str]:
    """Tags as AWS lists them, as a mapping."""
    return {str(tag.get("Key", "")): str(tag.get("Value", "")) for tag in listed}


def to_list(mapping: Mapping[str, str]) -> list[Any]:
    """Tags as AWS takes them; EFS and EC2 have a type each for the same thing."""
    return [{"Key": key, "Value": value} for key, value in sorted(mapping.items())]


def _fingerprint(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:5]
