"""A data set's parameters, their validation, and the loader's task and program.

It does not know how or where the loader runs.
"""

from __future__ import annotations

import calendar
import dataclasses
import functools
import hashlib
import hmac
import io
import json
import pathlib
import re
import secrets
import time
import zipfile
from collections.abc import Mapping, Sequence

from datasets import protocol
from datasets.loader.base import split_names, tasks, urls
from datasets.loader.sources import table
from problems import quote

UNPACK = ("true", "false", "recursive", *protocol.ARCHIVE_FORMATS)
MOST_PODS = 64
MOST_CONNECTIONS = 32
MOST_PATTERNS = 50
# Other services than AWS have region names of their own: auto, garage, fr-par.
REGION = re.compile(r"[a-z0-9-]{1,32}")
LARGEST_ID = 2**31
SIZE = re.compile(r"([1-9][0-9]{0,17})(?:([KMGTP])(i?)B?)?", re.IGNORECASE)
DURATION = re.compile(r"([1-9][0-9]{0,5})([mhd]?)")
UNIT_SECONDS = {"m": 60, "h": 3600, "d": 86400, "": 86400}
DEADLINE_DAYS, LONGEST_DEADLINE_DAYS = 7, 366
REQUEST_TIME = "%Y%m%dt%H%M%S"
MAIN = "from datasets.loader import program\n\nprogram.run()\n"


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set as the user requested it.

    Attributes:
        name: Its name: the directory under /datasets.
        sources: The URLs of its sources; none with a source list or a custom loader.
        source_list: The URL of a list of sources, or empty.
        base: The URL of the directory of the list's relative lines, or empty for the list's own.
        strip_components: The number of leading directories to remove from paths in archives.
        checksum: The expected `algorithm:digest` of the source, or empty.
        unpack: Whether archives are unpacked: `true`, `false`, `recursive`, or their format.
        endpoint: The URL of the service of s3 or hf sources, or empty for the default one.
        region: The region of the buckets, or empty to detect it.
        requester_pays: Whether the key's account pays for requests to S3.
        include: The patterns of listed files to load; none for all.
        exclude: The patterns of listed files not to load.
        connections: The most connections of a pod; 0 for as many as are useful.
        owner: `uid:gid` of the files, or empty.
        mode: Octal digits of the files' permissions.
        overwrite: Whether it replaces an existing data set of this name.
        parallelism: The number of pods that load it.
        image: The image of a custom loader, or empty.
        command: The custom loader's command.
        env: The custom loader's environment; values from secrets as references.
        max_bytes: The most bytes that its files may have.
        deadline_seconds: The longest time that its Job may run.
        digest_key: The key, in hex, of digests over what may be secret in these parameters.
        cluster_networks: The networks of the cluster's services, which are no sources.
    """

    name: str
    sources: tuple[str, ...] = ()
    source_list: str = ""
    base: str = ""
    strip_components: int = 0
    checksum: str = ""
    unpack: str = "true"
    endpoint: str = ""
    region: str = ""
    requester_pays: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    connections: int = 0
    owner: str = ""
    mode: str = protocol.PLAIN_MODE
    overwrite: bool = False
    parallelism: int = 1
    image: str = ""
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])
    max_bytes: int = tasks.Limits.most_bytes
    deadline_seconds: int = DEADLINE_DAYS * 86400
    digest_key: str = dataclasses.field(default="", repr=False)
    cluster_networks: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """Return a digest of the parameters without signatures, to compare them.

        Everybody can read it, on the volume and in the cluster. So it is keyed if it covers what
        may be secret; if not, it is the same in each application.

        Raises:
            ValueError: It needs the key, and there is none.
        """
        fields: dict[str, object] = {
            "name": self.name,
            "sources": [urls.unsigned(source) for source in self.sources],
            "source-list": urls.unsigned(self.source_list),
            "checksum": self.checksum,
            "unpack": self.unpack,
            "endpoint": self.endpoint,
            "owner": self.owner,
            "mode": self.mode,
            "image": self.image,
            "command": self.command,
            "env": sorted(self.env.items()),
        }
        # Only where they are set: the fingerprints of earlier data sets stay as they are.
        if self.include or self.exclude:
            fields |= {"include": sorted(self.include), "exclude": sorted(self.exclude)}
        if self.base:
            fields["base"] = self.base
        if self.strip_components:
            fields["strip-components"] = self.strip_components
        text = json.dumps(fields, sort_keys=True).encode()
        if not self._may_have_secrets:
            return hashlib.sha256(text).hexdigest()
        if not self.digest_key:
            raise ValueError("the fingerprint of these parameters needs a key")
        return hmac.new(bytes.fromhex(self.digest_key), text, "sha256").hexdigest()

    @property
    def needs_digest_key(self) -> bool:
        """Return whether it needs `digest_key`: for its fingerprint, or to read its list again."""
        return self._may_have_secrets or bool(self.source_list)

    @property
    def _may_have_secrets(self) -> bool:
        """Return whether its fingerprint covers more than what is shown of it anyway."""
        compared = map(urls.unsigned, (*self.sources, self.source_list))
        hidden = any("?" in url or "#" in url for url in compared)
        return hidden or bool(self.command or self.env)

    @property
    def schemes(self) -> frozenset[str]:
        """Return the URL schemes of its sources: https, http, s3, hf."""
        return frozenset(urls.scheme(url) for url in (*self.sources, self.source_list) if url)

    @property
    def kinds(self) -> tuple[table.SourceKind, ...]:
        """Return the kinds of its sources: their rows in the table of source kinds."""
        return tuple(row for row in table.ROWS if self.schemes.intersection(row.schemes))

    @property
    def shown_source(self) -> str:
        """Return the source for display, without parts that may be secret."""
        return self.image or self._task("", "").redacted_sources

    def task(
        self,
        *,
        request: str,
        root: str = tasks.Task.root,
        credentials: Mapping[str, str] | None = None,
    ) -> tasks.Task:
        """Return the loader's task. It contains the queries of its sources: keep it in a Secret.

        Args:
            request: The id of the request, the same for all its pods: see `new_request`.
            root: The path of the volume in the pod.
            credentials: The credentials for the sources, by the loader's names of them.
        """
        fields = [each.endpoint_field for each in self.kinds if "endpoint" in each.parameters]
        task = dataclasses.replace(
            self._task(request, self.fingerprint()),
            list_base=self.base,
            strip_components=self.strip_components,
            unpack=self.unpack,
            overwrite=self.overwrite,
            root=root,
            region=self.region,
            requester_pays=self.requester_pays,
            include=self.include,
            exclude=self.exclude,
            connections=self.connections,
            credentials=credentials or {},
            digest_key=self.digest_key if self.source_list else "",
            owner=self.owner,
            mode=self.mode,
            indexes=self.parallelism,
            cluster_networks=self.cluster_networks,
            limits=tasks.Limits(most_bytes=self.max_bytes),
        )
        # A source list may name objects of the default field's service.
        field = fields[-1] if fields else table.SourceKind.endpoint_field
        return dataclasses.replace(task, **{field: self.endpoint})

    def _task(self, request: str, fingerprint: str) -> tasks.Task:
        """Return a task with the sources only."""
        sources = tuple(tasks.Source(url, checksum=self.checksum) for url in self.sources)
        return tasks.Task(
            self.name, request, fingerprint, sources=sources, source_list=self.source_list
        )


def validate_name(name: str) -> str:
    """Return the name if it is valid for a data set.

    Raises:
        ValueError: It is not; the message describes a valid one.
    """
    if not tasks.NAME.fullmatch(name):
        raise ValueError(
            f"{quote(name)}: use 1 to 50 lower-case letters, digits and dashes, with a letter or "
            "digit at both ends"
        )
    return name


def validate_source(source: str) -> str:
    """Return the source if it is a URL that the loader can read.

    Raises:
        ValueError: It is not; the message does not repeat it, since it may contain a password.
    """
    table.check(source)
    return source


def validate_base(base: str) -> str:
    """Return the URL of a directory, with a slash at its end.

    Raises:
        ValueError: It is not one; the message does not repeat it.
    """
    table.check(base)
    if urls.scheme(base) not in table.LISTABLE_SCHEMES or "?" in base or "#" in base:
        raise ValueError("is not the URL of a directory: use https://host/directory/")
    return base.rstrip("/") + "/"


def validate_endpoint(endpoint: str) -> str:
    """Return the endpoint, without a slash at its end, if it is the URL of a service.

    Raises:
        ValueError: It is not; the message does not repeat it.
    """
    table.check_service(endpoint)
    return endpoint.rstrip("/")


def validate_region(region: str) -> str:
    """Return the region if its name is valid.

    Raises:
        ValueError: It is not; the message shows a valid one.
    """
    if not REGION.fullmatch(region):
        raise ValueError(f"{quote(region)}: use the region's name, as in us-east-1")
    return region


def are_parts(sources: Sequence[str]) -> bool:
    """Tell whether sources are called like the parts of one split archive."""
    found = [split_names.parse(urls.file_name(source)) for source in sources]
    return len({each and (each.whole, each.mark) for each in found}) == 1 and None not in found


def validate_checksum(checksum: str) -> str:
    """Return the checksum in lower case, if it is valid.

    Raises:
        ValueError: It is not; the message describes a valid one.
    """
    algorithm, _, digest = checksum.lower().partition(":")
    digits = protocol.DIGEST_DIGITS.get(algorithm)
    if digits is None:
        raise ValueError(f"{quote(checksum)}: use sha256:, sha512: or md5: and hex digits")
    if not re.fullmatch(rf"[0-9a-f]{{{digits}}}", digest):
        raise ValueError(f"{quote(checksum)}: {algorithm} has {digits} hex digits")
    return f"{algorithm}:{digest}"


def validate_owner(owner: str) -> str:
    """Return the owner as `uid:gid`; a single number is both.

    Raises:
        ValueError: It is not valid; the message describes a valid one.
    """
    match = re.fullmatch(r"([0-9]{1,10})(?::([0-9]{1,10}))?", owner)
    ids = [int(part) for part in (match[1], match[2] or match[1])] if match else []
    if not ids or max(ids) > LARGEST_ID:
        raise ValueError(f"{quote(owner)}: use uid or uid:gid, numbers from 0 to {LARGEST_ID}")
    return f"{ids[0]}:{ids[1]}"


def validate_mode(mode: str) -> str:
    """Return the mode with four digits, if it is valid for data files.

    YAML parses 0644 as the number 420, so unusual modes are refused instead of guessed.

    Raises:
        ValueError: It is not valid; the message describes a valid one.
    """
    match = re.fullmatch(r"0?([46])([046])([046])", mode)
    if match is None or not match[1] >= match[2] >= match[3]:
        raise ValueError(
            f"{quote(mode)}: use three octal digits without x, as in 644 or 640: the owner may "
            "read, and nobody may do more than the digit before allows"
        )
    return f"0{match[1]}{match[2]}{match[3]}"


def validate_size(size: str) -> str:
    """Return the size if it is a number of bytes with an optional unit.

    Raises:
        ValueError: It is not; the message shows a valid one.
    """
    if not SIZE.fullmatch(size):
        raise ValueError(f"{quote(size)}: use a number of bytes, or one with a unit as in 500G")
    return size


def size_bytes(size: str) -> int:
    """Return the bytes of a valid size; of an empty one, the most that a data set may have."""
    match = SIZE.fullmatch(size)
    if not match:
        return tasks.Limits.most_bytes
    power = "kmgtp".find((match[2] or "-").lower()) + 1
    return int(match[1]) * (1024 if match[3] else 1000) ** power


def validate_duration(duration: str) -> str:
    """Return the duration if it is a number of days, or of another unit that it names.

    Raises:
        ValueError: It is not, or is too long; the message shows a valid one.
    """
    if not DURATION.fullmatch(duration):
        raise ValueError(f"{quote(duration)}: use a number of days, or one as in 12h or 90m")
    if duration_seconds(duration) > LONGEST_DEADLINE_DAYS * 86400:
        raise ValueError(f"{quote(duration)}: use {LONGEST_DEADLINE_DAYS} days at most")
    return duration


def duration_seconds(duration: str) -> int:
    """Return the seconds of a valid duration; of an empty one, the default deadline."""
    match = DURATION.fullmatch(duration)
    return int(match[1]) * UNIT_SECONDS[match[2]] if match else DEADLINE_DAYS * 86400


def new_request() -> str:
    """Return a new id for a request: unique, and sorted by time."""
    return f"{time.strftime(REQUEST_TIME, time.gmtime())}-{secrets.token_hex(4)}"


def requested_at(request: str) -> float:
    """Return the time of a request in seconds since 1970; 0 for text that is no request id.

    Args:
        request: The id of the request, or the version that was made from it.
    """
    try:
        when = time.strptime(request.partition("-")[0], REQUEST_TIME)
    except ValueError:
        return 0
    return calendar.timegm(when)


@functools.lru_cache(maxsize=1)
def zipapp() -> bytes:
    """Return the loader as a zip file that Python runs; the same bytes for the same code."""
    files = {"__main__.py": MAIN.encode()}
    package = pathlib.Path(__file__).parent
    shared = [package / "__init__.py", package / "protocol.py"]
    for path in (*shared, *sorted((package / "loader").rglob("*.py"))):
        files[path.relative_to(package.parent).as_posix()] = path.read_bytes()
    buffer = io.BytesIO()
    # Stored, not deflated: the output of zlib differs between its builds.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()
