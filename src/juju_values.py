"""Read the values of action parameters as Juju leaves them, or say how to write them.

Juju reads `key=value` as YAML 1.1, and what it makes of a value has lost its spelling: 0640 and
416 are the same number. What may have been written to mean something else is refused.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import pydantic

from datasets import parameter_values

_KINDS = {"bool": "true or false", "list": "a list", "dict": "a map"}
_FLAGS = {"true": True, "false": False}
_LARGEST_DIGIT = 7
_LARGEST_MODE = 0o777


def _text(value: object, info: pydantic.ValidationInfo) -> str:
    """Return a text; an empty one is null, while 2024, 1e3, yes and a: b are not text."""
    if value is None:
        return ""
    if not isinstance(value, str):
        kind = _KINDS.get(type(value).__name__, "a number")
        raise ValueError(f"was read as {kind}, not as text: write {_quoted(info, '...')}")
    return value


def _flag(value: object) -> bool:
    # Juju passes words on, too, with --string-args.
    flag = value if isinstance(value, bool) else _FLAGS.get(str(value).lower())
    if flag is None:
        raise ValueError("is neither true nor false: use one of them")
    return flag


def whole(least: int, greatest: int) -> Any:
    """Return the validator of a whole number in a range."""

    def check(value: object) -> int:
        if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        number = -1 if isinstance(value, bool) or not isinstance(value, int) else value
        if not least <= number <= greatest:
            raise ValueError(f"is not a whole number from {least} to {greatest}: use one of them")
        return number

    return pydantic.BeforeValidator(check)


def read_owner(value: object, info: pydantic.ValidationInfo) -> str:
    """Return an owner; 0100 arrives as the number 64, but with a colon it is text."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value <= _LARGEST_DIGIT:
            octal = f"0{value:o}" if value > 0 else "another number"
            raise ValueError(f"{value} may have been {octal}: write owner={value}:{value}")
        return str(value)
    return _text(value, info)


def read_mode(value: object, info: pydantic.ValidationInfo) -> str:
    """Return a mode; 0640 arrives as the number 416, and 0620 as 400.

    A number that is no mode of three octal digits can only have been written as it is.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if 0 < value <= _LARGEST_MODE:
            octal = f"0{value:03o}"
            meant = octal if _is_mode(octal) else f"{value}"
            raise ValueError(f"{value} may have been {octal}: write {_quoted(info, meant)}")
        return str(value)
    return _text(value, info)


def _quoted(info: pydantic.ValidationInfo, text: str) -> str:
    """Return the way to write a parameter as text."""
    name = (info.field_name or "").replace("_", "-")
    return f"{name}='\"{text}\"', in both quotes"


def _is_mode(value: str) -> bool:
    try:
        parameter_values.validate_mode(value)
    except ValueError:
        return False
    return True


TEXT = pydantic.BeforeValidator(_text)
Text = Annotated[str, TEXT]
Flag = Annotated[bool, pydantic.BeforeValidator(_flag)]
