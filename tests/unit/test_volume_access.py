"""The lint rule of the volume: only the room `access` opens, names or changes anything on it."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator

import pytest

LOADER = pathlib.Path(__file__).parents[2] / "src/datasets/loader"
MODULES = sorted(path.relative_to(LOADER).as_posix() for path in LOADER.rglob("*.py"))
ACCESS = [module for module in MODULES if module.startswith("access/")]
OTHERS = [module for module in MODULES if not module.startswith("access/")]
# Modules whose functions take paths.
PATH_MODULES = {"pathlib", "shutil", "tempfile", "glob", "fileinput", "posix"}
# What is used of os outside of the room: nothing that takes a path.
DESCRIPTORS = {
    *("close", "fdatasync", "fdopen", "fstat", "posix_fadvise", "preadv", "pwritev", "read"),
    *("write", "stat_result", "POSIX_FADV_DONTNEED"),
}
PROCESS = {
    *("_exit", "environ", "fork", "getegid", "geteuid", "kill", "nice", "umask", "urandom"),
    *("waitpid", "WNOHANG", "fsdecode", "fsencode", "strerror"),
}
# The termination message is not on the volume.
OPENS_ANOTHER_FILE = {"base/report.py"}
# The calls in the room that take a descriptor only; all others name a directory's descriptor.
BY_DESCRIPTOR = {"close", "fstat", "fchmod", "fchown", "scandir"}
MOUNT_POINT = "open_root"


def violations(source: str) -> Iterator[str]:
    """Yield what a module outside of the room uses that takes a path."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from filter(None, map(bad_import, node.names))
        elif isinstance(node, ast.ImportFrom):
            if not node.level and node.module in {*PATH_MODULES, "os", "os.path", "io"}:
                yield f"from {node.module}"
        elif isinstance(node, ast.Name) and node.id in {"open", "__import__", "exec", "eval"}:
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield from bad_attribute(node.value.id, node.attr)


def bad_import(alias: ast.alias) -> str:
    by_path = alias.name.partition(".")[0] in PATH_MODULES or alias.name == "os.path"
    renamed = alias.name in {"os", "io"} and alias.asname
    return f"import {alias.name}" if by_path or renamed else ""


def bad_attribute(module: str, attribute: str) -> Iterator[str]:
    harmless = attribute.startswith(("O_", "SEEK_")) or attribute in DESCRIPTORS | PROCESS
    if (module == "os" and not harmless) or (
        module == "io" and attribute in {"open", "open_code", "FileIO"}
    ):
        yield f"{module}.{attribute}"


def room_violations(source: str) -> Iterator[str]:
    """Yield the calls of os in the room that neither name a directory nor take a descriptor."""
    tree = ast.parse(source)
    allowed = {
        id(call)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and function.name == MOUNT_POINT
        for call in ast.walk(function)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        called = node.func
        if not isinstance(called.value, ast.Name) or called.value.id != "os":
            continue
        given = {keyword.arg for keyword in node.keywords}
        needed = {"src_dir_fd", "dst_dir_fd"} if called.attr in {"link", "rename"} else {"dir_fd"}
        by_descriptor = called.attr in BY_DESCRIPTOR | DESCRIPTORS | PROCESS
        if not by_descriptor and not needed <= given and id(node) not in allowed:
            yield f"os.{called.attr}, line {node.lineno}"


@pytest.mark.parametrize("module", OTHERS)
def test_only_one_room_touches_the_volume(module: str):
    found = list(violations((LOADER / module).read_text()))
    assert found == (["open"] if module in OPENS_ANOTHER_FILE else [])


@pytest.mark.parametrize("module", ACCESS)
def test_the_room_works_by_descriptors(module: str):
    source = (LOADER / module).read_text()
    assert list(room_violations(source)) == []
    outside = [each for each in violations(source) if not each.startswith("os.")]
    assert outside == [], "paths by other means"


@pytest.mark.parametrize(
    "line",
    [
        *("open(path)", "import pathlib", "from pathlib import Path", "import shutil"),
        *("os.open(path, 0)", "os.chmod(path, 0)", "os.lstat(path)", "os.walk(path)"),
        *("os.path.exists(path)", "from os import stat", "import os.path", "import os as o"),
        *("io.open(path)", "io.FileIO(path)", "function = os.unlink", "from io import open"),
    ],
)
def test_the_rule_finds_paths(line: str):
    assert list(violations(f"import os, io\n{line}\n"))


@pytest.mark.parametrize(
    "call",
    [
        *("os.open(name, 0)", "os.rename(name, other, src_dir_fd=1)", "os.mkdir(name)"),
        *("os.chown(name, 0, 0)", "os.stat(name, follow_symlinks=False)", "os.listdir(name)"),
    ],
)
def test_the_rule_finds_calls_without_a_directory(call: str):
    assert list(room_violations(f"def other():\n    {call}\n"))


def test_the_rule_knows_what_it_is_about():
    assert len(ACCESS) >= 4
    assert OPENS_ANOTHER_FILE.issubset(OTHERS)
