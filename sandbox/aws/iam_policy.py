"""Evaluate IAM policies: the charm's, and those of file systems; what these use, and no more."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Policy = Mapping[str, Any]

_ELEMENTS = {"Sid", "Effect", "Action", "Resource", "Condition"}
_EVERYBODY = ("*", {"AWS": "*"}, {"AWS": ["*"]})
_SEGMENTS = 5  # an ARN is arn:partition:service:region:account:resource


@dataclasses.dataclass(frozen=True)
class Authorization:
    """A question to IAM: may the caller do this with that resource?

    Attributes:
        action: The action, as in "ec2:CreateTags".
        resource: The ARN of the resource; "*" for an action without resources.
        context: The condition keys of the request with their values.
    """

    action: str
    resource: str = "*"
    context: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])


def allows(policy: Policy, asked: Authorization) -> bool:
    """Return whether a statement of the policy allows it.

    Raises:
        ValueError: The policy has an element that is not implemented here.
    """
    for statement in policy["Statement"]:
        if statement["Effect"] != "Allow":
            raise ValueError(f"not implemented: {statement['Effect']}")
    return any(_applies(statement, asked) for statement in policy["Statement"])


def admits_anonymous(policy: Policy, asked: Authorization) -> bool:
    """Return whether a resource's policy allows it to a caller without an identity.

    Raises:
        ValueError: The policy has an element that is not implemented here.
    """
    effects = {
        statement["Effect"]
        for statement in policy["Statement"]
        if statement["Principal"] in _EVERYBODY
        and _applies({k: v for k, v in statement.items() if k != "Principal"}, asked)
    }
    return effects == {"Allow"}  # one Deny outweighs all


def _applies(statement: Mapping[str, Any], asked: Authorization) -> bool:
    if unknown := set(statement) - _ELEMENTS:
        raise ValueError(f"not implemented: {unknown}")
    return (
        any(_matches(each.lower(), asked.action.lower()) for each in _all(statement["Action"]))
        and any(_covers(each, asked.resource) for each in _all(statement["Resource"]))
        and all(
            _holds(operator, key, _all(values), asked.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _holds(operator: str, key: str, values: Sequence[str], context: Mapping[str, str]) -> bool:
    """Return whether a condition holds; one on a key that the request lacks does not."""
    if operator not in _OPERATORS:
        raise ValueError(f"not implemented: {operator}")
    # The names of condition keys are not case-sensitive, their values are.
    present = {name.lower(): value for name, value in context.items()}
    value = present.get(key.lower())
    return value is not None and any(_OPERATORS[operator](each, value) for each in values)


def _covers(pattern: str, resource: str) -> bool:
    """Return whether the pattern covers the ARN; a wildcard does not reach into a next segment."""
    if pattern == "*":
        return True
    wanted, given = pattern.split(":", _SEGMENTS), resource.split(":", _SEGMENTS)
    return len(wanted) == len(given) and all(map(_matches, wanted, given))


def _matches(pattern: str, text: str) -> bool:
    """Return whether the text matches a pattern with the wildcards * and ?."""
    expression = "".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


def _all(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value


_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": str.__eq__,
    "StringLike": _matches,
    "Bool": lambda wanted, given: wanted.lower() == given.lower(),
}
