"""The sandbox's programs and scratch files live exactly as long as the sandbox."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

import pytest
import tenacity

from sandbox.base import processes, scratch

_ROOT = pathlib.Path(__file__).parent.parent.parent


def test_a_program_ends_with_the_process_that_started_it(tmp_path: pathlib.Path) -> None:
    script = (
        "import pathlib, sys, time\n"
        "from sandbox.base import processes\n"
        "sleeper = processes.Process(['/bin/sleep', '60'], pathlib.Path(sys.argv[1]))\n"
        "print(sleeper.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "log")],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert pathlib.Path(f"/proc/{child}").exists()
        parent.send_signal(signal.SIGKILL)
    _wait_until(lambda: _gone(child))


def test_a_program_outlives_the_thread_that_started_it(tmp_path: pathlib.Path) -> None:
    started: list[processes.Process] = []
    command = ["/bin/sleep", "60"]
    thread = threading.Thread(
        target=lambda: started.append(processes.Process(command, tmp_path / "log"))
    )
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert started[0].running
    started[0].kill()
    assert _gone(started[0].pid)


def test_the_directories_of_killed_processes_are_removed_but_none_in_use(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    used, left = scratch.ScratchDirectory(), tmp_path / "aws-efs-sandbox-left"
    left.mkdir()
    for path in (used.path, left):
        os.utime(path, (0, 0))
    another = scratch.ScratchDirectory()
    assert set(tmp_path.iterdir()) == {used.path, another.path}
    for directory in (used, another):
        directory.close()
    assert not list(tmp_path.iterdir())


def test_a_missing_program_is_reported(tmp_path: pathlib.Path) -> None:
    program = processes.Process(["/nowhere/etcd"], tmp_path / "log")
    _wait_until(lambda: not program.running)
    assert program.tail() == "/nowhere/etcd: No such file or directory"


def _wait_until(condition: Callable[[], bool]) -> None:
    tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda result: not result),
        wait=tenacity.wait_exponential(multiplier=0.05, max=1),
        stop=tenacity.stop_after_delay(20),
    )(condition)


def _gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return "State:\tZ" in pathlib.Path(f"/proc/{process}/status").read_text()
