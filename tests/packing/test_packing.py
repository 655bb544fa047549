"""The packed charm of each platform: built as charmcraft builds it, without its containers."""

from __future__ import annotations

import contextlib
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
import yaml

from packing import build_charm
from sandbox.juju import agent_process

ROOT = pathlib.Path(__file__).parents[2]
LARGEST_BYTES = 7_000_000
# The Python of each base, and its pip where a plain `pip install` must work with an old one.
PYTHONS = {"ubuntu@22.04": "3.10", "ubuntu@24.04": "3.12"}
STOCK_PIPS = {"3.10": "pip==22.0.2", "3.12": "pip==24.0"}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
PLATFORMS: list[str] = list(yaml.safe_load((ROOT / "charmcraft.yaml").read_text())["platforms"])
NATIVE = [name for name in PLATFORMS if MACHINES[name.partition(":")[2]] == platform.machine()]
# What charmcraft adds.
CHARMCRAFT_FILES = ("metadata.yaml", "config.yaml", "actions.yaml")
IMPORT_ALL = """
import importlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
sys.path[:0] = [str(root / "src"), str(root / "venv")]
for path in sorted((root / "src").rglob("*.py")):
    if path.name != "__main__.py":
        name = ".".join(path.relative_to(root / "src").with_suffix("").parts)
        importlib.import_module(name.removesuffix(".__init__"))
        print(name)
"""


def interpreter(version: str) -> str:
    """Return the interpreter of a version, or skip the test."""
    found = [shutil.which(f"python{version}")]
    found += sorted(
        str(each) for each in pathlib.Path.home().glob(f".pyenv/versions/{version}.*/bin/python3")
    )
    for each in filter(None, found):
        if subprocess.run([each, "-c", ""], check=False, capture_output=True).returncode == 0:
            return each
    pytest.skip(f"there is no Python {version} here")


def pip_options(name: str) -> list[str]:
    """Return the options of pip for the packages of another machine."""
    base, _, architecture = name.partition(":")
    if name in NATIVE:
        return []
    tags = [f"manylinux{tag}_{MACHINES[architecture]}" for tag in ("_2_28", "_2_17", "2014")]
    version = PYTHONS[base]
    options = ["--implementation", "cp", "--python-version", version]
    return options + [option for tag in tags for option in ("--platform", tag)]


@pytest.fixture(scope="module")
def built() -> dict[str, pathlib.Path]:
    """Keep what has been built, by platform."""
    return {}


@pytest.fixture
def charm(
    request: pytest.FixtureRequest,
    built: dict[str, pathlib.Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> pathlib.Path:
    """Build the charm of a platform with the interpreter and the pip of its base."""
    name: str = request.param
    if name not in built:
        version = PYTHONS[name.partition(":")[0]]
        python, home = interpreter(version), tmp_path_factory.mktemp("packing")
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
        subprocess.run([*install, str(home / "pip"), STOCK_PIPS[version]], check=True)
        script = str(ROOT / "packing" / "build_charm.py")
        subprocess.run(
            [python, script, str(home / "charm"), *pip_options(name), "-q"],
            check=True,
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(pathlib.Path.home()),
                "PYTHONPATH": str(home / "pip"),
            },
        )
        for each in CHARMCRAFT_FILES:
            shutil.copy(ROOT / each, home / "charm")
        built[name] = home / "charm"
    return built[name]


def test_charmcraft_builds_with_this_script() -> None:
    parts = yaml.safe_load((ROOT / "charmcraft.yaml").read_text())["parts"]
    command = 'python3 packing/build_charm.py "$CRAFT_PART_INSTALL"'
    assert [part["override-build"] for part in parts.values()] == [command]
    assert {name.partition(":")[0] for name in PLATFORMS} == set(PYTHONS)
    assert {name.partition(":")[2] for name in PLATFORMS} == set(MACHINES)


def test_the_version_file_has_the_version_of_the_project() -> None:
    found = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert found is not None
    assert (ROOT / "version").read_text() == f"{found[1]}\n"


@pytest.mark.parametrize("charm", PLATFORMS, indirect=True)
def test_the_packed_charm_is_small_and_has_what_a_store_shows(
    charm: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    files = [path for path in charm.rglob("*") if path.is_file()]
    # As charmcraft zips.
    with zipfile.ZipFile(tmp_path / "charm.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for path in files:
            packed.write(path, path.relative_to(charm))
    size = (tmp_path / "charm.zip").stat().st_size
    assert size <= LARGEST_BYTES
    # It is not small because it is empty.
    assert size > LARGEST_BYTES / 2
    names = {str(path.relative_to(charm)) for path in files}
    assert {"dispatch", "version", "LICENSE", "README.md", "icon.svg", "src/charm.py"} <= names
    assert "templates/job.yaml.j2" in names
    assert not [name for name in names if "/tests/" in name or name.endswith((".pyc", "RECORD"))]
    assert not [path for path in charm.rglob("*") if path.is_symlink()]
    api_versions = {
        str(path.parent.relative_to(charm / "venv/botocore/data"))
        for path in files
        if path.name.startswith("service-2.json")
    }
    assert {name.partition("/")[0] for name in api_versions} == set(build_charm.SERVICES)
    assert len(api_versions) == len(build_charm.SERVICES)
    licences = [name for name in names if "LICEN" in name.upper() and name.startswith("venv/")]
    assert len(licences) > 20


@pytest.mark.parametrize("charm", PLATFORMS, indirect=True)
def test_the_compiled_modules_are_those_of_the_platform(
    charm: pathlib.Path, request: pytest.FixtureRequest
) -> None:
    base, _, architecture = request.node.callspec.params["charm"].partition(":")
    modules = [path.name for path in (charm / "venv").rglob("*.so")]
    ending = f".cpython-{PYTHONS[base].replace('.', '')}-{MACHINES[architecture]}-linux-gnu.so"
    assert modules
    assert [name for name in modules if not name.endswith(ending)] == []


@pytest.mark.parametrize("charm", NATIVE, indirect=True)
def test_every_module_of_the_packed_charm_is_imported(
    charm: pathlib.Path, request: pytest.FixtureRequest
) -> None:
    python = interpreter(PYTHONS[request.node.callspec.params["charm"].partition(":")[0]])
    # -I: nothing of this environment.
    done = subprocess.run(
        [python, "-I", "-c", IMPORT_ALL, str(charm)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 150


@pytest.mark.parametrize("leader", [True, False])
@pytest.mark.parametrize("charm", NATIVE, indirect=True)
def test_the_packed_charm_runs_a_hook_by_its_dispatch(
    charm: pathlib.Path, leader: bool, request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> None:
    python = interpreter(PYTHONS[request.node.callspec.params["charm"].partition(":")[0]])
    (tmp_path / "python3").symlink_to(python)
    with contextlib.closing(
        agent_process.AgentProcess(charm, agent_process.UnitState(leader=leader))
    ) as machine:
        done = machine.run(
            "update-status",
            [charm / "dispatch"],
            JUJU_CHARM_DIR=str(charm),
            PATH=f"{tmp_path}:{machine.tools}:/usr/bin:/bin",
        )
        assert done.returncode == 0, done.stderr
        status = next(call for call in machine.calls if call.startswith("status-set "))
    assert ("waiting for Juju to create the peer relation" if leader else "standby") in status
