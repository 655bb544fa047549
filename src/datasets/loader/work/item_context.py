"""The context that all items of a pod share, and one attempt to load an item in it."""

from __future__ import annotations

import dataclasses

from ..base import progress, tasks
from ..base.limiter import Limiter
from ..http import http_client, remote_object
from ..tree import tree_writer
from . import item_run, item_version, plan


@dataclasses.dataclass(frozen=True)
class LoadContext:
    """The context that all items of a pod share.

    Attributes:
        task: The task.
        client: The HTTP client.
        tree: The writer of files.
        counter: The progress of this pod.
        limiter: The limiter of the sources.
        single: Whether the plan has only one item, whose size is then the total.
    """

    task: tasks.Task
    client: http_client.Client
    tree: tree_writer.TreeWriter
    counter: progress.Counter
    limiter: Limiter
    single: bool = False


@dataclasses.dataclass(frozen=True)
class ItemFetch:
    """One attempt to load an item.

    Attributes:
        run: The item.
        source: The source object that it is, or is in.
        connections: The number of connections that it may use.
        context: The context.
    """

    run: item_run.ItemRun
    source: remote_object.RemoteObject
    connections: int
    context: LoadContext


def open_source(run: item_run.ItemRun, context: LoadContext) -> remote_object.RemoteObject:
    """Return the source object of an item, without a request for it."""
    return open_object(run.item, run, context)


def open_object(
    item: plan.Item, run: item_run.ItemRun, context: LoadContext
) -> remote_object.RemoteObject:
    """Return the source object of an item, or of a part of a run's item."""
    source = remote_object.RemoteObject(
        context.client,
        item_run.url_of(item, context.task),
        auth=item.auth,
        size=item.size,
        validator=item.validator,
        on_received=context.counter.add_fetched if item.kind != plan.HASH else lambda _: None,
        on_version_lost=lambda: item_version.forget(run),
    )
    # Only objects that can be read in ranges are planned in parts; S3 serves ranges of any object.
    listed = item.kind == plan.FILE and bool(item.validator)
    if listed or item.kind in {plan.PART, plan.INNER, plan.HASH}:
        source.assume_ranges()
    return source
