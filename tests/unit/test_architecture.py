"""Rules for imports between modules of src that import-linter cannot express."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SRC = ROOT / "src"

# The imports from src that each module beside the packages may have.
MAY_IMPORT = {
    "charm": {
        *("action_params", "config", "identity", "log_batch", "messages", "polling", "problems"),
        *("app", "aws", "cluster", "relations"),
    },
    "action_params": {"config", "datasets", "juju_values", "problems", "shell_words"},
    "config": {"identity", "label_syntax", "lifecycle_syntax", "problems", "selector_syntax"},
    "identity": set[str](),
    "juju_values": {"datasets"},
    "label_syntax": {"problems"},
    "lifecycle_syntax": {"problems"},
    "selector_syntax": {"label_syntax", "problems"},
    "log_batch": set[str](),
    "messages": {"problems"},
    "polling": set[str](),
    "problems": set[str](),
    "shell_words": set[str](),
}
# The packages that may import a library; no others may.
SPEAKERS = {
    "ops": {"charm", "relations"},
    "botocore": {"aws"},
    "lightkube": {"cluster"},
    "tenacity": {"polling"},
}


def imported(path: pathlib.Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_nothing_else_in_the_charm_sleeps():
    sleepers = {
        str(path.relative_to(SRC))
        for path in SRC.rglob("*.py")
        if "time.sleep(" in path.read_text() and "loader" not in path.parts
    }
    assert sleepers == {"polling.py"}


def test_every_module_beside_the_packages_has_its_rule():
    assert {path.stem for path in SRC.glob("*.py")} == set(MAY_IMPORT)


@pytest.mark.parametrize("module", MAY_IMPORT)
def test_a_module_imports_what_is_below_it(module: str):
    ours = {path.stem for path in SRC.iterdir()}
    assert imported(SRC / f"{module}.py") & ours <= MAY_IMPORT[module]


@pytest.mark.parametrize("library", SPEAKERS)
def test_a_library_is_imported_by_its_own_room_only(library: str):
    rooms = {
        path.relative_to(SRC).parts[0].removesuffix(".py")
        for path in SRC.rglob("*.py")
        if library in imported(path)
    }
    assert rooms == SPEAKERS[library]


def test_every_module_imports_with_what_the_charm_carries():
    """Check that the charm imports with the packages of requirements.txt only."""
    program = """
import importlib, pathlib, sys
from importlib import metadata
root = pathlib.Path(sys.argv[1])
lines = (root / "requirements.txt").read_text().splitlines()
carried = {line.partition("==")[0].lower() for line in lines if line[:1].isalnum()}
packages = metadata.packages_distributions()
class Others:
    def find_spec(self, name, path=None, target=None):
        owners = packages.get(name.partition(".")[0], ())
        owners = {each.lower().replace("_", "-") for each in owners}
        if owners and not owners & carried:
            raise ImportError(f"{name} is not in requirements.txt")
sys.meta_path.insert(0, Others())
sys.path.insert(0, str(root / "src"))
for path in sorted((root / "src").rglob("*.py")):
    if path.name != "__main__.py":
        name = ".".join(path.relative_to(root / "src").with_suffix("").parts)
        importlib.import_module(name.removesuffix(".__init__"))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(ROOT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("top", ["src", "sandbox", "benchmarks"])
def test_every_module_opens_with_a_docstring(top: str):
    bare = [
        str(path.relative_to(ROOT))
        for path in (ROOT / top).rglob("*.py")
        if ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert bare == []
