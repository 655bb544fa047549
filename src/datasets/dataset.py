"""What a data set is: its parameters, checked; the loader's task; and what the loader answers.

It knows nothing of how or where the loader runs.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import pathlib
import re
import secrets
import time
import urllib.parse
import zipfile
from collections.abc import Mapping
from typing import Any

from datasets.loader import program, spec, urls, volume

Result = spec.Result
PREPARE = program.PREPARE
own_directory = volume.given_files

DIGEST_DIGITS = {"md5": 32, "sha256": 64, "sha512": 128}
# The parts of a query that open a link but do not say what it leads to: they change each time
# that it is signed (S3, Cloudflare R2 and CloudFront; Google; Azure; and those of their own make).
SIGNATURE = re.compile(
    r"(x-amz-.*|x-goog-.*|awsaccesskeyid|googleaccessid|key-pair-id|policy|signature|expires"
    r"|s[eiprtv]|sig|sk[estv]|skoid|sktid|token|access_token|auth)",
    re.IGNORECASE,
)
NO_LAST_WORDS = (
    "the loader ended without a word (out of memory, or its node was lost): run create-dataset "
    "again"
)
MAIN = "from loader import program\n\nraise SystemExit(program.main())\n"


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A data set as the user asked for it.

    Attributes:
        name: Its name: the directory under /datasets.
        source: The URL that it comes from; empty where `image` loads it.
        checksum: `algorithm:digest` of what is fetched, or empty.
        unpack: Whether an archive is unpacked.
        overwrite: Whether it replaces one of that name that was made otherwise.
        image: The image of a loader of the user's own, or empty.
        command: That loader's command.
        env: That loader's environment; values from secrets as references.
    """

    name: str
    source: str = ""
    checksum: str = ""
    unpack: bool = True
    overwrite: bool = False
    image: str = ""
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    def fingerprint(self) -> str:
        """What two data sets of the same parameters have in common; it gives no secret away."""
        fields = {
            "name": self.name,
            "source": _unsigned(self.source),
            "checksum": self.checksum,
            "unpack": self.unpack,
            "image": self.image,
            "command": self.command,
            "env": sorted(self.env.items()),
        }
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def shown_source(self) -> str:
        """Where it comes from, without what may be secret in it."""
        return urls.shown(self.source) if self.source else self.image

    def spec(self, *, version: str, root: str = spec.Spec.root) -> str:
        """The loader's task; it holds the source with its query, so it belongs in a Secret.

        Args:
            version: The name of this load, the same for all its attempts: see `new_version`.
            root: Where the volume is mounted in the pod.
        """
        return spec.Spec(
            name=self.name,
            source=self.source,
            version=version,
            fingerprint=self.fingerprint(),
            checksum=self.checksum,
            unpack=self.unpack,
            overwrite=self.overwrite,
            root=root,
        ).to_json()


@dataclasses.dataclass(frozen=True)
class Failed:
    """The loader's own last error: what is so, then what to do."""

    error: str


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a load is.

    Attributes:
        state: `preparing`, `transferring`, `verifying`, ...
        seconds: How long it has been running.
        fetched: The bytes that came.
        total: The bytes that will have come in the end; None where the origin does not say.
        files: The files that were written.
        bytes: Their sizes together.
    """

    state: str
    seconds: float = 0
    fetched: int = 0
    total: int | None = None
    files: int = 0
    bytes: int = 0


def validate_name(name: str) -> str:
    """Returns the name if a data set can have it.

    Raises:
        ValueError: It can not; the text says what a name is.
    """
    if not spec.NAME.fullmatch(name):
        raise ValueError(
            f"{_short(name)}: use 1 to 50 lower-case letters, digits and dashes, with a letter or "
            "digit at both ends"
        )
    return name


def validate_source(source: str) -> str:
    """Returns the source if it is a URL that the loader reads.

    Raises:
        ValueError: It is not; the text does not repeat it, since it may hold a password.
    """
    urls.check(source)
    return source


def validate_checksum(checksum: str) -> str:
    """Returns the checksum in lower case, if it is one.

    Raises:
        ValueError: It is not; the text says what one looks like.
    """
    algorithm, _, digest = checksum.lower().partition(":")
    digits = DIGEST_DIGITS.get(algorithm)
    if digits is None:
        raise ValueError(f"{_short(checksum)}: use sha256:, sha512: or md5: and hex digits")
    if not re.fullmatch(rf"[0-9a-f]{{{digits}}}", digest):
        raise ValueError(f"{_short(checksum)}: {algorithm} has {digits} hex digits")
    return f"{algorithm}:{digest}"


def new_version() -> str:
    """A name for a load: in the order of time, and unique."""
    return f"{time.strftime('%Y%m%dt%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"


def outcome(message: str) -> Result | Failed:
    """Reads a pod's termination message.

    Where the loader was killed, Kubernetes puts the end of its log there.
    """
    for fields in reversed(_lines(message)):
        if fields.get("state") == "failed":
            return Failed(str(fields.get("error")))
        if fields.get("state") == "published":
            try:
                return spec.Result.from_fields(fields)
            except TypeError:
                break
    return Failed(NO_LAST_WORDS)


def progress(log: str) -> Progress | None:
    """The last line of progress in a pod's log; None where there is none."""
    names = {field.name for field in dataclasses.fields(Progress)}
    for fields in reversed(_lines(log)):
        if "state" in fields:
            return Progress(**{key: value for key, value in fields.items() if key in names})
    return None


@functools.lru_cache(maxsize=1)
def zipapp() -> bytes:
    """The loader as one file that Python runs; the same bytes for the same code, anywhere."""
    files = {"__main__.py": MAIN.encode()}
    for path in sorted((pathlib.Path(__file__).parent / "loader").glob("*.py")):
        files[f"loader/{path.name}"] = path.read_bytes()
    buffer = io.BytesIO()
    # Stored, not deflated: zlib's output differs between its builds.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def _unsigned(source: str) -> str:
    parts = urllib.parse.urlsplit(source)
    query = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    kept = [(key, value) for key, value in query if not SIGNATURE.fullmatch(key)]
    return parts._replace(query=urllib.parse.urlencode(kept)).geturl()


def _lines(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text, one a line; the first line may be cut off."""
    found: list[dict[str, Any]] = []
    for line in text.splitlines():
        try:
            fields: Any = json.loads(line)
        except ValueError:
            continue
        if isinstance(fields, dict):
            found.append(fields)  # pyright: ignore[reportUnknownArgumentType]
    return found


def _short(value: str) -> str:
    return repr(value if len(value) <= 30 else value[:27] + "...")
