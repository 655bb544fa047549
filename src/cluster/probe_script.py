"""Run in the probe's pod: write to the volume, read it back, and read what other zones wrote.

It runs on the standard library of Python 3.9 or newer, and gets its parameters from the
environment. Its last line is also the pod's termination message.
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
    """The volume does not work; the message is for the user."""


def main() -> int:
    """Probe the volume; return 0 if it works."""
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
        _report(f"{type(error).__name__}: {error}" if isinstance(error, OSError) else str(error))
        return 1
    _report(f"wrote and read back in {zone}; read the files of {others} other zones")
    return 0


def _set_mode(root: pathlib.Path, mode: int) -> None:
    if stat.S_IMODE(root.stat().st_mode) != mode:
        root.chmod(mode)


def _make_directory(path: pathlib.Path) -> None:
    """Make a directory of our own; refuse a symlink that a pod left in its place."""
    path.mkdir(mode=0o755, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise ProbeError(f"{path} is not ours: remove it from the volume")


def _write_and_read_back(directory: pathlib.Path, zone: str, run: str) -> None:
    written = _with_checksum(f"{zone} {run} {time.time_ns()}")
    temporary = directory / f".{zone}.{run}"
    try:
        with temporary.open("wb") as file:
            file.write(written)
            file.flush()
            os.fsync(file.fileno())
        read_back = temporary.read_bytes()
        if read_back != written:
            raise ProbeError(
                f"{zone}: the {len(written)} bytes read back differ from those written"
            )
        temporary.replace(directory / zone)
    finally:
        temporary.unlink(missing_ok=True)


def _read_others(directory: pathlib.Path, zone: str) -> int:
    """Check the files that the other zones' probes wrote; return their number."""
    others = [p for p in sorted(directory.iterdir()) if p.name != zone and p.name[0] != "."]
    for path in others:
        content = path.read_bytes()
        if content != _with_checksum(content.rpartition(b"\n")[0].decode(errors="replace")):
            raise ProbeError(
                f"{zone}: the file that zone {path.name} wrote reads back damaged here"
            )
    return len(others)


def _with_checksum(text: str) -> bytes:
    """Return the text and its checksum, by which any other zone can check it."""
    return f"{text}\n{hashlib.sha256(text.encode()).hexdigest()}".encode()


def _report(message: str) -> None:
    sys.stdout.write(message + "\n")
    sys.stdout.flush()
    path = pathlib.Path(os.environ.get("TERMINATION_LOG", TERMINATION_LOG))
    path.write_text(message[:1024], encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
