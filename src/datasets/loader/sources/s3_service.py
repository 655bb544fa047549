"""The S3 service of a task: its URLs, and what to do where it refuses a request."""

from __future__ import annotations

import dataclasses

from ..base import tasks
from . import s3_signature

SIGNED_ADVICE = (
    "the credentials give no access to it, or have expired; check the secret that credentials= "
    "names, and that its key may do s3:GetObject and s3:ListBucket there"
)
UNSIGNED_ADVICE = (
    "it is not public; give credentials=secret:<id> with access-key and secret-key in it"
)


@dataclasses.dataclass(frozen=True)
class S3Service:
    """The S3 service that a task uses.

    Attributes:
        endpoint: Its URL; empty for AWS.
        region: The buckets' region; empty if it is to be determined.
        signed: Whether requests are signed.
    """

    endpoint: str = ""
    region: str = ""
    signed: bool = False

    @property
    def advice(self) -> str:
        """Return the advice to the user for a refused request."""
        return SIGNED_ADVICE if self.signed else UNSIGNED_ADVICE

    def base(self, bucket: str, region: str) -> str:
        """Return the URL of a bucket in a region; empty for a region that is not known yet."""
        if self.endpoint:
            return f"{self.endpoint.rstrip('/')}/{bucket}"
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        host = f"s3.{region}.{suffix}" if region else f"s3.{suffix}"
        # The host's wildcard certificate does not cover a name with dots.
        return f"https://{host}/{bucket}" if "." in bucket else f"https://{bucket}.{host}"


def of_task(task: tasks.Task) -> S3Service:
    """Return the service of a task's s3 sources."""
    return S3Service(
        endpoint=task.endpoint,
        region=task.region,
        signed=s3_signature.has_key(task.credentials),
    )
