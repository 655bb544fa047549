"""One pod's part of a load, from beginning to end: plan, work, and, for the last one, publish."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import pathlib
import time

from . import (
    budget,
    entries,
    failure,
    files,
    http_client,
    items,
    meter,
    place,
    plan,
    planner,
    publish,
    remote,
    removal,
    report,
    spec,
    volume,
    work,
    writer,
)

MOST_ATTEMPTS = 5
LOOK_AGAIN_SECONDS = 1.0


def load(
    task: spec.Spec, told: report.Report, counts: meter.Meter, *, index: int
) -> spec.Result | None:
    """Does what is to be done, and publishes the data set if this was the last of it.

    Args:
        task: What to load.
        told: Is told how far it is.
        counts: Counts what this pod does.
        index: This pod's index.

    Returns:
        What was published, now or before; None where other pods still work on it.

    Raises:
        Failure: It can not be done; nothing was published.
    """
    slot = volume.Slot(pathlib.Path(task.root), task.name)
    reason = ""
    for attempt in range(MOST_ATTEMPTS):
        told.state("preparing", source=task.shown)
        if attempt:
            counts.reset()
        with slot.locked():
            slot.forget()
            current = slot.current()
            if current and is_wanted(current, task) and current.result:
                return dataclasses.replace(current.result, existing=True)
            where = slot.load(task, current)
        try:
            result = _Load(task, slot, where, told=told, counts=counts, index=index).run()
        except place.Gone:
            reason = "was published or removed by others meanwhile"
        except remote.StartOver as trouble:
            reason = trouble.reason
            where.supersede(reason)
            told.state("starting over", reason=reason)
        except (failure.Failure, OSError) as trouble:
            # What another pod has published is not where it was; caches may not know that yet.
            if isinstance(trouble, OSError) and trouble.errno in {errno.ENOENT, errno.ESTALE}:
                reason = "was published or removed by others meanwhile"
                time.sleep(LOOK_AGAIN_SECONDS)
                continue
            error = failure.from_os(trouble) if isinstance(trouble, OSError) else trouble
            # What can not be done is not gone on with; but other pods may still be at it.
            if task.indexes == 1 and not (_may_be_mended(error) and where.begun()):
                _discard(slot, where)
            where.close()
            raise error from None
        else:
            where.close()
            return result
    raise failure.Failure(
        f"{task.shown} {reason}, {MOST_ATTEMPTS} times: check the source, or try again later"
    )


def _may_be_mended(error: failure.Failure) -> bool:
    """Whether another try may go on with what is there."""
    denied = isinstance(error, http_client.Refused) and error.status in {401, 403}
    return denied or isinstance(error, failure.Later)


def _discard(slot: volume.Slot, where: place.Place) -> None:
    with contextlib.suppress(OSError), slot.locked():
        removal.remove([volume.to_trash(where.path)])
        slot.remove_home()


def is_wanted(current: volume.Record, task: spec.Spec) -> bool:
    """Whether what is published is what the task would make; a request is done only once.

    Raises:
        Failure: It is another one, and is not to be replaced.
    """
    if current.result and current.request == task.version:
        return True
    if task.overwrite:
        return False
    if not current.result or current.fingerprint != task.fingerprint:
        raise failure.Failure(
            f"the data set {task.name} is there already, made with other parameters: choose "
            "another name, or replace it with overwrite=true"
        )
    return True


class _Load:
    """One pod's part of a load in one directory."""

    def __init__(
        self,
        task: spec.Spec,
        slot: volume.Slot,
        where: place.Place,
        *,
        told: report.Report,
        counts: meter.Meter,
        index: int,
    ) -> None:
        self._task = task
        self._slot = slot
        self._place = where
        self._told = told
        self._index = index
        self._meter = counts
        self._meter.shared = task.indexes > 1
        signers, refused = entries.signers(task)
        self._client = http_client.Client(task.timeout_seconds, signers, refused)

    def run(self) -> spec.Result | None:
        with contextlib.closing(self._client):
            return self._run()

    def _run(self) -> spec.Result | None:
        planned = self._planned()
        self._meter.total = planned.total
        self._work(planned)
        if len(self._place.finished()) < planned.shards:
            return None
        # Whoever comes first publishes; the others wait for that, or do it if it is killed.
        with self._place.locked(place.END):
            if self._task.indexes > 1:
                self._slot.forget()
            current = self._slot.current()
            if current and current.result and current.version == self._place.version:
                return dataclasses.replace(current.result, existing=True)
            return self._publish(planned)

    def _planned(self) -> plan.Plan:
        with self._place.locked(place.PLAN):
            self._place.check()
            planned = plan.read(self._place.plan)
            if planned is None:
                found = planner.items(self._task, self._client)
                planned = plan.write(self._place.plan, found, indexes=self._task.indexes)
        return planned

    def _work(self, planned: plan.Plan) -> None:
        tree = writer.Writer(files.Files(str(self._place.tree), self._task))
        alone = planned.items == 1
        limits = budget.Budget(self._task.limits)
        doer = items.Doer(self._task, self._client, tree, self._meter, limits, alone=alone)
        pod = work.Work(self._place, planned, doer, index=self._index, indexes=self._task.indexes)
        pod.run(lambda: self._told.progress("transferring", self._meter.fields))
        tree.close()

    def _publish(self, planned: plan.Plan) -> spec.Result:
        self._told.state("verifying", **self._meter.fields())

        def tick(files: int, size: int) -> None:
            verified = {"verified_files": files, "verified_bytes": size}
            self._told.progress("verifying", lambda: {**self._meter.fields(), **verified})

        publication = publish.Publication(self._task, self._place, planned, tick)
        result = dataclasses.replace(publication.verify(), seconds=self._told.seconds)
        with self._slot.locked():
            self._place.check()
            self._slot.publish(self._place.tree, self._place.manifest, self._task, result)
        return result


def sweep(task: spec.Spec) -> None:
    """Removes what no reader and no load needs any more."""
    slot = volume.Slot(pathlib.Path(task.root), task.name)
    with contextlib.suppress(failure.Failure, OSError):
        with slot.locked():
            trash = slot.litter()
        removal.remove(trash)
        slot.remove_home()
