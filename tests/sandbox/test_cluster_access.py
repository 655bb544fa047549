"""Access to a real API server: verification, refusals, and the messages for the user."""

from __future__ import annotations

import base64
import dataclasses
import logging
import socket
import threading
import time

import pytest

import identity
import polling
import problems
from cluster import client
from sandbox.base import certificates
from sandbox.kubernetes import control_plane

OWNER = identity.Owner(model_uuid="6f4bf1dd-1a42-4b8c-8f0e-3c8a2e0f9a11", application="aws-efs")


@pytest.fixture
def access(plane: control_plane.ControlPlane) -> identity.ClusterAccess:
    return identity.ClusterAccess(plane.endpoint, plane.ca, plane.admin_token)


def nodes(access: identity.ClusterAccess) -> tuple[object, ...]:
    with client.Cluster(access, OWNER) as cluster:
        return cluster.nodes()


def test_a_certificate_of_another_authority_is_an_error_and_never_skipped(access, tmp_path):
    foreign = certificates.Authority(tmp_path).pem
    with pytest.raises(problems.Blocked, match="certificate does not verify"):
        nodes(dataclasses.replace(access, ca=foreign))


def test_without_an_authority_nothing_is_trusted(access):
    with pytest.raises(problems.Waiting, match="no CA for the Kubernetes API yet"):
        nodes(dataclasses.replace(access, ca=" \n"))


def test_an_authority_that_is_no_certificate_is_reported(access):
    with pytest.raises(problems.Blocked, match="the CA from the relation is not a certificate"):
        nodes(dataclasses.replace(access, ca="not a certificate"))


def test_a_token_is_never_sent_in_clear(access):
    with pytest.raises(problems.Blocked, match="is not https"):
        nodes(dataclasses.replace(access, endpoint=access.endpoint.replace("https", "http")))


def test_a_revoked_token_is_reported(plane, access):
    refused = dataclasses.replace(access, token=plane.token("aws-efs/0", ["system:masters"]))
    assert nodes(refused) == ()
    plane.revoke(refused.token)

    def message() -> str:
        try:
            nodes(refused)
        except problems.Blocked as problem:
            return problem.message
        return ""

    # An API server caches for some seconds that a token was valid.
    assert polling.poll(message, bool, 20).startswith("Kubernetes refuses our token")


def test_a_user_without_rights_is_reported_in_the_servers_words(plane, access):
    token = plane.token("nobody", [])
    with pytest.raises(problems.Blocked, match=r'list nodes: .*"nobody" cannot list resource'):
        nodes(dataclasses.replace(access, token=token))


def test_an_api_server_that_is_down_is_waited_for_and_found_again(plane, access):
    plane.stop_api()
    try:
        with pytest.raises(problems.Waiting, match="no connection to the Kubernetes API"):
            nodes(access)
    finally:
        plane.start_api()
    assert nodes(access) == ()


def test_no_proxy_is_asked(access, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert nodes(access) == ()


@pytest.mark.parametrize("token", ["a b", "line\nbreak", "tok\u20acn"])
def test_a_token_that_cannot_be_sent_is_not_repeated(access, token):
    with pytest.raises(problems.Blocked) as caught:
        nodes(dataclasses.replace(access, token=token))
    assert token not in str(caught.value)


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["hangs up", "plain"])
def test_what_is_no_api_server_is_waited_for(access, greeting):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            connection.sendall(greeting)
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        port = server.getsockname()[1]
        with pytest.raises(problems.Waiting, match="Kubernetes API"):
            nodes(dataclasses.replace(access, endpoint=f"https://127.0.0.1:{port}"))
        thread.join()


def test_an_api_that_hangs_is_given_up_in_bounded_time(access):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(problems.Waiting, match="does not answer in time"):
            nodes(dataclasses.replace(access, endpoint=f"https://127.0.0.1:{port}"))
        assert time.monotonic() - began < 10


def test_a_token_never_reaches_a_log_or_an_exception(plane, access, caplog):
    caplog.set_level(logging.DEBUG)
    nodes(access)
    plane.revoke(secret := plane.token("aws-efs/0", ["system:masters"]))
    refused = dataclasses.replace(access, token=secret)
    with pytest.raises(problems.Problem) as caught:
        nodes(refused)
    seen = caplog.text + repr(caught.value) + repr(caught.value.__cause__) + repr(refused)
    assert secret not in seen
    assert base64.b64encode(secret.encode()).decode() not in seen
