"""Writes a large file, or a part of one, as it is fetched by many connections at once.

It is hashed and written from its beginning to its end; a position up to which all is on the volume
is written down now and then.
"""

from __future__ import annotations

from ..archives import formats
from ..base import limiter
from ..http import object_stream, remote_object
from ..store import journal
from ..tree import files, large_file, tree_writer
from . import item_run, plan

PIECE_BYTES, PIECES_AHEAD = 3 * 2**20, 36
# Each connection fetches as many as the others, and so many, if they are not too small then: it is
# the last ones that are waited for.
LEAST_ROUNDS, LEAST_PIECE_BYTES, PIECE_MULTIPLE_BYTES = 4, 2**20, 2**16
CHECKPOINT_BYTES = 256 * 2**20


def open_stream(
    source: remote_object.Remote, start: int, end: int | None, connections: int
) -> object_stream.Stream:
    """Opens an object, or a part of one, for `write`."""
    size = ((source.size if end is None else end) or 0) - start
    rounds = max(LEAST_ROUNDS, -(-size // (PIECE_BYTES * connections)))
    even = -(-size // (rounds * connections))
    even += -even % PIECE_MULTIPLE_BYTES
    return object_stream.open_stream(
        source,
        start,
        end,
        most=connections,
        piece_bytes=max(LEAST_PIECE_BYTES, even),
        ahead=object_stream.share(PIECES_AHEAD, connections),
    )


def write(
    run: item_run.Run,
    source: remote_object.Remote,
    data: object_stream.Stream,
    tree: tree_writer.Writer,
    *,
    path: str,
    limiter: limiter.Limiter,
) -> None:
    """Writes what a stream brings into a file.

    Args:
        run: The item.
        source: The object.
        data: What it holds, from where an earlier attempt has come to.
        tree: The tree.
        path: The file's path.
        limiter: Holds the source to the limits.

    Raises:
        StartOver: The object is another one now.
        Failure: It can not be done.
    """
    item = run.item
    start = run.attempt.done.positions.get(run.number, item.start)
    shared = item.kind == plan.PART or start > item.start
    wanted = files.Wanted(path, 0, executable=False, shared=shared)
    # One that is not seen from its beginning to its end is read back when all is there.
    algorithm = item.checksum.partition(":")[0] or "sha256"
    algorithms = set[str]() if shared else {"sha256", algorithm}
    file = tree.begin(0, wanted, run, start=start, algorithms=algorithms)
    try:
        _fill(run, file, data, limiter)
        checksum = item_run.compare(item, source, file.digests[algorithm]) if algorithms else ""
    except BaseException:
        file.abandon()
        # It may be tried again: what was begun is not under way any more.
        run.close()
        raise
    tree.finish(file, 0, run)
    run.end(form=formats.FILE, checksum=checksum, fetched=file.position - item.start, path=path)


def _fill(
    run: item_run.Run,
    file: large_file.Filling,
    data: object_stream.Stream,
    limiter: limiter.Limiter,
) -> None:
    """Writes all that a stream brings, and writes down now and then up to where it is safe."""
    safe = file.position
    while piece := data.next_piece():
        limiter.add_received(len(piece.data))
        limiter.add_written(len(piece.data))
        if data.paged:
            file.add(piece)
        else:
            file.gather(piece.data)
            piece.release()
        if file.written - safe >= CHECKPOINT_BYTES:
            safe = file.written
            file.sync()
            run.add(journal.POSITION, safe, "")
            run.attempt.journal.flush()
    file.wait()
