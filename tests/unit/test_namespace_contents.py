"""What in our namespace belongs to others."""

from __future__ import annotations

import pytest

from cluster import namespace_contents


def found(
    name: str, resource: str = "configmaps", *owners: tuple[str, str]
) -> namespace_contents.FoundObject:
    return namespace_contents.FoundObject(resource, name, f"uid-{name}", owners)


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
    assert foreign(found("pod", "pods", ("Job", "uid-job")), removed=removed) == []


def test_what_belongs_to_a_job_of_others_stays():
    pod = found("pod", "pods", ("Job", "uid-job"))
    assert foreign(found("job", "jobs.batch"), pod) == ["jobs.batch/job", "pods/pod"]


def test_what_two_jobs_share_stays_with_the_one_that_stays():
    shared = found("files", "configmaps", ("Job", "uid-job"), ("Job", "uid-gone"))
    assert "configmaps/files" in foreign(found("job", "jobs.batch"), shared)


def test_what_belongs_to_an_owner_of_another_kind_stays():
    assert foreign(found("pod", "pods", ("Node", "uid-node"))) == ["pods/pod"]


def test_what_cannot_be_listed_may_hold_anything():
    contents = namespace_contents.NamespaceContents((), ("stale.example.com/v1",))
    assert namespace_contents.find_foreign(contents, set()) == [
        "stale.example.com/v1 (it cannot be listed)"
    ]
