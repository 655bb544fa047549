"""Writes of members of one path, however late the large ones get their content."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from datasets.loader.base import tasks
from datasets.loader.tree import files

# In a process of its own: the writer forks the worker processes.
PROGRAM = """
import sys
from datasets.loader.access import open_directory
from datasets.loader.base import tasks
from datasets.loader.tree import files, small_files, tree_writer

class Listener:
    def add_pending(self, count): pass
    def record_replacement(self, number, path): pass
    def count_written(self, size): print(size)
    def record_written(self, written): pass

root, task = open_directory.open_root(sys.argv[1]), tasks.Task.from_json(sys.argv[2])
tree = tree_writer.TreeWriter(files.TreeFiles(root, task))
first = tree.begin_large(0, files.NewFile("d/x", 0, False), Listener(), algorithms=["sha256"])
if sys.argv[3] == "small":
    tree.write_small([small_files.SmallFile(1, "d/x", [b"second"], False, 6)], Listener())
else:
    second = tree.begin_large(1, files.NewFile("d/x", 0, False), Listener(), algorithms=["sha256"])
    second.write(b"second")
    tree.finish_large(second, 1, Listener())
tree._processes.wait()
first.write(b"first" * 2**20)
tree.finish_large(first, 0, Listener())
tree.wait()
tree.stop()
tree.close()
"""


@pytest.mark.parametrize("second", ["small", "large"])
def test_a_large_file_that_is_late_does_not_land_in_the_next_one_of_its_name(
    tmp_path: pathlib.Path, second: str
) -> None:
    task = tasks.Task("x", "20260101t000000-00000000", "", root=str(tmp_path)).to_json()
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), task, second],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (tmp_path / "d" / "x").read_bytes() == b"second"
    assert sum(map(int, ran.stdout.split())) == len(b"second") + len(b"first" * 2**20)


def test_what_the_system_takes_in_small_pieces_is_written_whole(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    real = os.pwritev

    def short(descriptor: int, data: list[memoryview], position: int) -> int:
        return real(descriptor, [data[0][:3]], position)

    monkeypatch.setattr(os, "pwritev", short)
    descriptor = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
    try:
        data = [memoryview(each) for each in (b"abcdefg", b"", b"hi", b"jklm")]
        assert files.write_all(descriptor, data, 2) == 13
    finally:
        os.close(descriptor)
    assert (tmp_path / "f").read_bytes() == b"\0\0abcdefghijklm"
