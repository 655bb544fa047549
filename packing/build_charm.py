"""Put into a directory what the packed charm contains; charmcraft adds its own files, and zips.

`python3 packing/build_charm.py DIRECTORY [OPTION OF PIP]...` needs the standard library, and the
pip of the oldest base: that of Ubuntu 22.04 is 22.0.2, too old for charmcraft's plugin for Python.
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).parents[1]
# Folders and files that are packed as they are. Charmcraft adds metadata.yaml, config.yaml and
# actions.yaml.
FOLDERS = ("src", "templates")
FILES = ("dispatch", "version", "LICENSE", "README.md", "icon.svg")

# botocore describes every service of AWS: the charm speaks to these.
SERVICES = ("ec2", "efs", "sts")
# What pip leaves for pip, what Python makes anew, and what is for developers.
USELESS_EVERYWHERE = (
    *("**/*.dist-info/RECORD", "**/*.dist-info/INSTALLER", "**/*.dist-info/REQUESTED"),
    *("**/__pycache__", "**/*.pyi", "**/*.c", "**/examples-1.json"),
)
USELESS = (
    *("bin", "websocket/tests", "ops/testing.py", "ops/_private/harness.py"),
    # A copy of /usr/share/zoneinfo.
    *("dateutil/zoneinfo/dateutil-zoneinfo.tar.gz", "dateutil/zoneinfo/rebuild.py"),
    # For models of pydantic 1, other event loops, the browser, and type checkers.
    *("pydantic/v1", "pydantic/mypy.py", "anyio/_backends/_trio.py", "urllib3/contrib/emscripten"),
)


def main() -> int:
    """Build the charm into the directory that the command line names."""
    if len(sys.argv) == 1:
        print(__doc__, file=sys.stderr)  # noqa: T201 - a program's usage
        return 2
    build(pathlib.Path(sys.argv[1]), sys.argv[2:])
    return 0


def build(directory: pathlib.Path, pip_options: Sequence[str] = ()) -> None:
    """Install the requirements, remove what no hook needs, and copy the charm's own files.

    Args:
        directory: The new directory.
        pip_options: For packages of another platform than this one.
    """
    packages = directory / "venv"
    install(packages, pip_options)
    prune(packages)
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, directory / name, ignore=ignored, dirs_exist_ok=True)
    for name in FILES:
        shutil.copy(ROOT / name, directory)


def install(packages: pathlib.Path, pip_options: Sequence[str] = ()) -> None:
    """Install the locked requirements as wheels: to build them takes a Rust compiler."""
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-compile", "--only-binary", ":all:", "--require-hashes"]
    command += ["--target", str(packages), "--requirement", str(ROOT / "requirements.txt")]
    subprocess.run([*command, *pip_options], check=True)  # noqa: S603 - this interpreter's pip


def prune(packages: pathlib.Path) -> None:
    """Remove from the installed packages what no hook needs; licences stay."""
    data = packages / "botocore" / "data"
    for service in (each for each in data.iterdir() if each.is_dir()):
        # The names of API versions are dates: botocore uses the newest.
        versions = sorted(service.iterdir())
        for version in versions[:-1] if service.name in SERVICES else [service]:
            _remove(version)
    for pattern in (*USELESS_EVERYWHERE, *USELESS):
        for path in list(packages.glob(pattern)):
            _remove(path)


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


if __name__ == "__main__":
    sys.exit(main())
