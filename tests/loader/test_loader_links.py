"""Links of a data set: in its file list, after a resume, and when it is verified."""

from __future__ import annotations

import random

from sandbox.servers import origin_server
from tests.loader import loader_rig
from tests.loader.loader_rig import entry, link, tar

RANDOM = random.Random(5)


def test_links_are_listed_as_what_they_are_and_verified(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    packed = tar(
        [
            entry("d/file", b"content"),
            link("hard", "d/file", hard=True),
            link("leads", "d/file"),
            link("dangling", "nothing"),
            link("around", "d"),
            link("hard-dangling", "dangling", hard=True),
            link("hard-around", "around", hard=True),
        ]
    )
    assert rig.load(served.put("set.tar", packed)).result.files == 2
    listed = rig.file_list()
    assert listed["hard"] == {"path": "hard", "same": "d/file"}
    assert listed["leads"] == {"path": "leads", "link": "d/file"}
    assert listed["hard-dangling"] == {"path": "hard-dangling", "link": "nothing"}
    assert len(listed) == 7
    last = rig.run_verb("verify")[-1]
    assert (last["state"], last["files"]) == ("verified", 2)


def test_another_content_under_a_hard_links_name_is_found(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    rig.load(served.put("set.tar", tar([entry("a", b"one"), link("b", "a", hard=True)])))
    name = rig.volume / "datasets/x/b"
    name.unlink()
    name.write_bytes(b"one")
    assert rig.run_verb("verify")[-1]["state"] == "verified", "a copy has the same content"
    name.write_bytes(b"two")
    assert "('b' has other content)" in rig.run_verb("verify")[-1]["error"]
    name.unlink()
    assert "('b' is missing)" in rig.run_verb("verify")[-1]["error"]


def test_of_a_link_that_comes_twice_the_last_one_counts(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    packed = tar([entry("f", b"1"), link("a", "f"), link("b", "f"), link("a", "b")])
    rig.load(served.put("set.tar", packed))
    assert rig.file_list()["a"] == {"path": "a", "link": "b"}
    assert rig.run_verb("verify")[-1]["state"] == "verified"


def test_two_sources_with_one_link_are_refused(rig: loader_rig.Rig, served: origin_server.Origin):
    one = served.put("one.tar", tar([entry("f", b"1"), link("a", "f")]))
    two = served.put("two.tar", tar([entry("g", b"2"), link("a", "g")]))
    assert "two sources have 'a'" in rig.refused(f"{one} {two}")


def test_links_are_listed_once_after_any_number_of_attempts(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    # So many that the journal has some of them before it is closed.
    links = [link(f"l/{number:04}", "../f", hard=False) for number in range(500)]
    packed = tar(
        [
            entry("f", b"1"),
            link("hard", "f", hard=True),
            *links,
            entry("rest", RANDOM.randbytes(2_000_000)),
        ]
    )
    for _ in range(2):
        held = origin_server.Faults(hold_after=len(packed) // 2)
        source = served.put("set.tar", packed, faults=held)
        pod = rig.start(source, request="v")
        try:
            loader_rig.wait_until(
                lambda: any(
                    b"l/0300" in path.read_bytes()
                    for path in rig.volume.rglob("shard-*/*")
                    if path.name != "owner"
                )
            )
        finally:
            loader_rig.kill(pod)
    result = rig.load(served.put("set.tar", packed), request="v").result
    assert result.files == 3
    assert len(rig.file_list()) == 503
    (rig.volume / "datasets/x/l/more").write_bytes(b"")
    assert "1 files are not in the file list" in rig.run_verb("verify")[-1]["error"]
