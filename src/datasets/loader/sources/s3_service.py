"""The S3 service of a task: its URLs, and what to do where it refuses a request."""

from __future__ import annotations

import dataclasses
import re

from ..base import tasks
from . import s3_signature

HOST_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
SIGNED_ADVICE = (
    "the credentials give no access to it, or have expired; check the secret that credentials= "
    "names, and that its key may do s3:GetObject and s3:ListBucket there; if the requester pays "
    "there, set requester-pays=true"
)
GIVE_CREDENTIALS = "give credentials=secret:<id> with access-key and secret-key in it"
UNSIGNED_ADVICE = f"it is not public; {GIVE_CREDENTIALS}"


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
        # The host's wildcard certificate does not cover a name with dots; old buckets have names
        # that cannot be in a host.
        by_host = HOST_LABEL.fullmatch(bucket)
        return f"https://{bucket}.{host}" if by_host else f"https://{host}/{bucket}"


def of_task(task: tasks.Task) -> S3Service:
    """Return the service of a task's s3 sources."""
    return S3Service(
        endpoint=task.endpoint,
        region=task.region,
        signed=s3_signature.has_key(task.credentials),
    )
