"""One run over a source: its items, what is still to do of each, phase by phase, and the report at the end.

A killed run can be resumed: all that counts is in the store.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...datasets.store.atomic_io import partial_beside
from ...datasets.store.location import Location, Place
from ...datasets.store.store import Store
from ...requirements import RequirementMissing, check_requirements
from .batches import BATCH_CLIPS, WORKING_BYTES, Batch, Failure, split_evenly, write_batch
from .item import ItemKind, ItemProgress, Stage, UnusableItem
from .workers import Demand, worker_bytes, worker_count

BLENDER_BYTES = 1200 * 1024**2
"""Memory of a worker's Blender process with users' assets and smoke, beside its own; a plain scene takes 450 MB."""
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

    Attributes:
        items: progress of every item that was listed, or why it cannot be used.
        failures: the first failure of each item in this run, by the item's id.
    """

    def __init__(self, kind: ItemKind, source: Any, workspace: Place, workers: int = 0) -> None:
        """List the items and delete what an earlier, killed run left half-made.

        workers=0 takes as many processes as the machine's cores and memory allow.

        Raises:
            ValueError: the source as a whole cannot be read, e.g. its root is missing.
        """
        self.kind, self.source = kind, source
        self.store = Store(workspace)
        self.workspace: Location = self.store.workspace
        self.store.sweep()
        self.stages: tuple[Stage, ...] = kind.stages(source)
        self._listed = tuple(kind.list_items(source, self.store))
        self.failures: dict[str, Failure] = {}
        self._forget_progress()
        uses = {resource for stage in self.stages for resource in stage.uses}
        if "gpu" in uses:
            self.workers = workers or 1  # each loads a model of its own: ask for as many as there are GPUs
        else:
            extra_bytes = BLENDER_BYTES if "blender" in uses else 0
            self.workers = worker_count(max(source.clip_bytes, WORKING_BYTES), workers, beside_bytes=extra_bytes)

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
        return [Phase(name=stages[0].phase or stages[0].name, stages=tuple(stages)) for stages in groups]

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
        yield from self.phases
        for _ in range(REPAIRS):
            damaged = [item_id for item_id, failure in self.failures.items() if failure.damaged]
            if not damaged:
                return
            for item_id in damaged:
                del self.failures[item_id]
            self.delete_batches()
            self._forget_progress()
            yield from self.phases

    def check_done(self) -> bool:
        """Read the store again; return whether it holds a result for every stage of every item."""
        self.refresh()
        return all(progress.next_stage is None for progress in self.iter_items())

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

    def refresh(self) -> None:
        """Read what the store has of every item."""
        for progress in self.items:
            if isinstance(progress, ItemProgress):
                progress.refresh(self.store)

    def iter_items(self) -> Iterator[ItemProgress]:
        """Progress of every item: of those listed, and of those that they were split into."""
        waiting = list(reversed(self.items))
        while waiting:
            progress = waiting.pop()
            if isinstance(progress, ItemProgress):
                yield progress
                waiting += reversed(progress.children or ())

    def write_pending_batches(self, phase: Phase) -> list[Batch]:
        """Write a file for each batch of items whose next stage is in this phase; return the batches."""
        self.refresh()
        names = {stage.name for stage in phase.stages}
        items = [
            progress.snapshot()
            for progress in self.iter_items()
            if progress.next_stage is not None and progress.next_stage.name in names
        ]
        first = phase.stages[0]
        if first.takes_all_items:
            groups: list[Any] = [items] if items else []
        else:
            # Larger clips make smaller batches: one batch fits the cache of a worker.
            size = first.batch_items or max(1, BATCH_CLIPS * WORKING_BYTES // max(1, self.source.clip_bytes))
            groups = split_evenly(items, size=size, workers=self.workers)
        return [
            write_batch(group, f"{first.batch_name}-{number:04d}", self._batches) for number, group in enumerate(groups)
        ]

    def delete_batches(self) -> None:
        """Delete the files of the run's batches: nothing is left to do."""
        self._batches.delete()

    def _forget_progress(self) -> None:
        """Take nothing as done but what the store has."""
        self.items = [
            item if isinstance(item, UnusableItem) else ItemProgress(item, self.stages, self.source)
            for item in self._listed
        ]
        # A folder for each run: two of one source at once share none, and a killed run's is swept like other partials.
        folder = self.workspace.path(f"sources/{self.source.name}")
        self._batches = Location(f"{folder}/{partial_beside(Path('batches'))}")

    def record_failures(self, failures: Iterable[Failure]) -> None:
        """Keep the first failure of each item."""
        for failure in failures:
            self.failures.setdefault(failure.item, failure)
