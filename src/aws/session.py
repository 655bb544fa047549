"""Create the clients of one AWS region from credentials, proxies and timeouts.

It knows no resource.
"""

from __future__ import annotations

import difflib
import functools
import urllib.parse
from typing import TYPE_CHECKING, Any, cast

import botocore.config
import botocore.exceptions
import botocore.loaders
import botocore.session

import polling
import problems
from aws import answers, transport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_efs import EFSClient

    import identity

_OLDEST_REGIONS = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
# An endpoint that is mute costs a hook two attempts: about 15 seconds.
_CLIENT_OPTIONS: dict[str, Any] = {
    "connect_timeout": 3,
    "read_timeout": 7,
    "retries": {"mode": "standard", "total_max_attempts": 2},
    "user_agent_extra": "aws-efs-charm",
}


def connect(
    region: str,
    credentials: identity.AwsCredentials | None,
    proxies: Mapping[str, str],
    patience: polling.Patience | None = None,
) -> Aws:
    """Return the access to one region; nothing is sent yet.

    Args:
        region: The region's name.
        credentials: The access key; None for the credentials that botocore finds by itself, such
            as the machine's instance profile.
        proxies: `http` and `https`: a proxy's URL each; `no_proxy`: hosts to reach directly,
            separated by commas. Without any, botocore reads the process's environment.
        patience: The time for late answers; None for one of its own.

    Raises:
        problems.Blocked: This release's botocore knows no such region with EFS.
    """
    core = botocore.session.Session()
    core.register_component("data_loader", _loader())  # pyright: ignore[reportUnknownMemberType]
    core.register_component(  # pyright: ignore[reportUnknownMemberType]
        "response_parser_factory", answers.CheckedParserFactory()
    )
    _check_region(core, region)
    if credentials:
        core.set_credentials(
            credentials.access_key, credentials.secret_key, credentials.session_token or None
        )
    return Aws(region, core, proxies, patience or polling.Patience())


class Aws:
    """Access to one region of an AWS account.

    Each client is created at its first use: loading its service model takes 50 to 200 ms.

    Args:
        region: The region's name.
        core: The botocore session that creates the clients.
        proxies: The proxies as `connect` takes them.
        patience: The time for late answers.
    """

    def __init__(
        self,
        region: str,
        core: botocore.session.Session,
        proxies: Mapping[str, str],
        patience: polling.Patience,
    ) -> None:
        self.region = region
        self._patience = patience
        self._core = core
        self._proxies = proxies

    @functools.cached_property
    def efs(self) -> EFSClient:
        """Return the client of Elastic File System."""
        return cast("EFSClient", self._client("efs"))

    @functools.cached_property
    def ec2(self) -> EC2Client:
        """Return the client of EC2, for networks and instances."""
        return cast("EC2Client", self._client("ec2"))

    @functools.cached_property
    def sts(self) -> Any:
        """Return the client of the Security Token Service: whose credentials are these?"""
        return self._client("sts")

    @functools.cached_property
    def dns_suffix(self) -> str:
        """Return the DNS suffix of the region's partition: amazonaws.com, ..."""
        partition = self._core.get_partition_for_region(self.region)
        data: Any = _loader().load_data("partitions")  # pyright: ignore[reportUnknownMemberType]
        suffixes = {each["id"]: each["outputs"]["dnsSuffix"] for each in data["partitions"]}
        return suffixes[partition]

    def is_enabled(self) -> bool:
        """Return whether the account has enabled the region, where it refuses the credentials.

        A region that is not enabled knows no credentials at all. The oldest region of a partition
        is always enabled.

        Raises:
            botocore.exceptions.BotoCoreError: That region does not answer.
        """
        oldest = _OLDEST_REGIONS.get(self._core.get_partition_for_region(self.region))
        if oldest is None or oldest == self.region:
            return True
        try:
            self._client("sts", oldest).get_caller_identity()
        except botocore.exceptions.ClientError:
            return True
        return False

    def file_system_name(self, file_system_id: str) -> str:
        """Return the host name to mount; each zone resolves it to its own mount target."""
        return f"{file_system_id}.efs.{self.region}.{self.dns_suffix}"

    def _client(self, service: str, region: str = "") -> Any:
        def create(**options: Any) -> Any:
            config = botocore.config.Config(**_CLIENT_OPTIONS, **options)
            client: Any = self._core.create_client(
                service, region_name=region or self.region, config=config
            )
            # botocore has no other place for what sends its requests.
            endpoint = client._endpoint
            endpoint.http_session = transport.PatientSession(endpoint.http_session, self._patience)
            return client

        proxies = {key: url for key, url in self._proxies.items() if key != "no_proxy" and url}
        if not proxies:
            return create()
        client = create(proxies=proxies)
        # botocore applies no_proxy only to proxies from the environment. The host of a client is
        # known once it is created (AWS_ENDPOINT_URL, partitions): if no_proxy lists that host,
        # the client is created again without proxies.
        host = urllib.parse.urlsplit(str(client.meta.endpoint_url)).hostname or ""
        if _is_excluded(host, self._proxies.get("no_proxy", "")):
            return create(proxies={})
        return client


@functools.cache
def _loader() -> botocore.loaders.Loader:
    """Return the loader of service models; the sessions of a process share its cache."""
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
