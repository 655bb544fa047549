"""The parameters of actions.yaml as checked values; a refusal comes before any change."""

from __future__ import annotations

import posixpath
import re
import shlex
from typing import Annotated

import pydantic

from datasets import dataset
from settings import image_name, shown

# A value of `env` that is to be read from a Juju secret instead of standing in the clear.
SECRET_VALUE = re.compile(r"secret:(?P<id>[\w/-]+)/(?P<key>[a-z][a-z0-9-]*)")


class Parameters(pydantic.BaseModel):
    """What all actions share: no unknown parameter, and no value in an error."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class SetupParams(Parameters):
    """`setup` takes none."""


class TeardownParams(Parameters):
    """What `teardown` takes."""

    confirm: str = ""
    dry_run: bool = False
    force: bool = False


def _path(value: str) -> str:
    if not re.fullmatch(r"(/[\w.-]+)+", value) or posixpath.normpath(value) != value:
        raise ValueError(f"{shown(value)}: use an absolute path of letters, digits, . - and _")
    return value


class ShowMountParams(Parameters):
    """What `show-mount` takes."""

    path: Annotated[str, pydantic.AfterValidator(_path)] = "/mnt/efs"


def _words(value: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(value))
    except ValueError as error:
        raise ValueError(f"can not be split into words ({error}): check its quotes") from None


def _environment(value: str) -> dict[str, str]:
    environment: dict[str, str] = {}
    for number, pair in enumerate(_words(value), 1):
        key, equals, text = pair.partition("=")
        # The pair itself is not repeated: what is not KEY=VALUE may be a bare secret.
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
            raise ValueError(f"word {number} is not KEY=VALUE: write them separated by spaces")
        if key in environment:
            raise ValueError(f"has {key} twice: give each key once")
        if text.startswith("secret:") and not SECRET_VALUE.fullmatch(text):
            raise ValueError(f"{key} is not secret:<id>/<key>: name the secret's key too")
        environment[key] = text
    return environment


class CreateDatasetParams(Parameters):
    """What `create-dataset` takes."""

    name: Annotated[str, pydantic.AfterValidator(dataset.validate_name)]
    source: Annotated[
        str, pydantic.AfterValidator(lambda value: dataset.validate_source(value) if value else "")
    ] = ""
    checksum: Annotated[
        str,
        pydantic.AfterValidator(lambda value: dataset.validate_checksum(value) if value else ""),
    ] = ""
    unpack: bool = True
    image: Annotated[
        str, pydantic.AfterValidator(lambda value: image_name(value) if value else "")
    ] = ""
    command: Annotated[tuple[str, ...], pydantic.BeforeValidator(_words)] = ()
    env: Annotated[dict[str, str], pydantic.BeforeValidator(_environment)] = {}
    overwrite: bool = False
    wait: Annotated[int, pydantic.Field(ge=0, le=600)] = 40

    @pydantic.model_validator(mode="after")
    def _one_way(self) -> CreateDatasetParams:
        if bool(self.source) == bool(self.image):
            raise ValueError("give either source, or image with command: one of them")
        if self.image and (self.checksum or not self.unpack):
            raise ValueError("checksum and unpack go with source: leave them out with image")
        if not self.image and (self.command or self.env):
            raise ValueError("command and env go with image: leave them out with source")
        return self

    def wanted(self) -> dataset.Dataset:
        """The data set that is asked for."""
        return dataset.Dataset(
            name=self.name,
            source=self.source,
            checksum=self.checksum,
            unpack=self.unpack,
            overwrite=self.overwrite,
            image=self.image,
            command=self.command,
            env=self.env,
        )

    @property
    def secrets(self) -> dict[str, tuple[str, str]]:
        """The environment variables that come from Juju secrets: name -> (secret id, key)."""
        found = {key: SECRET_VALUE.fullmatch(text) for key, text in self.env.items()}
        return {key: (match["id"], match["key"]) for key, match in found.items() if match}
