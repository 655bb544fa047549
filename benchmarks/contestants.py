"""Those who load a data set onto the slow file system: what a user would do, the ideal, ours."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shlex
import shutil
from collections.abc import Sequence

from benchmarks import interpreter, processes, shapes, slow_mount
from datasets import dataset, protocol

NAME = "measured"
OURS, IDEAL = "the loader", "ideal writer"
# What the loader would be if it made no checksum of what it writes, as the others make none.
UNHASHED = f"{OURS}, no checksum made"
UNHASHED_PROGRAM = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from datasets.loader import program
from datasets.loader.base import tasks
class Nothing:
    def update(self, data): pass
    def hexdigest(self): return "0" * 64
tasks.hasher = lambda algorithm: Nothing()
program.run()
"""
IDEAL_THREADS = 128
COPY = (
    "cd {local}/tree && find . -mindepth 1 -type d -printf '%d %p\\0' | sort -zn | cut -zd' ' -f2-"
    " | (cd {mount} && xargs -0r mkdir -p)"
    " && find . -type f -print0 | xargs -0r -P32 -n50 cp --parents -t {mount}"
)
TAR_FLAGS = {"tar": "xf", "tar.gz": "xzf"}


@dataclasses.dataclass(frozen=True)
class Scene:
    """What a contestant finds.

    Attributes:
        mounts: Mounts of one empty tree.
        local: An empty directory of this machine's disk.
        base: The origin's URL, as fast as the case lets it be.
        made: What there is to load.
    """

    mounts: Sequence[pathlib.Path]
    local: pathlib.Path
    base: str
    made: shapes.Made

    @property
    def url(self) -> str:
        """Where the data set is."""
        return f"{self.base}/{self.made.served}"


@dataclasses.dataclass(frozen=True)
class Took:
    """How a contestant did.

    Attributes:
        seconds: How long it took.
        cpu_seconds: What its own processes had of the processors.
        peak: The most bytes resident in the processes of all pods; 0 where nobody asks.
        quarters: The most bytes resident in the first quarter of the time, in two, in three.
        remark: What else it says about itself.
    """

    seconds: float
    cpu_seconds: float = 0
    peak: int = 0
    quarters: Sequence[int] = ()
    remark: str = ""


@dataclasses.dataclass(frozen=True)
class Rival:
    """What a user would type, as a script of bash."""

    name: str
    script: str
    needs: Sequence[str] = ()
    pods: int = 1

    def missing(self) -> str:
        """The tools that this machine lacks."""
        return ", ".join(tool for tool in self.needs if not shutil.which(tool))

    def root(self, scene: Scene) -> pathlib.PurePath:
        """Where the tree is, from the mount."""
        _ = scene
        return pathlib.PurePath()

    def run(self, scene: Scene) -> Took:
        """Load the data set."""
        (scene.local / "tree").mkdir()
        places = {
            "url": scene.url,
            "base": scene.base,
            "name": scene.made.served,
            "served": str(scene.made.path),
            "mount": str(scene.mounts[0]),
            "local": str(scene.local),
        }
        quoted = {key: shlex.quote(value) for key, value in places.items()}
        script = "set -eo pipefail; " + self.script.format(**quoted)
        command = processes.Command(["bash", "-c", script], {"RCLONE_CONFIG": ""})
        ran = processes.run([command], scene.local)
        return Took(ran.seconds, ran.cpu_seconds)


@dataclasses.dataclass(frozen=True)
class Ideal:
    """The program of ideal/: many threads, data in memory, nothing fetched or unpacked."""

    name: str = IDEAL
    threads: int = IDEAL_THREADS
    pods: int = 1
    script: str = ""

    def missing(self) -> str:
        """Nothing: what the file system needs is enough."""
        return ""

    def root(self, scene: Scene) -> pathlib.PurePath:
        """Where the tree is, from the mount."""
        _ = scene
        return pathlib.PurePath()

    def run(self, scene: Scene) -> Took:
        """Write the tree."""
        program = slow_mount.compiled([pathlib.Path(__file__).parent / "ideal" / "ideal.c"])
        words = [program, self.threads, scene.made.plain, scene.mounts[0]]
        ran = processes.run([processes.Command([*map(str, words)])], scene.local)
        return Took(float(ran.logs[0]), ran.cpu_seconds)


@dataclasses.dataclass(frozen=True)
class Ours:
    """The loader as its pods run it.

    Attributes:
        pods: How many there are, each with a mount of its own.
        checked: Whether it is given the checksum of what it fetches.
        hashed: Whether it makes one; it always does but here.
        unpack: As create-dataset has it.
    """

    name: str = OURS
    pods: int = 1
    checked: bool = False
    hashed: bool = True
    unpack: str = "true"
    script: str = ""

    def missing(self) -> str:
        """Nothing: Python is here."""
        return ""

    def root(self, scene: Scene) -> pathlib.PurePath:
        """Where the tree is, from the mount."""
        _ = scene
        return pathlib.PurePath("datasets", NAME)

    def run(self, scene: Scene) -> Took:
        """Load the data set with all pods at once."""
        loader = scene.local / "loader.pyz"
        loader.write_bytes(dataset.zipapp())
        checksum = ""
        if self.checked:
            checksum = f"sha256:{scene.made.expected[scene.made.served].sha256}"
        desired = dataset.Dataset(
            NAME,
            sources=(scene.url,),
            checksum=checksum,
            unpack=self.unpack,
            parallelism=self.pods,
        )
        request = dataset.new_request()
        program = () if self.hashed else ("-c", UNHASHED_PROGRAM)
        commands = [
            processes.Command(
                [interpreter.path(), *program, str(loader)],
                {
                    protocol.TASK: desired.task(request=request, root=str(mount)).to_json(),
                    protocol.INDEX: str(index),
                    protocol.TERMINATION_LOG: str(scene.local / f"message-{index}"),
                },
            )
            for index, mount in enumerate(scene.mounts[: self.pods])
        ]
        ran = processes.run(commands, scene.local, watched=True)
        return Took(ran.seconds, ran.cpu_seconds, sum(ran.peaks), ran.quarters, _remark(ran.logs))


def _remark(logs: Sequence[str]) -> str:
    """How long the part after the last byte took: verifying and publishing."""
    for log in logs:
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        verifying = [line["seconds"] for line in lines if line["state"] == protocol.VERIFYING]
        if lines and lines[-1]["state"] == protocol.PUBLISHED and verifying:
            return f"verified and published in {lines[-1]['seconds'] - verifying[0]:.2f} s"
    return ""


Contestant = Rival | Ideal | Ours


def for_tree(archive: str) -> list[Contestant]:
    """Those who make a tree of an archive."""
    if archive == "zip":
        fetch = "curl -sfo {local}/zip {url}"
        return [
            Rival("curl, unzip", f"{fetch}; unzip -q {{local}}/zip -d {{mount}}", ["unzip"]),
            Rival(
                "curl, unzip to the local disk, 32 parallel cp",
                f"{fetch}; unzip -q {{local}}/zip -d {{local}}/tree; {COPY}",
                ["unzip"],
            ),
            Ideal(),
            Ours(),
        ]
    flags = TAR_FLAGS[archive]
    return [
        Rival("curl | tar x", f"curl -sf {{url}} | tar {flags} - -C {{mount}}"),
        Rival(
            "curl | tar x to the local disk, 32 parallel cp",
            f"curl -sf {{url}} | tar {flags} - -C {{local}}/tree; {COPY}",
        ),
        Ideal(),
        Ours(),
    ]


def for_archives() -> list[Contestant]:
    """Those who unpack an archive of archives."""
    unpack = "mkdir {mount}/$1 && tar xf $1.tar -C {mount}/$1"
    return [
        Rival(
            "outer tar on the local disk, 32 parallel tar x",
            "curl -sf {url} | tar xf - -C {local}/tree; cd {local}/tree; ls | sed 's/.tar$//'"
            f" | xargs -P32 -n1 bash -c '{unpack}' -",
        ),
        Ideal(),
        Ours(unpack="recursive"),
    ]


def for_file() -> list[Contestant]:
    """Those who fetch one file by many connections."""
    aria = "aria2c -q -x16 -s16 -k1M --file-allocation={0} -d {{mount}} -o {{name}} {{url}}"
    rclone = (
        "rclone copyto :http:{name} {mount}/{name} --http-url {base}"
        " --multi-thread-streams 16 --multi-thread-cutoff 16M"
    )
    none = aria.format("none")
    return [
        Rival("aria2c -x16, no preallocation", none, ["aria2c"]),
        Rival("aria2c -x16, preallocation", aria.format("prealloc"), ["aria2c"]),
        Rival("rclone, 16 streams", rclone, ["rclone"]),
        Rival(
            "rclone, 16 streams, then sha256sum",
            f"{rclone}; sha256sum {{mount}}/{{name}}",
            ["rclone"],
        ),
        *_by_one_command(),
    ]


def for_plain_file() -> list[Contestant]:
    """Those who fetch one file as fast as it goes: one of them with a checksum, as the loader."""
    hashed = "curl -sf {url} | tee {mount}/{name} | sha256sum"
    return [Rival("curl | tee, sha256sum", hashed), *_by_one_command()]


def _by_one_command() -> list[Contestant]:
    return [
        Rival("curl -o", "curl -sfo {mount}/{name} {url}"),
        Ours(),
        Ours(f"{OURS}, checksum given", checked=True),
        Ours(UNHASHED, hashed=False),
    ]


def for_pods(unpack: str) -> list[Contestant]:
    """From one pod to eight."""
    return [
        Ours(f"{count} pod{'s' * (count > 1)}", pods=count, unpack=unpack)
        for count in (1, 2, 4, 8)
    ]
