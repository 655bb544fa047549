"""A container's process: its view of the machine, its permissions and its end."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import tenacity

from sandbox.node import container_process
from sandbox.node.container_process import Isolation

ALONE = """
import pathlib, sys
from sandbox.node import container_process
directory = pathlib.Path(sys.argv[1])
command = ("sh", "-c", f"sleep {sys.argv[2]} & sleep {sys.argv[2]}")
program = container_process.Program(command, {"PATH": "/usr/bin:/bin"})
process = container_process.ContainerProcess(program, directory / "root", directory / "log")
print("started", flush=True)
process.wait()
"""


@pytest.fixture(name="level", params=list(Isolation), ids=lambda level: level.value)
def allowed_level(request: pytest.FixtureRequest) -> Isolation:
    """Return each isolation level that this machine allows; the last one always works."""
    every = list(Isolation)
    if every.index(request.param) < every.index(container_process.isolation()):
        pytest.skip("this machine does not allow it")
    return request.param


@pytest.fixture(name="directory")
def make_directory(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "volume").mkdir()
    return tmp_path


def run(
    directory: pathlib.Path, *argv: str, level: Isolation | None = None, **more: Any
) -> tuple[int, str]:
    """Run a program with a volume at /mnt/volume, and return its exit status and output."""
    log = directory / "log"
    log.write_bytes(b"")
    mounts = (container_process.Mount(directory / "volume", "/mnt/volume"),)
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "FILE": "/mnt/volume/x"}
    program = container_process.Program(argv, environment, mounts=mounts)
    program = dataclasses.replace(program, **more)
    code = container_process.ContainerProcess(program, directory / "root", log, level).wait()
    return code, log.read_text()


def test_a_program_finds_its_volumes_at_their_mount_points(
    directory: pathlib.Path, level: Isolation
) -> None:
    script = "echo a > /mnt/volume/x && cat $FILE; exit 4"
    assert run(directory, "sh", "-c", script, level=level) == (4, "a\n")
    assert (directory / "volume" / "x").read_text() == "a\n"
    script = "import sys; print(sys.version_info[:2])"
    expected = f"{sys.version_info[:2]}\n"
    assert run(directory, "python3", "-c", script, level=level) == (0, expected)


def test_what_can_not_be_started_says_why(directory: pathlib.Path, level: Isolation) -> None:
    for command, reason in (
        ("nope", 'exec: "nope": executable file not found in $PATH'),
        ("/nope", 'exec: "/nope": stat /nope: no such file or directory'),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
    ):
        with pytest.raises(container_process.StartError) as failure:
            run(directory, command, level=level)
        assert str(failure.value) == reason


@pytest.mark.skipif(container_process.isolation() is Isolation.NONE, reason="no mount namespaces")
def test_a_program_sees_only_its_image_of_this_machine(directory: pathlib.Path) -> None:
    secret = directory / "secret"
    secret.touch()
    script = f"ls {secret}; touch /usr/x; touch /x /tmp/x && ls -d /tmp/x; hostname; ls /proc"
    _, output = run(directory, "sh", "-c", script, hostname="pod-0")
    lines = output.splitlines()
    assert lines[0].endswith("No such file or directory")
    assert lines[1].endswith("Read-only file system")
    assert lines[2:4] == ["/tmp/x", "pod-0"]
    numbers = [line for line in lines if line.isdigit()]
    assert "1" in numbers
    assert len(numbers) == 2  # itself and ls
    assert not pathlib.Path("/x").exists()


@pytest.mark.skipif(container_process.isolation() is Isolation.NONE, reason="no mount namespaces")
def test_a_read_only_mount_is_not_written(directory: pathlib.Path) -> None:
    mounts = (container_process.Mount(directory / "volume", "/mnt/volume", read_only=True),)
    code, output = run(directory, "touch", "/mnt/volume/x", mounts=mounts)
    assert code == 1
    assert "Read-only file system" in output


@pytest.mark.skipif(container_process.isolation() is Isolation.NONE, reason="no mount namespaces")
def test_a_read_only_root_is_not_written_anywhere_but_in_its_mounts(
    directory: pathlib.Path,
) -> None:
    for path in ("/x", "/tmp/x", "/var/tmp/x", "/etc/x", "/usr/local/bin/x", "/usr/x"):
        code, output = run(directory, "touch", path, read_only_root=True)
        assert code == 1, path
        assert "Read-only file system" in output, path
    for path in ("/dev/shm/x", "/mnt/volume/x"):
        assert run(directory, "touch", path, read_only_root=True) == (0, ""), path


@pytest.mark.parametrize(
    "level", [Isolation.ROOT, Isolation.USER], indirect=True, ids=lambda level: level.value
)
@pytest.mark.parametrize("names", [(), ("CHOWN", "CHECKPOINT_RESTORE"), ("DAC_OVERRIDE",)])
def test_root_has_the_capabilities_that_it_is_given(
    directory: pathlib.Path, level: Isolation, names: tuple[str, ...]
) -> None:
    more = {"capabilities": frozenset(names), "level": level}
    _, output = run(directory, "grep", "^Cap", "/proc/self/status", **more)
    sets = {key: int(value, 16) for key, value in map(str.split, output.splitlines())}
    given = sum(1 << container_process.CAPABILITIES[name] for name in names)
    assert sets == {
        "CapInh:": 0,
        "CapPrm:": given,
        "CapEff:": given,
        "CapBnd:": given,
        "CapAmb:": 0,
    }


@pytest.mark.skipif(container_process.isolation() is not Isolation.ROOT, reason="needs root")
@pytest.mark.parametrize(
    ("capability", "command"),
    [
        ("DAC_OVERRIDE", "cat /mnt/volume/theirs"),
        ("CHOWN", "chown 1234 /mnt/volume/ours"),
        ("FOWNER", "chmod 644 /mnt/volume/theirs"),
        ("SETUID", "python3 -c 'import os; os.setuid(1000)'"),
        ("SETGID", "python3 -c 'import os; os.setgroups([5])'"),
        ("MKNOD", "mknod /mnt/volume/device c 1 3"),
        ("SYS_CHROOT", 'python3 -c "import os; os.chroot(chr(47))"'),
    ],
)
def test_what_needs_a_capability_fails_without_it(
    directory: pathlib.Path, capability: str, command: str
) -> None:
    for name, user in (("theirs", 1000), ("ours", 0)):
        path = directory / "volume" / name
        path.touch()
        path.chmod(0o600)
        os.chown(path, user, user)
    all_but_one = container_process.DEFAULT_CAPABILITIES - {capability}
    code, output = run(directory, "sh", "-c", command, capabilities=all_but_one)
    assert code != 0
    assert "not permitted" in output or "denied" in output
    code, output = run(directory, "sh", "-c", command, capabilities=frozenset({capability}))
    assert code == 0, output


@pytest.mark.skipif(container_process.isolation() is not Isolation.ROOT, reason="needs root")
def test_a_program_runs_as_the_given_user(directory: pathlib.Path) -> None:
    script = "id -u; id -g; id -G; touch /mnt/volume/x; grep CapEff /proc/self/status"
    _, output = run(directory, "sh", "-c", script, user=1000, group=2000, groups=(2000, 3000))
    lines = output.splitlines()
    assert lines[:3] == ["1000", "2000", "2000 3000"]
    assert lines[3].endswith("Permission denied")
    assert int(lines[4].split()[1], 16) == 0


@pytest.mark.skipif(
    container_process.isolation() is Isolation.NONE, reason="no process namespaces"
)
def test_pid_1_receives_only_the_signals_that_it_handles(
    directory: pathlib.Path,
) -> None:
    deaf = start(directory, "sleep", "60")
    deaf.terminate()
    listening = start(
        directory, "sh", "-c", "trap 'exit 5' TERM; echo on; while :; do sleep 0.05; done"
    )
    eventually(lambda: "on" in (directory / "log").read_text())
    listening.terminate()
    assert listening.wait() == 5
    deaf.kill()
    assert deaf.wait() == 137


def test_the_children_of_a_program_end_with_it(directory: pathlib.Path, level: Isolation) -> None:
    assert run(directory, "sh", "-c", "sleep 4714.25 & exit 0", level=level)[0] == 0
    assert not processes("4714.25")


FORKS = """
import os, time
shared = b"x" * (40 << 20)
children = [os.fork() for _ in range(4)]
if all(children):
    time.sleep(0.5)
    print(len(shared), flush=True)
    os._exit(0)
time.sleep(60)
"""


def test_a_program_that_exceeds_its_memory_limit_is_killed_with_its_children(
    directory: pathlib.Path, level: Isolation
) -> None:
    script = "import time; kept = b'x' * (200 << 20); time.sleep(4716.25)"
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    command = ("sh", "-c", f'sleep 4716.25 & python3 -c "{script}"; true')
    program = container_process.Program(command, environment, memory_bytes=100 << 20)
    log = directory / "log"
    process = container_process.ContainerProcess(program, directory / "root", log, level)
    assert process.wait() == 137
    assert process.out_of_memory
    eventually(lambda: not processes("4716.25"))  # a killed process is not gone at once


def test_memory_that_processes_share_counts_once(directory: pathlib.Path) -> None:
    code, output = run(directory, "python3", "-c", FORKS, memory_bytes=100 << 20)
    assert (code, output) == (0, f"{40 << 20}\n")


def test_nothing_outlives_a_sandbox_that_is_killed(directory: pathlib.Path) -> None:
    command = [sys.executable, "-c", ALONE, str(directory), "4715.25"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}
    ) as sandbox:
        assert sandbox.stdout
        assert sandbox.stdout.readline() == b"started\n"
        eventually(lambda: len(processes("4715.25")) >= 2)
        sandbox.send_signal(signal.SIGKILL)
    eventually(lambda: not processes("4715.25"))


def start(directory: pathlib.Path, *argv: str) -> container_process.ContainerProcess:
    program = container_process.Program(argv, {"PATH": "/usr/bin:/bin"})
    return container_process.ContainerProcess(program, directory / "root", directory / "log")


def processes(argument: str) -> list[str]:
    """Return the ids of the sleep processes with this argument."""
    found: list[str] = []
    for command in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = command.read_text().split("\0")
        except OSError:
            continue
        if arguments[:2] == ["sleep", argument]:
            found.append(command.parent.name)
    return found


def eventually(condition: Callable[[], object]) -> None:
    tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda result: not result),
        wait=tenacity.wait_exponential(multiplier=0.02, exp_base=1.3, max=0.5),
        stop=tenacity.stop_after_delay(10),
    )(condition)


def test_a_sub_path_that_is_removed_is_stale(directory: pathlib.Path, level: Isolation) -> None:
    """Its server does not know the handle any more; what is open stays readable."""
    if level is Isolation.NONE or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("without mounts, or without /dev/fuse, it reads as an empty directory")
    version = directory / "volume" / "version"
    version.mkdir()
    (version / "a").write_text("1\n")
    (directory / "volume" / "other").mkdir()
    mounts = (
        container_process.Mount(version, "/data", read_only=True, sub_path=True),
        container_process.Mount(directory / "volume" / "other", "/other", sub_path=True),
    )
    script = """
        exec 3< /data/a; cat /data/a
        until ls /data/a 2>&1 | grep 'Stale file handle'; do sleep 0.05; done
        cat /data/a; ls /data; ls /other && cat <&3
    """
    program = container_process.Program(("sh", "-c", script), {"PATH": os.defpath}, mounts=mounts)
    log = directory / "log"
    running = container_process.ContainerProcess(program, directory / "root", log, level)
    tenacity.Retrying(
        stop=tenacity.stop_after_delay(20),
        wait=tenacity.wait_fixed(0.05),
        retry=tenacity.retry_if_result(lambda text: text != "1\n"),
    )(log.read_text)
    shutil.rmtree(version)
    assert running.wait() == 0
    first, *stale, last = log.read_text().splitlines()
    assert (first, last) == ("1", "1")
    assert [line.rpartition(": ")[2] for line in stale] == ["Stale file handle"] * 3
