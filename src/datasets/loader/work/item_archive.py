"""Unpack an archive as it streams by: files go to the writer, links into the journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..archives import archive_reader, formats, members, zip_range_reader
from ..base import byte_streams, failure, file_names
from ..http import object_stream, remote_object
from ..sources import source_object
from ..store import journal
from ..tree import tree_writer
from . import item_checksum, item_context, item_version, links, plan


class Unpacker:
    """The unpacking of one archive into the tree.

    Args:
        fetch: The item that is the archive.
        ranges: The archive, readable from any position; None if it is read as it streams by.
    """

    def __init__(
        self, fetch: item_context.ItemFetch, ranges: zip_range_reader.RangeArchive | None = None
    ) -> None:
        self._ranges = ranges
        self._run = fetch.run
        self._source = fetch.source
        self._tree = fetch.context.tree
        self._task = fetch.context.task
        self._limiter = fetch.context.limiter
        self._batch = self._tree.new_batch(fetch.run)
        self._top = _directory(fetch.run.item)
        # The directory of the last link: it is not created again for the next one.
        self._linked_in = ""
        self._received = 0

    def unpack(self, opened: object_stream.ObjectStream, archive_format: str) -> None:
        """Unpack a stream.

        Args:
            opened: The archive.
            archive_format: Its format, as `formats.recognise` returns it.

        Raises:
            StartOver: It has changed since an earlier attempt began with it.
            Failure: It cannot be unpacked.
        """
        run = self._run
        if run.attempt.completed.has_begun(run.number):
            item_version.check_resumable(self._source)
        # Only a source has a checksum that was given; a member of an archive has none.
        hashed = run.item.kind in {plan.SOURCE, plan.JOINED}
        digest = item_checksum.hasher(run.item)
        data = _Counted(object_stream.HashingReader(opened, digest) if hashed else opened, self)
        try:
            for number, member in enumerate(self._members(data, archive_format)):
                self._limiter.add_member()
                stripped = members.stripped(member, self._task.strip_components)
                if stripped:
                    self._add(number, stripped)
            self._batch.flush()
            byte_streams.drain(data)
        except byte_streams.Damaged as error:
            raise _named(error, run.item) from None
        checksum = ""
        if hashed:
            checksum = item_checksum.compare(run.item, self._source.url, digest.hexdigest())
        run.finish(archive_format=archive_format, checksum=checksum, fetched=self._received)

    def received(self, count: int) -> None:
        """Count received bytes of the archive."""
        self._received += count
        self._limiter.add_received(count)
        self._run.progress.add_read(count)

    def _members(
        self, data: byte_streams.Readable, archive_format: str
    ) -> Iterable[members.Member]:
        recursive = self._task.unpack == "recursive"
        inner = self._run.item.kind == plan.INNER
        count = self._limiter.add_unpacked
        checked = bool(self._run.item.checksum)
        if formats.has_range_reader(archive_format) and (archive := self._range_archive()):
            outer = formats.read_range(archive_format, archive, data)
            return (
                archive_reader.unpack_nested(outer, count=count, inner=inner, checked=checked)
                if recursive
                else outer
            )
        return archive_reader.read(
            data,
            archive_format,
            count=count,
            recursive=recursive,
            inner=inner,
            checked=checked,
        )

    def _range_archive(self) -> zip_range_reader.RangeArchive | None:
        """Return the archive, readable from any position, if it has ranges."""
        # Another connection reads its list of files.
        if self._task.connections == 1:
            return None
        if self._run.item.kind == plan.JOINED:
            return self._ranges
        return _Range(self._source, self._run.item) if self._source.confirm_ranges() else None

    def _add(self, number: int, member: members.Member) -> None:
        path = self._path(member.path)
        if isinstance(member, members.Directory):
            if path:
                self._run.make_directory(self._tree, number, path)
            return
        if not member.path:
            raise members.refused(".", "not a directory")
        if isinstance(member, members.File):
            self._file(number, path, member)
        else:
            self._link(number, path, member)

    def _file(self, number: int, path: str, member: members.File) -> None:
        progress = self._run.progress
        progress.add_content(0, files=1)
        chunks = self._written(member.chunks)
        # Of several members of one path any one may have been written last: all are written again.
        if self._run.has_member(number) and path not in self._run.attempt.completed.replaced:
            for chunk in chunks:
                progress.add_written(len(chunk))
            progress.add_written(0, files=1)
        elif member.size is not None and member.size <= tree_writer.SMALL_BYTES:
            self._batch.add(number, path, tuple(chunks), executable=member.executable)
        else:
            # An earlier member may have the same path.
            self._batch.flush()
            self._tree.write_large(number, path, chunks, self._run, executable=member.executable)

    def _written(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._limiter.add_written(len(chunk))
            self._run.progress.add_content(len(chunk))
            yield chunk

    def _link(self, number: int, path: str, member: members.Member) -> None:
        if self._run.has_member(number):
            return
        directory = path.rpartition("/")[0]
        if directory != self._linked_in:
            self._linked_in = directory
            self._tree.make_directory(directory)
        link_kind, target = links.CONTENT, ""
        if isinstance(member, members.SymbolicLink):
            link_kind, target = links.SYMBOLIC, member.target
        elif isinstance(member, members.HardLink):
            link_kind, target = links.HARD, self._path(member.target)
        elif isinstance(member, members.BecomesExecutable):
            link_kind = links.EXECUTABLE
        self._run.record(journal.LINK, number, path, text=target, link_kind=link_kind)

    def _path(self, path: str) -> str:
        whole = "/".join(filter(None, (self._top, path)))
        if file_names.is_too_long(whole):
            raise members.too_long(whole)
        return whole


class _Counted:
    """A reader that counts the bytes of a stream."""

    def __init__(self, data: byte_streams.Readable, unpacker: Unpacker) -> None:
        self._data = data
        self._unpacker = unpacker

    def read(self, count: int) -> bytes:
        chunk = self._data.read(count)
        self._unpacker.received(len(chunk))
        return chunk


class _Range:
    """An archive for `zip_range_reader`, readable from any position."""

    def __init__(self, source: remote_object.RemoteObject, item: plan.Item) -> None:
        self._source = source
        self._start = item.start
        self._end = item.end if item.end is not None else source.size
        self.size = (self._end or 0) - item.start

    def stream(self, offset: int) -> object_stream.ObjectStream:
        start = self._start + offset
        return object_stream.open_stream(self._source, start, self._end, most=1)


def _directory(item: plan.Item) -> str:
    """Return the directory that an archive is unpacked in."""
    if item.kind == plan.INNER:
        return archive_reader.nested_directory(item.path)
    return source_object.directory(item.path)


def _named(error: failure.Failure, item: plan.Item) -> failure.Failure:
    """Return an archive's failure, with the archive's name if it is one of many."""
    if item.kind == plan.JOINED and isinstance(error, byte_streams.Truncated):
        return failure.Failure(
            f"the split archive {failure.quote(item.name)} ends in the middle of the last of its "
            f"{len(item.parts)} parts: list all of them; if these are all, it is truncated at its "
            "origin"
        )
    return failure.Failure(f"{failure.quote(item.name)}: {error}") if item.name else error
