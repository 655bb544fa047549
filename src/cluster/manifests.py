"""Renders templates/*.yaml.j2 into Kubernetes objects: quoted by a filter, parsed, validated."""

from __future__ import annotations

import functools
import pathlib
from typing import Any

import jinja2
import lightkube.codecs
import yaml

Manifest = dict[str, Any]

_TEMPLATES = pathlib.Path(__file__).parents[2] / "templates"


def render(template: str, **values: object) -> Manifest:
    """The manifest that a template and its values make.

    Args:
        template: The template's name, as in "volume".
        values: Its variables. All must be given that it uses.
    """
    text = _environment().get_template(f"{template}.yaml.j2").render(values)
    manifest: Manifest = yaml.safe_load(text)
    return manifest


def resource(manifest: Manifest) -> Any:
    """The typed object of a manifest.

    Args:
        manifest: What `render` made.

    Raises:
        ValueError: The manifest has a field that its kind does not know.
    """
    typed = lightkube.codecs.from_dict(manifest)
    if typed.to_dict() != manifest:
        raise ValueError(f"a {manifest['kind']} does not have all of these fields: {manifest}")
    return typed


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - it makes YAML, not HTML, and the filter below quotes
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quoted"] = _quoted
    return environment


def _quoted(value: object) -> str:
    """A value as YAML in one line that nothing in it can break out of."""
    return yaml.safe_dump(
        value, default_style='"', default_flow_style=True, width=float("inf"), sort_keys=False
    ).strip()
