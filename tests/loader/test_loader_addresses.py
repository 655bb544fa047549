"""Origins at addresses that only the node, the cluster or a private network may read."""

from __future__ import annotations

import socket
from typing import Any
from unittest import mock

import pytest

from datasets.loader.base import failure, tasks
from datasets.loader.http import addresses
from datasets.loader.sources import expansion
from sandbox.servers import origin_server
from tests.loader import loader_rig

# As in a pod, where nothing is allowed beside the rules.
POD = {"AWS_EFS_ALLOWED_NETWORKS": "", "KUBERNETES_SERVICE_HOST": "10.152.183.1"}
ORIGIN_ONLY = {**POD, "AWS_EFS_ALLOWED_NETWORKS": "127.0.0.1/32"}
KEY = "5e" * 32
NEVER = (
    "169.254.169.254",
    "169.254.170.2",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "127.0.0.1",
    "127.1",
    "127.255.255.254",
    "localhost",
    "0.0.0.0",
    "0",
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "10.152.183.1",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[fe80::1]",
    "[fe80::1%lo]",
    "[fec0::1]",
    "[ff02::1]",
    "[fd00:ec2::254]",
    "[fd00:ec2::23]",
    "[fd20:ce::254]",
    "[::ffff:169.254.169.254]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::ffff:0:169.254.169.254]",
    "[64:ff9b::169.254.169.254]",
    "[2002:a9fe:a9fe::1]",
    "[2002:7f00:1::]",
    "[2001:0:a9fe:a9fe::]",
    "[2001::5601:5601]",
)
PRIVATE = (
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.1",
    "[fd12:3456::1]",
    "[::ffff:10.1.2.3]",
    "[64:ff9b::10.1.2.3]",
    "[64:ff9b:1::10.1.2.3]",
    "[2002:a01:203::1]",
)


@pytest.fixture
def in_pod():
    with mock.patch.dict("os.environ", POD):
        yield


def listing(served: origin_server.Origin, text: str) -> dict[str, str]:
    return {"source_list": served.put("list.txt", text.encode()), "digest_key": KEY}


@pytest.mark.parametrize("host", NEVER)
def test_an_address_of_the_node_or_the_cloud_is_refused_as_a_source(
    rig: loader_rig.Rig, host: str
):
    error = rig.refused(f"http://{host}/latest/meta-data/", environ=POD)
    assert "belongs to the node, the cloud or the cluster itself" in error


@pytest.mark.parametrize("host", [*NEVER[:2], "127.0.0.2", "[::ffff:169.254.169.254]"])
@pytest.mark.parametrize("way", ["redirect", "list", "endpoint", "hub", "proxy", "tunnel"])
def test_an_address_of_the_node_or_the_cloud_is_refused_by_any_way(
    rig: loader_rig.Rig, served: origin_server.Origin, way: str, host: str
):
    url, environ, parameters = f"http://{host}/x", ORIGIN_ONLY, dict[str, Any]()
    if way == "redirect":
        url = served.redirect("a", served.redirect("b", url))
    elif way == "list":
        url, parameters = "", listing(served, url)
    elif way == "endpoint":
        url, parameters = "s3://bucket/key", {"endpoint": f"http://{host}"}
    elif way == "hub":
        url, parameters = "hf://datasets/a/b", {"hub": f"http://{host}"}
    elif way == "proxy":
        environ = {**environ, "http_proxy": served.url}
    else:
        url, environ = url.replace("http", "https"), {**environ, "https_proxy": served.url}
    error = rig.load(url, environ=environ, **parameters).error
    assert "belongs to the node, the cloud or the cluster itself" in error
    assert all(each.target in {"/a", "/b", "/list.txt"} for each in served.requests)


@pytest.mark.parametrize("host", PRIVATE)
@pytest.mark.parametrize("way", ["redirect", "list"])
def test_a_private_host_is_read_only_if_the_user_names_it(
    rig: loader_rig.Rig, served: origin_server.Origin, way: str, host: str
):
    url, parameters = f"http://{host}/x", dict[str, Any]()
    if way == "redirect":
        url = served.redirect("a", url)
    else:
        url, parameters = "", listing(served, url)
    error = rig.load(url, environ=ORIGIN_ONLY, **parameters).error
    assert "has the private address" in error
    assert "only a redirect or a list names it" in error


@pytest.mark.parametrize("host", PRIVATE)
@pytest.mark.usefixtures("in_pod")
def test_a_private_host_that_the_user_names_is_allowed(host: str):
    bare, url = host.strip("[]"), f"https://{host}/x"
    named = (
        tasks.Task("x", "v", "", sources=(tasks.Source(url),)),
        tasks.Task("x", "v", "", source_list=url),
        tasks.Task("x", "v", "", endpoint=url),
        tasks.Task("x", "v", "", hub=url),
    )
    for task in named:
        expansion.address_policy(task).check(bare)
    with pytest.raises(failure.Failure, match="only a redirect or a list names it"):
        expansion.address_policy(tasks.Task("x", "v", "")).check(bare)


@pytest.mark.usefixtures("in_pod")
def test_services_in_the_cluster_are_read_as_endpoints_only():
    resolved = {
        "minio.data.svc": "10.96.7.7",
        "files.data": "10.96.7.8",
        "pod.x.svc.c": "10.1.1.1",
    }

    def resolve(host: str, port: int, *_: Any) -> list[Any]:
        return [(socket.AF_INET, 0, 0, "", (resolved[host], port))]

    with mock.patch.object(socket, "getaddrinfo", resolve):
        for host in resolved:
            policy = addresses.AddressPolicy([host], cluster=["10.96.0.0/12"])
            with pytest.raises(failure.Failure, match="is in the cluster, at 10"):
                policy.check(host)
            addresses.AddressPolicy([], [host], cluster=["10.96.0.0/12"]).check(host)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("s3.eu-west-1.amazonaws.com", True),
        ("my.bucket.s3.eu-west-1.amazonaws.com", True),
        ("bucket.s3.cn-north-1.amazonaws.com.cn", True),
        ("internal-x.eu-west-1.elb.amazonaws.com", False),
        ("s3.vpce-1.s3.eu-west-1.vpce.amazonaws.com", False),
        ("s3.eu-west-1.amazonaws.com.example.org", False),
    ],
)
@pytest.mark.usefixtures("in_pod")
def test_only_s3_of_aws_itself_may_be_private_without_being_named(host: str, allowed: bool):
    answer = [(socket.AF_INET, 0, 0, "", ("10.0.5.5", 0))]
    with mock.patch.object(socket, "getaddrinfo", lambda *_: answer):
        if allowed:
            addresses.AddressPolicy().check(host)
        else:
            with pytest.raises(failure.Failure, match="private address"):
                addresses.AddressPolicy().check(host)


def test_a_name_that_resolves_to_another_address_the_next_time_is_no_way_in(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    """Each resolution of the host is checked, and its address is the one that is connected to."""
    content = b"data" * 1000
    port = int(served.put("f.bin", content).split(":")[2].split("/")[0])
    answers = ["127.0.0.1", "127.0.0.2"]
    connected: list[str] = []
    connect = socket.socket.connect

    def resolve(host: str, port: int, *_: Any) -> list[Any]:
        assert host == "rebinding.test"
        return [(socket.AF_INET, 0, 0, "", (answers.pop(0) if answers[1:] else answers[0], port))]

    def record(made: socket.socket, address: Any) -> None:
        connected.append(address[0])
        connect(made, address)

    with (
        mock.patch.object(socket, "getaddrinfo", resolve),
        mock.patch.object(socket.socket, "connect", record),
    ):
        first = rig.load(f"http://rebinding.test:{port}/f.bin", environ=ORIGIN_ONLY)
        second = rig.load(f"http://rebinding.test:{port}/f.bin", "y", environ=ORIGIN_ONLY)
    assert first.result.files == 1
    assert rig.files() == {"f.bin": content}
    assert "'rebinding.test' has the address 127.0.0.2" in second.error
    assert set(connected) == {"127.0.0.1"}


def test_of_several_addresses_only_the_allowed_ones_are_connected_to(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    port = int(served.put("f.bin", b"data").split(":")[2].split("/")[0])
    every = ["169.254.169.254", "127.0.0.2", "::1", "127.0.0.1"]

    def resolve(_: str, port: int, *__: Any) -> list[Any]:
        kinds = {each: socket.AF_INET6 if ":" in each else socket.AF_INET for each in every}
        return [(kinds[each], 0, 0, "", (each, port)) for each in every]

    with mock.patch.object(socket, "getaddrinfo", resolve):
        run = rig.load(f"http://several.test:{port}/f.bin", environ=ORIGIN_ONLY)
    assert run.result.files == 1


def test_where_no_name_resolves_the_proxy_decides(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    """Only the proxy can resolve names, in a closed network; addresses are checked here."""
    served.put("f.bin", b"data")
    asked: list[str] = []

    def resolve(host: str, _port: int, *rest: Any) -> list[Any]:
        asked.append(host)
        if not rest[-1] and host == "data.test":
            raise socket.gaierror(socket.EAI_AGAIN, "no name server")
        assert rest[-1] & socket.AI_NUMERICHOST or host == "127.0.0.1"
        return origin(host, _port, *rest)

    origin = socket.getaddrinfo
    environ = {**ORIGIN_ONLY, "http_proxy": served.url}
    with mock.patch.object(socket, "getaddrinfo", resolve):
        run = rig.load("http://data.test/f.bin", environ=environ)
    assert run.result.files == 1
    assert asked.count("data.test") == 1, "no look-up is repeated that took its time"
