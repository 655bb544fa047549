"""What in our namespace belongs to others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import identity
import polling
import problems
from cluster import client, namespace_contents, ownership, transport
from tests.clients import api_server

OWNER = identity.Owner("6f4bf1dd-0000-4000-8000-000000000000", "aws-efs")


def found(
    name: str, resource: str = "configmaps", *owners: tuple[str, str]
) -> namespace_contents.FoundObject:
    """Return an object with owners, each by its qualified kind, as in "Job.batch", and its uid."""
    owning = [(*kind.partition(".")[::2], uid) for kind, uid in owners]
    references = [namespace_contents.ObjectOwner(group, kind, uid) for kind, group, uid in owning]
    return namespace_contents.FoundObject(resource, name, f"uid-{name}", tuple(references))


def foreign(
    *objects: namespace_contents.FoundObject, removed: frozenset[str] = frozenset()
) -> list[str]:
    contents = namespace_contents.NamespaceContents(objects, ())
    return namespace_contents.find_foreign(contents, removed)


def test_nothing_in_it_is_nothing_foreign():
    assert foreign() == []


def test_what_we_have_removed_is_not_foreign():
    assert foreign(found("job", "jobs.batch"), removed=frozenset({"uid-job"})) == []


def test_an_object_of_others_is_named_as_kubectl_takes_it():
    assert foreign(found("x", "widgets.example.com"), found("y", "secrets")) == [
        "widgets.example.com/x",
        "secrets/y",
    ]


@pytest.mark.parametrize("removed", [frozenset[str](), frozenset({"uid-job"})])
def test_what_belongs_to_a_job_that_is_gone_goes_with_it(removed):
    assert foreign(found("pod", "pods", ("Job.batch", "uid-job")), removed=removed) == []


def test_what_belongs_to_a_job_of_others_stays():
    pod = found("pod", "pods", ("Job.batch", "uid-job"))
    assert foreign(found("job", "jobs.batch"), pod) == ["jobs.batch/job", "pods/pod"]


def test_what_two_jobs_share_stays_with_the_one_that_stays():
    shared = found("files", "configmaps", ("Job.batch", "uid-job"), ("Job.batch", "uid-gone"))
    assert "configmaps/files" in foreign(found("job", "jobs.batch"), shared)


def test_what_belongs_to_an_owner_of_another_kind_stays():
    assert foreign(found("pod", "pods", ("Node", "uid-node"))) == ["pods/pod"]


def test_what_cannot_be_listed_may_hold_anything():
    contents = namespace_contents.NamespaceContents((), ("stale.example.com/v1",))
    assert namespace_contents.find_foreign(contents, set()) == [
        "stale.example.com/v1 (it cannot be listed)"
    ]


def test_what_belongs_to_the_pod_of_a_job_that_is_gone_goes_with_it():
    pod = found("pod", "pods", ("Job.batch", "uid-job"))
    endpoint = found("its-network", "ciliumendpoints.cilium.io", ("Pod", "uid-pod"))
    assert foreign(endpoint, pod) == []
    assert foreign(endpoint) == []


def test_the_replica_sets_and_pods_of_a_deployment_that_is_gone_go_with_it():
    replica_set = found("set", "replicasets.apps", ("Deployment.apps", "uid-gone"))
    pod = found("pod", "pods", ("ReplicaSet.apps", "uid-set"))
    assert foreign(replica_set, pod) == []
    deployment = found("theirs", "deployments.apps")
    theirs = found("set", "replicasets.apps", ("Deployment.apps", "uid-theirs"))
    assert foreign(deployment, theirs, pod) == [
        "deployments.apps/theirs",
        "replicasets.apps/set",
        "pods/pod",
    ]


def test_what_belongs_to_a_pod_that_stays_stays():
    pod = found("pod", "pods")
    endpoint = found("its-network", "ciliumendpoints.cilium.io", ("Pod", "uid-pod"))
    assert foreign(endpoint, pod) == ["ciliumendpoints.cilium.io/its-network", "pods/pod"]


@pytest.mark.parametrize(
    "kind",
    [
        *("Job", "Job.batch.volcano.sh", "Job.batch.example.com", "Job.theirs.test", "job.batch"),
        *(
            "CronJob.batch",
            "Pod.example.com",
            "Pod.v1",
            "StatefulSet.apps",
            "Deployment",
            "ConfigMap",
            "",
        ),
    ],
)
def test_what_belongs_to_an_object_of_another_kind_or_group_stays_though_that_is_gone(kind):
    assert foreign(found("x", "pods", (kind, "uid-gone"))) == ["pods/x"]


def test_owners_in_a_circle_stay():
    one = found("one", "pods", ("Pod", "uid-other"))
    other = found("other", "pods", ("Pod", "uid-one"))
    assert foreign(one, other) == ["pods/one", "pods/other"]


def test_a_chain_of_owners_ends_with_what_belongs_to_a_pod():
    """Kubernetes collects such a chain too, but nothing of ours makes one."""
    chain = [found(f"{i}", "pods", ("Pod", f"uid-{i - 1}")) for i in range(5000)]
    assert len(foreign(*chain)) == 4997


# --- what the API server, and servers that extend it, answer


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[api_server.ApiServer]:
    running = api_server.ApiServer(tmp_path_factory.mktemp("api"))
    marked = {"name": "aws-efs", "labels": ownership.labels(OWNER)}
    running.add("namespaces", {"metadata": marked})
    yield running
    running.close()


@pytest.fixture
def server(running: api_server.ApiServer) -> api_server.ApiServer:
    running.refused, running.mute = {}, set()
    running.answers = {
        "/api": {"versions": ["v1"]},
        "/apis": {"groups": [{"name": "theirs.test", "versions": [VERSION]}]},
        "/api/v1": {"resources": [resource("configmaps")]},
        LIST: {"items": [{"metadata": {"name": "ours", "uid": "1"}}]},
        f"/apis/{GROUP_VERSION}": {"resources": [resource("widgets")]},
    }
    return running


GROUP_VERSION = "theirs.test/v1"
VERSION = {"groupVersion": GROUP_VERSION}
LIST = "/api/v1/namespaces/aws-efs/configmaps"
THEIRS = f"/apis/{GROUP_VERSION}/namespaces/aws-efs/widgets"


def resource(name: Any) -> dict[str, Any]:
    return {"name": name, "namespaced": True, "verbs": ["list"]}


def observed(server: api_server.ApiServer) -> list[str]:
    access = identity.ClusterAccess(server.endpoint, server.ca, "token")
    with client.Cluster(access, OWNER) as cluster:
        contents = namespace_contents.observe(cluster, "aws-efs")
    return namespace_contents.find_foreign(contents, {"1"})


def test_a_server_that_extends_kubernetes_is_asked_too(server):
    owner = {"apiVersion": "batch/v1", "kind": "Job", "uid": "gone"}
    going = {"name": "going", "uid": "2", "ownerReferences": [owner]}
    staying = {"name": "staying", "uid": "3", "ownerReferences": [{**owner, "apiVersion": "x/v1"}]}
    server.answers[THEIRS] = {"items": [{"metadata": going}, {"metadata": staying}]}
    assert observed(server) == ["widgets.theirs.test/staying"]


GARBLED: list[Any] = [
    *([], "", 5, [None], "items", True),
    *({"items": {}}, {"items": [5]}, {"items": ["x"]}, {"items": [{}]}, {"items": [None]}),
    *({"items": [{"metadata": each}]} for each in ([], "x", None, {"name": 5}, {"uid": {}})),
    {"items": [{"metadata": {"ownerReferences": {}}}]},
    {"items": [{"metadata": {"ownerReferences": [5]}}]},
    {"items": [{"metadata": {"ownerReferences": [{"uid": []}]}}]},
    *({"metadata": []}, {"metadata": {"continue": 5}}, {"metadata": {"continue": {}}}),
]


@pytest.mark.parametrize("answer", GARBLED, ids=repr)
def test_a_list_that_cannot_be_read_may_hold_anything(server, answer):
    server.answers[THEIRS] = answer
    assert observed(server) == ["widgets.theirs.test (it cannot be listed)"]


def test_a_list_without_an_end_may_hold_anything(server, monkeypatch):
    monkeypatch.setattr(transport, "MOST_PAGES", 3)
    server.answers[THEIRS] = {"metadata": {"continue": "for ever"}}
    assert observed(server) == ["widgets.theirs.test (it cannot be listed)"]


@pytest.mark.parametrize(
    "answer",
    [
        *([], "", 5, True, "resources", {"resources": {}}, {"resources": [5]}),
        *({"resources": [{}]}, {"resources": [{"name": None}]}, {"resources": [resource([])]}),
        {"resources": [{**resource("widgets"), "verbs": 5}]},
        {"resources": [{**resource("widgets"), "verbs": [[]]}]},
        {"resources": [{**resource("widgets"), "namespaced": "yes"}]},
    ],
    ids=repr,
)
def test_a_version_that_cannot_be_read_may_hold_anything(server, answer):
    server.answers[f"/apis/{GROUP_VERSION}"] = answer
    assert observed(server) == [f"{GROUP_VERSION} (it cannot be listed)"]


@pytest.mark.parametrize("name", ["{0}", "{namespace}", "{", "}", "%s", "a b", "../../x", "ä"])
def test_names_of_resources_are_no_formats(server, name):
    server.answers[f"/apis/{GROUP_VERSION}"] = {"resources": [resource(name)]}
    assert isinstance(observed(server), list)


def test_a_server_that_is_mute_may_hold_anything_and_stops_nothing(server, monkeypatch):
    monkeypatch.setattr(polling, "ANSWER_SECONDS", 0.2)
    server.mute = {THEIRS}
    assert observed(server) == ["widgets.theirs.test (it cannot be listed)"]


@pytest.mark.parametrize("status", [403, 404, 406, 500, 502, 503, 504])
def test_a_server_that_refuses_may_hold_anything(server, status):
    server.refused = {THEIRS: status}
    expected = [] if status == 404 else ["widgets.theirs.test (it cannot be listed)"]
    assert observed(server) == expected


def test_where_kubernetes_itself_is_mute_the_observation_ends(server, monkeypatch):
    monkeypatch.setattr(polling, "ANSWER_SECONDS", 0.2)
    server.mute = {THEIRS, "/api/v1/namespaces/aws-efs"}
    with pytest.raises(problems.Waiting, match="does not answer in time"):
        observed(server)
