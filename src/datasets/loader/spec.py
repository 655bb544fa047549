"""The loader's task as one checked value, and the limits that it holds a source to."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from . import failure, urls

# The Job's name is made from it, and Kubernetes takes 63 characters there.
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?")
VERSION = re.compile(r"[a-z0-9][-a-z0-9]{0,62}")
CHECKSUM = re.compile(r"(?P<algorithm>md5|sha256|sha512):(?P<digest>[0-9a-f]+)")


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much a source may bring: what goes beyond is taken for a bomb, or for a mistake.

    Attributes:
        most_bytes: The bytes of all files together.
        most_entries: The entries of an archive.
        most_expansion: How many times its own size an archive may grow...
        free_bytes: ...once it has grown beyond this: small archives of zeros do no harm.
    """

    most_bytes: int = 16 * 2**40
    most_entries: int = 50_000_000
    most_expansion: int = 200
    free_bytes: int = 2**30


@dataclasses.dataclass(frozen=True)
class Spec:
    """What to load, and where to.

    Attributes:
        name: The data set's name.
        source: The URL that it comes from; empty where a loader of the user's own brings it.
        checksum: `algorithm:digest` of what is fetched, or empty.
        unpack: Whether an archive is unpacked.
        overwrite: Whether a data set of that name that was made otherwise is replaced.
        version: The name of this load's directory: the same for each of its attempts.
        fingerprint: What two loads have in common that would bring the same data set.
        root: Where the volume is mounted.
        opening_seconds: How long a source may refuse to begin: short, so that a user who waits
            for the action learns of a wrong source from it.
        patience_seconds: How long a source that had begun may bring nothing.
        timeout_seconds: How long one look at the network may take.
        limits: How much the source may bring.
    """

    name: str
    source: str
    version: str
    fingerprint: str
    checksum: str = ""
    unpack: bool = True
    overwrite: bool = False
    root: str = "/mnt/aws-efs"
    opening_seconds: float = 25
    patience_seconds: float = 300
    timeout_seconds: float = 30
    limits: Limits = dataclasses.field(default_factory=Limits)

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """Reads what `to_json` wrote.

        Raises:
            Failure: It is not a task that this loader knows.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            limits = Limits(**fields.pop("limits", {}))
            spec = cls(**fields, limits=limits)
            if spec.source:
                urls.check(spec.source)
        except (AttributeError, TypeError, ValueError):
            raise failure.Failure(
                "the loader was given a task that it does not understand: upgrade the charm, "
                "then run create-dataset again"
            ) from None
        # These two become parts of paths, so they are not trusted a second time.
        if not NAME.fullmatch(spec.name) or not VERSION.fullmatch(spec.version):
            raise failure.Failure(
                "the name or the version of the data set is not one: use a-z0-9-"
            )
        if spec.checksum and not CHECKSUM.fullmatch(spec.checksum):
            raise failure.Failure("the checksum is not algorithm:digest: use sha256:<hex>")
        return spec

    def to_json(self) -> str:
        """The task as it is given to the pod."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @property
    def algorithm(self) -> str:
        """What is fetched is hashed with this, whether or not a checksum is given."""
        return self.checksum.partition(":")[0] or "sha256"


@dataclasses.dataclass(frozen=True)
class Result:
    """What a load brought.

    Attributes:
        files: The number of files.
        bytes: Their sizes together.
        seconds: How long it took.
        path: Where the data set is, from the volume's root.
        version: The directory under `.versions` that `path` leads to.
        checksum: `algorithm:digest` of what was fetched.
        fetched: The bytes that were fetched.
        form: What the source was: `file`, `tar`, `tar.gz`, ...
        existing: Whether it was there before.
    """

    files: int
    bytes: int
    seconds: float
    path: str
    version: str
    checksum: str
    fetched: int
    form: str
    existing: bool = False

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Result:
        """The result in a decoded answer or record, which may have other fields too.

        Raises:
            TypeError: A field is missing.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in fields.items() if key in names})


def hasher(algorithm: str) -> Any:
    """A new hash; md5 tells damage here, not forgery, so it works where md5 is forbidden."""
    return hashlib.new(algorithm, usedforsecurity=False)
