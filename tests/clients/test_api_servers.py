"""Several API servers of one cluster: dead and mute ones, and one that answers."""

from __future__ import annotations

import pathlib
import socket
from collections.abc import Iterator

import pytest

import identity
import problems
from cluster import client, errors, transport
from sandbox.base import certificates, faulty_http_server
from tests.clients import api_server

OWNER = identity.Owner(model_uuid="6f4bf1dd-0000-4000-8000-000000000000", application="aws-efs")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[api_server.ApiServer]:
    running = api_server.ApiServer(tmp_path_factory.mktemp("api"))
    yield running
    running.close()


@pytest.fixture
def refusing() -> Iterator[str]:
    with socket.socket() as bound:  # not listening
        bound.bind(("127.0.0.1", 0))
        yield f"https://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def mute() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"


def access(plane: api_server.ApiServer, *endpoints: str, ca: str = "") -> identity.ClusterAccess:
    return identity.ClusterAccess(endpoints[0], ca or plane.ca, "token", endpoints[1:])


def test_the_first_api_server_that_answers_is_kept(
    plane: api_server.ApiServer, refusing: str, mute: str
) -> None:
    with client.Cluster(access(plane, refusing, mute, plane.endpoint), OWNER) as cluster:
        assert cluster.chosen == plane.endpoint
        assert cluster.nodes() == ()


def test_where_none_answers_the_first_one_is_named(
    plane: api_server.ApiServer, refusing: str, mute: str
) -> None:
    with pytest.raises(errors.UnreachableError) as raised:
        client.Cluster(access(plane, refusing, mute), OWNER)
    assert refusing in raised.value.message


def test_an_api_server_whose_backend_is_down_is_passed_over(
    plane: api_server.ApiServer, tmp_path: pathlib.Path
) -> None:
    down = api_server.ApiServer(tmp_path)
    down.garble = lambda _, _reply: faulty_http_server.Reply(503, b"no backend")
    try:
        both = access(plane, down.endpoint, plane.endpoint, ca=f"{plane.ca}\n{down.ca}")
        with client.Cluster(both, OWNER) as cluster:
            assert cluster.chosen == plane.endpoint
    finally:
        down.close()


def test_each_certificate_of_a_pem_is_trusted_and_rubbish_is_not_in_the_way(
    plane: api_server.ApiServer, tmp_path: pathlib.Path
) -> None:
    foreign = certificates.Authority(tmp_path).pem
    rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    ca = f"a text\n{foreign}{rubbish}{plane.ca}"
    with client.Cluster(access(plane, plane.endpoint, ca=ca), OWNER) as cluster:
        assert cluster.nodes() == ()
    with (
        pytest.raises(problems.Blocked, match="certificate does not verify"),
        client.Cluster(access(plane, plane.endpoint, ca=foreign), OWNER) as cluster,
    ):
        cluster.nodes()


def test_a_list_that_pages_for_ever_ends(
    plane: api_server.ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MOST_PAGES", 20)
    more = faulty_http_server.Reply(
        200, b'{"items": [], "metadata": {"continue": "x"}}', {"Content-Type": "application/json"}
    )
    plane.garble = lambda _, _reply: more
    try:
        with (
            client.Cluster(access(plane, plane.endpoint), OWNER) as cluster,
            pytest.raises(errors.UnreadableError),
        ):
            cluster.nodes()
    finally:
        plane.garble = None
