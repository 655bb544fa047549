"""One pod's part of a load: the plan, the work and, for the last pod, the publication."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from ... import protocol
from ..base import failure, limiter, progress, report, tasks
from ..http import http_client, origins
from ..sources import expansion
from ..store import load_directory, versions, volume
from ..tree import files, tree_writer
from . import item_context, item_loader, list_queries, plan, planner, publish, shard_worker


class PodLoad:
    """One pod's part of a load in one directory.

    Args:
        task: The task.
        stored: The data set on the volume.
        directory: The load directory.
        reporter: Reports the progress.
        counter: The progress of this pod.
        known: What earlier attempts know about the origins.
        index: This pod's index.
    """

    def __init__(
        self,
        task: tasks.Task,
        stored: volume.StoredDataSet,
        directory: load_directory.LoadDirectory,
        *,
        reporter: report.Report,
        counter: progress.Counter,
        known: origins.Origins,
        index: int,
    ) -> None:
        self._task = task
        self._stored = stored
        self._directory = directory
        self._reporter = reporter
        self._index = index
        self._counter = counter
        self._counter.shared = task.indexes > 1
        signers, refused = expansion.signers(task)
        policy = expansion.address_policy(task)
        self._client = http_client.Client(
            task.timeout_seconds, signers, refused, policy, known, openers=expansion.openers(task)
        )
        self._known = known
        # The main thread itself makes the plan.
        known.tick = lambda: self._reporter.write_progress(protocol.PREPARING, self._fields)
        self._queries = list_queries.ListQueries(task, self._client)

    def run(self) -> versions.PublishedVersion | None:
        """Do this pod's part; publish the data set if no part is left.

        Returns:
            The published version; None if other pods still work on it.

        Raises:
            LoadGone: Another pod has published or removed the load meanwhile.
            StartOver: The whole load has to start over.
            Failure: It cannot be loaded.
            OSError: The volume failed.
        """
        with contextlib.closing(self._client):
            return self._run()

    def _run(self) -> versions.PublishedVersion | None:
        planned = self._read_or_write_plan()
        self._counter.total = planned.total
        self._known.tick = lambda: None
        self._work(planned)
        if len(self._directory.finished_shards()) < planned.shards:
            return None
        # The first pod publishes; the others wait for it, or publish if it is killed.
        with self._directory.locked(load_directory.END):
            if self._task.indexes > 1:
                self._stored.refresh()
            current = self._stored.current()
            if current and current.result and current.version == self._directory.version:
                return self._keep_existing(dataclasses.replace(current.result, existing=True))
            return self._publish(planned)

    def _read_or_write_plan(self) -> plan.Plan:
        with self._directory.locked(load_directory.PLAN):
            self._directory.check()
            directory = self._directory.directory
            planned = plan.read(directory)
            if planned is None:
                items = planner.bounded(
                    planner.items(self._task, self._client, self._queries), self._task.limits
                )
                planned = plan.write(directory, items, self._queries, indexes=self._task.indexes)
        return planned

    def _work(self, planned: plan.Plan) -> None:
        tree = tree_writer.TreeWriter(files.TreeFiles(self._directory.tree, self._task))
        context = item_context.LoadContext(
            self._task,
            self._client,
            tree,
            self._counter,
            limiter.Limiter(self._task.limits),
            single=planned.items == 1,
        )
        worker = shard_worker.ShardWorker(
            self._directory,
            planned,
            self._queries,
            item_loader.ItemLoader(context),
            index=self._index,
            indexes=self._task.indexes,
        )
        worker.run(lambda: self._reporter.write_progress(protocol.TRANSFERRING, self._fields))
        tree.close()

    def _fields(self) -> dict[str, Any]:
        """Return the fields of a line of progress."""
        waiting = self._known.waiting()
        return {**self._counter.fields(), **({"waiting": waiting} if waiting else {})}

    def _keep_existing(self, result: tasks.Result) -> versions.PublishedVersion:
        # The pod that published it may have been killed before it removed the trash.
        with contextlib.suppress(failure.Failure, OSError), self._stored.locked():
            current = self._stored.current()
            if current and current.result and current.version == self._directory.version:
                return self._stored.keep_current(current, result, self._directory.version)
        return versions.PublishedVersion(result, None)

    def _publish(self, planned: plan.Plan) -> versions.PublishedVersion:
        if not self._directory.has_tree():
            # Another pod was killed when it had moved the files to where they are published.
            with self._stored.locked():
                if published := self._stored.finish(self._task, self._stored.current()):
                    return published
            raise load_directory.LoadGone
        self._reporter.write_state(protocol.VERIFYING, **self._counter.fields())

        def tick(files: int, size: int) -> None:
            verified = {"verified_files": files, "verified_bytes": size}
            self._reporter.write_progress(
                protocol.VERIFYING, lambda: {**self._counter.fields(), **verified}
            )

        publication = publish.Publication(self._task, self._directory, planned, tick)
        result = dataclasses.replace(publication.verify(), seconds=self._reporter.seconds)
        with self._stored.locked():
            self._directory.check()
            return self._stored.publish(
                self._directory.directory, load_directory.TREE, self._task, result
            )
