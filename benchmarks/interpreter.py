"""The Python that the loader is measured with: built as that of the pods' image is.

Distributions and images compile Python with its own profile. A plain local build, as a virtual
environment may have it, takes up to a third longer for the same work.
"""

from __future__ import annotations

import functools
import os
import pathlib
import subprocess
import sys

OVERRIDE = "AWS_EFS_LOADER_PYTHON"
SYSTEM = "/usr/bin/python3"
LEAST = (3, 9)
ASK = "import sys; print(*sys.version_info[:3])"


@functools.cache
def path() -> str:
    """Return the path of the environment's choice, the system's interpreter, or this one."""
    if chosen := os.environ.get(OVERRIDE):
        return chosen
    if pathlib.Path(SYSTEM).exists() and _version(SYSTEM) >= LEAST:
        return SYSTEM
    return sys.executable


def version() -> str:
    """Return its version, for the results."""
    return f"Python {'.'.join(map(str, _version(path())))}"


def _version(python: str) -> tuple[int, ...]:
    ran = subprocess.run([python, "-c", ASK], capture_output=True, text=True, check=True)
    return tuple(map(int, ran.stdout.split()))
