"""A charm's files, and Juju's checks of options and action parameters; it knows no model."""

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
    """A refusal of the `juju` command, in Juju's own words where they are known."""


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """An endpoint of a charm's relations.

    Attributes:
        name: The endpoint's name.
        role: Its role.
        interface: The relation's interface.
        limit: The maximum number of relations; 0 for no limit.
    """

    name: str
    role: Role
    interface: str
    limit: int = 0


@dataclasses.dataclass(frozen=True)
class Metadata:
    """A charm's metadata.yaml, config.yaml and actions.yaml as in the packed charm."""

    meta: Mapping[str, Any]
    options: Mapping[str, Mapping[str, Any]] = dataclasses.field(
        default_factory=dict[str, Mapping[str, Any]]
    )
    actions: Mapping[str, Mapping[str, Any]] = dataclasses.field(
        default_factory=dict[str, Mapping[str, Any]]
    )

    @classmethod
    def read(cls, root: pathlib.Path) -> Metadata:
        """Read a charm's source directory; charmcraft.yaml is converted as charmcraft does."""
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
        """Return the charm's name."""
        return str(self.meta["name"])

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return all declared endpoints, peers last."""
        roles: tuple[Role, ...] = ("provides", "requires", "peers")
        return tuple(
            Endpoint(name, role, declared["interface"], int(declared.get("limit", 0)))
            for role in roles
            for name, declared in cast(
                "Mapping[str, Mapping[str, Any]]", self.meta.get(role, {})
            ).items()
        )

    def config_value(self, option: str, value: ConfigValue) -> ConfigValue:
        """Check an option's value as `juju config` does; strings are parsed like arguments."""
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
        complete = {
            name: schema["default"] for name, schema in properties.items() if "default" in schema
        } | dict(params)
        wrong = [
            f'(root) : "{name}" property is missing and required, given {json.dumps(complete)}'
            for name in declared.get("required", ())
            if name not in complete
        ]
        # By default a JSON schema, and so Juju, accepts additional properties.
        if declared.get("additionalProperties", True) is False:
            wrong += [
                f'(root) : additional property "{name}" is not allowed,'
                f" given {json.dumps(complete)}"
                for name in complete
                if name not in properties
            ]
        for name, schema in properties.items():
            if name in complete:
                wrong += _schema_errors(f"(root).{name}", schema, complete[name])
        if wrong:
            raise JujuError("validation failed: " + "; ".join(wrong))
        return complete


def _load(path: pathlib.Path) -> dict[str, Any]:
    """Read a YAML file; return an empty dictionary if it does not exist."""
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


def _parse(kind: str, text: str) -> ConfigValue | None:
    """Parse an option's value; return None if the text does not match the type."""
    if kind in {"string", "secret"}:
        return text
    if kind == "boolean":
        return True if text in _TRUE else False if text in _FALSE else None
    try:
        return int(text) if kind == "int" else float(text)
    except ValueError:
        return None


def _typed(kind: str, value: ConfigValue) -> ConfigValue | None:
    """Return a value if it has the option's type, else None."""
    if isinstance(value, bool) or kind == "boolean":
        return value if isinstance(value, bool) and kind == "boolean" else None
    if kind == "int":
        return value if isinstance(value, int) else None
    return float(value) if kind == "float" else None


def _schema_errors(where: str, schema: Mapping[str, Any], value: Any) -> list[str]:
    """Return the violations of a JSON schema in the words of Juju's validator."""
    suffix = f", given {json.dumps(value)}"
    declared = schema.get("type", [])
    kinds = cast("list[str]", declared if isinstance(declared, list) else [declared])
    if kinds and not any(_is_of(kind, value) for kind in kinds):
        return [f"{where} : must be of type {' or '.join(kinds)}{suffix}"]
    wrong: list[str] = []
    if "enum" in schema and value not in schema["enum"]:
        wrong.append(f"{where} : must match one of the enum values {schema['enum']}{suffix}")
    is_number = _is_of("number", value)
    if is_number and "minimum" in schema and value < schema["minimum"]:
        wrong.append(f"{where} : must be greater than or equal to {schema['minimum']}{suffix}")
    if is_number and "maximum" in schema and value > schema["maximum"]:
        wrong.append(f"{where} : must be lower than or equal to {schema['maximum']}{suffix}")
    if "pattern" in schema and not re.search(schema["pattern"], str(value)):
        wrong.append(f"{where} : does not match pattern '{schema['pattern']}'{suffix}")
    return wrong


def _is_of(kind: str, value: Any) -> bool:
    if kind == "null":
        return value is None
    is_boolean = isinstance(value, bool) and kind in {"integer", "number"}
    return isinstance(value, JSON_TYPES[kind]) and not is_boolean
