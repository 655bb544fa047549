"""The queries of a source list's URLs: in the memory of a pod, and never on the volume.

They may sign the URLs. The plan has the URLs without them, and names each query by its number. A
pod that did not make the plan reads the list again.
"""

from __future__ import annotations

import hmac
import json
import zlib

from ..base import failure, tasks, urls
from ..http import http_client
from ..sources import expansion
from ..sources.source_object import SourceObject

# Queries that sign URLs are long but alike: this many are compressed together.
BLOCK = 256


class ListQueries:
    """The queries of the URLs in a task's source list.

    Args:
        task: The task.
        client: The HTTP client.
    """

    def __init__(self, task: tasks.Task, client: http_client.Client) -> None:
        self._task = task
        self._client = client
        self._digest = hmac.new(bytes.fromhex(task.digest_key), digestmod="sha256")
        self._blocks: list[bytes] = []
        self._last: list[str] = []
        # The number of the block that was read last, and its queries.
        self._read: tuple[int, list[str]] = (-1, [])

    def split(self, entry: SourceObject) -> tuple[str, int]:
        """Return the URL of an entry without its query, and the number of the query.

        Args:
            entry: The next entry of the list.

        Returns:
            -1 as the number where the URL has no query.
        """
        url, mark, query = entry.url.partition("?")
        if not mark:
            return url, -1
        identity = (urls.unsigned(entry.url), entry.path, entry.checksum)
        self._digest.update(json.dumps(identity).encode() + b"\n")
        number = len(self._blocks) * BLOCK + len(self._last)
        self._last.append(query)
        if len(self._last) == BLOCK:
            self._blocks.append(zlib.compress("\n".join(self._last).encode(), 1))
            self._last = []
        return url, number

    @property
    def digest(self) -> str:
        """Return the keyed digest of the entries with a query, without signatures."""
        return self._digest.hexdigest()

    def find(self, number: int, digest: str) -> str:
        """Return a query.

        Args:
            number: Its number in a plan.
            digest: The digest of the list that the plan was made from.

        Raises:
            StartOver: The list has other entries now.
            Failure: The list cannot be read.
        """
        if not self._blocks and not self._last:
            self._read_list(digest)
        block, position = divmod(number, BLOCK)
        if block == len(self._blocks):
            return self._last[position]
        if block != self._read[0]:
            self._read = block, zlib.decompress(self._blocks[block]).decode().split("\n")
        return self._read[1][position]

    def _read_list(self, digest: str) -> None:
        for entry in expansion.read_list(self._task, self._client):
            self.split(entry)
        if not hmac.compare_digest(self.digest, digest):
            raise failure.StartOver("names other objects than before")
