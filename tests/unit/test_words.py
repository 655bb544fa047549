"""The words of the house, as far as a program can tell."""

from __future__ import annotations

import ast
import collections
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[2]
TEXTS = ("*.py", "*.md", "*.yaml", "*.j2", "*.c", "*.sh", "Makefile")
TOPS = ("src", "sandbox", "benchmarks", "tests", "docs", "templates")
# ruff's D401 finds verbs in another mood, and articles; these are openings that it lets pass.
NO_VERBS = {
    *("All", "As", "Each", "Every", "How", "Its", "Never", "Nobody", "Nothing", "One", "Some"),
    *("That", "There", "Those", "Where", "Whether", "Which", "Who", "Why"),
}


def modules(top: str) -> Iterator[tuple[pathlib.Path, ast.Module]]:
    for path in sorted((ROOT / top).rglob("*.py")):
        yield path.relative_to(ROOT), ast.parse(path.read_text())


@pytest.mark.parametrize("top", ["src", "sandbox", "benchmarks"])
def test_a_public_class_has_a_name_that_no_other_has(top: str):
    homes: dict[str, list[str]] = collections.defaultdict(list)
    for path, module in modules(top):
        for node in module.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(path))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


@pytest.mark.parametrize("top", ["src", "sandbox", "benchmarks"])
def test_a_function_is_described_by_a_verb(top: str):
    wrong = [
        f"{path}:{node.lineno}: {described}"
        for path, module in modules(top)
        for node in ast.walk(module)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (described := ast.get_docstring(node))
        and described.split()[0].rstrip(",:") in NO_VERBS
    ]
    assert wrong == []


def test_cannot_is_one_word():
    texts = [path for top in TOPS for each in TEXTS for path in (ROOT / top).rglob(each)]
    texts += [path for each in TEXTS for path in ROOT.glob(each)]
    two_words = " ".join(["can", "not"])
    assert [str(path) for path in texts if two_words in path.read_text().lower()] == []
