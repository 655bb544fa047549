"""Expand the sources of a task, and fetch the objects, over real connections."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Generator

import hypothesis

from datasets.loader.base import tasks
from datasets.loader.http import http_client, origins, proxies
from datasets.loader.sources import expansion
from datasets.loader.sources.source_object import SourceObject

MOST_BYTES = 10**6
FREE = hypothesis.settings(deadline=None)  # other tests run at the same time


class Client(http_client.Client):
    """A client that closes all of its connections.

    Args:
        task: The task whose signers it has.
        aws_port: The local port that stands for AWS; 0 for none.
    """

    def __init__(self, task: tasks.Task, aws_port: int = 0) -> None:
        policy, known = expansion.address_policy(task), origins.Origins(task.opening_seconds)
        super().__init__(2, *expansion.signers(task), policy, known)
        self._aws_port = aws_port
        self._made: list[http.client.HTTPConnection] = []

    def _connect(self, route: proxies.Route) -> http.client.HTTPConnection:
        if "amazonaws.com" in route.connect_to:
            made = http.client.HTTPConnection(route.connect_to, timeout=30)
            here = ("127.0.0.1", self._aws_port)
            made._create_connection = lambda *_, **__: socket.create_connection(here, 2)
        else:
            made = super()._connect(route)
        self._made.append(made)
        return made

    def close(self) -> None:
        for connection in self._made:
            connection.close()


@contextlib.contextmanager
def client(task: tasks.Task, aws_port: int = 0) -> Generator[Client]:
    with contextlib.closing(Client(task, aws_port)) as made:
        yield made


def expand(task: tasks.Task, aws_port: int = 0) -> list[SourceObject]:
    with client(task, aws_port) as made:
        return list(expansion.expand(task, made))


def fetch(task: tasks.Task, found: SourceObject, aws_port: int = 0) -> bytes:
    with (
        client(task, aws_port) as made,
        contextlib.closing(made.request(found.url, auth=found.auth)) as response,
    ):
        content = bytearray()
        while chunk := response.read(MOST_BYTES):
            content += chunk
        return bytes(content)
