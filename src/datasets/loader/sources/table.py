"""The table of source kinds: one row for each, with its module and its parameters.

The charm reads it, too: a kind's module is imported only when it is needed.
"""

from __future__ import annotations

import dataclasses
import importlib
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol, cast

from ... import protocol
from ..base import urls
from . import hub_url, s3_url, volume_path

if TYPE_CHECKING:
    from ..base import tasks
    from ..http import http_client
    from .source_object import SourceObject


class SourceReader(Protocol):
    """A reader of a task's sources of one kind."""

    def expand(self, url: str) -> Iterator[SourceObject]:
        """Return all objects that a URL stands for.

        Raises:
            Failure: There are none, or they cannot be listed.
        """
        ...

    def locate(self, url: str) -> SourceObject:
        """Return the one object that a URL names, without a request for it.

        Raises:
            Failure: It does not name one object.
        """
        ...


class SourceModule(Protocol):
    """A module of one kind of source, with the functions that each of them has."""

    @property
    def AUTH(self) -> str:  # noqa: N802 - a module's constant
        """Return the name of its signer, as in `SourceObject.auth`; empty if it has none."""
        ...

    def reader(self, client: http_client.Client, task: tasks.Task) -> SourceReader:
        """Return the reader of its sources in a task."""
        ...

    def signer(self, task: tasks.Task) -> http_client.Signer:
        """Return the signer of its requests; called only for kinds with credentials."""
        ...

    def explainer(self, task: tasks.Task) -> http_client.Explainer:
        """Return the explanation of refused requests; only for kinds with credentials."""
        ...

    def opener(self, task: tasks.Task) -> http_client.Opener:
        """Return what opens its objects; only for kinds that are not read over the network."""
        ...


@dataclasses.dataclass(frozen=True)
class SourceKind:
    """One kind of source.

    Attributes:
        schemes: The schemes of its URLs.
        module: The name of its module in this package.
        form: The form of its URLs, for messages.
        check: Refuses a wrong URL by a ValueError.
        check_listed: Refuses a URL that cannot be in a source list by a ValueError.
        listable: Whether a source list may name its objects.
        parameters: The parameters of create-dataset that go with it.
        keys: The keys that its secret must have; any of `optional_keys` where there are none.
        optional_keys: The keys that its secret may have besides.
        sends_secret: Whether requests contain the secret itself: then only https is allowed.
        endpoint_field: The field of the task for its service.
        local: Whether its objects are opened without a request over the network.
    """

    schemes: tuple[str, ...]
    module: str
    form: str
    check: Callable[[str], object]
    check_listed: Callable[[str], object] = lambda _url: None
    listable: bool = True
    parameters: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    optional_keys: tuple[str, ...] = ()
    sends_secret: bool = False
    endpoint_field: str = "endpoint"
    local: bool = False

    @property
    def url_prefix(self) -> str:
        """Return the beginning of its URLs, for messages."""
        return f"{self.schemes[0]}:/" if self.local else f"{self.schemes[0]}://"

    def load(self) -> SourceModule:
        """Import its module."""
        return cast("SourceModule", importlib.import_module(f".{self.module}", __package__))


def _check_web(url: str) -> None:
    urls.check_web(url, FORMS)


ROWS = (
    SourceKind(
        urls.WEB,
        module="web",
        form=urls.WEB_FORM,
        check=_check_web,
        parameters=("credentials",),
        optional_keys=(protocol.TOKEN, protocol.HEADER),
        sends_secret=True,
    ),
    SourceKind(
        ("s3",),
        module="s3",
        form="s3://bucket/key",
        check=s3_url.bucket_and_key,
        check_listed=s3_url.check_listed,
        parameters=(
            "endpoint",
            "region",
            "credentials",
            "requester-pays",
            "include",
            "exclude",
        ),
        keys=(protocol.ACCESS_KEY, protocol.SECRET_KEY),
        optional_keys=(protocol.SESSION_TOKEN,),
    ),
    SourceKind(
        ("hf",),
        module="hub",
        form="hf://datasets/org/name",
        check=hub_url.repository,
        check_listed=hub_url.check_listed,
        listable=False,
        parameters=("endpoint", "credentials", "include", "exclude"),
        keys=(protocol.TOKEN,),
        sends_secret=True,
        endpoint_field="hub",
    ),
    SourceKind(
        (urls.VOLUME,),
        module="volume_tree",
        form=volume_path.FORM,
        check=volume_path.path_of,
        check_listed=volume_path.check_listed,
        listable=False,
        parameters=("include", "exclude"),
        local=True,
    ),
)
FORMS = ", ".join(row.form for row in ROWS[:-1]) + f" or {ROWS[-1].form}"
BY_SCHEME: Mapping[str, SourceKind] = {scheme: row for row in ROWS for scheme in row.schemes}
LISTABLE_SCHEMES = tuple(scheme for row in ROWS if row.listable for scheme in row.schemes)
WITH_CREDENTIALS = tuple(row for row in ROWS if row.keys or row.optional_keys)


def check(url: str) -> None:
    """Refuse a URL that cannot be a source, or that carries credentials.

    Raises:
        ValueError: It is wrong; the text does not repeat it.
    """
    row = BY_SCHEME.get(urls.split(url, FORMS).scheme)
    if row is None:
        raise ValueError(f"is not a URL of a kind that can be read: use {FORMS}")
    row.check(url)


def check_service(url: str) -> None:
    """Refuse a URL that is not one of a service: http(s), without credentials or a query.

    Raises:
        ValueError: It is wrong; the text does not repeat it.
    """
    check(url)
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in urls.WEB or parts.query or parts.fragment:
        raise ValueError("is not the URL of a service: use https://host")


def row_of(url: str) -> SourceKind:
    """Return the kind of a URL that has been checked."""
    return BY_SCHEME[urls.scheme(url)]
