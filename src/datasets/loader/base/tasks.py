"""The loader's task as one checked value, and the limits that it holds a source to."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ... import protocol
from . import failure, urls

# The Job's name is made from it, and Kubernetes takes 63 characters there.
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?")
REQUEST = re.compile(r"[a-z0-9][-a-z0-9]{0,62}")
# Of sources, in a sentence.
MOST_SHOWN = 3
FINGERPRINT = re.compile(r"[0-9a-f]*")
CHECKSUM = re.compile(rf"(?:{'|'.join(protocol.DIGEST_DIGITS)}):[0-9a-f]+")


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much a source may bring: what goes beyond is taken for a bomb, or for a mistake.

    Attributes:
        most_bytes: The bytes of all files together.
        most_members: The members of an archive.
        most_expansion: How many times its own size an archive may grow...
        free_bytes: ...once it has grown beyond this: small archives of zeros do no harm.
    """

    most_bytes: int = 16 * 2**40
    most_members: int = 50_000_000
    most_expansion: int = 200
    free_bytes: int = 2**30


@dataclasses.dataclass(frozen=True)
class Source:
    """One place that data come from.

    Attributes:
        url: Its URL: http, https, s3 or hf.
        checksum: `algorithm:digest` of what is fetched, or empty.
        path: Where it goes in the data set; empty for its own name.
    """

    url: str
    checksum: str = ""
    path: str = ""


@dataclasses.dataclass(frozen=True)
class Task:
    """What the loader is told to do.

    Attributes:
        name: The data set's name.
        request: The identity of the create-dataset that asked for it; the same for all its pods.
        fingerprint: What two loads have in common that would bring the same data set.
        sources: Where the data come from; none where a loader of the user's own brings them.
        source_list: The URL of a list of further sources, or empty.
        unpack: `true`, `false`, or `recursive`: archives inside of others are unpacked, too.
        overwrite: Whether a data set of that name that was made otherwise is replaced.
        root: Where the volume is mounted.
        endpoint: The S3 service, where it is not AWS's.
        region: The region of the buckets; found out where it is empty.
        hub: The Hub, where it is not huggingface.co.
        credentials: What opens the sources: access-key and secret-key, or token.
        owner: `uid:gid` of what is written; empty for the loader's own.
        mode: The files' permissions as octal digits; a directory gets an x for each r.
        indexes: How many pods work on it.
        opening_seconds: How long a source may refuse to begin: short, so that a user who waits
            for the action learns of a wrong source from it.
        patience_seconds: How long a source that had begun may bring nothing.
        timeout_seconds: How long one look at the network may take.
        limits: How much the source may bring.
    """

    name: str
    request: str
    fingerprint: str
    sources: tuple[Source, ...] = ()
    source_list: str = ""
    unpack: str = "true"
    overwrite: bool = False
    root: str = "/mnt/aws-efs"
    endpoint: str = ""
    region: str = ""
    hub: str = ""
    credentials: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str], repr=False)
    owner: str = ""
    mode: str = protocol.PLAIN_MODE
    indexes: int = 1
    opening_seconds: float = 25
    patience_seconds: float = 300
    timeout_seconds: float = 30
    limits: Limits = dataclasses.field(default_factory=Limits)

    @classmethod
    def from_json(cls, text: str, check_url: Callable[[str], object] = urls.split) -> Task:
        """Read what `to_json` wrote.

        Args:
            text: The task.
            check_url: Refuses a source's URL by a ValueError.

        Raises:
            Failure: It is not a task that this loader knows.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            limits = Limits(**fields.pop("limits", {}))
            sources = tuple(Source(**each) for each in fields.pop("sources", ()))
            task = cls(**fields, sources=sources, limits=limits)
            for url in (*(source.url for source in sources), task.source_list):
                if url:
                    check_url(url)
        except (AttributeError, TypeError, ValueError):
            raise failure.Failure(
                "the loader was given a task that it does not understand: upgrade the charm, "
                "then try again"
            ) from None
        # These become parts of paths, so they are not trusted a second time.
        if not NAME.fullmatch(task.name) or not REQUEST.fullmatch(task.request):
            raise failure.Failure(
                "the name or the request of the data set is not one: use a-z0-9-"
            )
        if not FINGERPRINT.fullmatch(task.fingerprint):
            raise failure.Failure("the fingerprint is not one: use hexadecimal digits")
        if any(each.checksum and not CHECKSUM.fullmatch(each.checksum) for each in sources):
            raise failure.Failure("the checksum is not algorithm:digest: use sha256:<hex>")
        return task

    def to_json(self) -> str:
        """The task as it is given to the pod."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @property
    def shown(self) -> str:
        """Where it comes from, without what may be secret in it."""
        found = [source.url for source in self.sources] + [self.source_list] * bool(
            self.source_list
        )
        shown = [urls.redact(url) for url in found[:MOST_SHOWN]]
        more = len(found) - len(shown)
        return " ".join(shown) + (f" and {more} more" if more > 0 else "")

    @property
    def file_mode(self) -> int:
        """The permissions of a file."""
        return int(self.mode, 8)

    @property
    def directory_mode(self) -> int:
        """The permissions of a directory, or of a file that may be executed."""
        return self.file_mode | (self.file_mode & 0o444) >> 2

    @property
    def owner_ids(self) -> tuple[int, int] | None:
        """The user and the group that files shall belong to; None for the loader's own."""
        if not self.owner:
            return None
        user, _, group = self.owner.partition(":")
        return int(user), int(group or user)


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
        archive_format: What the source was: `file`, `tar`, `tar.gz`, ...; `many` for several.
        shards: Into how many parts the work could be divided.
        existing: Whether it was there before.
    """

    files: int
    bytes: int
    seconds: float
    path: str
    version: str
    checksum: str
    fetched: int
    archive_format: str
    shards: int = 1
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
