"""Writes a large file, or a part of one, as it is fetched by many connections at once.

It is written from its beginning to its end in whole pages, hashed meanwhile, and the file system
is asked to write out what it has; a position up to which all is on the volume is written down now
and then.
"""

from __future__ import annotations

import concurrent.futures
import os

from . import (
    batch,
    budget,
    failure,
    files,
    formats,
    journal,
    plan,
    remote,
    runs,
    spec,
    stream,
    writer,
)

PIECE_BYTES, PIECES_AHEAD = 4 * 2**20, 24
CHECKPOINT_BYTES = 256 * 2**20


def open_stream(
    source: remote.Remote, start: int, end: int | None, connections: int, head: bytes = b""
) -> stream.Stream:
    """Opens an object, or a part of one, for `write`; `head` is what was read of it before."""
    return stream.open_stream(
        source,
        start,
        end,
        head=head,
        connections=connections,
        piece_bytes=PIECE_BYTES,
        ahead=max(2, min(PIECES_AHEAD, 2 * connections)),
    )


def write(
    run: runs.Run,
    source: remote.Remote,
    data: stream.Stream,
    tree: writer.Writer,
    *,
    path: str,
    limits: budget.Budget,
) -> None:
    """Writes what a stream brings into a file.

    Args:
        run: The item.
        source: The object.
        data: What it holds, from where an earlier attempt has come to.
        tree: The tree.
        path: The file's path.
        limits: What the source may bring.

    Raises:
        StartOver: The object is another one now.
        Failure: It can not be done.
    """
    item = run.item
    start = run.attempt.done.positions.get(run.number, item.start)
    shared = item.kind == plan.PART or start > item.start
    wanted = files.Wanted(path, 0, executable=False, shared=shared)
    descriptor = tree.descriptor(0, wanted, run)
    try:
        with concurrent.futures.ThreadPoolExecutor(3) as beside:
            copy = _Copy(run, descriptor, path, start, beside)
            while piece := data.next_piece():
                limits.received(len(piece))
                limits.written(len(piece))
                copy.add(piece)
            copy.finish()
    except BaseException as error:
        os.close(descriptor)
        # It may be tried again: what was begun is not under way any more.
        run.close()
        if isinstance(error, OSError):
            raise failure.from_os(error, path) from None
        raise
    checksum = sha256 = ""
    if copy.digests:
        checksum = runs.compare(item, source, copy.digests[copy.algorithm])
        sha256 = copy.digests["sha256"].hexdigest()
    tree.finish(descriptor, batch.Written(0, path, copy.position, sha256), run)
    run.end(form=formats.FILE, checksum=checksum, fetched=copy.position - item.start, path=path)


class _Copy:
    """Bytes on their way into a file.

    Attributes:
        position: Where in the file the next byte belongs.
        algorithm: What the item's checksum is made with.
        digests: The hashes of what was written, by their names; none where it is not seen from its
            beginning to its end: that is read back when all is there.
    """

    def __init__(
        self,
        run: runs.Run,
        descriptor: int,
        path: str,
        start: int,
        beside: concurrent.futures.ThreadPoolExecutor,
    ) -> None:
        self._run = run
        self._descriptor = descriptor
        self._path = path
        self._beside = beside
        self._safe = self._written_out = self.position = start
        self._hashing: concurrent.futures.Future[None] | None = None
        self._writing_out: concurrent.futures.Future[None] | None = None
        self._checkpoint: concurrent.futures.Future[None] | None = None
        self.algorithm = run.item.checksum.partition(":")[0] or "sha256"
        whole = start == 0 and run.item.kind != plan.PART
        names = {"sha256", self.algorithm} if whole else set[str]()
        self.digests = {name: spec.hasher(name) for name in names}
        os.lseek(descriptor, start, os.SEEK_SET)

    def add(self, piece: memoryview) -> None:
        """Writes a piece; it is hashed, and written out, beside that and the next one."""
        _wait(self._hashing)
        self._hashing = self._beside.submit(self._hash, piece)
        files.write_all(self._descriptor, piece, self._path)
        self.position += len(piece)
        if self.position - self._written_out >= writer.WRITE_OUT_BYTES and _is_over(
            self._writing_out
        ):
            self._written_out = self.position
            self._writing_out = self._beside.submit(files.begin_write_out, self._descriptor)
        if self.position - self._safe >= CHECKPOINT_BYTES and _is_over(self._checkpoint):
            # The system tells of what it could not write out once only.
            _wait(self._checkpoint)
            self._safe = self.position
            self._checkpoint = self._beside.submit(self._bring, self.position)

    def finish(self) -> None:
        """Waits for what goes on beside."""
        for each in (self._hashing, self._writing_out, self._checkpoint):
            _wait(each)

    def _hash(self, piece: memoryview) -> None:
        for digest in self.digests.values():
            digest.update(piece)

    def _bring(self, position: int) -> None:
        """Makes sure that all before a position is on the volume, and writes that down."""
        os.fdatasync(self._descriptor)
        self._run.add(journal.POSITION, position, "")
        self._run.attempt.journal.flush()


def _is_over(work: concurrent.futures.Future[None] | None) -> bool:
    return work is None or work.done()


def _wait(work: concurrent.futures.Future[None] | None) -> None:
    """Waits for what goes on beside, and raises what it raised."""
    if work:
        work.result()
