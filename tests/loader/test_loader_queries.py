"""The queries of URLs in a source list: they may sign them, so they never reach the volume."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import pathlib
import random
import signal
import tracemalloc
from collections.abc import Callable, Generator, Mapping
from unittest import mock

import hypothesis
import pytest
from hypothesis import strategies

from datasets.loader.access import open_directory
from datasets.loader.base import failure, tasks
from datasets.loader.sources.source_object import SourceObject
from datasets.loader.work import list_queries, plan
from sandbox.servers import origin_server
from tests.loader import loader_rig, sources_rig

KEY = "5e" * 32
SECRET = "tell-nobody-4711"
FIRST, HELD = b"1" * 3000, b"2" * 200_000
HOLD = origin_server.Faults(hold_after=1000, ranges=False)


def put_list(
    served: origin_server.Origin, *lines: str, secret: str = SECRET, name: str = "list"
) -> str:
    """Set the content of a list: each line is a path at the origin and what follows its URL."""
    made = [
        f"{served.url}/{line.partition(' ')[0]}{'&' if '?' in line else '?'}"
        f"X-Amz-Signature={secret}-{number}&X-Amz-Date=1 {line.partition(' ')[2]}"
        for number, line in enumerate(lines)
    ]
    return served.put(name, "\n".join(made).encode())


def on_volume(rig: loader_rig.Rig) -> bytes:
    """Return all names and contents on the volume."""
    found: list[bytes] = []
    for path in rig.volume.rglob("*"):
        found.append(str(path).encode())
        with contextlib.suppress(OSError):
            found.append(path.read_bytes() if path.is_file() else b"")
    return b"\n".join(found)


def plans(rig: loader_rig.Rig) -> list[pathlib.Path]:
    return list(rig.volume.rglob("plan"))


def targets(served: origin_server.Origin, path: str) -> list[str]:
    """Return the requests for a path at the origin."""
    return [each.target for each in served.requests if origin_server.path_of(each.target) == path]


def begin(rig: loader_rig.Rig, served: origin_server.Origin) -> loader_rig.Rig:
    """Kill a load of a list after its first file, in the middle of the second one."""
    served.put("a", FIRST)
    served.put("b", HELD, faults=HOLD)
    source_list = put_list(served, "a one", "b?id=2 two")
    process = rig.start("", source_list=source_list, digest_key=KEY)
    loader_rig.wait_until(lambda: targets(served, "/b"))
    loader_rig.wait_until(
        lambda: any(path.read_text().strip() for path in rig.volume.rglob("ledger"))
    )
    loader_rig.kill(process)
    served.put("b", HELD)
    return rig


def load_list(rig: loader_rig.Rig, source_list: str, **parameters: object) -> loader_rig.Run:
    return rig.load("", source_list=source_list, **{"digest_key": KEY, **parameters})


@pytest.mark.parametrize("end", ["killed", "stopped", "refused", "published"])
def test_no_query_of_a_list_is_on_the_volume_however_its_load_ends(
    rig: loader_rig.Rig, served: origin_server.Origin, end: str
):
    refused = origin_server.Faults(status=403)
    served.put("a", FIRST)
    served.put("b", HELD, faults=refused if end == "refused" else HOLD)
    source_list = put_list(served, "a", "b?id=2")
    process = rig.start("", source_list=source_list, digest_key=KEY)
    loader_rig.wait_until(lambda: targets(served, "/b"))

    assert SECRET.encode() not in on_volume(rig)
    if end in {"killed", "stopped"}:
        assert plans(rig)
        process.send_signal(signal.SIGKILL if end == "killed" else signal.SIGTERM)
    else:
        served.release()
    run = rig.wait(process)

    assert plans(rig) or end not in {"killed", "stopped"}
    assert SECRET.encode() not in on_volume(rig)
    assert SECRET not in run.log + run.message
    assert {target.rpartition("?")[2] for target in targets(served, "/b")} == {
        f"id=2&X-Amz-Signature={SECRET}-1&X-Amz-Date=1"
    }


def test_a_list_that_was_signed_again_continues_the_load_with_its_new_signatures(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    begin(rig, served)
    before = len(targets(served, "/b"))

    run = load_list(rig, put_list(served, "a one", "b?id=2 two", secret="renewed"))

    assert run.result.files == 2
    assert rig.files() == {"one": FIRST, "two": HELD}
    assert len(targets(served, "/a")) == 1
    assert all("X-Amz-Signature=renewed-1" in each for each in targets(served, "/b")[before:])
    assert b"renewed" not in on_volume(rig)


@pytest.mark.parametrize(
    ("lines", "files"),
    [
        (["b?id=2 two", "a one"], {"one": FIRST, "two": HELD}),
        (["a two", "b?id=2 one"], {"two": FIRST, "one": HELD}),
        (["a one", "b?id=3 two"], {"one": FIRST, "two": HELD}),
        (["a?id=1 one", "b?id=2 two"], {"one": FIRST, "two": HELD}),
        (["a one", "c?id=2 two"], {"one": FIRST, "two": b"3"}),
        (["a one"], {"one": FIRST}),
        (["a one", "b?id=2 two", "c three"], {"one": FIRST, "two": HELD, "three": b"3"}),
    ],
    ids=["order", "paths", "an id", "a new id", "a URL", "one less", "one more"],
)
def test_a_list_that_names_others_starts_the_load_over(
    rig: loader_rig.Rig,
    served: origin_server.Origin,
    lines: list[str],
    files: Mapping[str, bytes],
):
    begin(rig, served)
    served.put("c", b"3")

    run = load_list(rig, put_list(served, *lines, secret="renewed"))

    assert run.result.files == len(files)
    assert rig.files() == files
    assert "names other objects than before" in run.log
    assert len(targets(served, "/a")) == 2


def test_a_list_that_cannot_be_read_again_keeps_what_was_loaded(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    begin(rig, served)
    content = origin_server.Faults(status=403)
    expired = served.put("list", b"", faults=content)

    error = load_list(rig, expired).error

    assert f"{expired} answers 403" in error
    assert load_list(rig, put_list(served, "a one", "b?id=2 two")).result.files == 2
    assert len(targets(served, "/a")) == 1


def test_a_list_without_queries_is_not_read_again(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    served.put("a", FIRST)
    served.put("b", HELD, faults=HOLD)
    source_list = served.put("list", b"a one\nb two\n")
    process = rig.start("", source_list=source_list, digest_key=KEY)
    loader_rig.wait_until(lambda: targets(served, "/b"))
    loader_rig.kill(process)
    served.release()

    assert load_list(rig, source_list).result.files == 2
    assert len(targets(served, "/list")) == 1


def test_pods_that_share_a_list_read_it_at_most_once_each(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    names = [f"f{number}" for number in range(40)]
    for name in names:
        served.put(name, name.encode())
    mixed = [f"{name}?id={name}" for name in names[::2]] + names[1::2]
    source_list = put_list(served, *mixed)
    runs = rig.run_pods("", 3, source_list=source_list, digest_key=KEY)

    assert [run.code for run in runs] == [0, 0, 0]
    assert rig.files() == {name: name.encode() for name in names}
    assert 1 <= len(targets(served, "/list")) <= 3
    assert SECRET.encode() not in on_volume(rig)
    for name in names:
        assert all(f"X-Amz-Signature={SECRET}" in each for each in targets(served, f"/{name}"))


def test_parts_of_one_large_file_have_its_query(rig: loader_rig.Rig, served: origin_server.Origin):
    content = random.Random(5).randbytes(3 * 2**20)
    served.put("large.bin", content)
    source_list = put_list(served, "large.bin?id=1")
    with loader_rig.small_parts():
        for index in (0, 1):
            run = rig.run_pod(
                "", index, 2, source_list=source_list, digest_key=KEY, request="v", unpack="false"
            )
            assert run.code == 0, run
    assert rig.files() == {"large.bin": content}
    assert all("?id=1&" in each for each in targets(served, "/large.bin"))


def test_a_source_list_comes_with_a_key(rig: loader_rig.Rig):
    for key in ("", "5", "x" * 64):
        error = load_list(rig, "http://127.0.0.1:9/list", digest_key=key).error
        assert "the loader does not understand its task" in error


# --- the queries in memory


def entries(*urls: str) -> list[SourceObject]:
    return [SourceObject(url, path=f"d/{number}") for number, url in enumerate(urls)]


@contextlib.contextmanager
def queries(key: str = KEY) -> Generator[list_queries.ListQueries]:
    task = tasks.Task("x", "v", "f", source_list="https://a.example/list", digest_key=key)
    with sources_rig.client(task) as client:
        yield list_queries.ListQueries(task, client)


def digest(*urls: str, key: str = KEY) -> str:
    with queries(key) as kept:
        for each in entries(*urls):
            kept.split(each)
        return kept.digest


TEXT = strategies.text(strategies.characters(min_codepoint=33, max_codepoint=126), max_size=20)


@sources_rig.FREE
@hypothesis.given(
    strategies.lists(TEXT, max_size=20), strategies.integers(1, 6), strategies.data()
)
def test_every_query_is_found_by_its_number(
    texts: list[str], block: int, data: strategies.DataObject
):
    with mock.patch.object(list_queries, "BLOCK", block), queries() as kept:
        split = [kept.split(SourceObject(f"https://a.example/{text}")) for text in texts]
        for text, (url, number) in data.draw(
            strategies.permutations(list(zip(texts, split, strict=True)))
        ):
            whole = f"https://a.example/{text}"
            assert "?" not in url
            assert (number < 0) is ("?" not in whole)
            found = url if number < 0 else f"{url}?{kept.find(number, kept.digest)}"
            assert found == whole


def test_a_digest_is_of_what_is_listed_and_not_of_its_signatures():
    one = digest("https://a/x?id=1&sig=1", "https://a/y?X-Amz-Date=1")
    assert one == digest("https://a/x?id=1&sig=2", "https://a/y?X-Amz-Date=9&X-Amz-Expires=3")
    others = [
        digest("https://a/x?id=2&sig=1", "https://a/y?X-Amz-Date=1"),
        digest("https://a/y?X-Amz-Date=1", "https://a/x?id=1&sig=1"),
        digest("https://a/x?id=1&sig=1"),
        digest("https://a/x?id=1&sig=1", "https://a/y?X-Amz-Date=1", "https://a/z?"),
        digest("https://a/x?id=1&sig=1", "https://a/y?X-Amz-Date=1", key="77" * 32),
    ]
    assert len({one, *others}) == 6


@pytest.mark.parametrize(
    "change", [lambda each: {"path": "e"}, lambda each: {"checksum": "md5:" + "0" * 32}]
)
def test_a_digest_is_of_paths_and_checksums_too(
    change: Callable[[SourceObject], Mapping[str, str]],
):
    (entry,) = entries("https://a/x?id=1")
    with queries() as kept, queries() as other:
        kept.split(entry)
        other.split(dataclasses.replace(entry, **change(entry)))
        assert kept.digest != other.digest


def test_queries_that_sign_many_urls_take_little_memory():
    chance = random.Random(6)
    count = 20_000
    signed = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Security-Token=" + "t0ken" * 80
    tracemalloc.start()
    with queries() as kept:
        for number in range(count):
            signature = chance.randbytes(32).hex()
            kept.split(SourceObject(f"https://a/{number}?{signed}&X-Amz-Signature={signature}"))
        peak = tracemalloc.get_traced_memory()[1]
        assert kept.find(count // 2, kept.digest).startswith(signed)
    tracemalloc.stop()
    assert peak < count * 100


def test_a_plan_with_a_query_is_never_written(tmp_path: pathlib.Path):
    items = [plan.Item(plan.FILE, url="https://a/x?sig=1", size=1)]
    with queries() as kept, pytest.raises(ValueError, match="a query is not written"):
        plan.write(open_directory.open_root(str(tmp_path)), items, kept, indexes=1)
    assert b"sig" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_a_query_of_another_list_is_not_found(served: origin_server.Origin):
    source_list = put_list(served, "a?id=1")
    task = tasks.Task("x", "v", "f", source_list=source_list, digest_key=KEY, opening_seconds=1)
    with sources_rig.client(task) as client:
        kept = list_queries.ListQueries(task, client)
        with pytest.raises(failure.StartOver):
            kept.find(0, digest("https://a/x?id=1"))


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (("*.csv",), (), {"a.csv", "d/b.csv"}),
        (("d/",), (), {"d/b.csv", "d/c.txt"}),
        (("d/",), ("*.txt",), {"d/b.csv"}),
        ((), ("d/*",), {"a.csv"}),
        (("a.csv", "*c.txt"), (), {"a.csv", "d/c.txt"}),
    ],
)
def test_files_of_a_list_are_selected(
    rig: loader_rig.Rig,
    served: origin_server.Origin,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    expected: set[str],
):
    digest = hashlib.sha256(b"1").hexdigest()
    lines = [f"{served.put('a.csv', b'1')}?sig=1", f"{digest}  d/b.csv", f"{digest}  d/c.txt"]
    served.put("d/b.csv", b"1")
    served.put("d/c.txt", b"1")
    listed = {
        "source_list": served.put("list", "\n".join(lines).encode()),
        "digest_key": "5e" * 32,
    }
    rig.load("", include=include, exclude=exclude, **listed)
    assert set(rig.files()) == expected
    asked = {request.target.partition("?")[0][1:] for request in served.requests}
    assert asked == {"list", *expected}
    error = rig.refused("", "y", include=("no*",), exclude=exclude, **listed)
    assert "include= and exclude= leave no file to load" in error
