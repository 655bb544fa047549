"""Links in archives, in any order, depth and format: nothing that leads out is published."""

from __future__ import annotations

import gzip
import io
import itertools
import os
import pathlib
import random
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator

import pytest

from sandbox.servers import origin_server
from tests.loader import loader_rig, stranger_rig
from tests.loader.loader_rig import Entry, entry, link, tar

NAMES = ("a", "b", "c", "d", "e")


@pytest.fixture
def rig(tmp_path: pathlib.Path) -> Iterator[loader_rig.Rig]:
    """Return a volume with files of a neighbour, which stay as they are."""
    rig = loader_rig.Rig(tmp_path)
    for place in (rig.volume, tmp_path):
        for name in ("a", "neighbour"):
            (place / name).mkdir()
            (place / name / "secret").write_bytes(b"secret")
            (place / name / "secret").chmod(0o600)
    kept = [place / name for place in (rig.volume, tmp_path) for name in ("a", "neighbour")]
    before = [stranger_rig.snapshot(path) for path in kept]
    yield rig
    assert [stranger_rig.snapshot(path) for path in kept] == before


def check(rig: loader_rig.Rig, name: str = "x") -> None:
    """Check that nothing of a published data set leads out of it, and that it is as it says."""
    root = (rig.volume / "datasets" / name).resolve()
    for path in root.rglob("*"):
        assert pathlib.Path(os.path.realpath(path)).is_relative_to(root), path
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            assert stat.S_IMODE(status.st_mode) in {0o644, 0o755}, path
            assert path.read_bytes() != b"secret", path
    assert rig.run_verb("verify", name)[-1]["state"] == "verified"


def load(rig: loader_rig.Rig, source: str, **parameters: object) -> str:
    """Load a data set; return the reason if it was refused. Check it if it was published."""
    run = rig.load(source, **parameters)
    if run.code:
        assert not (rig.volume / "datasets/x").exists()
        return run.error
    assert run.result
    check(rig)
    return ""


def at(depth: int, name: str) -> str:
    return "/".join([*[f"d{level}" for level in range(depth)], name])


@pytest.mark.parametrize("order", ["link first", "hard link first"])
@pytest.mark.parametrize(("deep", "shallow"), [*itertools.product((1, 2, 8), (0, 1, 7, 8))])
def test_a_hard_link_to_a_link_is_checked_where_it_stands(
    rig: loader_rig.Rig, served: origin_server.Origin, deep: int, shallow: int, order: str
):
    # To a place in the archive: at another depth it is one above it.
    target = "../" * deep + "a/secret"
    members = [
        link(at(deep, "link"), target),
        link(at(shallow, "hard"), at(deep, "link"), hard=True),
    ]
    if order == "hard link first":
        members.reverse()
    error = load(rig, served.put("s.tar", tar([entry("a/secret", b"1"), *members])))
    if shallow < deep:
        assert "which leads out of it" in error
        assert "hard" in error
    else:
        assert not error
        hard = (rig.volume / "datasets/x").resolve() / at(shallow, "hard")
        assert str(hard.readlink()) == target
        assert rig.file_list()[at(shallow, "hard")]["link"] == target


@pytest.mark.parametrize("order", range(24))
def test_a_chain_of_hard_links_ends_at_its_file_or_leads_nowhere(
    rig: loader_rig.Rig, served: origin_server.Origin, order: int
):
    members = [
        link("d/e/link", "../../f"),
        link("d/e/one", "d/e/link", hard=True),
        link("d/e/two", "d/e/one", hard=True),
        link("three", "d/e/two", hard=True),
    ]
    ordered = list(itertools.permutations(members))[order]
    outside = load(rig, served.put("s.tar", tar([entry("f", b"1"), *ordered])))
    assert "'three' to '../../f', which leads out of it" in outside

    files = [
        entry("f", b"1"),
        link("d/one", "f", hard=True),
        link("d/e/two", "d/one", hard=True),
        link("three", "d/e/two", hard=True),
    ]
    ordered = list(itertools.permutations(files))[order]
    assert not load(rig, served.put("t.tar", tar(ordered)))
    assert rig.files() == dict.fromkeys(["f", "d/one", "d/e/two", "three"], b"1")
    assert (rig.volume / "datasets/x/three").stat().st_nlink == 4


@pytest.mark.parametrize("names", [("a", "a"), ("a", "b", "a"), ("a", "b", "c", "b")])
def test_a_circle_of_hard_links_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, names: tuple[str, ...]
):
    members = [link(one, two, hard=True) for one, two in itertools.pairwise(names)]
    error = rig.refused(served.put("s.tar", tar([entry("f", b"1"), *members])))
    assert "which is not in it" in error


@pytest.mark.parametrize("target", ["../../../../neighbour/secret", "l/secret", "d/l/secret"])
def test_a_hard_link_through_a_link_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, target: str
):
    members = [
        entry("f", b"1"),
        entry("d/secret", b"2"),
        link("l", "d"),
        link("d/l", "."),
        link("hard", target, hard=True),
    ]
    error = rig.refused(served.put("s.tar", tar(members)))
    assert "leads out of it" in error or "which is not in it" in error


@pytest.mark.parametrize("target", [".", "./", "d", "d/", "d/e"])
def test_a_hard_link_to_a_directory_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, target: str
):
    members = [entry("d/e/f", b"1"), link("hard", target, hard=True)]
    error = rig.refused(served.put("s.tar", tar(members)))
    assert "'hard', which is a hard link to a directory" in error


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    "members",
    [
        [entry("d/f", b"1"), link("d", "a")],
        [link("d", "a"), link("d/l", "b")],
        [entry("d/f", b"1"), link("d", "d/f", hard=True)],
        [entry("f", b"1"), link("f", "a")],
        [entry("d/", type=tarfile.DIRTYPE), link("d", "a")],
        [link("d", "a"), link("d/hard", "f", hard=True)],
    ],
)
def test_a_link_and_something_else_of_one_path_are_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, members: list[Entry], order: int
):
    packed = tar([entry("a/x", b"1"), *members[::order]])
    error = rig.refused(served.put("s.tar", packed))
    assert "twice, as different things" in error or "which is not in it" in error


# --- archives in archives, several sources


def nested(*members: Entry) -> bytes:
    return gzip.compress(tar(members))


@pytest.mark.parametrize("unpack", ["recursive", "true"])
def test_an_inner_archive_s_links_do_not_lead_into_the_outer_one_s_neighbours(
    rig: loader_rig.Rig, served: origin_server.Origin, unpack: str
):
    inner = nested(
        entry("x", b"1", mode=0o755),
        link("d/e/f/up", "../../../x"),
        link("hard", "d/e/f/up", hard=True),
    )
    packed = tar([entry("a/in.tar.gz", inner), link("out", "a/in/d/e/f/up", hard=True)])
    source = served.put("s.tar", packed)
    error = load(rig, source, unpack=unpack)
    assert "leads out of it" in error if unpack == "recursive" else "not in it" in error


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("size", [10, 300_000])
@pytest.mark.parametrize("name", ["...tar", "..tar", ".tar", "d/...tar", "d/..tar", "...tar.gz"])
def test_the_name_of_an_inner_archive_is_no_way_up(
    rig: loader_rig.Rig, served: origin_server.Origin, name: str, size: int, ranges: bool
):
    # Inner archives of the larger size are read by ranges, if there are ranges.
    content = random.Random(size).randbytes(size)
    inner = tar([entry("evil", content)])
    inner = gzip.compress(inner) if name.endswith("gz") else inner
    faults = origin_server.Faults(ranges=ranges)
    source = served.put("s.tar", tar([entry(name, inner)]), faults=faults)
    assert not load(rig, source, unpack="recursive")
    assert rig.files() == {f"{name}/evil": content}


def test_modes_that_an_archive_tells_at_its_end_go_to_its_own_file_only(
    rig: loader_rig.Rig, served: origin_server.Origin
):
    inner = zipped([("x", b"1", stat.S_IFREG | 0o755), ("y", b"x", stat.S_IFLNK | 0o777)])
    packed = tar(
        [
            link("in/x", "f", hard=True),
            entry("f", b"of another member"),
            entry("in.zip", inner),
        ]
    )
    source = served.put("s.tar", packed, faults=origin_server.Faults(ranges=False))
    assert "'in/x'" in load(rig, source, unpack="recursive")


def test_two_sources_share_names_but_no_way_out(rig: loader_rig.Rig, served: origin_server.Origin):
    one = served.put("one.tar", tar([entry("f", b"1"), link("d/d/d/up", "../../../f")]))
    two = served.put("two.tar", tar([entry("g", b"2"), link("up", "d/d/d/up", hard=True)]))
    assert "'up' to '../../../f', which leads out of it" in load(rig, f"{one} {two}")
    same = served.put("same.tar", tar([entry("g", b"2"), link("d/e/f/up", "d/d/d/up", hard=True)]))
    assert not load(rig, f"{one} {same}", overwrite=True)


# --- zip


def zipped(members: Iterable[tuple[str, bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            packed.writestr(info, content)
    return buffer.getvalue()


FILE, EXECUTABLE = ("n", b"secret-less", stat.S_IFREG | 0o644), ("n", b"x", stat.S_IFREG | 0o777)
LINK, LINK_OUT = ("n", b"a/secret", stat.S_IFLNK | 0o777), ("n", b"../x", stat.S_IFLNK | 0o777)
DIRECTORY = ("n/", b"", stat.S_IFDIR | 0o777)
KINDS = (FILE, EXECUTABLE, LINK, LINK_OUT, DIRECTORY)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize(("first", "second"), [*itertools.product(range(5), range(5))])
def test_a_zip_that_names_a_path_twice_has_its_last_file_or_is_refused(
    rig: loader_rig.Rig, served: origin_server.Origin, ranges: bool, first: int, second: int
):
    one, two = KINDS[first], KINDS[second]
    packed = zipped([("a/secret", b"1", stat.S_IFREG | 0o644), one, two])
    error = load(rig, served.put("s.zip", packed, faults=origin_server.Faults(ranges=ranges)))
    files = {FILE, EXECUTABLE}
    if {one, two} <= files:
        assert not error
        assert rig.files()["n"] == two[1]
        # Without ranges the archive tells only at its end that one of them is executable.
        mode = (rig.volume / "datasets/x/n").stat().st_mode & 0o7777
        assert mode in {0o644, 0o755}
        assert ranges is False or mode == (0o755 if two is EXECUTABLE else 0o644)
    elif LINK_OUT in {one, two}:
        assert error
    elif one is two:
        assert ranges is False or not error
    else:
        assert "twice, as different things" in error


# --- what nobody has thought of


def random_members(chance: random.Random) -> list[Entry]:
    """Return members of few names, so that they meet each other."""

    def path() -> str:
        return "/".join(chance.choices(NAMES, k=chance.randint(1, 3)))

    def target() -> str:
        ups = "../" * chance.choice((0, 0, 0, 1, 1, 2, 3))
        return ups + chance.choice((path(), path(), "a/secret", "neighbour/secret", "..", "."))

    members: list[Entry] = []
    for _ in range(chance.randint(2, 6)):
        kind = chance.choice(("file", "file", "directory", "link", "link", "hard", "hard"))
        if kind == "file":
            members.append(entry(path(), b"1", mode=chance.choice((0o644, 0o755))))
        elif kind == "directory":
            members.append(entry(path(), type=tarfile.DIRTYPE))
        elif kind == "link":
            members.append(link(path(), target()))
        else:
            before = [info.name for info, _ in members if info.type != tarfile.DIRTYPE]
            linked = chance.choice([*before, path(), path(), "."])
            members.append(link(path(), linked, hard=True))
    if chance.random() < 0.5:
        chance.shuffle(members)
    return members


@pytest.mark.parametrize("part", range(4))
def test_random_archives_publish_nothing_that_leads_out(
    rig: loader_rig.Rig, served: origin_server.Origin, part: int
):
    published = 0
    for seed in range(part * 40, part * 40 + 40):
        chance = random.Random(seed)
        members = random_members(chance)
        packed = tar([entry("c/c/c/c", b"1"), *members])
        unpack = "true"
        if chance.random() < 0.3:
            packed, unpack = tar([entry("a/b.tar", packed), link("l", "a")]), "recursive"
        run = rig.load(served.put(f"{seed}.tar", packed), "x", unpack=unpack, overwrite=True)
        if not run.code:
            published += 1
            check(rig)
        assert "bug" not in run.message, seed
    assert published, "some of them are good"


def test_the_neighbours_can_be_reached_by_whoever_follows(rig: loader_rig.Rig):
    # Otherwise the tests above would say nothing.
    (rig.volume / "datasets/.versions/x/v").mkdir(parents=True)
    followed = rig.volume / "datasets/.versions/x/v/out"
    followed.symlink_to("../../../../neighbour/secret")
    assert followed.read_bytes() == b"secret"
