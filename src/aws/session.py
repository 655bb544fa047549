"""The way into an AWS account: region, credentials, proxies and patience make two clients.

It knows no resource.
"""

from __future__ import annotations

import difflib
import functools
import urllib.parse
from typing import TYPE_CHECKING, Any, cast

import botocore.config
import botocore.loaders
import botocore.session

import problems

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_efs import EFSClient

    import identity

_PATIENCE: dict[str, Any] = {
    "connect_timeout": 5,
    "read_timeout": 20,
    "retries": {"mode": "standard", "total_max_attempts": 3},
    "user_agent_extra": "aws-efs-charm",
}


def connect(
    region: str, credentials: identity.AwsCredentials | None, proxies: Mapping[str, str]
) -> Aws:
    """Make ready to speak to one region; nothing is sent yet.

    Args:
        region: The region's name.
        credentials: The key to use; None for what botocore finds by itself, such as the
            machine's instance profile.
        proxies: `http` and `https`: a proxy's URL each; `no_proxy`: hosts to reach directly,
            separated by commas. Without any, botocore reads the process's environment.

    Raises:
        problems.Blocked: EFS has no such region, as far as this release knows.
    """
    core = botocore.session.Session()
    core.register_component("data_loader", _loader())  # pyright: ignore[reportUnknownMemberType]
    _check_region(core, region)
    if credentials:
        core.set_credentials(
            credentials.access_key, credentials.secret_key, credentials.session_token or None
        )
    return Aws(region, core, proxies)


class Aws:
    """One region of one account.

    Each client is made when it is first asked for: its model alone costs 50 to 200 ms.

    Args:
        region: The region's name.
        core: What makes the clients.
        proxies: As `connect` takes them.
    """

    def __init__(
        self, region: str, core: botocore.session.Session, proxies: Mapping[str, str]
    ) -> None:
        self.region = region
        self._core = core
        self._proxies = proxies

    @functools.cached_property
    def efs(self) -> EFSClient:
        """The client of Elastic File System."""
        return cast("EFSClient", self._client("efs"))

    @functools.cached_property
    def ec2(self) -> EC2Client:
        """The client of EC2: networks and instances."""
        return cast("EC2Client", self._client("ec2"))

    @functools.cached_property
    def dns_suffix(self) -> str:
        """What host names in this region's partition end with: amazonaws.com, ..."""
        ours = self._core.get_partition_for_region(self.region)
        data: Any = _loader().load_data("partitions")  # pyright: ignore[reportUnknownMemberType]
        suffixes = {known["id"]: known["outputs"]["dnsSuffix"] for known in data["partitions"]}
        return suffixes[ours]

    def file_system_name(self, file_system_id: str) -> str:
        """The host name to mount a file system by; each zone finds its own mount target so."""
        return f"{file_system_id}.efs.{self.region}.{self.dns_suffix}"

    def _client(self, service: str) -> object:
        def made(**options: Any) -> Any:
            config = botocore.config.Config(**_PATIENCE, **options)
            return self._core.create_client(service, region_name=self.region, config=config)

        proxies = {key: url for key, url in self._proxies.items() if key != "no_proxy" and url}
        if not proxies:
            return made()
        client = made(proxies=proxies)
        # botocore heeds a no_proxy only for proxies that it found itself. Which host a client
        # speaks to is known when it is made (AWS_ENDPOINT_URL, partitions): if it is listed,
        # the client is made again.
        host = urllib.parse.urlsplit(str(client.meta.endpoint_url)).hostname or ""
        if _is_excluded(host, self._proxies.get("no_proxy", "")):
            return made(proxies={})
        return client


@functools.cache
def _loader() -> botocore.loaders.Loader:
    """The reader of service models; the sessions of one process share what it has read."""
    return botocore.loaders.create_loader()


def _check_region(core: botocore.session.Session, region: str) -> None:
    known = [
        name
        for partition in core.get_available_partitions()
        for name in core.get_available_regions("efs", partition_name=partition)
    ]
    if region not in known:
        nearest = difflib.get_close_matches(region, known, n=1, cutoff=0)[0]
        raise problems.Blocked(
            f"no region {region!r:.32} with AWS EFS, the nearest name is {nearest}: "
            "correct the option region"
        )


def _is_excluded(host: str, no_proxy: str) -> bool:
    names = [name.strip().lower().lstrip("*.") for name in no_proxy.split(",")]
    return any(name and (host == name or host.endswith(f".{name}")) for name in names)
