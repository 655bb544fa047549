"""What a charm's files declare, and Juju's checks of what a user asks for; it knows no model."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any, Literal, cast

import yaml

ConfigValue = str | int | float | bool
Role = Literal["provides", "requires", "peers"]

# The keys that charmcraft copies into the metadata.yaml of what it packs.
_PACKED = ("name", "title", "summary", "description", "assumes", "provides", "requires", "peers")
_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}
JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}


class JujuError(Exception):
    """What the `juju` command answers when it refuses: Juju's own words where we know them."""


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A place where a relation can be made.

    Attributes:
        name: The end point's name.
        role: Its side.
        interface: What is spoken there.
        limit: How many relations Juju lets it have; 0 for any number.
    """

    name: str
    role: Role
    interface: str
    limit: int = 0


@dataclasses.dataclass(frozen=True)
class Metadata:
    """A charm's metadata.yaml, config.yaml and actions.yaml, as they are in the packed charm."""

    meta: Mapping[str, Any]
    options: Mapping[str, Mapping[str, Any]] = dataclasses.field(
        default_factory=dict[str, Mapping[str, Any]]
    )
    actions: Mapping[str, Mapping[str, Any]] = dataclasses.field(
        default_factory=dict[str, Mapping[str, Any]]
    )

    @classmethod
    def read(cls, root: pathlib.Path) -> Metadata:
        """Read a charm's source directory, charmcraft.yaml as charmcraft would pack it."""
        project = _load(root / "charmcraft.yaml")
        packed = {key: project[key] for key in _PACKED if key in project}
        config = _load(root / "config.yaml") or project.get("config", {})
        return cls(
            meta=packed | _load(root / "metadata.yaml"),
            options=config.get("options", {}),
            actions=_load(root / "actions.yaml") or project.get("actions", {}),
        )

    @property
    def name(self) -> str:
        """The charm's name."""
        return str(self.meta["name"])

    def endpoints(self) -> tuple[Endpoint, ...]:
        """All declared end points, peers last."""
        roles: tuple[Role, ...] = ("provides", "requires", "peers")
        return tuple(
            Endpoint(name, role, declared["interface"], int(declared.get("limit", 0)))
            for role in roles
            for name, declared in cast(
                "Mapping[str, Mapping[str, Any]]", self.meta.get(role, {})
            ).items()
        )

    def config_value(self, option: str, value: ConfigValue) -> ConfigValue:
        """Check an option's value as `juju config` does; a string is read as in a command."""
        declared = self.options.get(option)
        if declared is None:
            raise JujuError(f'parsing settings for application: unknown option "{option}"')
        kind = str(declared["type"])
        parsed = _parse(kind, value) if isinstance(value, str) else _typed(kind, value)
        if parsed is None:
            raise JujuError(
                f'parsing settings for application: option "{option}" expected {kind},'
                f" got {json.dumps(value)}"
            )
        return parsed

    def action_params(self, action: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Check an action's parameters against its schema as Juju does, and add the defaults."""
        declared = self.actions[action] or {}
        properties = cast("Mapping[str, Mapping[str, Any]]", declared.get("params", {}))
        given = {
            name: schema["default"] for name, schema in properties.items() if "default" in schema
        } | dict(params)
        wrong = [
            f'(root) : "{name}" property is missing and required, given {json.dumps(given)}'
            for name in declared.get("required", ())
            if name not in given
        ]
        # A JSON schema takes any other property where it does not say otherwise: so does Juju.
        if declared.get("additionalProperties", True) is False:
            wrong += [
                f'(root) : additional property "{name}" is not allowed, given {json.dumps(given)}'
                for name in given
                if name not in properties
            ]
        for name, schema in properties.items():
            if name in given:
                wrong += _against_schema(f"(root).{name}", schema, given[name])
        if wrong:
            raise JujuError("validation failed: " + "; ".join(wrong))
        return given


def _load(path: pathlib.Path) -> dict[str, Any]:
    """Read a YAML file; one that does not exist declares nothing."""
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def _parse(kind: str, text: str) -> ConfigValue | None:
    """Read an option's value from the command line's text; None where it is of another type."""
    if kind in {"string", "secret"}:
        return text
    if kind == "boolean":
        return True if text in _TRUE else False if text in _FALSE else None
    try:
        return int(text) if kind == "int" else float(text)
    except ValueError:
        return None


def _typed(kind: str, value: ConfigValue) -> ConfigValue | None:
    """Pass a value that is of the option's type; None where it is of another."""
    if isinstance(value, bool) or kind == "boolean":
        return value if isinstance(value, bool) and kind == "boolean" else None
    if kind == "int":
        return value if isinstance(value, int) else None
    return float(value) if kind == "float" else None


def _against_schema(where: str, schema: Mapping[str, Any], value: Any) -> list[str]:
    """List what a JSON schema has against a value, in the words of Juju's validator."""
    given = f", given {json.dumps(value)}"
    declared = schema.get("type", [])
    kinds = cast("list[str]", declared if isinstance(declared, list) else [declared])
    if kinds and not any(_is_of(kind, value) for kind in kinds):
        return [f"{where} : must be of type {' or '.join(kinds)}{given}"]
    wrong: list[str] = []
    if "enum" in schema and value not in schema["enum"]:
        wrong.append(f"{where} : must match one of the enum values {schema['enum']}{given}")
    if "minimum" in schema and value < schema["minimum"]:
        wrong.append(f"{where} : must be greater than or equal to {schema['minimum']}{given}")
    if "maximum" in schema and value > schema["maximum"]:
        wrong.append(f"{where} : must be lower than or equal to {schema['maximum']}{given}")
    if "pattern" in schema and not re.search(schema["pattern"], str(value)):
        wrong.append(f"{where} : does not match pattern '{schema['pattern']}'{given}")
    return wrong


def _is_of(kind: str, value: Any) -> bool:
    a_flag = isinstance(value, bool) and kind in {"integer", "number"}
    return isinstance(value, JSON_TYPES[kind]) and not a_flag
