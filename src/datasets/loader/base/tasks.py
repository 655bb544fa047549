"""The loader's task as one checked value, and the limits of its sources."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ... import protocol
from . import failure, urls

# The Job's name contains it, and Kubernetes allows 63 characters there.
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?")
REQUEST = re.compile(r"[a-z0-9][-a-z0-9]{0,62}")
# The most sources that a message names.
MOST_SHOWN = 3
FINGERPRINT = re.compile(r"[0-9a-f]*")
DIGEST_KEY = re.compile(r"(?:[0-9a-f]{2})*")
CHECKSUM = re.compile(rf"(?:{'|'.join(protocol.DIGEST_DIGITS)}):[0-9a-f]+")
# To hash more than this at once, Python releases its interpreter lock, and getting it back takes
# longer than hashing a small file.
QUIET_BYTES, HASHED_AT_ONCE_BYTES = 2047, 2**16


@dataclasses.dataclass(frozen=True)
class Limits:
    """The limits of a source: more than that is taken for an archive bomb, or a mistake.

    Attributes:
        most_bytes: The bytes of all files together.
        most_members: The members of an archive.
        most_expansion: The factor by which an archive may grow beyond `free_bytes`.
        free_bytes: The bytes that any archive may grow to: small archives of zeros do no harm.
    """

    most_bytes: int = 16 * 2**40
    most_members: int = 50_000_000
    most_expansion: int = 200
    free_bytes: int = 2**30


@dataclasses.dataclass(frozen=True)
class Source:
    """A source of data.

    Attributes:
        url: Its URL: http, https, s3 or hf.
        checksum: `algorithm:digest` of its content, or empty.
        path: Its path in the data set; empty for its own name.
    """

    url: str
    checksum: str = ""
    path: str = ""


@dataclasses.dataclass(frozen=True)
class Task:
    """A task of the loader.

    Attributes:
        name: The data set's name.
        request: The identity of the create-dataset that requested it; the same for all its pods.
        fingerprint: The digest of the parameters: loads of the same data set have the same one.
        sources: The sources; none if a custom loader writes the files.
        source_list: The URL of a list of further sources, or empty.
        list_base: The URL of the directory of relative lines in that list; its own if empty.
        strip_components: The number of leading directories to remove from the paths in archives.
        unpack: `true`, `false`, `recursive` (archives in archives are unpacked, too), or the
            format that each source must have.
        overwrite: Whether a data set of that name with other parameters is replaced.
        root: The mount point of the volume.
        endpoint: The S3 service; empty for AWS.
        region: The region of the buckets; determined if empty.
        hub: The Hub; empty for huggingface.co.
        requester_pays: Whether the key's account pays for requests to S3.
        include: The patterns of the files to load, of those that are listed; none for all.
        exclude: The patterns of listed files not to load.
        connections: The most connections of a pod; 0 for as many as are useful.
        credentials: The credentials for the sources: access-key and secret-key, token, or header.
        digest_key: The key, in hex, of the digest of a source list, whose URLs may have secrets.
        owner: `uid:gid` of the files and directories; empty for the loader's own.
        version: The version that a rollback publishes; empty for the one before.
        mode: The files' permissions as octal digits; a directory gets an x for each r.
        indexes: The number of pods.
        cluster_networks: The networks of the cluster's services, which are no sources.
        opening_seconds: The longest time that a source may refuse to begin: short, so that the
            action that a user waits for reports a wrong source.
        patience_seconds: The longest time without data once they have come, or if a source
            asks to wait: it outlasts two of the Hub's windows of five minutes.
        timeout_seconds: The timeout of one network operation.
        limits: The limits of the sources.
    """

    name: str
    request: str
    fingerprint: str
    sources: tuple[Source, ...] = ()
    source_list: str = ""
    list_base: str = ""
    strip_components: int = 0
    unpack: str = "true"
    overwrite: bool = False
    root: str = "/mnt/aws-efs"
    endpoint: str = ""
    region: str = ""
    hub: str = ""
    requester_pays: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    connections: int = 0
    credentials: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str], repr=False)
    digest_key: str = dataclasses.field(default="", repr=False)
    owner: str = ""
    version: str = ""
    mode: str = protocol.PLAIN_MODE
    indexes: int = 1
    cluster_networks: tuple[str, ...] = ()
    opening_seconds: float = 25
    patience_seconds: float = 900
    timeout_seconds: float = 30
    limits: Limits = dataclasses.field(default_factory=Limits)

    @classmethod
    def from_json(cls, text: str, check_url: Callable[[str], object] = urls.split) -> Task:
        """Parse a task that `to_json` returned.

        Args:
            text: The JSON.
            check_url: Refuses a source's URL by a ValueError.

        Raises:
            Failure: It is not a task of this version.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            limits = Limits(**fields.pop("limits", {}))
            sources = tuple(Source(**each) for each in fields.pop("sources", ()))
            for name in ("cluster_networks", "include", "exclude"):
                fields[name] = tuple(fields.get(name, ()))
            task = cls(**fields, sources=sources, limits=limits)
            for url in task.named_urls:
                check_url(url)
            if not DIGEST_KEY.fullmatch(task.digest_key):
                raise ValueError("the key is not hexadecimal")
            if task.source_list and not task.digest_key:
                raise ValueError("a source list needs a key")
        except (AttributeError, TypeError, ValueError):
            raise failure.Failure(
                "the loader does not understand its task: upgrade the charm, then try again"
            ) from None
        # These become parts of paths, so they are not trusted a second time.
        if not NAME.fullmatch(task.name) or not REQUEST.fullmatch(task.request):
            raise failure.Failure(
                "the name or the request of the data set is invalid: use a-z0-9-"
            )
        if not FINGERPRINT.fullmatch(task.fingerprint):
            raise failure.Failure("the fingerprint is invalid: use hexadecimal digits")
        if any(each.checksum and not CHECKSUM.fullmatch(each.checksum) for each in sources):
            raise failure.Failure("the checksum is not algorithm:digest: use sha256:<hex>")
        return task

    def to_json(self) -> str:
        """Return the task as JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @property
    def named_urls(self) -> list[str]:
        """Return the URLs that the user has named: sources, the list, its base."""
        every = [*(source.url for source in self.sources), self.source_list, self.list_base]
        return [url for url in every if url]

    @property
    def redacted_sources(self) -> str:
        """Return the URLs of the sources, without what may be secret in them."""
        every = [source.url for source in self.sources] + [self.source_list] * bool(
            self.source_list
        )
        redacted = [urls.redact(url) for url in every[:MOST_SHOWN]]
        more = len(every) - len(redacted)
        return " ".join(redacted) + (f" and {more} more" if more > 0 else "")

    @property
    def file_mode(self) -> int:
        """Return the permissions of a file."""
        return int(self.mode, 8)

    @property
    def directory_mode(self) -> int:
        """Return the permissions of a directory, or of an executable file."""
        return self.file_mode | (self.file_mode & 0o444) >> 2

    @property
    def loading_mode(self) -> int:
        """Return the permissions of a directory until it is published: only its owner writes."""
        return self.directory_mode & ~0o022

    @property
    def owner_ids(self) -> tuple[int, int] | None:
        """Return the user and the group that own the files; None for the loader's own."""
        if not self.owner:
            return None
        user, _, group = self.owner.partition(":")
        return int(user), int(group or user)


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of a load.

    Attributes:
        files: The number of files.
        bytes: The sum of their sizes.
        seconds: The duration of the load.
        path: The path of the data set, from the volume's root.
        version: The directory under `.versions` that `path` links to.
        checksum: `algorithm:digest` of what was fetched.
        fetched: The bytes that were fetched.
        archive_format: The format of the source: `file`, `tar`, `tar.gz`, ...; `many` for several.
        shards: The number of shards of the load.
        existing: Whether it existed before.
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
        """Return the result in a decoded answer or record, which may have other fields too.

        Raises:
            TypeError: A field is missing.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in fields.items() if key in names})


def hasher(algorithm: str) -> Any:
    """Return a new hash; MD5 detects damage here, not forgery, so it may be used."""
    return hashlib.new(algorithm, usedforsecurity=False)


def update(digest: Any, data: bytes | memoryview) -> None:
    """Add data to a hash; of a small file without releasing Python's interpreter lock."""
    step = len(data) if len(data) > HASHED_AT_ONCE_BYTES else QUIET_BYTES
    for at in range(0, len(data), step):
        digest.update(data[at : at + step])
