"""Namespaces that cannot be listed are not taken for none: their claims would be deleted."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

import identity
import problems
from cluster import client
from cluster.volumes import namespace_selection
from tests.clients import api_server

OWNER = identity.Owner(model_uuid="6f4bf1dd-1a42-4b8c-8f0e-3c8a2e0f9a11", application="aws-efs")


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[api_server.ApiServer]:
    running = api_server.ApiServer(tmp_path)
    yield running
    running.close()


@pytest.mark.parametrize("status", [400, 403, 410, 429, 500, 503])
def test_a_refused_list_is_a_problem(server: api_server.ApiServer, status: int) -> None:
    server.refused["/api/v1/namespaces"] = status
    access = identity.ClusterAccess(server.endpoint, server.ca, "ours")
    with client.Cluster(access, OWNER) as cluster:
        with pytest.raises(problems.Problem, match="list namespaces"):
            namespace_selection.find(cluster, "team=vision")
        assert namespace_selection.find(cluster, "") == ()


@pytest.mark.parametrize("answer", [{}, {"items": None}, {"metadata": {}}, [], "namespaces"])
def test_an_answer_that_is_no_list_is_a_problem(
    server: api_server.ApiServer, answer: object
) -> None:
    server.answers["/api/v1/namespaces"] = answer
    access = identity.ClusterAccess(server.endpoint, server.ca, "ours")
    with client.Cluster(access, OWNER) as cluster, pytest.raises(problems.Problem):
        namespace_selection.find(cluster, "team=vision")
