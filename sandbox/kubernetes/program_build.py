"""Brings the control plane's programs: given, built before, or built now with progress shown."""

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
    "-gcflags=all=-N -l",  # unoptimised: it builds in 30% less time and starts 0.8 s later
    "-ldflags=-s -w "
    f"-X {_VERSION}.gitVersion=v1.37.2 -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=37",
)
# A package that the build cache has is neither built again nor told of.
_TO_BUILD = "{{if .Stale}}{{.ImportPath}} {{len .GoFiles}}{{end}}"

Progress = Callable[[str], None]


class BuildError(Exception):
    """The programs could not be built; the message ends with what Go said."""


def ensure(progress: Progress) -> pathlib.Path:
    """The directory with the four programs, which are built first if need be.

    It can be called from any thread, and from several processes at once: one of them builds.

    Args:
        progress: Told, every few seconds of a build, how far it is.
    """
    given = os.environ.get("KUBEBUILDER_ASSETS")
    if given:
        missing = _missing(pathlib.Path(given))
        if not missing:
            return pathlib.Path(given)
        progress(f"KUBEBUILDER_ASSETS={given} is not used: no {', '.join(missing)} there")
    directory = cached()
    if _missing(directory):
        with _alone(directory.parent, progress):
            if _missing(directory):
                _build(directory, progress)
    return directory


def ready() -> bool:
    """Whether `ensure` returns at once."""
    given = os.environ.get("KUBEBUILDER_ASSETS")
    return bool(given and not _missing(pathlib.Path(given))) or not _missing(cached())


def cached() -> pathlib.Path:
    """Where the programs are kept: another directory for every other way of building them."""
    recipe = hashlib.sha256(repr((_FLAGS, platform.machine())).encode())
    for name in ("go.mod", "main.go"):
        recipe.update((_MODULE / name).read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "aws-efs" / f"controlplane-{recipe.hexdigest()[:16]}"


def _missing(directory: pathlib.Path) -> list[str]:
    return [name for name in PROGRAMS if not os.access(directory / name, os.X_OK)]


@contextlib.contextmanager
def _alone(cache: pathlib.Path, progress: Progress) -> Generator[None]:
    """Hold the lock of the cache, which the kernel lets go of even if we are killed."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "build.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process is building the control plane: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(directory: pathlib.Path, progress: Progress) -> None:
    for stale in directory.parent.glob("building-*"):  # of one that was killed
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=directory.parent) as scratch:
        try:
            go = go_toolchain.find(pathlib.Path(scratch), progress)
        except go_toolchain.GoError as error:
            raise BuildError(str(error)) from error
        progress("building etcd and Kubernetes, once: up to 7 minutes on two cores, less on more")
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
        shutil.rmtree(directory, ignore_errors=True)  # half of one, if anything
        result.rename(directory)
    progress(f"built the control plane in {build_progress.spoken(meter.seconds)}")
    logger.info("built %s", directory)


def _run(go: go_toolchain.Go, arguments: Sequence[str], meter: build_progress.Meter) -> list[str]:
    """Run go, show the meter each line of its error output, and return those of its output."""
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
        said: list[str] = []
        for text in child.stderr or ():
            said.append(text.rstrip())
            meter.line(said[-1])
        if child.wait() != 0:
            raise BuildError(f"go {arguments[0]} failed: " + "\n".join(said[-8:]))
        output.seek(0)
        return output.read().splitlines()
