"""The benchmark's cases: data sets, the contestants that load them, and the loader's goals."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence

from benchmarks import bounds, contestants, lineups, shapes, slow_mount

MIB, GIB = 2**20, 2**30
ANYONE = ""
# One run of each takes less than five minutes.
QUICK = ("limit", "tree-tar", "nested", "one-directory", "doubled", "file")


@dataclasses.dataclass(frozen=True)
class Goal:
    """A required ratio between the speeds of two contestants.

    Attributes:
        factor: The required ratio.
        than: The name of the slower contestant; empty for the fastest rival.
        who: The name of the faster contestant.
    """

    factor: float
    than: str = ANYONE
    who: str = contestants.OURS


@dataclasses.dataclass(frozen=True)
class RateGoal:
    """A required speed.

    Attributes:
        least: The number of units a second.
        unit: `files` or `MiB`.
        who: The name of the contestant.
    """

    least: float
    unit: str
    who: str = contestants.OURS


@dataclasses.dataclass(frozen=True)
class Case:
    """A data set and the contestants that load it.

    Attributes:
        name: The name on the command line.
        title: The description of the data set.
        make: The function that creates it in a directory.
        contestants: The contestants.
        goals: The goals.
        cap: The origin's limit per connection in MiB/s; 0 for no limit.
        read_seconds: The file system's latency of reading operations.
        write_seconds: The file system's latency of writing operations.
        limits: The file system's other limits.
        max_memory: The maximum resident bytes of a pod.
        max_share: The required ratio between the requests of the busiest and of the least busy
            node; 0 for none.
    """

    name: str
    title: str
    make: Callable[[pathlib.Path], shapes.ServedData]
    contestants: Sequence[contestants.Contestant]
    goals: Sequence[Goal | RateGoal] = ()
    cap: float = 0
    read_seconds: float = slow_mount.READ_SECONDS
    write_seconds: float = slow_mount.WRITE_SECONDS
    limits: slow_mount.Limits = slow_mount.EFS
    max_memory: int = 256 * MIB
    max_share: float = 0


def _tree(
    name: str, archive: str, shape: shapes.Shape
) -> Callable[[pathlib.Path], shapes.ServedData]:
    return functools.partial(_packed, name=name, archive=archive, shape=shape)


def _packed(home: pathlib.Path, name: str, archive: str, shape: shapes.Shape) -> shapes.ServedData:
    return shapes.packed(home, name, archive, shape, seed=len(name))


def _file(name: str) -> Callable[[pathlib.Path], shapes.ServedData]:
    return functools.partial(shapes.single, name=name, size=GIB, seed=7)


def _archive_case(archive: str, slow: str) -> Case:
    return Case(
        f"tree-{archive}",
        f"10,000 files of 4-16 KiB in 100 directories, {archive}",
        _tree(f"tree-{archive}", archive, TEN_THOUSAND),
        lineups.for_tree(archive),
        [Goal(0.8, than=contestants.IDEAL), Goal(2), Goal(40, than=slow)],
    )


def _shape_case(name: str, title: str, archive: str, shape: shapes.Shape) -> Case:
    # Unpacking directly to the mount is never the best, and takes a minute per run.
    members = lineups.for_tree(archive)[1:]
    return Case(name, f"{title}, {archive}", _tree(name, archive, shape), members, [Goal(2)])


def _pods(name: str, title: str, case: Case, unpack: str, **changes: float) -> Case:
    goals = [Goal(0.8 * count, "1 pod", f"{count} pods") for count in (2, 4, 8)]
    return dataclasses.replace(
        case,
        name=name,
        title=title,
        contestants=lineups.for_pods(unpack, once=1),
        goals=goals,
        **changes,
    )


TEN_THOUSAND = shapes.even(10_000, 100, 4 * 1024, 16 * 1024)
THOUSAND_TARS = shapes.even(4000, 1000, 192 * 1024, 320 * 1024)
NESTED = Case(
    "nested",
    "tar of 100 tars, 10,000 files of 4-16 KiB in all",
    _tree("nested", "nested", TEN_THOUSAND),
    lineups.for_archives(),
    [Goal(0.8, than=contestants.IDEAL), Goal(2.5)],
)
# Four nodes write 1,975 files a second, and the file system takes 2,200.
SCALED = dataclasses.replace(slow_mount.EFS, slots=4, write_operations=6600)
DOUBLED = Case(
    "doubled",
    "10,000 files of 4-16 KiB in 100 directories, tar; all times doubled, so that slots bind and"
    " not the processors",
    _tree("doubled", "tar", TEN_THOUSAND),
    [contestants.IdealWriter(), contestants.OurLoader()],
    [RateGoal(0.92 * bounds.files_a_second(write_seconds=2 * slow_mount.WRITE_SECONDS), "files")],
    read_seconds=2 * slow_mount.READ_SECONDS,
    write_seconds=2 * slow_mount.WRITE_SECONDS,
)
CAPPED = Case(
    "file-capped",
    "one file of 1 GiB, the origin gives 50 MiB/s a connection",
    _file("file"),
    lineups.for_file(),
    # aria2c computes no checksum: the goal is for a loader without one, and reported for both.
    [Goal(1.3, who=contestants.UNHASHED), Goal(1.3)],
    cap=50,
)
LIMIT = Case(
    "limit",
    "the file system's own limit: no latency at all; 10,000 files of 4-16 KiB in 100 directories",
    _tree("limit", "tar", TEN_THOUSAND),
    [
        contestants.IdealWriter(f"ideal writer, {count} threads", threads=count)
        for count in (1, 16, 128)
    ],
    read_seconds=0,
    write_seconds=0,
)
CASES: Sequence[Case] = (
    LIMIT,
    dataclasses.replace(
        LIMIT,
        name="limit-file",
        title="the file system's own limit: no latency at all; one file of 1 GiB",
        make=_file("limit-file"),
        contestants=[
            contestants.Rival("cat", "cat {served} > {mount}/{name}"),
            contestants.Rival("curl -o", "curl -sfo {mount}/{name} {url}"),
        ],
    ),
    _archive_case("tar", "curl | tar x"),
    _archive_case("tar.gz", "curl | tar x"),
    _archive_case("zip", "curl, unzip"),
    NESTED,
    Case(
        "one-directory",
        "2,000 files of 4-16 KiB in one directory, tar",
        _tree("one-directory", "tar", shapes.even(2000, 0, 4 * 1024, 16 * 1024)),
        lineups.for_tree("tar"),
        [Goal(0.95, than=contestants.IDEAL)],
    ),
    DOUBLED,
    CAPPED,
    dataclasses.replace(
        CAPPED,
        name="file",
        title="one file of 1 GiB, the origin gives what it can",
        contestants=lineups.for_plain_file(),
        goals=[RateGoal(0.9 * slow_mount.EFS.node_bytes / MIB, "MiB")],
        cap=0,
    ),
    _shape_case(
        "deep",
        "3,000 files from nothing to 4 MiB, some directories full and many empty, 6 deep",
        "tar.gz",
        shapes.deep(3000),
    ),
    _shape_case(
        "mixed",
        "60 files of 2-12 MiB among 3,000 of 20-2,000 bytes",
        "tar",
        shapes.mixed(60, 3000),
    ),
    dataclasses.replace(
        _shape_case(
            "wide", "3,000 files in 1,500 directories", "zip", shapes.even(3000, 1500, 100, 40000)
        ),
        # 1,500 directories in one: even the ideal writer is not twice as fast as the best rival.
        goals=[Goal(0.8, than=contestants.IDEAL)],
    ),
    dataclasses.replace(
        NESTED,
        name="pods-nodes",
        title="the tar of 100 tars by 1 to 8 pods on as many nodes; to leave the two cores time,"
        f" a node has {SCALED.slots} slots and the file system {SCALED.write_operations:,} writing"
        " operations a second",
        contestants=lineups.for_pods("recursive"),
        # Four nodes use 90 % of the file system's operations, eight find nothing more.
        goals=[
            Goal(1.8, "1 pod", "2 pods"),
            Goal(3.6, "1 pod", "4 pods"),
            Goal(1, "4 pods", "8 pods"),
        ],
        limits=SCALED,
        max_share=1.5,
    ),
    dataclasses.replace(
        NESTED,
        name="pods-one-node",
        title="the tar of 100 tars by 1 to 4 pods that share the slots of one node",
        contestants=lineups.for_one_node("recursive"),
        goals=(),
    ),
    _pods(
        "pods-archives",
        "tar of 1,000 tars, 4,000 files of 192-320 KiB; the origin gives 0.25 MiB/s a connection",
        dataclasses.replace(NESTED, make=_tree("pods-archives", "nested", THOUSAND_TARS)),
        "recursive",
        # With 32 connections per pod; with more, two cores would limit eight pods.
        cap=0.25,
    ),
    _pods(
        "pods-file",
        "one file of 1 GiB by ranges, the origin gives 0.25 MiB/s a connection",
        CAPPED,
        "true",
        cap=0.25,
    ),
    Case(
        "verify",
        "verify-dataset of 10,000 files of 4-16 KiB in 100 directories",
        _tree("verify", "tar", TEN_THOUSAND),
        lineups.for_verification(),
        [Goal(0.6, than=contestants.IDEAL_READER)],
    ),
    Case(
        "verify-file",
        "verify-dataset of one file of 1 GiB",
        _file("verify-file"),
        lineups.for_verification(),
        [RateGoal(0.9 * slow_mount.EFS.node_bytes / MIB, "MiB")],
    ),
    Case(
        "delete",
        "delete-dataset of 10,000 files of 4-16 KiB in 100 directories",
        _tree("delete", "tar", TEN_THOUSAND),
        lineups.for_removal(),
        [Goal(0.8, than=contestants.IDEAL_REMOVER)],
    ),
    Case(
        "hundred-thousand",
        "100,000 files of 1-2 KiB in 1,000 directories, tar",
        _tree("hundred-thousand", "tar", shapes.even(100_000, 1000, 1024, 2048)),
        [contestants.IdealWriter(), contestants.OurLoader()],
    ),
)
