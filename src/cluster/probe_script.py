"""Runs in the probe's pod: mounts prove nothing until a byte was written and read back.

It uses the standard library only, any Python from 3.9 on, and is told what to do by its
environment. What it says last is the pod's termination message.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import stat
import sys
import time

TERMINATION_LOG = "/dev/termination-log"


class ProbeError(Exception):
    """The volume does not do what it must; the message is for the user."""


def main() -> int:
    """Probe the volume; 0 if it is proven."""
    root = pathlib.Path(os.environ["PROBE_ROOT"])
    zone, run = os.environ["PROBE_ZONE"], os.environ["PROBE_RUN"]
    try:
        _set_mode(root, int(os.environ["PROBE_ROOT_MODE"], 8))
        directory = root / ".aws-efs" / "probe"
        for path in (directory.parent, directory):
            _make_directory(path)
        _write_and_read_back(directory, zone, run)
        others = _read_others(directory, zone)
    except (OSError, ProbeError) as error:
        _say(f"{type(error).__name__}: {error}" if isinstance(error, OSError) else str(error))
        return 1
    _say(f"wrote and read back in {zone}; read what {others} other zones wrote")
    return 0


def _set_mode(root: pathlib.Path, mode: int) -> None:
    if stat.S_IMODE(root.stat().st_mode) != mode:
        root.chmod(mode)


def _make_directory(path: pathlib.Path) -> None:
    """Make a directory of our own, and do not be led elsewhere by a link that a pod left there."""
    path.mkdir(mode=0o755, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise ProbeError(f"{path} is not ours: remove it from the volume")


def _write_and_read_back(directory: pathlib.Path, zone: str, run: str) -> None:
    written = _sealed(f"{zone} {run} {time.time_ns()}")
    temporary = directory / f".{zone}.{run}"
    try:
        with temporary.open("wb") as file:
            file.write(written)
            file.flush()
            os.fsync(file.fileno())
        found = temporary.read_bytes()
        if found != written:
            raise ProbeError(f"{zone}: {len(written)} bytes written, others read back")
        temporary.replace(directory / zone)
    finally:
        temporary.unlink(missing_ok=True)


def _read_others(directory: pathlib.Path, zone: str) -> int:
    """Check what the other zones' probes left; return how many there were."""
    others = [p for p in sorted(directory.iterdir()) if p.name != zone and p.name[0] != "."]
    for path in others:
        content = path.read_bytes()
        if content != _sealed(content.rpartition(b"\n")[0].decode(errors="replace")):
            raise ProbeError(f"{zone}: what zone {path.name} wrote is not what is read here")
    return len(others)


def _sealed(text: str) -> bytes:
    """The text and its checksum, so that any other zone can tell whether it reads it whole."""
    return f"{text}\n{hashlib.sha256(text.encode()).hexdigest()}".encode()


def _say(sentence: str) -> None:
    sys.stdout.write(sentence + "\n")
    sys.stdout.flush()
    path = pathlib.Path(os.environ.get("TERMINATION_LOG", TERMINATION_LOG))
    path.write_text(sentence[:1024], encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
