"""The contestants that load a data set: shell scripts of a user, the ideal writer, the loader."""

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
# The loader without checksums of what it writes, as the rivals compute none.
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
class RunContext:
    """The environment of one run.

    Attributes:
        mounts: The mounts of one empty tree.
        local: An empty directory on this machine's disk.
        base: The origin's URL, with the case's speed limit.
        data: The data set to load.
    """

    mounts: Sequence[pathlib.Path]
    local: pathlib.Path
    base: str
    data: shapes.ServedData

    @property
    def url(self) -> str:
        """Return the URL of the data set."""
        return f"{self.base}/{self.data.served}"


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The result of one run.

    Attributes:
        seconds: The duration.
        cpu_seconds: The CPU time of its own processes.
        peak: The peak of resident bytes in the processes of all pods; 0 if not measured.
        quarters: The peaks of resident bytes in the first one, two and three quarters of the time.
        remark: A remark for the results.
    """

    seconds: float
    cpu_seconds: float = 0
    peak: int = 0
    quarters: Sequence[int] = ()
    remark: str = ""


@dataclasses.dataclass(frozen=True)
class Rival:
    """A bash script that a user would write.

    Attributes:
        needs: The tools that it needs.
        once: Whether it is measured once, as it takes minutes; `--quick` leaves it out.
        nodes: The node of each pod.
    """

    name: str
    script: str
    needs: Sequence[str] = ()
    once: bool = False
    nodes: Sequence[int] = (0,)

    def missing(self) -> str:
        """Return the tools that this machine lacks."""
        return ", ".join(tool for tool in self.needs if not shutil.which(tool))

    def root(self, context: RunContext) -> pathlib.PurePath:
        """Return the path of the tree, relative to the mount."""
        _ = context
        return pathlib.PurePath()

    def run(self, context: RunContext) -> Measurement:
        """Load the data set."""
        (context.local / "tree").mkdir()
        values = {
            "url": context.url,
            "base": context.base,
            "name": context.data.served,
            "served": str(context.data.path),
            "mount": str(context.mounts[0]),
            "local": str(context.local),
        }
        quoted = {key: shlex.quote(value) for key, value in values.items()}
        script = "set -eo pipefail; " + self.script.format(**quoted)
        command = processes.Command(["bash", "-c", script], {"RCLONE_CONFIG": ""})
        completed = processes.run([command], context.local)
        return Measurement(completed.seconds, completed.cpu_seconds)


@dataclasses.dataclass(frozen=True)
class IdealWriter:
    """The program in ideal/: threads that write data from memory, without a fetch or unpacking."""

    name: str = IDEAL
    threads: int = IDEAL_THREADS
    script: str = ""
    once: bool = False
    nodes: Sequence[int] = (0,)

    def missing(self) -> str:
        """Return an empty string: it needs only what the file system needs."""
        return ""

    def root(self, context: RunContext) -> pathlib.PurePath:
        """Return the path of the tree, relative to the mount."""
        _ = context
        return pathlib.PurePath()

    def run(self, context: RunContext) -> Measurement:
        """Write the tree."""
        program = slow_mount.compile_program([pathlib.Path(__file__).parent / "ideal" / "ideal.c"])
        words = [program, self.threads, context.data.plain, context.mounts[0]]
        completed = processes.run([processes.Command([*map(str, words)])], context.local)
        return Measurement(float(completed.logs[0]), completed.cpu_seconds)


@dataclasses.dataclass(frozen=True)
class OurLoader:
    """The loader as its pods run it.

    Attributes:
        nodes: The node of each pod; every pod has its own mount, as on a node of Kubernetes.
        once: Whether it is measured once, as it takes minutes; `--quick` leaves it out.
        checked: Whether it gets the checksum of the source.
        hashed: Whether it computes checksums; in production it always does.
        unpack: The parameter of create-dataset.
    """

    name: str = OURS
    nodes: Sequence[int] = (0,)
    once: bool = False
    checked: bool = False
    hashed: bool = True
    unpack: str = "true"
    script: str = ""

    @property
    def pods(self) -> int:
        """Return the number of pods."""
        return len(self.nodes)

    def missing(self) -> str:
        """Return an empty string: Python is available."""
        return ""

    def root(self, context: RunContext) -> pathlib.PurePath:
        """Return the path of the tree, relative to the mount."""
        _ = context
        return pathlib.PurePath("datasets", NAME)

    def run(self, context: RunContext) -> Measurement:
        """Load the data set with all pods at once."""
        loader = context.local / "loader.pyz"
        loader.write_bytes(dataset.zipapp())
        checksum = ""
        if self.checked:
            checksum = f"sha256:{context.data.expected[context.data.served].sha256}"
        desired = dataset.Dataset(
            NAME,
            sources=(context.url,),
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
                    protocol.ALLOWED_NETWORKS: "127.0.0.0/8",
                    protocol.TERMINATION_LOG: str(context.local / f"message-{index}"),
                },
            )
            for index, mount in enumerate(context.mounts[: self.pods])
        ]
        completed = processes.run(commands, context.local, sample_memory=True)
        return Measurement(
            completed.seconds,
            completed.cpu_seconds,
            sum(completed.peaks),
            completed.quarters,
            _remark(completed.logs),
        )


def _remark(logs: Sequence[str]) -> str:
    """Return a remark with the time from the last byte to the publication."""
    for log in logs:
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        verifying = [line["seconds"] for line in lines if line["state"] == protocol.VERIFYING]
        if lines and lines[-1]["state"] == protocol.PUBLISHED and verifying:
            return f"verified and published in {lines[-1]['seconds'] - verifying[0]:.2f} s"
    return ""


Contestant = Rival | IdealWriter | OurLoader


def for_tree(archive: str) -> list[Contestant]:
    """Return the contestants that unpack an archive."""
    if archive == "zip":
        fetch = "curl -sfo {local}/zip {url}"
        return [
            Rival(
                "curl, unzip",
                f"{fetch}; unzip -q {{local}}/zip -d {{mount}}",
                ["unzip"],
                once=True,
            ),
            Rival(
                "curl, unzip to the local disk, 32 parallel cp",
                f"{fetch}; unzip -q {{local}}/zip -d {{local}}/tree; {COPY}",
                ["unzip"],
            ),
            IdealWriter(),
            OurLoader(),
        ]
    flags = TAR_FLAGS[archive]
    return [
        Rival("curl | tar x", f"curl -sf {{url}} | tar {flags} - -C {{mount}}", once=True),
        Rival(
            "curl | tar x to the local disk, 32 parallel cp",
            f"curl -sf {{url}} | tar {flags} - -C {{local}}/tree; {COPY}",
        ),
        IdealWriter(),
        OurLoader(),
    ]


def for_archives() -> list[Contestant]:
    """Return the contestants that unpack an archive of archives."""
    unpack = "mkdir {mount}/$1 && tar xf $1.tar -C {mount}/$1"
    return [
        Rival(
            "outer tar on the local disk, 32 parallel tar x",
            "curl -sf {url} | tar xf - -C {local}/tree; cd {local}/tree; ls | sed 's/.tar$//'"
            f" | xargs -P32 -n1 bash -c '{unpack}' -",
        ),
        IdealWriter(),
        OurLoader(unpack="recursive"),
    ]


def for_file() -> list[Contestant]:
    """Return the contestants that fetch one file over many connections."""
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
        *_single_commands(),
    ]


def for_plain_file() -> list[Contestant]:
    """Return the contestants that fetch one file without a limit; one also computes a checksum."""
    hashed = "curl -sf {url} | tee {mount}/{name} | sha256sum"
    return [Rival("curl | tee, sha256sum", hashed), *_single_commands()]


def _single_commands() -> list[Contestant]:
    return [
        Rival("curl -o", "curl -sfo {mount}/{name} {url}"),
        OurLoader(),
        OurLoader(f"{OURS}, checksum given", checked=True),
        OurLoader(UNHASHED, hashed=False),
    ]


def for_pods(unpack: str, once: int = 0) -> list[Contestant]:
    """Return the loader with one to eight pods on as many nodes; `once` of them take minutes."""
    return [
        OurLoader(_pods(count), nodes=range(count), unpack=unpack, once=count <= once)
        for count in (1, 2, 4, 8)
    ]


def for_one_node(unpack: str) -> list[Contestant]:
    """Return the loader with one to four pods that share a node."""
    return [OurLoader(_pods(count), nodes=[0] * count, unpack=unpack) for count in (1, 2, 4)]


def _pods(count: int) -> str:
    return f"{count} pod{'s' * (count > 1)}"
