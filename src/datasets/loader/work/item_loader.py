"""Does one item of a plan: fetches it, and hands what it holds to the writer."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import threading

from ..archives import formats
from ..base import byte_streams, failure, progress, tasks, urls
from ..base.limiter import Limiter
from ..http import http_client, object_stream, remote_object
from ..sources import source_object
from ..store import journal
from ..tree import tree_writer
from . import item_run, large_item, plan, unpacking

MOST_ATTEMPTS = 5
# What may take 128 MiB to decompress, and how many of those are at it at once.
HUNGRY, MOST_HUNGRY = re.compile(r"\.(tar\.(xz|zst)|txz|tzst)$", re.IGNORECASE), 2


@dataclasses.dataclass(frozen=True)
class Doer:
    """What items are done with.

    Attributes:
        task: The task.
        client: Asks origins.
        tree: Writes files.
        counter: Counts what came.
        limiter: Holds them to the limits.
        alone: Whether there is one item only: its size is all there is.
    """

    task: tasks.Task
    client: http_client.Client
    tree: tree_writer.Writer
    counter: progress.Counter
    limiter: Limiter
    alone: bool = False
    _hungry: threading.Semaphore = dataclasses.field(
        default_factory=lambda: threading.Semaphore(MOST_HUNGRY)
    )

    def do(self, run: item_run.Run, connections: int) -> None:
        """Does an item; some of its files may still be under way when it returns.

        Args:
            run: The item.
            connections: How many connections it may use.

        Raises:
            StartOver: Its source is not the same any more: the whole load has to begin anew.
            Failure: It can not be done.
        """
        if run.number in run.attempt.done.ended:
            self.counter.add_earlier(run.item.counted)
            run.close()
            return
        url = item_run.url_of(run.item, self.task)
        unpacked = run.item.kind in {plan.SOURCE, plan.INNER} and self.task.unpack != "false"
        if unpacked and HUNGRY.search(run.item.name or urls.file_name(url)):
            with self._hungry:
                self._try(run, url, connections)
        else:
            self._try(run, url, connections)

    def _try(self, run: item_run.Run, url: str, connections: int) -> None:
        item = run.item
        reason = ""
        for _ in range(MOST_ATTEMPTS):
            source = self._remote(item)
            try:
                with contextlib.closing(source):
                    self._do(run, source, connections)
                return
            except failure.StartOver as trouble:
                # One file that is made in one go can be made again without the others.
                if item.kind != plan.FILE or item.validator or run.attempt.done.begun(run.number):
                    raise
                reason = trouble.reason
        raise failure.Failure(
            f"{urls.shown(url)} {reason}, {MOST_ATTEMPTS} times: check the source, or try "
            "again later"
        )

    def _do(self, run: item_run.Run, source: remote_object.Remote, connections: int) -> None:
        kind, path = run.item.kind, run.item.path
        if kind == plan.HASH:
            self._hash(run, source, connections)
        elif kind == plan.DIRECTORY:
            run.begin(1)
            self.tree.directory(path, run.close)
            run.end(form="", checksum="", fetched=0)
        elif kind == plan.PART:
            self._large(run, source, connections, path)
        elif kind == plan.FILE:
            if not run.item.validator:
                self._look(run, source)
            self._file(run, source, connections, path)
        else:
            if kind == plan.SOURCE:
                self._look(run, source)
                if self.alone:
                    self.counter.total = source.size
            self._open(run, source, connections)

    @staticmethod
    def _look(run: item_run.Run, source: remote_object.Remote) -> None:
        """Looks at an object, and makes sure that it is what an earlier attempt began with."""
        source.look()
        begun = run.attempt.done.versions.get(run.number)
        if begun is None:
            run.add(journal.VERSION, 0, "", text=source.validator)
            if run.item.kind == plan.SOURCE:
                # Before the first of its files is there: another version may have other files.
                run.attempt.journal.flush()
        elif begun != source.validator:
            raise failure.StartOver("has changed since it was begun with")

    def _open(self, run: item_run.Run, source: remote_object.Remote, connections: int) -> None:
        """Looks at what came first, and keeps it as a file or unpacks it."""
        item = run.item
        opened = object_stream.open_stream(source, item.start, item.end, most=1)
        with contextlib.closing(opened):
            head = formats.head_of(opened.peek)
            form = self._form(item, source, head)
            # One connection may go on with what it has begun; for several it is begun anew.
            keep = connections == 1 or not source.divisible or not _is_long(source, item)
            if form == formats.FILE and item.kind != plan.INNER:
                path = source_object.file_path(item.path, source.name or source_object.UNNAMED)
                self._file(run, source, connections, path, opened=opened if keep else None)
            elif keep:
                self._unpack(run, source, opened, form)
            else:
                opened.close()
                many = object_stream.open_stream(
                    source,
                    item.start,
                    item.end,
                    head=head,
                    most=connections,
                    ahead=object_stream.share(object_stream.PIECES_AHEAD, connections),
                )
                with contextlib.closing(many):
                    self._unpack(run, source, many, form)

    def _form(self, item: plan.Item, source: remote_object.Remote, head: bytes) -> str:
        if item.kind == plan.INNER:
            return formats.recognise_inner(head, item.name)
        return formats.recognise(head, item.name or source.name, unpack=self.task.unpack)

    # --- one file

    def _file(
        self,
        run: item_run.Run,
        source: remote_object.Remote,
        connections: int,
        path: str,
        *,
        opened: object_stream.Stream | None = None,
    ) -> None:
        size = source.size
        if size is None or size > tree_writer.SMALL_BYTES:
            self._large(run, source, connections, path, opened=opened)
            return
        self.limiter.add_received(size)
        self.limiter.add_written(size)
        with contextlib.closing(opened or object_stream.open_stream(source, most=1)) as data:
            content = b"".join(byte_streams.pieces(data, size))
        checksum = item_run.check(run.item, source, content)
        group = self.tree.batch(run)
        group.add(0, path, (content,), executable=False)
        group.flush()
        run.end(form=formats.FILE, checksum=checksum, fetched=size)

    def _large(
        self,
        run: item_run.Run,
        source: remote_object.Remote,
        connections: int,
        path: str,
        *,
        opened: object_stream.Stream | None = None,
    ) -> None:
        start = run.attempt.done.positions.get(run.number, run.item.start)
        if start > run.item.start and not source.validator:
            raise failure.StartOver("can not be gone on with")
        if start > run.item.start:
            opened = None
            self.counter.add_earlier(start - run.item.start)
        data = opened or large_item.open_stream(source, start, run.item.end, connections)
        with contextlib.closing(data):
            large_item.write(run, source, data, self.tree, path=path, limiter=self.limiter)

    def _hash(self, run: item_run.Run, source: remote_object.Remote, connections: int) -> None:
        digest = tasks.hasher(run.item.checksum.partition(":")[0])
        with contextlib.closing(large_item.open_stream(source, 0, None, connections)) as data:
            while piece := data.next_piece():
                digest.update(piece.data)
                piece.release()
        run.end(form="", checksum=item_run.compare(run.item, source, digest), fetched=0)

    def _unpack(
        self,
        run: item_run.Run,
        source: remote_object.Remote,
        opened: object_stream.Stream,
        form: str,
    ) -> None:
        if form == formats.FILE:
            self._member(run, opened)
        else:
            archive = unpacking.Unpacking(run, source, self.tree, self.task, self.limiter)
            archive.unpack(opened, form)

    def _member(self, run: item_run.Run, data: object_stream.Stream) -> None:
        """Keeps a file in an archive that is no archive itself."""
        item, size = run.item, run.item.length or 0
        chunks = byte_streams.pieces(data, size)
        self.limiter.add_member()
        self.limiter.add_received(size)
        self.limiter.add_written(size)
        if not run.has(0) and size > tree_writer.SMALL_BYTES:
            self.tree.large(0, item.path, chunks, run, executable=item.executable)
        elif not run.has(0):
            group = self.tree.batch(run)
            group.add(0, item.path, tuple(chunks), executable=item.executable)
            group.flush()
        run.end(form=formats.TAR, checksum="", fetched=size)

    def _remote(self, item: plan.Item) -> remote_object.Remote:
        source = remote_object.Remote(
            self.client,
            item_run.url_of(item, self.task),
            auth=item.auth,
            size=item.size,
            validator=item.validator,
            opening_seconds=self.task.opening_seconds,
            patience_seconds=self.task.patience_seconds,
            on_received=self.counter.add_fetched if item.kind != plan.HASH else lambda _: None,
        )
        # A plan has parts only of what can be read in parts; and so can what a list of S3 has.
        listed = item.kind == plan.FILE and bool(item.validator)
        source.ranges = listed or item.kind in {plan.PART, plan.INNER, plan.HASH}
        return source


def _is_long(source: remote_object.Remote, item: plan.Item) -> bool:
    """Whether it is worth several connections."""
    end = source.size if item.end is None else item.end
    return (end or 0) - item.start > formats.HEAD_BYTES + object_stream.LEAST_BYTES
