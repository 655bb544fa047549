"""Check that an answer has the shape that AWS's service model gives it, before anybody reads it.

A proxy's page, a body that was cut off or `{}` would otherwise look like a region without
resources, or break whoever reads the answer.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

import botocore.exceptions
import botocore.parsers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_Page = TypeVar("_Page")

# With 100 to 1000 items on a page no account has so many resources.
MOST_PAGES = 200

_TYPES: Mapping[str, type[Any] | tuple[type[Any], ...]] = {
    "structure": dict,
    "map": dict,
    "list": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "timestamp": datetime.datetime,
}
# The models do not say that an answer always has these members, which are read from it.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "BackupPolicyDescription": ("BackupPolicy",),
    "LifecycleConfigurationDescription": ("LifecyclePolicies",),
    "CreateSecurityGroupResult": ("GroupId",),
    "GetCallerIdentityResponse": ("Account",),
}
_HTTP_ERROR = 300


class UnreadableAnswerError(botocore.exceptions.BotoCoreError):
    """An answer that is not AWS's, or not whole."""

    fmt = "the answer cannot be read: {kind}"


class CheckedParserFactory(botocore.parsers.ResponseParserFactory):
    """The factory of botocore's parsers; each of them is checked."""

    def create_parser(self, protocol_name: str) -> Any:
        """Return the parser of a protocol.

        Args:
            protocol_name: The protocol, as botocore names it.
        """
        return _CheckedParser(super().create_parser(protocol_name))


class _CheckedParser:
    def __init__(self, parser: Any) -> None:
        self._parser = parser

    def parse(self, response: Any, shape: Any) -> Any:
        """Return the parsed answer, an error as well as a success."""
        try:
            parsed = self._parser.parse(response, shape)
        except Exception as error:  # noqa: BLE001 - the parsers trust what they get
            raise UnreadableAnswerError(kind=type(error).__name__) from None
        if response["status_code"] >= _HTTP_ERROR:
            _check_error(parsed)
        elif shape is not None:
            _check(parsed, shape, shape.name)
            _check_whole(parsed, shape)
        return parsed


def bounded(pages: Iterable[_Page]) -> Iterator[_Page]:
    """Yield the pages of a list, but not without an end.

    Args:
        pages: The pages, as botocore's paginator fetches them.
    """
    for number, page in enumerate(pages):
        if number == MOST_PAGES:
            raise UnreadableAnswerError(kind=f"more than {MOST_PAGES} pages")
        yield page


def _check_error(parsed: Any) -> None:
    """Make code and message of an error text, whatever was sent as such."""
    error = cast("dict[str, dict[str, Any]]", parsed).get("Error")
    if error is not None:
        for name in ("Code", "Message"):
            error[name] = str(error.get(name) or "")


def _check(value: Any, shape: Any, where: str) -> None:
    kind: str = shape.type_name
    expected: Any = _TYPES.get(kind, object)
    if not isinstance(value, expected):
        raise UnreadableAnswerError(kind=f"{where} is no {kind}")
    if kind == "structure":
        for name in shape.required_members:
            if name not in value:
                raise UnreadableAnswerError(kind=f"no {name}")
        for name, member in shape.members.items():
            if name in value:
                _check(value[name], member, name)
    elif kind == "list":
        for each in cast("list[Any]", value):
            _check(each, shape.member, where)


def _check_whole(parsed: Mapping[str, Any], shape: Any) -> None:
    """Check that what the caller asked for is there: a list may be empty, but not missing."""
    needed = _NEEDED.get(shape.name, ())
    if shape.name.startswith("Describe"):
        members = {name: each for name, each in shape.members.items() if name != "NextToken"}
        needed = [name for name, each in members.items() if each.type_name == "list"]
        if not needed and not members.keys() & parsed.keys():
            needed = list(members)[:1]
    for name in needed:
        if name not in parsed:
            raise UnreadableAnswerError(kind=f"no {name}")
