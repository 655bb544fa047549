"""Provide the control plane's programs: from KUBEBUILDER_ASSETS, the cache, or a new build."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import pathlib
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator, Sequence

from sandbox.base import processes
from sandbox.kubernetes import build_progress, go_toolchain

logger = logging.getLogger(__name__)

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")

_MODULE = pathlib.Path(__file__).parent / "controlplane"
_VERSION = "k8s.io/component-base/version"
_FLAGS = (
    "-trimpath",
    "-gcflags=all=-N -l",  # unoptimised: builds in 30% less time and starts 0.8 s later
    "-ldflags=-s -w "
    f"-X {_VERSION}.gitVersion=v1.37.2 -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=37",
)
# Packages in the build cache are neither built nor reported.
_TO_BUILD = "{{if .Stale}}{{.ImportPath}} {{len .GoFiles}}{{end}}"

Progress = Callable[[str], None]


class BuildError(Exception):
    """A failed build; the message ends with go's output."""


def ensure(progress: Progress) -> pathlib.Path:
    """Return the directory of the four programs; build them first if necessary.

    It can be called from any thread and from several processes at once; only one of them builds.

    Args:
        progress: Called with a message every few seconds of a build.
    """
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        missing = _missing(pathlib.Path(assets))
        if not missing:
            return pathlib.Path(assets)
        progress(f"KUBEBUILDER_ASSETS={assets} is ignored: it lacks {', '.join(missing)}")
    directory = cache_directory()
    if _missing(directory):
        with _build_lock(directory.parent, progress):
            if _missing(directory):
                _build(directory, progress)
    return directory


def is_built() -> bool:
    """Return whether `ensure` returns without a build."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    return bool(assets and not _missing(pathlib.Path(assets))) or not _missing(cache_directory())


def cache_directory() -> pathlib.Path:
    """Return the directory of the built programs, a different one for each build recipe."""
    recipe = hashlib.sha256(repr((_FLAGS, platform.machine())).encode())
    for name in ("go.mod", "main.go"):
        recipe.update((_MODULE / name).read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "aws-efs" / f"controlplane-{recipe.hexdigest()[:16]}"


def _missing(directory: pathlib.Path) -> list[str]:
    return [name for name in PROGRAMS if not os.access(directory / name, os.X_OK)]


@contextlib.contextmanager
def _build_lock(cache: pathlib.Path, progress: Progress) -> Generator[None]:
    """Hold the lock of the cache; the kernel releases it even if this process is killed."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "build.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process is building the control plane: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(directory: pathlib.Path, progress: Progress) -> None:
    for stale in directory.parent.glob("building-*"):  # left by a killed build
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=directory.parent) as scratch:
        try:
            go = go_toolchain.find(pathlib.Path(scratch), progress)
        except go_toolchain.GoError as error:
            raise BuildError(str(error)) from error
        progress("building etcd and Kubernetes (once): up to 7 minutes on two cores")
        result = pathlib.Path(scratch) / "programs"
        result.mkdir()
        first, *others = (result / name for name in PROGRAMS)
        meter = build_progress.Meter(progress)
        listed = _run(go, ["list", "-deps", *_FLAGS, "-f", _TO_BUILD, "."], meter)
        packages = (line.split() for line in listed if line)
        meter.expect({package: int(files) for package, files in packages})
        _run(go, ["build", "-v", *_FLAGS, "-o", str(first), "."], meter)
        for other in others:
            other.symlink_to(first.name)
        shutil.rmtree(directory, ignore_errors=True)  # it may be incomplete
        result.rename(directory)
    progress(f"built the control plane in {build_progress.format_duration(meter.seconds)}")
    logger.info("built %s", directory)


def _run(go: go_toolchain.Go, arguments: Sequence[str], meter: build_progress.Meter) -> list[str]:
    """Run go, pass the lines of its error output to the meter, and return those of its output."""
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(  # noqa: S603 - our own command
            processes.tie_to_parent([go.program, *arguments]),
            cwd=_MODULE,
            env=go.environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
        ) as child,
    ):
        lines: list[str] = []
        for text in child.stderr or ():
            lines.append(text.rstrip())
            meter.line(lines[-1])
        if child.wait() != 0:
            raise BuildError(f"go {arguments[0]} failed: " + "\n".join(lines[-8:]))
        output.seek(0)
        return output.read().splitlines()
