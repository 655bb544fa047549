"""Files of a tree that several pods create at once."""

from __future__ import annotations

import concurrent.futures
import os
import pathlib

import pytest

from datasets.loader.access import open_directory
from datasets.loader.base import failure, tasks
from datasets.loader.tree import files

PODS, ROUNDS = 4, 200


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> files.TreeFiles:
    task = tasks.Task(name="x", request="r", fingerprint="0")
    return files.TreeFiles(open_directory.open_root(str(tmp_path)), task)


def create(tree: files.TreeFiles, replacing: list[int]) -> None:
    new = files.NewFile("a", 0, executable=False)
    os.close(tree.create(tree.directory(""), new, lambda: replacing.append(1)))


def test_pods_that_replace_each_others_file_all_end(tree: files.TreeFiles, tmp_path: pathlib.Path):
    replaced: list[int] = []
    with concurrent.futures.ThreadPoolExecutor(PODS) as pods:
        pending = [pods.submit(create, tree, replaced) for _ in range(PODS * ROUNDS)]
        for each in pending:
            each.result()
    assert (tmp_path / "a").read_bytes() == b""
    assert 0 < len(replaced) < PODS * ROUNDS, "each tells at most once that it replaces a file"


def test_a_file_that_another_pod_removes_first_is_created(
    tree: files.TreeFiles, tmp_path: pathlib.Path
):
    (tmp_path / "a").write_bytes(b"another pod's")
    new = files.NewFile("a", 0, executable=False)
    os.close(tree.create(tree.directory(""), new, (tmp_path / "a").unlink))
    assert (tmp_path / "a").read_bytes() == b""


@pytest.mark.parametrize("kind", ["directory", "link", "pipe"])
def test_what_is_no_file_is_not_replaced(tree: files.TreeFiles, tmp_path: pathlib.Path, kind: str):
    {
        "directory": lambda path: path.mkdir(),
        "link": lambda path: path.symlink_to("b"),
        "pipe": os.mkfifo,
    }[kind](tmp_path / "a")
    before = (tmp_path / "a").lstat()
    with pytest.raises(failure.Failure, match=r"'a'.*twice"):
        create(tree, [])
    assert (tmp_path / "a").lstat() == before
