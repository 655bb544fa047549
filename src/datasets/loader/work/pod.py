"""One pod's part of a load, from beginning to end: plan, work, and, for the last one, publish."""

from __future__ import annotations

import contextlib
import dataclasses

from ... import protocol
from ..base import failure, limiter, progress, report, tasks
from ..http import http_client
from ..sources import expansion
from ..store import load_directory, versions, volume
from ..tree import files, tree_writer
from . import item_context, item_loader, plan, planner, publish, shard_worker


class Pod:
    """One pod's part of a load in one directory.

    Args:
        task: What to load.
        slot: Where it is published.
        where: The load's directory.
        told: Is told how far it is.
        counter: Counts what this pod does.
        index: This pod's index.
    """

    def __init__(
        self,
        task: tasks.Task,
        slot: volume.Slot,
        where: load_directory.Place,
        *,
        told: report.Report,
        counter: progress.Counter,
        index: int,
    ) -> None:
        self._task = task
        self._slot = slot
        self._place = where
        self._told = told
        self._index = index
        self._counter = counter
        self._counter.shared = task.indexes > 1
        signers, refused = expansion.signers(task)
        self._client = http_client.Client(task.timeout_seconds, signers, refused)

    def run(self) -> versions.Published | None:
        """Does it.

        Returns:
            What was published, now or before; None where other pods still work on it.

        Raises:
            Gone: Others have published or removed it meanwhile.
            StartOver: All has to begin anew.
            Failure: It can not be done.
            OSError: The volume failed.
        """
        with contextlib.closing(self._client):
            return self._run()

    def _run(self) -> versions.Published | None:
        planned = self._planned()
        self._counter.total = planned.total
        self._work(planned)
        if len(self._place.finished()) < planned.shards:
            return None
        # Whoever comes first publishes; the others wait for that, or do it if it is killed.
        with self._place.locked(load_directory.END):
            if self._task.indexes > 1:
                self._slot.forget()
            current = self._slot.current()
            if current and current.result and current.version == self._place.version:
                return self._existing(dataclasses.replace(current.result, existing=True))
            return self._publish(planned)

    def _planned(self) -> plan.Plan:
        with self._place.locked(load_directory.PLAN):
            self._place.check()
            planned = plan.read(self._place.plan)
            if planned is None:
                found = planner.items(self._task, self._client)
                planned = plan.write(self._place.plan, found, indexes=self._task.indexes)
        return planned

    def _work(self, planned: plan.Plan) -> None:
        tree = tree_writer.Writer(files.Files(str(self._place.tree), self._task))
        context = item_context.LoadContext(
            self._task,
            self._client,
            tree,
            self._counter,
            limiter.Limiter(self._task.limits),
            single=planned.items == 1,
        )
        share = shard_worker.ShardWorker(
            self._place,
            planned,
            item_loader.ItemLoader(context),
            index=self._index,
            indexes=self._task.indexes,
        )
        share.run(lambda: self._told.progress(protocol.TRANSFERRING, self._counter.fields))
        tree.close()

    def _existing(self, result: tasks.Result) -> versions.Published:
        # Whoever published it may have been killed before it removed what was left.
        with contextlib.suppress(failure.Failure, OSError), self._slot.locked():
            current = self._slot.current()
            if current and current.result and current.version == self._place.version:
                return self._slot.existing(current, result, self._place.version)
        return versions.Published(result, [])

    def _publish(self, planned: plan.Plan) -> versions.Published:
        self._told.state(protocol.VERIFYING, **self._counter.fields())

        def tick(files: int, size: int) -> None:
            verified = {"verified_files": files, "verified_bytes": size}
            self._told.progress(protocol.VERIFYING, lambda: {**self._counter.fields(), **verified})

        publication = publish.Publication(self._task, self._place, planned, tick)
        result = dataclasses.replace(publication.verify(), seconds=self._told.seconds)
        with self._slot.locked():
            self._place.check()
            return self._slot.publish(self._place.tree, self._place.manifest, self._task, result)
