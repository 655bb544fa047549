"""What is measured: shell scripts of a user, ideal programs in C, the loader."""

from __future__ import annotations

import abc
import dataclasses
import json
import pathlib
import shlex
import shutil
from collections.abc import Sequence

from benchmarks import interpreter, processes, shapes, slow_mount
from datasets import dataset, loader_program, protocol, request_ids
from datasets.loader.base import tasks

NAME = "measured"
OURS, IDEAL = "the loader", "ideal writer"
IDEAL_READER, IDEAL_REMOVER = "ideal reader", "ideal remover"
# The loader without checksums of what it writes, as the rivals compute none.
UNHASHED = f"{OURS}, no checksum made"
CHANGED_PROGRAM = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from datasets.loader import program
{change}
program.run()
"""
UNHASHED_CHANGE = """
from datasets.loader.base import tasks
class Nothing:
    def update(self, data): pass
    def hexdigest(self): return "0" * 64
tasks.hasher = lambda algorithm: Nothing()
"""
IDEAL_THREADS = 128
# The first mount writes a tree, and the one that is measured has cached nothing of it.
COLD = (0, 1)


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
class Contestant(abc.ABC):
    """Something that is measured.

    Attributes:
        name: Its name in the tables.
        script: The script that it runs, if it is one.
        once: Whether it is measured once, as it takes minutes; `--quick` leaves it out.
        nodes: The node of each mount.
    """

    name: str
    script: str = ""
    once: bool = False
    nodes: Sequence[int] = (0,)

    @property
    def removes(self) -> bool:
        """Return whether it leaves no tree."""
        return False

    def missing(self) -> str:
        """Return the tools that this machine lacks."""
        return ""

    def root(self, context: RunContext) -> pathlib.PurePath:
        """Return the path of the tree, relative to the mount."""
        _ = context
        return pathlib.PurePath()

    def prepare(self, context: RunContext) -> None:
        """Make what it needs on the file system, which has no latency meanwhile."""
        _ = context

    @abc.abstractmethod
    def run(self, context: RunContext) -> Measurement:
        """Do what is measured."""


@dataclasses.dataclass(frozen=True)
class Rival(Contestant):
    """A bash script that a user would write.

    Attributes:
        needs: The tools that it needs.
    """

    needs: Sequence[str] = ()

    def missing(self) -> str:
        """Return the tools that this machine lacks."""
        return ", ".join(tool for tool in self.needs if not shutil.which(tool))

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
class IdealWriter(Contestant):
    """The program in ideal/: threads that write data from memory, without a fetch or unpacking."""

    name: str = IDEAL
    threads: int = IDEAL_THREADS

    def run(self, context: RunContext) -> Measurement:
        """Write the tree."""
        return _run_ideal("ideal", context, self.threads, context.data.plain, context.mounts[0])


@dataclasses.dataclass(frozen=True)
class IdealWalker(Contestant):
    """The program in ideal_walk/: threads that read or remove the files of a tree.

    Attributes:
        verb: `read` or `remove`.
    """

    nodes: Sequence[int] = COLD
    verb: str = "read"

    @property
    def removes(self) -> bool:
        """Return whether it leaves no tree."""
        return self.verb == "remove"

    def prepare(self, context: RunContext) -> None:
        """Write the tree."""
        if context.data.plain:
            IdealWriter().run(context)
        else:
            shutil.copy(context.data.path, context.mounts[0])

    def run(self, context: RunContext) -> Measurement:
        """Read or remove the tree by a mount that knows nothing of it."""
        return _run_ideal("ideal_walk", context, self.verb, IDEAL_THREADS, context.mounts[-1])


def _run_ideal(program: str, context: RunContext, *arguments: object) -> Measurement:
    source = pathlib.Path(__file__).parent / program / f"{program}.c"
    words = [slow_mount.compile_program([source]), *arguments]
    completed = processes.run([processes.Command([*map(str, words)])], context.local)
    return Measurement(float(completed.logs[0]), completed.cpu_seconds)


@dataclasses.dataclass(frozen=True)
class OurProgram(Contestant):
    """The loader as its pods run it: every pod has its own mount, as on a node of Kubernetes.

    Attributes:
        change: The Python code that changes the loader before it runs; empty for no change.
    """

    name: str = OURS
    change: str = ""

    @property
    def pods(self) -> int:
        """Return the number of pods."""
        return 1

    def root(self, context: RunContext) -> pathlib.PurePath:
        """Return the path of the tree, relative to the mount."""
        _ = context
        return pathlib.PurePath("datasets", NAME)

    @abc.abstractmethod
    def commands(self, context: RunContext, loader: pathlib.Path) -> list[processes.Command]:
        """Return the command of each pod."""

    def words(self, loader: pathlib.Path) -> list[str]:
        """Return the words of a command that runs the loader."""
        program = ["-c", CHANGED_PROGRAM.replace("{change}", self.change)] if self.change else []
        return [interpreter.path(), *program, str(loader)]

    def run(self, context: RunContext) -> Measurement:
        """Run all pods at once."""
        loader = context.local / "loader.pyz"
        loader.write_bytes(loader_program.zipapp())
        commands = self.commands(context, loader)
        completed = processes.run(commands, context.local, sample_memory=True)
        return Measurement(
            completed.seconds,
            completed.cpu_seconds,
            sum(completed.peaks),
            completed.quarters,
            _remark(completed.logs),
        )


@dataclasses.dataclass(frozen=True)
class OurLoader(OurProgram):
    """The loader that loads a data set.

    Attributes:
        checked: Whether it gets the checksum of the source.
        unpack: The parameter of create-dataset.
    """

    checked: bool = False
    unpack: str = "true"

    @property
    def pods(self) -> int:
        """Return the number of pods."""
        return len(self.nodes)

    def commands(self, context: RunContext, loader: pathlib.Path) -> list[processes.Command]:
        """Return the command of each pod."""
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
        request = request_ids.new()
        return [
            processes.Command(
                self.words(loader),
                {
                    protocol.TASK: desired.task(request=request, root=str(mount)).to_json(),
                    protocol.INDEX: str(index),
                    protocol.ALLOWED_NETWORKS: "127.0.0.0/8",
                    protocol.TERMINATION_LOG: str(context.local / f"message-{index}"),
                },
            )
            for index, mount in enumerate(context.mounts[: self.pods])
        ]


@dataclasses.dataclass(frozen=True)
class OurVerb(OurProgram):
    """The loader that verifies or deletes a data set.

    Attributes:
        verb: The verb, as `protocol` names it.
    """

    nodes: Sequence[int] = COLD
    verb: str = protocol.VERIFY

    @property
    def removes(self) -> bool:
        """Return whether it leaves no tree."""
        return self.verb == protocol.DELETE

    def prepare(self, context: RunContext) -> None:
        """Load the data set."""
        OurLoader().run(context)

    def commands(self, context: RunContext, loader: pathlib.Path) -> list[processes.Command]:
        """Return the command of the pod, whose mount knows nothing of the data set."""
        task = tasks.Task(NAME, request_ids.new(), "", root=str(context.mounts[-1]))
        environ = {
            protocol.TASK: task.to_json(),
            protocol.TERMINATION_LOG: str(context.local / "message"),
        }
        return [processes.Command([*self.words(loader), self.verb], environ)]


def _remark(logs: Sequence[str]) -> str:
    """Return a remark with the time from the last byte to the publication."""
    for log in logs:
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        verifying = [line["seconds"] for line in lines if line["state"] == protocol.VERIFYING]
        if lines and lines[-1]["state"] == protocol.PUBLISHED and verifying:
            return f"verified and published in {lines[-1]['seconds'] - verifying[0]:.2f} s"
    return ""
