"""The arithmetic of EFS's limits, against the page that explains it and the queue itself."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import subprocess

import pytest

from benchmarks import bounds, cases, slow_mount

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "explanation" / "limits.md"
MIB, GIB = 2**20, 2**30
# ILSVRC2012_img_train.tar
IMAGES, IMAGE_BYTES = 1_281_167, 147_897_477_120
OTHER_REGIONS = dataclasses.replace(slow_mount.EFS, read_bytes=20 * GIB, write_bytes=GIB)


def test_the_page_says_how_many_small_files_a_node_and_a_file_system_take():
    text = PAGE.read_text()
    assert round(bounds.files_a_second(1), -2) == 7900
    assert "**7,900 files a second**" in text
    assert round(bounds.files_a_second(100), -2) == 16_700
    assert "**16,700 files a second**" in text
    assert f"{bounds.files_a_second(100) / bounds.files_a_second(1):.1f} nodes" in text
    assert bounds.files_a_second(2) == 2 * bounds.files_a_second(1)
    assert bounds.files_a_second(4) == bounds.files_a_second(3) < 3 * bounds.files_a_second(1)


def test_the_page_says_how_many_small_files_a_node_reads():
    reading = 1 / bounds.of_load(1, 0, 1, write_seconds=slow_mount.READ_SECONDS).slots
    assert f"{round(reading, -2):,.0f} files a second" in PAGE.read_text()


def test_the_page_says_up_to_which_size_of_a_file_the_slots_limit_a_node():
    size = slow_mount.EFS.node_bytes / bounds.files_a_second(1) / 1024
    assert f"{size:.0f} KiB a file" in PAGE.read_text()


def test_the_page_names_the_limits_that_the_benchmark_applies():
    text = PAGE.read_text()
    efs = slow_mount.EFS
    named = [
        f"{slow_mount.READ_SECONDS * 1e3:g} ms for a read",
        f"{slow_mount.WRITE_SECONDS * 1e3:g} ms for a write",
        f"| {efs.slots}, for all its mounts",
        f"| {efs.node_bytes // MIB} MiB/s |",
        f"{efs.write_operations:,} writes and {efs.read_operations:,} reads a second",
        f"{efs.write_bytes // GIB} GiB/s written or {efs.read_bytes // GIB} GiB/s read",
        f"| {1 / slow_mount.WRITE_SECONDS:.0f} a second |",
    ]
    assert [words for words in named if words not in text] == []


def test_the_page_says_how_long_imagenet_takes_at_least():
    rows = re.findall(r"^\| (\d) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$",
                      PAGE.read_text(), re.MULTILINE)  # fmt: skip
    assert [int(row[0]) for row in rows] == [1, 2, 3, 4, 5]
    for row in rows:
        nodes, *seconds = map(int, row)
        here = bounds.of_load(IMAGES, IMAGE_BYTES, nodes)
        elsewhere = bounds.of_load(IMAGES, IMAGE_BYTES, nodes, OTHER_REGIONS)
        expected = [*dataclasses.astuple(here), here.seconds, elsewhere.seconds]
        assert seconds == [round(each) for each in expected]


@pytest.mark.skipif(not slow_mount.compiler(), reason="a C compiler is missing")
@pytest.mark.parametrize("limits", [slow_mount.EFS, OTHER_REGIONS])
@pytest.mark.parametrize(("files", "size"), [(12_811, 115_440), (12_811, 10_240), (3000, MIB)])
@pytest.mark.parametrize("nodes", [1, 2, 3, 4])
def test_the_queue_takes_as_long_as_the_arithmetic_says(
    files: int, size: int, nodes: int, limits: slow_mount.Limits
):
    lines = [
        f"0 {number % nodes} write {written}"
        for number in range(files)
        for written in (0, size, 0)
    ]
    command = [slow_mount.program(), "--trace", *slow_mount.options_of(limits)]
    output = subprocess.run(
        command, input="\n".join(lines), capture_output=True, text=True, check=True
    ).stdout
    last = max(int(line.split()[1]) for line in output.splitlines()[:-1])
    # The queue also counts 4 KiB for each create and close.
    counted = files * (size + 2 * 4096)
    least = bounds.of_load(files, files * size, nodes, limits).seconds
    most = bounds.of_load(files, counted, nodes, limits).seconds
    assert least * 0.99 <= last / 1e9 <= most * 1.02 + 0.01


def test_quick_cases_exist_and_none_waits_for_a_slow_origin():
    quick = [case for case in cases.CASES if case.name in cases.QUICK]
    assert [case.name for case in quick] == list(cases.QUICK)
    assert [case.name for case in quick if case.cap] == []


def test_the_scaled_case_uses_ninety_percent_of_the_file_system_with_four_nodes():
    limit = bounds.files_a_second(100, cases.SCALED)
    assert bounds.files_a_second(4, cases.SCALED) / limit == pytest.approx(0.9, abs=0.01)
    assert bounds.files_a_second(8, cases.SCALED) == limit
