from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.client
import json
from typing import Any

import pytest

from datasets.loader.base import failure, tasks
from datasets.loader.http import http_client
from datasets.loader.sources import hub
from datasets.loader.sources.source_object import SourceObject
from sandbox.servers import hub_server as sandbox_hub
from sandbox.servers import origin_server
from tests.loader import loader_rig, sources_rig

LARGE = bytes(range(256)) * 20
FILES = {
    "README.md": b"hello",
    "data/train/0001.parquet": LARGE,
    "data/train/ünï cödé+#.txt": b"odd",
    "data/test.csv": b"a,b",
    "data2/x": b"x",
}
TOKEN = "hf_hunter2"


@pytest.fixture
def served():
    with sandbox_hub.Hub.start() as started:
        yield started


def task(served: sandbox_hub.Hub, source: str, token: str = "", **fields: Any) -> tasks.Task:
    return tasks.Task(
        "x",
        "v",
        "f",
        sources=(tasks.Source(source, **fields),),
        hub=f"{served.url}/",
        credentials={"token": token} if token else {},
        opening_seconds=1,
    )


def expand(served: sandbox_hub.Hub, source: str, token: str = "", **fields: Any):
    return sources_rig.expand(task(served, source, token, **fields))


def refusal(served: sandbox_hub.Hub, source: str, token: str = "") -> str:
    with pytest.raises(failure.Failure) as raised:
        expand(served, source, token)
    assert ": " in str(raised.value), "what is so: what to do"
    assert TOKEN not in str(raised.value)
    return str(raised.value)


def fetch(served: sandbox_hub.Hub, found: SourceObject, token: str = "") -> bytes:
    return sources_rig.fetch(task(served, "hf://datasets/org/name", token), found)


def test_all_files_of_a_data_set_are_found_at_one_commit(served: sandbox_hub.Hub):
    commit = served.put("org/name", FILES)
    found = {each.path: each for each in expand(served, "hf://datasets/org/name")}
    assert found.keys() == FILES.keys()
    for path, each in found.items():
        assert each.listed
        assert each.size == len(FILES[path])
        assert f"/resolve/{commit}/" in each.url
        assert fetch(served, each) == FILES[path]
    digest = hashlib.sha256(LARGE).hexdigest()
    assert found["data/train/0001.parquet"].checksum == f"sha256:{digest}"
    assert not found["README.md"].checksum


def test_a_commit_is_read_to_its_end_while_the_branch_moves(served: sandbox_hub.Hub):
    served.put("org/name", FILES)
    found = expand(served, "hf://datasets/org/name")
    served.put("org/name", {"README.md": b"another"})
    assert fetch(served, found[0]) == b"hello"


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_directory_is_what_is_below_it(served: sandbox_hub.Hub, slash: str):
    served.put("org/name", FILES)
    found = expand(served, f"hf://datasets/org/name/data{slash}")
    assert {each.path for each in found} == {
        "train/0001.parquet",
        "train/ünï cödé+#.txt",
        "test.csv",
    }
    found = expand(served, "hf://datasets/org/name/data/train", path="there")
    assert found[0].path == "there/0001.parquet"


@pytest.mark.parametrize("path", ["README.md", "data/test.csv", "data/train/0001.parquet"])
def test_a_file_is_an_entry_that_the_user_named(served: sandbox_hub.Hub, path: str):
    served.put("org/name", FILES)
    served.page_size = 1
    (found,) = expand(served, f"hf://datasets/org/name/{path}")
    assert (found.path, found.listed, found.size) == ("", False, len(FILES[path]))
    assert fetch(served, found) == FILES[path]


def test_an_odd_name_is_given_encoded(served: sandbox_hub.Hub):
    served.put("org/name", FILES)
    url = "hf://datasets/org/name/data/train/%C3%BCn%C3%AF%20c%C3%B6d%C3%A9+%23.txt"
    (found,) = expand(served, url)
    assert fetch(served, found) == b"odd"


@pytest.mark.parametrize("revision", ["v1.0", "refs/convert/parquet", "refs%2Fpr%2F7", "a-branch"])
def test_a_revision_is_followed(served: sandbox_hub.Hub, revision: str):
    served.put("org/name", FILES)
    served.put("org/name", {"d/x": b"other"}, revision=revision.replace("%2F", "/"))
    (found,) = expand(served, f"hf://datasets/org/name@{revision}")
    assert fetch(served, found) == b"other"
    (found,) = expand(served, f"hf://datasets/org/name@{revision}/d")
    assert found.path == "x"
    assert "has no such revision" in refusal(served, "hf://datasets/org/name@nowhere")


def test_a_commit_is_a_revision(served: sandbox_hub.Hub):
    commit = served.put("org/name", {"x": b"1"})
    served.put("org/name", {"x": b"2"})
    (found,) = expand(served, f"hf://datasets/org/name@{commit}")
    assert fetch(served, found) == b"1"


def test_the_oldest_data_sets_have_no_organisation(served: sandbox_hub.Hub):
    served.put("squad", {"plain/x": b"1", "y": b"2"})
    assert len(expand(served, "hf://datasets/squad")) == 2
    (found,) = expand(served, "hf://datasets/squad/plain")
    assert found.path == "x"
    (found,) = expand(served, "hf://datasets/squad/plain/x")
    assert fetch(served, found) == b"1"


def test_a_data_set_that_was_renamed_is_found(served: sandbox_hub.Hub):
    served.put("rajpurkar/squad", {"x": b"1"})
    served.renamed["squad"] = "rajpurkar/squad"
    (found,) = expand(served, "hf://datasets/squad")
    assert "/datasets/rajpurkar/squad/resolve/" in found.url


def test_many_files_come_page_by_page(served: sandbox_hub.Hub):
    served.put("org/name", {f"d{number % 10}/{number:04}": b"" for number in range(250)})
    assert len(expand(served, "hf://datasets/org/name")) == 250
    pages = [each for each in served.requests if "/tree/" in each.target]
    assert len(pages) == 3


def test_the_next_page_of_a_mirror_is_asked_of_the_mirror(served: sandbox_hub.Hub):
    served.put("org/name", FILES, private=True, token=TOKEN)
    served.page_size = 2
    served.public_url = "https://huggingface.co"
    assert len(expand(served, "hf://datasets/org/name", TOKEN)) == len(FILES)


def test_the_token_goes_to_the_hub_and_nowhere_else(served: sandbox_hub.Hub):
    served.put("org/name", FILES, private=True, token=TOKEN)
    found = {each.path: each for each in expand(served, "hf://datasets/org/name", TOKEN)}
    assert fetch(served, found["data/train/0001.parquet"], TOKEN) == LARGE
    assert fetch(served, found["README.md"], TOKEN) == b"hello"
    assert all(each.headers["authorization"] == f"Bearer {TOKEN}" for each in served.requests)
    (request,) = served.cdn.requests
    assert "authorization" not in request.headers
    assert TOKEN not in str(found)


def test_a_private_data_set_is_not_distinguished_from_a_missing_one(served: sandbox_hub.Hub):
    served.put("org/private", FILES, private=True, token=TOKEN)
    served.put("org/other", FILES, private=True, token="hf_other")
    message = "is not there, or is private: check the source, or give a token by credentials="
    assert message in refusal(served, "hf://datasets/org/private")
    assert message in refusal(served, "hf://datasets/org/missing")
    assert "answers 404: check the source, and that the token's user may read it" in refusal(
        served, "hf://datasets/org/private", "hf_other"
    )
    assert "the token gives no access to it" in refusal(
        served, "hf://datasets/org/private", "wrong"
    )


def test_what_is_gated_wants_its_terms_accepted(served: sandbox_hub.Hub):
    served.put("org/gated", FILES, gated=True, token=TOKEN)
    served.put("org/name", FILES, private=True, token="hf_other")
    message = "is gated: accept its terms on the Hub, and give a token"
    assert message in refusal(served, "hf://datasets/org/gated")
    found = expand(served, "hf://datasets/org/gated", TOKEN)
    assert fetch(served, found[0], TOKEN) == b"hello"
    with pytest.raises(failure.Failure, match="has accepted the terms on the Hub"):
        fetch(served, found[0], "hf_other")
    with pytest.raises(failure.Failure, match="private or gated; accept its terms"):
        fetch(served, found[0])


@pytest.mark.parametrize("path", ["no/such", "data/no-such", "README.md/x"])
def test_a_path_that_is_not_there_is_refused(served: sandbox_hub.Hub, path: str):
    served.put("org/name", FILES)
    assert "is not there: check its path" in refusal(served, f"hf://datasets/org/name/{path}")


@pytest.mark.parametrize("path", ["a//b", "../x", "./x", "/x"])
def test_an_invalid_path_is_refused(served: sandbox_hub.Hub, path: str):
    served.put("org/name", {path: b"x"})
    assert "cannot be in a data set" in refusal(served, "hf://datasets/org/name")


def test_files_misbehave_as_those_of_other_origins(served: sandbox_hub.Hub):
    faults = {"data/train/0001.parquet": origin_server.Faults(drop_after=100)}
    served.put("org/name", FILES, faults=faults)
    found = {each.path: each for each in expand(served, "hf://datasets/org/name")}
    with contextlib.suppress(http_client.RetryLater):
        assert fetch(served, found["data/train/0001.parquet"]) == LARGE[:100]
    assert fetch(served, found["data/train/0001.parquet"]) == LARGE


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"[]",
        b'{"sha": 1}',
        b'{"sha": "../../x"}',
        b"",
    ],
)
def test_what_is_no_hub_is_refused(answer: bytes, monkeypatch: pytest.MonkeyPatch):
    def body(*_: object, **__: object) -> http_client.Body:
        return http_client.Body(answer, http.client.HTTPMessage(), 200, "")

    monkeypatch.setattr(http_client.Client, "body", body)
    with pytest.raises(failure.Failure, match="is not a Hub: check endpoint="):
        list(
            hub.expand("hf://datasets/a/b", http_client.Client(1), hub.HubService("http://x.test"))
        )


@pytest.mark.parametrize(
    "page",
    [
        {},
        [1],
        [{"type": "file", "path": 1, "size": 1}],
        [{"type": "file", "path": "x", "size": "1"}],
        [{"type": "file", "path": "x"}],
    ],
)
def test_a_list_that_is_none_is_refused(page: object, monkeypatch: pytest.MonkeyPatch):
    def body(_: object, url: str, **__: object) -> http_client.Body:
        answer = {"sha": "0" * 40} if "/revision/" in url else page
        return http_client.Body(json.dumps(answer).encode(), http.client.HTTPMessage(), 200, "")

    monkeypatch.setattr(http_client.Client, "body", body)
    with pytest.raises(failure.Failure, match="is not a Hub: check endpoint="):
        list(
            hub.expand("hf://datasets/a/b", http_client.Client(1), hub.HubService("http://x.test"))
        )


def test_an_empty_data_set_is_refused(served: sandbox_hub.Hub, monkeypatch: pytest.MonkeyPatch):
    def body(_: object, url: str, **__: object) -> http_client.Body:
        answer = {"sha": "0" * 40} if "/revision/" in url else []
        return http_client.Body(json.dumps(answer).encode(), http.client.HTTPMessage(), 200, "")

    monkeypatch.setattr(http_client.Client, "body", body)
    assert "holds no files" in refusal(served, "hf://datasets/org/name")


def test_the_hub_is_huggingface_co_unless_another_is_named():
    assert hub.HubService().url == "https://huggingface.co"


@pytest.mark.parametrize("kind", ["models/", "spaces/"])
def test_models_and_spaces_are_found(served: sandbox_hub.Hub, kind: str):
    served.put(f"{kind}org/name", FILES, private=True, token=TOKEN)
    served.put("org/name", {"other": b"data set"})
    prefix = kind.replace("models/", "")
    found = {each.path: each for each in expand(served, f"hf://{prefix}org/name", TOKEN)}
    assert found.keys() == FILES.keys()
    for path, each in found.items():
        assert fetch(served, each, TOKEN) == FILES[path]
    (found_one,) = expand(served, f"hf://{prefix}org/name@main/data/test.csv", TOKEN)
    assert fetch(served, found_one, TOKEN) == b"a,b"


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (("*.md",), (), {"README.md"}),
        (
            ("data/*",),
            (),
            {"data/train/0001.parquet", "data/train/ünï cödé+#.txt", "data/test.csv"},
        ),
        (("data/",), ("*.parquet", "*.txt"), {"data/test.csv"}),
        ((), ("data*",), {"README.md"}),
        (("*.csv", "data2/x"), (), {"data/test.csv", "data2/x"}),
        (("[Rr]*",), (), {"README.md"}),
    ],
)
def test_files_are_selected_by_patterns(
    served: sandbox_hub.Hub, include: tuple[str, ...], exclude: tuple[str, ...], expected: set[str]
):
    served.put("org/name", FILES)
    asked = dataclasses.replace(
        task(served, "hf://datasets/org/name"), include=include, exclude=exclude
    )
    assert {each.path for each in sources_rig.expand(asked)} == expected


def test_a_large_file_is_resolved_once(rig: loader_rig.Rig, served: sandbox_hub.Hub):
    files = {name: name.encode() * 2**23 for name in ("a1", "b2")}
    served.put("org/name", files, private=True, token=TOKEN)
    run = rig.load("hf://datasets/org/name", hub=served.url, credentials={"token": TOKEN})
    assert run.result.files == 2
    assert rig.files() == files
    resolves = [each for each in served.requests if "/resolve/" in each.target]
    assert len(resolves) == 2
    assert len(served.cdn.requests) > 10
    assert all("authorization" not in each.headers for each in served.cdn.requests)


def test_a_signed_link_that_expires_is_resolved_anew(rig: loader_rig.Rig, served: sandbox_hub.Hub):
    content = bytes(range(256)) * 2**16
    faults = {"large": origin_server.Faults(answers=4)}
    served.put("org/name", {"large": content}, faults=faults)
    first = rig.load("hf://datasets/org/name", hub=served.url)
    assert "answers 403" in first.error
    resolves = [each for each in served.requests if "/resolve/" in each.target]
    assert len(resolves) > 1, "each refusal of the kept link is followed by another one"


def test_what_the_hub_limits_is_waited_for(rig: loader_rig.Rig, served: sandbox_hub.Hub):
    path = f"datasets/org/name/resolve/{served.put('org/name', {'small': b'small'})}/small"
    served._front.put(
        path,
        b"small",
        headers={"RateLimit": '"resolvers";r=0;t=1', "RateLimit-Policy": '"resolvers";q=3000;w=1'},
        faults=origin_server.Faults(status=429, status_times=1),
    )
    assert rig.load("hf://datasets/org/name", hub=served.url).result.files == 1
    assert [each.status for each in served.requests if "/resolve/" in each.target] == [429, 200]
