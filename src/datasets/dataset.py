"""A data set's parameters, and the loader's task for them.

It does not know how or where the loader runs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
from collections.abc import Mapping

from datasets import parameter_values, protocol
from datasets.loader.base import tasks, urls
from datasets.loader.sources import table

UNPACK = ("true", "false", "recursive", *protocol.ARCHIVE_FORMATS)
MOST_PODS = 64
MOST_CONNECTIONS = 32
MOST_PATTERNS = 50


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
    deadline_seconds: int = parameter_values.DEADLINE_DAYS * 86400
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
            request: The id of the request, the same for all its pods: see `request_ids.new`.
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
