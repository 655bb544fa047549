"""Render templates/*.yaml.j2 into Kubernetes objects: values quoted, YAML parsed and validated."""

from __future__ import annotations

import base64
import functools
import pathlib
from typing import Any

import jinja2
import lightkube.codecs
import yaml

Manifest = dict[str, Any]

_TEMPLATES = pathlib.Path(__file__).parents[2] / "templates"
# Use libyaml where PyYAML has it: the loader's program is half a megabyte of base64.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def render(template: str, **values: object) -> Manifest:
    """Render a template.

    Args:
        template: The template's name, as in "volume".
        values: Its variables, all of them.
    """
    text = _environment().get_template(f"{template}.yaml.j2").render(values)
    manifest: Manifest = yaml.load(text, _Loader)  # noqa: S506 - both loaders are safe ones
    return manifest


def resource(manifest: Manifest) -> Any:
    """Return the typed object of a manifest.

    Args:
        manifest: A manifest from `render`.

    Raises:
        ValueError: The manifest has a field that its kind does not know. The message has no
            values: a Secret's must not be logged.
    """
    typed = lightkube.codecs.from_dict(manifest)
    if typed.to_dict() != manifest:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        raise ValueError(f"the manifest of {kind} {name} has a field that is unknown or empty")
    return typed


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - the output is YAML, and the filter below quotes
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quoted"] = _quoted
    environment.filters["base64"] = _base64
    return environment


def _quoted(value: object) -> str:
    """Return a value as one line of YAML in quotes that no content can break out of."""
    return yaml.safe_dump(
        value, default_style='"', default_flow_style=True, width=float("inf"), sort_keys=False
    ).strip()


def _base64(content: bytes) -> str:
    """Return content as base64, for a Secret's data or a ConfigMap's binaryData."""
    return base64.b64encode(content).decode()
