"""The S3 service of a task: its URLs, and what to do where it refuses a request."""

from __future__ import annotations

import dataclasses

from ..base import tasks
from . import s3_signature

SIGNED_ADVICE = (
    "the credentials do not open it, or have expired; check the secret that credentials= names, "
    "and that its key may do s3:GetObject and s3:ListBucket there"
)
UNSIGNED_ADVICE = (
    "it is not public; give credentials=secret:<id> with access-key and secret-key in it"
)


@dataclasses.dataclass(frozen=True)
class S3Service:
    """Where S3 is, and how it is spoken to.

    Attributes:
        endpoint: The service's URL; empty for AWS.
        region: The buckets' region; empty where it is to be found out.
        signed: Whether requests are signed.
        opening_seconds: How long it may refuse to begin.
        patience_seconds: How long it may be in trouble once it has begun.
    """

    endpoint: str = ""
    region: str = ""
    signed: bool = False
    opening_seconds: float = 25
    patience_seconds: float = 300

    @property
    def advice(self) -> str:
        """What a user is told to do where a request is refused."""
        return SIGNED_ADVICE if self.signed else UNSIGNED_ADVICE

    def base(self, bucket: str, region: str) -> str:
        """The URL of a bucket in a region; in one that is not known yet where that is empty."""
        if self.endpoint:
            return f"{self.endpoint.rstrip('/')}/{bucket}"
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        host = f"s3.{region}.{suffix}" if region else f"s3.{suffix}"
        # A name with dots does not fit into the host's certificate.
        return f"https://{host}/{bucket}" if "." in bucket else f"https://{bucket}.{host}"


def of_task(task: tasks.Task) -> S3Service:
    """Return the service that a task's s3 sources are at."""
    return S3Service(
        endpoint=task.endpoint,
        region=task.region,
        signed=s3_signature.signs(task.credentials),
        opening_seconds=task.opening_seconds,
        patience_seconds=task.patience_seconds,
    )
