"""Recognise the format of a source by its bytes, its names and its type."""

from __future__ import annotations

from ..archives import formats
from ..base import file_names, tasks, urls
from ..http import remote_object
from . import plan


def recognise(
    head: bytes, item: plan.Item, source: remote_object.RemoteObject, task: tasks.Task
) -> str:
    """Return the format of a source, as `formats.recognise` does.

    Args:
        head: Its first bytes.
        item: Its item, with the path that the user chose.
        source: Its object, which was probed.
        task: The task.

    Raises:
        Failure: It is not what it should be, or cannot be read.
    """
    chosen = "" if item.path.endswith("/") else item.path.rpartition("/")[2]
    # The name that the user chose goes before the origin's, if it tells what the file is.
    name = chosen if file_names.is_file_name(chosen) else source.name
    return formats.recognise(
        head,
        name,
        unpack=task.unpack,
        others=(chosen, urls.file_name(source.url)),
        media_type=source.media_type,
        checked=bool(item.checksum),
        # Lists have empty files, such as labels of pictures that show nothing.
        may_be_empty=item.source < 0 or len(task.sources) > 1,
    )
