"""Load one item of a plan with the handler for its kind."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

from ..archives import formats
from ..base import large_memory, urls
from ..http import object_reader
from . import item_context, item_file, item_format, item_joined, item_retry, item_run, plan

UNPACKED = {plan.SOURCE, plan.INNER, plan.JOINED}


class ItemLoader:
    """A loader of items, used by all lanes of a pod.

    Args:
        context: The context of the pod's items.
    """

    def __init__(self, context: item_context.LoadContext) -> None:
        self.context = context

    def load(self, run: item_run.ItemRun, connections: int) -> None:
        """Load an item; some of its files may still be pending when it returns.

        Args:
            run: The item.
            connections: The number of connections that it may use.

        Raises:
            StartOver: Its source object changed: the whole load has to start over.
            Failure: It cannot be loaded.
        """
        if run.number in run.attempt.completed.ended:
            self.context.counter.add_earlier(run.item.planned_bytes)
            run.remove_pending()
            return
        url = item_run.url_of(run.item, self.context.task)
        with large_memory.LARGE.scope():
            self._wait_for_memory(run.item, url)
            item_retry.load(run, url, lambda: self._try(run, connections))

    def _wait_for_memory(self, item: plan.Item, url: str) -> None:
        """Wait for the memory of a large decompressor, if the item's name tells that it has one.

        Its origin may not wait: later, its connection would be open already.
        """
        unpacked = item.kind in UNPACKED and self.context.task.unpack != "false"
        if unpacked and formats.takes_much_memory(item.name or urls.file_name(url)):
            large_memory.LARGE.left()

    def _try(self, run: item_run.ItemRun, connections: int) -> None:
        try:
            self._try_once(run, connections)
        except object_reader.NoRanges as trouble:
            with contextlib.closing(item_context.open_source(run, self.context)) as source:
                change = source.without_ranges(trouble)
            if run.has_written or run.item.kind not in {plan.SOURCE, plan.FILE}:
                raise change from None
            # It is read as a whole now.
            self._try_once(run, connections)

    def _try_once(self, run: item_run.ItemRun, connections: int) -> None:
        run.progress.begin()
        with contextlib.closing(item_context.open_source(run, self.context)) as source:
            fetch = item_context.ItemFetch(run, source, connections, self.context)
            HANDLERS[run.item.kind](fetch)


def _make_directory(fetch: item_context.ItemFetch) -> None:
    run = fetch.run
    run.make_directory(fetch.context.tree, 0, run.item.path)
    run.finish(archive_format="", checksum="", fetched=0)


HANDLERS: Mapping[str, Callable[[item_context.ItemFetch], None]] = {
    plan.SOURCE: item_format.load_source,
    plan.INNER: item_format.load,
    plan.JOINED: item_joined.load,
    plan.FILE: item_file.load_listed,
    plan.PART: item_file.load_part,
    plan.HASH: item_file.load_checksum,
    plan.DIRECTORY: _make_directory,
}
