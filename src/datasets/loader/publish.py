"""The end of a load: what all pods have brought is verified, and becomes the data set."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

from . import failure, files, journal, links, place, plan, readback, runs, spec, volume


class Publication:
    """What a finished load becomes.

    Args:
        task: The task.
        where: The load's directory.
        planned: Its plan.
        tick: Told what is going on, now and then: the state, the files and the bytes so far.
    """

    def __init__(
        self,
        task: spec.Spec,
        where: place.Place,
        planned: plan.Plan,
        tick: Callable[[int, int], None],
    ) -> None:
        self._task = task
        self._place = where
        self._plan = planned
        self._tick = tick
        self._replaced: set[str] = set()
        self._contents: set[str] = set()
        self._results: dict[int, dict[str, Any]] = {}
        self._checksums: set[str] = set()
        self._unread: dict[str, plan.Item] = {}
        self._files = self._bytes = 0
        self._journals = where.journals(planned.shards)
        self._has_links = False

    def verify(self) -> spec.Result:
        """Makes the links and the list of files, and compares what has not been compared yet.

        Raises:
            Failure: Something is not as it should be; nothing is published.
        """
        self._survey()
        tree = files.Files(str(self._place.tree), self._task)
        tree.own_root()
        if self._has_links:
            self._files += links.make(tree, self._links())
        with place.create_text(self._place.manifest) as file:
            file.writelines(self._manifest())
        if not self._files:
            raise failure.Failure("the archive holds no files: check that the source is right")
        return self._result()

    def _lines(self, *, files: bool) -> Iterator[journal.Line]:
        return journal.read(self._journals, files=files)

    def _links(self) -> Iterator[journal.Line]:
        return (line for line in self._lines(files=False) if line.kind == journal.LINK)

    def _survey(self) -> None:
        """What has to be known before anything else."""
        for line in self._lines(files=False):
            self._has_links = self._has_links or line.kind == journal.LINK
            if line.kind == journal.REPLACED:
                self._replaced.add(line.path)
            elif line.kind == journal.LINK and line.form == links.CONTENT:
                self._contents.add(line.path)
            elif line.kind == journal.ENDED and line.text:
                self._results[line.item] = json.loads(line.text)
        for shard in range(self._plan.shards):
            for number, item in self._plan.read(shard):
                if item.kind == plan.PART:
                    self._unread[item.path] = item
                elif number not in self._results:
                    raise failure.Failure(
                        "what an earlier pod wrote down is not whole: run delete-dataset, then "
                        "create-dataset again"
                    )

    def _manifest(self) -> Iterator[str]:
        """The lines of the list of files."""
        twice: dict[str, journal.Line] = {}
        for line in self._lines(files=True):
            if line.kind == journal.FILE and line.path not in self._contents:
                if line.path in self._unread and line.text:
                    raise _two_sources(line.path)
                if line.path in self._replaced:
                    self._keep_last(twice, line)
                else:
                    yield self._file(line)
            elif line.kind == journal.LINK and line.form != links.EXECUTABLE:
                kind = "same" if line.form == links.HARD else "link"
                fields = {"path": line.path, kind: line.text or self._target(line.path)}
                yield json.dumps(fields) + "\n"
        for line in twice.values():
            yield self._file(line)
        for path, item in self._unread.items():
            yield self._file(journal.Line(journal.FILE, 0, 0, path, item.size or 0))

    def _keep_last(self, twice: dict[str, journal.Line], line: journal.Line) -> None:
        """Of one archive's members of one path the last one counts; two sources have none."""
        before = twice.setdefault(line.path, line)
        if before.item != line.item:
            raise _two_sources(line.path)
        if line.number > before.number:
            twice[line.path] = line

    def _file(self, line: journal.Line) -> str:
        sha256 = line.text or self._read_back(line)
        self._files += 1
        self._bytes += line.size
        self._tick(self._files, self._bytes)
        # By hand, as there are so many.
        path = json.dumps(line.path)
        return f'{{"path": {path}, "bytes": {line.size}, "sha256": "{sha256}"}}\n'

    def _read_back(self, line: journal.Line) -> str:
        """The checksum of a file that nobody saw whole."""
        item = self._unread.get(line.path) or self._item(line.item)
        wanted = item.checksum.partition(":")[0] or "sha256"
        full = self._place.tree / line.path
        digests = readback.digests(
            full, {"sha256", wanted}, lambda: self._tick(self._files, self._bytes)
        )
        if full.stat().st_size != line.size:
            raise failure.Failure(
                f"{failure.shown(line.path)} has not the size that it should have: run "
                "delete-dataset, then create-dataset again"
            )
        checksum = runs.compare_digest(item, runs.url_of(item, self._task), digests[wanted])
        self._checksums.add(checksum)
        return digests["sha256"]

    def _item(self, wanted: int) -> plan.Item:
        return next(
            item
            for shard in range(self._plan.shards)
            for number, item in self._plan.read(shard)
            if number == wanted
        )

    def _target(self, path: str) -> str:
        return os.readlink(self._place.tree / path)  # noqa: PTH115 - of 3.9

    def _result(self) -> spec.Result:
        results = list(self._results.values())
        forms = {each["form"] for each in results if each["form"]}
        checksums = self._checksums | {each["checksum"] for each in results if each["checksum"]}
        return spec.Result(
            files=self._files,
            bytes=self._bytes,
            seconds=0,
            path=f"/{volume.DATASETS}/{self._task.name}",
            version=self._place.version,
            checksum=checksums.pop() if len(checksums) == 1 else "",
            fetched=sum(each["fetched"] for each in results),
            form=forms.pop() if len(forms) == 1 else "many",
            shards=self._plan.shards,
        )


def _two_sources(path: str) -> failure.Failure:
    return failure.Failure(
        f"two sources have {failure.shown(path)}: give each of them a path of its own, or leave "
        "one out"
    )
