"""The Python interpreter for the loader, built like that of the pods' image.

Distributions and images compile Python with profile-guided optimisation. A plain local build, as
in some virtual environments, takes up to a third longer for the same work.
"""

from __future__ import annotations

import functools
import os
import pathlib
import subprocess
import sys

OVERRIDE = "AWS_EFS_LOADER_PYTHON"
SYSTEM = "/usr/bin/python3"
MIN_VERSION = (3, 9)
VERSION_SCRIPT = "import sys; print(*sys.version_info[:3])"


@functools.cache
def path() -> str:
    """Return the interpreter of the environment variable, the system's, or this one."""
    if chosen := os.environ.get(OVERRIDE):
        return chosen
    if pathlib.Path(SYSTEM).exists() and _version(SYSTEM) >= MIN_VERSION:
        return SYSTEM
    return sys.executable


def version() -> str:
    """Return the interpreter's version for the results."""
    return f"Python {'.'.join(map(str, _version(path())))}"


def _version(python: str) -> tuple[int, ...]:
    command = [python, "-c", VERSION_SCRIPT]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    return tuple(map(int, completed.stdout.split()))
