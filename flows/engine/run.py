"""One run over a source: its items, what is still to do of each, phase by phase, and the report at the end.

A killed run can be resumed: all that counts is in the store.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from ...datasets.store.atomic_io import key_digest, partial_beside
from ...datasets.store.index import ResultStamp, WorkspaceIndex, code_digest
from ...datasets.store.location import Location, Place
from ...datasets.store.purges import read_purges
from ...datasets.store.store import Store
from ...datasets.store.upkeep import BATCHES
from ...requirements import RequirementMissing, check_requirements, weights_versions
from .batches import BATCH_CLIPS, WORKING_BYTES, Batch, Failure, read_seconds, split_evenly, write_batch
from .item import Item, ItemKind, ItemProgress, Stage, UnusableItem, progress_tree
from .selection import Selection
from .workers import Demand, worker_bytes, worker_count

BLENDER_BYTES = 1200 * 1024**2
"""Memory of a worker's Blender process with users' assets and smoke, beside its own; a plain scene takes 450 MB."""
PROGRESS_KEPT = 1000
"""Listed items whose progress is kept from phase to phase; that of a video with ten clips takes 0.8 MB."""
REPAIRS = 3
"""Rounds in which a run makes anew what proved damaged: a clip's layer, its video's, one damaged meanwhile."""
ReportProgress = Callable[[str, int, int], None]
"""Called with the name of a phase, the number of finished pieces of work, and the number of all pieces."""


def ignore_progress(phase: str, finished: int, total: int) -> None:
    """Report progress to nobody."""


class ProgressCounter:
    """A count of pieces of work that any thread may raise; each change is reported."""

    def __init__(self, phase: str, total: int, report_progress: ReportProgress) -> None:
        self._phase, self._total, self._report = phase, total, report_progress
        self._done = 0
        self._lock = threading.Lock()
        if total:
            report_progress(phase, 0, total)

    def advance(self) -> None:
        """Count one more piece."""
        with self._lock:
            self._done += 1
            self._report(self._phase, self._done, self._total)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Consecutive stages that one worker runs on a batch, so that each video is decoded once for all of them."""

    name: str
    stages: tuple[Stage, ...]


class Run:
    """One run over a source of items of one kind.

    The progress of an item is read from the store where it is needed, and that of few is kept: 100,000 items with all
    their facts take 8 GB. Those that the index knows to be finished are not even read.

    Attributes:
        items: every item that was listed, or why it cannot be used.
        failures: the first failure of each item in this run, by the item's id.
        index: memory of earlier runs.
        listing: results of the listing itself, such as descriptions of scenes.
        seconds: time that the making of each result took in this run, by its key.
        is_remembered: whether the index knew all that was looked at.
    """

    def __init__(
        self, kind: ItemKind, source: Any, workspace: Place, workers: int = 0, selection: Selection = Selection()
    ) -> None:
        """List the items and delete what an earlier, killed run left half-made.

        workers=0 takes as many processes as the machine's cores and memory allow.

        Raises:
            ValueError: the source as a whole cannot be read, e.g. its root is missing, or it has no such stage.
        """
        self.kind, self.source, self.selection = kind, source, selection
        location = Location.of(workspace)
        self.index = WorkspaceIndex(location)
        self.store = Store(location, index=self.index)
        self.workspace: Location = self.store.workspace
        self.store.sweep()
        self.stages: tuple[Stage, ...] = kind.stages(source)
        selection.check_stages(self.stages)
        self.purges = read_purges(location)
        self.items: tuple[Item | UnusableItem, ...] = tuple(map(self._purged, kind.list_items(source, self.store)))
        self.listing = self.store.take_touched()
        self.failures: dict[str, Failure] = {}
        stage_values = [(stage.name, stage.version, stage.settings) for stage in self.stages]
        versions = [code_digest(), weights_versions(source), self.purges.digest, self.store.decisions.overlays_digest]
        self._salt = key_digest([repr(source), stage_values, versions])
        self._fingerprints: dict[str, str] = {}
        self._finished: set[int] = set()
        self._selected: set[int] | None = None
        self._progress: OrderedDict[int, ItemProgress] = OrderedDict()
        self.seconds: dict[str, float] = {}
        self.is_remembered = True
        self._forget_progress()
        uses = {resource for stage in self.stages for resource in stage.uses}
        if "gpu" in uses:
            self.workers = workers or 1  # each loads a model of its own: ask for as many as there are GPUs
        else:
            extra_bytes = BLENDER_BYTES if "blender" in uses else 0
            self.workers = worker_count(max(source.clip_bytes, WORKING_BYTES), workers, beside_bytes=extra_bytes)

    @property
    def folder(self) -> Location:
        """Folder of the source in the workspace."""
        return Location(self.workspace.path(f"sources/{self.source.name}"))

    @property
    def phases(self) -> list[Phase]:
        """Phases in order; a stage that splits items ends its phase."""
        groups: list[list[Stage]] = []
        for stage in self.stages:
            before = groups[-1][-1] if groups else None
            if before is not None and stage.phase and stage.phase == before.phase and not before.splits:
                groups[-1].append(stage)
            else:
                groups.append([stage])
        phases = [Phase(name=stages[0].phase or stages[0].name, stages=tuple(stages)) for stages in groups]
        chosen = [replace(phase, stages=self.selection.stages_of(phase.stages)) for phase in phases]
        return [phase for phase in chosen if phase.stages]

    def demand(self, phase: Phase) -> Demand:
        """Demand of one batch of a phase on the worker that takes it."""
        uses = {resource for stage in phase.stages for resource in stage.uses}
        beside_bytes = BLENDER_BYTES if "blender" in uses else 0
        memory_bytes = worker_bytes(max(self.source.clip_bytes, WORKING_BYTES), beside_bytes)
        return Demand(memory_bytes=memory_bytes, blender="blender" in uses, gpu="gpu" in uses)

    def iter_phases(self) -> Iterator[Phase]:
        """Phases in order; all again, up to `REPAIRS` times, where a damaged or missing layer of an earlier one showed.

        Only what is missing is then made: the rest is in the store. A caller does each phase before it asks for the
        next.
        """
        yield from self._phases_until_stopped()
        for _ in range(REPAIRS):
            damaged = [item_id for item_id, failure in self.failures.items() if failure.damaged]
            if not damaged:
                return
            for item_id in damaged:
                del self.failures[item_id]
            self.delete_batches()
            self._forget_progress()
            yield from self._phases_until_stopped()

    @property
    def stop_reason(self) -> str | None:
        """Why the run does not go on, if it does not: no space is left for more results."""
        return next((failure.reason for failure in self.failures.values() if failure.disk_full), None)

    def _phases_until_stopped(self) -> Iterator[Phase]:
        return takewhile(lambda phase: self.stop_reason is None, iter(self.phases))

    def check_done(self) -> bool:
        """Read the store again; return whether it holds a result for every stage of every item."""
        return next(self.iter_pending(), None) is None

    def check_requirements(self) -> None:
        """Check that the models and packages that the settings name are here, if anything is left to do.

        Raises:
            RequirementMissing: naming each that is missing, and the way to get it.
        """
        try:
            check_requirements(self.source)
        except RequirementMissing:
            if not self.check_done():
                raise

    def read_progress(self, number: int) -> ItemProgress | UnusableItem:
        """Progress of an item by what the store has now, without the parts of it that were purged."""
        item = self.items[number]
        if isinstance(item, UnusableItem):
            return item
        progress = self._progress.setdefault(number, ItemProgress(item, self.stages, self.source))
        if len(self._progress) > PROGRESS_KEPT:
            self._progress.popitem(last=False)
        progress.refresh(self.store)
        if progress.children is not None:
            progress.children = [self._purged(part) for part in progress.children]
        return progress

    def iter_items(self) -> Iterator[ItemProgress]:
        """Progress of every item: of those listed, and of those that they were split into."""
        for number in range(len(self.items)):
            yield from progress_tree(self.read_progress(number))

    def iter_pending(self) -> Iterator[tuple[int, ItemProgress]]:
        """Number and progress of each listed item that has something left to do, itself or a part of it."""
        for number, item in enumerate(self.items):
            if number in self._finished or isinstance(item, UnusableItem):
                continue
            progress = None if self.recall(item) is not None else self.read_progress(number)
            self.is_remembered &= progress is None
            if any(part.next_stage is not None for part in progress_tree(progress)):
                yield number, progress  # type: ignore[misc]
            else:
                self._finished.add(number)

    def iter_selected(self) -> Iterator[ItemProgress]:
        """Progress of every item that has something left to do in this run, by its selection."""
        if self._selected is None:
            in_turn = (
                number for number, progress in self.iter_pending() if self.selection.takes(progress, self.source)
            )
            self._selected = set(islice(in_turn, self.selection.limit)) if self.selection.limit else set()
        for number, progress in self.iter_pending():
            yield from (part for part in progress_tree(progress) if self.is_selected(number, part, progress))

    def recall(self, item: Item) -> list[ResultStamp] | None:
        """Results of an item that the index knows to be finished, all of which are still as they were."""
        return self.index.results(self.source.name, item.id, self.fingerprint(item))

    def fingerprint(self, item: Item) -> str:
        """Digest of all that decides what becomes of an item."""
        if item.id not in self._fingerprints:
            self._fingerprints[item.id] = hashlib.sha256(f"{self._salt}{item!r}".encode()).hexdigest()
        return self._fingerprints[item.id]

    def state(self) -> str:
        """Digest of all that decides what becomes of all items."""
        sha256 = hashlib.sha256()
        for item in self.items:
            sha256.update((self.fingerprint(item) if isinstance(item, Item) else repr(item)).encode())
        return sha256.hexdigest()

    def is_selected(self, number: int, part: ItemProgress, progress: ItemProgress) -> bool:
        """Whether the next stage of a part of an item was to run by the selection."""
        chosen = not self.selection.limit or number in (self._selected or ())
        return chosen and self.selection.takes_part(part, progress, self.source)

    def write_pending_batches(self, phase: Phase) -> list[Batch]:
        """Write a file for each batch of items whose next stage is in this phase; return the batches."""
        names = {stage.name for stage in phase.stages}
        items = (part.snapshot() for part in self.iter_selected() if part.next_stage and part.next_stage.name in names)
        first = phase.stages[0]
        if first.takes_all_items:
            everything = list(items)
            groups: Iterable[Any] = [everything] if everything else []
        else:
            # Larger clips make smaller batches: one batch fits the cache of a worker.
            size = first.batch_items or max(1, BATCH_CLIPS * WORKING_BYTES // max(1, self.source.clip_bytes))
            groups = split_evenly(items, size=size, workers=self.workers)
        return [
            write_batch(group, f"{first.batch_name}-{number:04d}", self._batches) for number, group in enumerate(groups)
        ]

    def delete_batches(self) -> None:
        """Delete the files of the run's batches, of which nothing is left to do; the times that workers took stay."""
        self.seconds |= read_seconds(self._batches)
        self._batches.delete()

    def _forget_progress(self) -> None:
        """Take nothing as done but what the store has."""
        self._finished.clear()
        self._progress.clear()
        # A folder for each run: two of one source at once share none, and a killed run's is swept like other partials.
        self._batches = Location(self.folder.path(str(partial_beside(Path(BATCHES)))))

    def _purged(self, item: Any) -> Any:
        """An item, or what stands in its place in the report where it was purged."""
        name = item.item.id if isinstance(item, ItemProgress) else item.id
        reason = self.purges.source_reason(self.source) or self.purges.reason(name)
        return item if reason is None else UnusableItem(id=name, stage="list", reason=reason, outcome="purged")

    def record_failures(self, failures: Iterable[Failure]) -> None:
        """Keep the first failure of each item."""
        for failure in failures:
            self.failures.setdefault(failure.item, failure)
