"""Validate the parameters of actions, before an action changes anything."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import pydantic

import juju_values
import shell_words
from config import image_name
from datasets import dataset, parameter_values, protocol
from datasets.loader.base import urls
from datasets.loader.sources import table
from datasets.loader.store import versions
from juju_values import Flag, Text
from problems import quote

MOST_COMPONENTS = 99
LONGEST_WAIT_SECONDS = 600
# The parameters that go with some kinds of sources only, and those that go with any.
SERVICE_PARAMETERS = ("endpoint", "credentials", "region", "requester_pays", "include", "exclude")
SOURCE_PARAMETERS = (
    "checksum",
    "unpack",
    "strip_components",
    "parallelism",
    "connections",
    *SERVICE_PARAMETERS,
)
# A value of `env` that names a key of a Juju secret, so that it is not stored in plain text.
SECRET_VALUE = re.compile(r"secret:(?P<id>[\w/-]+)/(?P<key>[a-z][a-z0-9-]*)")


class Parameters(pydantic.BaseModel):
    """The base of all action parameters: unknown ones are refused, errors contain no values."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class SetupParams(Parameters):
    """The parameters of `setup`: none."""


class DiagnoseParams(Parameters):
    """The parameters of `diagnose`: none."""


class TeardownParams(Parameters):
    """The parameters of `teardown`."""

    confirm: Text = ""
    dry_run: Flag = False
    force: Flag = False


def _path(value: str) -> str:
    if not re.fullmatch(r"(/[\w.-]+)+", value) or posixpath.normpath(value) != value:
        raise ValueError(f"{quote(value)}: use an absolute path of letters, digits, . - and _")
    return value


class ShowMountParams(Parameters):
    """The parameters of `show-mount`."""

    path: Annotated[Text, pydantic.AfterValidator(_path)] = "/mnt/efs"


def _words(value: str) -> tuple[str, ...]:
    return tuple(shell_words.split(value))


def _environment(value: str) -> dict[str, str]:
    environment: dict[str, str] = {}
    for number, pair in enumerate(_words(value), 1):
        key, equals, text = pair.partition("=")
        # The error does not repeat the word: one that is not KEY=VALUE may be a secret.
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
            raise ValueError(f"word {number} is not KEY=VALUE: separate the pairs by spaces")
        if key in environment:
            raise ValueError(f"has {key} twice: set each key once")
        if text.startswith("secret:") and not SECRET_VALUE.fullmatch(text):
            raise ValueError(f"{key} is not secret:<id>/<key>: name the secret's key too")
        environment[key] = text
    return environment


def _secret(value: str) -> str:
    # The error does not repeat the value: one that is not a secret's URI may be the secret itself.
    if not re.fullmatch(r"secret:[\w/-]+", value):
        raise ValueError("is not the secret: URI that juju add-secret printed")
    return value


def _sources(value: str) -> tuple[str, ...]:
    sources = tuple(value.split())
    for number, source in enumerate(sources, 1):
        where = f"number {number} " if len(sources) > 1 else ""
        try:
            parameter_values.validate_source(source)
        except ValueError as error:
            raise ValueError(f"{where}{error}") from None
        if sources.index(source) != number - 1:
            raise ValueError(f"{where}is listed twice: list each source once")
    return sources


def _patterns(value: str) -> tuple[str, ...]:
    patterns = tuple(dict.fromkeys(value.split()))
    if len(patterns) > dataset.MOST_PATTERNS:
        raise ValueError(f"has more than {dataset.MOST_PATTERNS} patterns: use fewer, wider ones")
    if any(pattern.startswith("/") for pattern in patterns):
        raise ValueError("has a pattern with a slash at its beginning: paths have none there")
    return patterns


def _unpack(value: object) -> str:
    # Juju parses true and false as booleans, except with --string-args.
    text = str(value).lower() if isinstance(value, (bool, str)) else ""
    if text not in dataset.UNPACK:
        raise ValueError(f"is none of {', '.join(dataset.UNPACK)}: use one of them")
    return text


def _number(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _checked(check: Callable[[str], str]) -> Any:
    """Return a validator for a parameter that may be empty."""
    return pydantic.AfterValidator(lambda value: check(value) if value else "")


Name = Annotated[Text, pydantic.AfterValidator(parameter_values.validate_name)]
# A number, which may have a unit.
Amount = Annotated[Text, pydantic.BeforeValidator(_number)]
Wait = Annotated[int, juju_values.whole(0, LONGEST_WAIT_SECONDS)]


class CreateDatasetParams(Parameters):
    """The parameters of `create-dataset`."""

    name: Name
    source: Annotated[tuple[str, ...], pydantic.BeforeValidator(_sources), juju_values.TEXT] = ()
    source_list: Annotated[Text, _checked(parameter_values.validate_source_list)] = ""
    base: Annotated[Text, _checked(parameter_values.validate_base)] = ""
    strip_components: Annotated[int, juju_values.whole(0, MOST_COMPONENTS)] = 0
    checksum: Annotated[Text, _checked(parameter_values.validate_checksum)] = ""
    unpack: Annotated[str, pydantic.BeforeValidator(_unpack)] = "true"
    endpoint: Annotated[Text, _checked(parameter_values.validate_endpoint)] = ""
    region: Annotated[Text, _checked(parameter_values.validate_region)] = ""
    credentials: Annotated[Text, _checked(_secret)] = ""
    requester_pays: Flag = False
    include: Annotated[tuple[str, ...], pydantic.BeforeValidator(_patterns), juju_values.TEXT] = ()
    exclude: Annotated[tuple[str, ...], pydantic.BeforeValidator(_patterns), juju_values.TEXT] = ()
    connections: Annotated[int, juju_values.whole(0, dataset.MOST_CONNECTIONS)] = 0
    parallelism: Annotated[int, juju_values.whole(1, dataset.MOST_PODS)] = 1
    owner: Annotated[
        str,
        pydantic.BeforeValidator(juju_values.read_owner),
        _checked(parameter_values.validate_owner),
    ] = ""
    mode: Annotated[
        str,
        pydantic.BeforeValidator(juju_values.read_mode),
        _checked(parameter_values.validate_mode),
    ] = ""
    max_size: Annotated[Amount, _checked(parameter_values.validate_size)] = ""
    deadline: Annotated[Amount, _checked(parameter_values.validate_duration)] = ""
    image: Annotated[Text, _checked(image_name)] = ""
    command: Annotated[tuple[str, ...], pydantic.BeforeValidator(_words), juju_values.TEXT] = ()
    env: Annotated[dict[str, str], pydantic.BeforeValidator(_environment), juju_values.TEXT] = {}
    overwrite: Flag = False
    wait: Wait = 40

    @pydantic.model_validator(mode="after")
    def _one_way(self) -> CreateDatasetParams:
        if self.image:
            self._check_image()
        elif not self.source and not self.source_list:
            raise ValueError(
                "give source, source-list, or image with command: one of them is required"
            )
        elif self.command or self.env:
            raise ValueError("command and env go with image: leave them out with source")
        several = len(self.source) != 1 and not parameter_values.are_parts(self.source)
        if self.checksum and (several or self.source_list):
            raise ValueError(
                "checksum goes with one source only, or the parts of one archive: for several, "
                "put checksums into a source-list"
            )
        if self.base and not self.source_list:
            raise ValueError("base goes with source-list: leave it out")
        self._check_services()
        return self

    def _check_image(self) -> None:
        if self.source or self.source_list:
            raise ValueError("give either source and source-list, or image: not both")
        plain = CreateDatasetParams.model_fields
        for name in SOURCE_PARAMETERS:
            if getattr(self, name) != plain[name].default:
                shown = name.replace("_", "-")
                raise ValueError(
                    f"{shown} goes with source or source-list: leave it out with image"
                )

    def _check_services(self) -> None:
        kinds = self.to_dataset().kinds
        # The content of a source list is not known yet: its sources may be on S3.
        for name in () if self.source_list else SERVICE_PARAMETERS:
            word = name.replace("_", "-")
            if getattr(self, name) and not any(word in each.parameters for each in kinds):
                shown = [row.url_prefix for row in table.ROWS if word in row.parameters]
                raise ValueError(f"{word} goes with {' and '.join(shown)} sources: leave it out")
        services = [each.url_prefix for each in kinds if "endpoint" in each.parameters]
        if self.endpoint and len(services) > 1:
            raise ValueError(
                f"endpoint cannot serve both {' and '.join(services)}: use a data set for each"
            )
        # Requests to S3 are signed, but requests to the Hub contain the token itself.
        hub = any(each.sends_secret and "endpoint" in each.parameters for each in kinds)
        if hub and self.credentials and self.endpoint and not urls.is_private_way(self.endpoint):
            raise ValueError(
                "endpoint is not https, but requests to it contain the token: use https://"
            )
        # With others, the credentials may be for those.
        web = bool(kinds) and all(each.schemes == urls.WEB for each in kinds)
        named = [*self.source, self.source_list]
        if web and self.credentials and not all(map(urls.is_private_way, filter(None, named))):
            raise ValueError(
                "credentials are sent by https only: use https:// for all sources with them"
            )

    def to_dataset(self) -> dataset.Dataset:
        """Return the requested data set."""
        return dataset.Dataset(
            name=self.name,
            sources=self.source,
            source_list=self.source_list,
            base=self.base,
            strip_components=self.strip_components,
            checksum=self.checksum,
            unpack=self.unpack,
            endpoint=self.endpoint,
            region=self.region,
            requester_pays=self.requester_pays,
            include=self.include,
            exclude=self.exclude,
            connections=self.connections,
            owner=self.owner,
            mode=self.mode or protocol.PLAIN_MODE,
            overwrite=self.overwrite,
            parallelism=self.parallelism,
            image=self.image,
            command=self.command,
            env=self.env,
            max_bytes=parameter_values.size_bytes(self.max_size),
            deadline_seconds=parameter_values.duration_seconds(self.deadline),
        )

    @property
    def secrets(self) -> dict[str, tuple[str, str]]:
        """Return the environment variables from Juju secrets: name -> (secret id, key)."""
        found = {key: SECRET_VALUE.fullmatch(text) for key, text in self.env.items()}
        return {key: (match["id"], match["key"]) for key, match in found.items() if match}


class ListDatasetsParams(Parameters):
    """The parameters of `list-datasets`."""

    refresh: Flag = False
    wait: Wait = 40


class ShowDatasetParams(Parameters):
    """The parameters of `show-dataset`."""

    name: Name
    wait: Wait = 40


class ListVersionsParams(Parameters):
    """The parameters of `list-versions`."""

    name: Name
    wait: Wait = 40


def _version(value: str) -> str:
    if not versions.VERSION.fullmatch(value):
        raise ValueError(f"{quote(value)} is no version: run list-versions to see them")
    return value


class RollbackParams(Parameters):
    """The parameters of `rollback`."""

    name: Name
    version: Annotated[Text, _checked(_version)] = ""
    wait: Wait = 40


class VerifyDatasetParams(Parameters):
    """The parameters of `verify-dataset`."""

    name: Name
    wait: Wait = 40


class DeleteDatasetParams(Parameters):
    """The parameters of `delete-dataset`."""

    name: Name
    force: Flag = False
    wait: Wait = 40


DataSetParams = (
    CreateDatasetParams
    | ListDatasetsParams
    | ShowDatasetParams
    | ListVersionsParams
    | RollbackParams
    | VerifyDatasetParams
    | DeleteDatasetParams
)
ACTIONS: Mapping[str, type[Parameters]] = {
    "create-dataset": CreateDatasetParams,
    "list-datasets": ListDatasetsParams,
    "show-dataset": ShowDatasetParams,
    "list-versions": ListVersionsParams,
    "rollback": RollbackParams,
    "verify-dataset": VerifyDatasetParams,
    "delete-dataset": DeleteDatasetParams,
    "diagnose": DiagnoseParams,
    "setup": SetupParams,
    "show-mount": ShowMountParams,
    "teardown": TeardownParams,
}
