"""Plan of a run before it starts: which stages have how many items to do and why, and what that will take.

Why is found by comparing an item's next key with the one that its last report refers to. Time and disk come from what
the same stages took in past runs of the workspace.
"""

import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ...datasets.store.atomic_io import unseal_json
from ...datasets.store.location import Location
from ...datasets.store.references import StageCost, read_references, stage_costs
from ...datasets.store.store import MANIFEST, StageKey, result_folder
from .item import ItemProgress, Stage, progress_tree
from .run import Run

NEW, DAMAGED = "new input", "damaged or gone"


@dataclass(kw_only=True)
class StagePlan:
    """Work of one stage in a coming run."""

    stage: str
    items: int = 0
    """Items that it would be computed for; an upper bound where an earlier stage has to be done first."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Number of items by why: new input, changed code, changed model, changed setting NAME, damaged or gone."""
    is_estimate: bool = False
    """Whether the number of items depends on what earlier stages find."""
    seconds: float | None = None
    """Time over all workers by past runs; None where none is known."""
    size_bytes: int | None = None
    """Space that its results take by past runs."""


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """Work of a coming run over one source."""

    source: str
    stages: tuple[StagePlan, ...]
    """Those with something to do, in order."""
    workers: int
    free_bytes: int | None
    """Space left on a local workspace's disk."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Items by the stage that each waits for, where the stages that were chosen have nothing to do."""

    @property
    def seconds(self) -> float | None:
        """Time that the run will take, as far as it is known."""
        known = [stage.seconds for stage in self.stages if stage.seconds is not None]
        return sum(known) / self.workers if known else None

    @property
    def size_bytes(self) -> int | None:
        """Space that its results will take, as far as it is known."""
        known = [stage.size_bytes for stage in self.stages if stage.size_bytes is not None]
        return sum(known) if known else None

    def __str__(self) -> str:
        if not self.stages:
            waits = " and ".join(f"{items} for {stage}" for stage, items in self.waiting.items())
            return f"{self.source}: nothing to do" + (f" in these stages; items wait: {waits}" if waits else "")
        work = ", ".join(f"{stage.stage} {'up to ' * stage.is_estimate}{stage.items}" for stage in self.stages)
        parts = [f"about {format_seconds(self.seconds)}"] if self.seconds is not None else []
        parts += [f"{format_bytes(self.size_bytes)} of disk"] if self.size_bytes is not None else []
        needs = f"by past runs {' and '.join(parts)}" if parts else "no past run says how long it takes"
        free = f"; {format_bytes(self.free_bytes)} are free" if self.free_bytes is not None else ""
        if None not in (self.free_bytes, self.size_bytes) and self.free_bytes < self.size_bytes:  # type: ignore[operator]
            free += ", which is less: the run will stop before the disk is full"
        return f"{self.source}: to do: {work}; {needs}{free}"


def plan_run(run: Run) -> RunPlan:
    """Look at every item that the run would take; nothing is computed."""
    plans = {stage.name: StagePlan(stage=stage.name) for stage in run.stages}
    past = _PastRun(run)
    for part in run.iter_selected():
        assert part.next_stage is not None, "only items with something to do are selected"
        reason = past.reason(part, part.next_stage)
        coming = [stage for stage in run.stages if stage in _coming(part, run) and _is_due(stage, part, run)]
        for stage in run.selection.stages_of(tuple(coming)):
            plan = plans[stage.name]
            splits = stage.name not in {own.name for own in part.stages}
            plan.items += past.parts_of_item if splits else 1
            plan.is_estimate |= stage is not part.next_stage
            plan.reasons[reason] += past.parts_of_item if splits else 1
    for name, plan in plans.items():
        if plan.items and (cost := past.costs.get(name)) is not None:
            plan.size_bytes = round(plan.items * cost.size_bytes / cost.results)
            plan.seconds = None if cost.mean_seconds is None else round(plan.items * cost.mean_seconds, 1)
    waiting: Counter[str] = Counter()
    if run.selection.stages and not any(plan.items for plan in plans.values()):
        parts = (part for item in run.iter_items() for part in progress_tree(item))
        waiting.update(part.next_stage.name for part in parts if part.next_stage is not None)
    local = run.workspace.local
    return RunPlan(
        source=run.source.name,
        stages=tuple(plan for plan in plans.values() if plan.items),
        workers=run.workers,
        free_bytes=None if local is None else free_bytes(local),
        waiting=waiting,
    )


def free_bytes(folder: Any) -> int:
    """Space left on the disk of a folder, which may not be there yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def format_bytes(size_bytes: int | float | None) -> str:
    """A size with its unit."""
    size = float(size_bytes or 0)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def format_seconds(seconds: int | float | None) -> str:
    """A time with its unit."""
    value = seconds or 0
    return f"{value:.0f} s" if value < 90 else f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"


def _coming(part: ItemProgress, run: Run) -> Sequence[Stage]:
    """The stages that an item and what it is split into have still before them."""
    names = [stage.name for stage in part.stages]
    assert part.next_stage is not None, "something is left to do"
    own = part.stages[names.index(part.next_stage.name) :]
    last = run.stages.index(part.stages[-1])
    return (*own, *(run.stages[last + 1 :] if part.stages[-1].splits else ()))


def _is_due(stage: Stage, part: ItemProgress, run: Run) -> bool:
    """Whether a stage counts: one that mends results is for few items, and for none before they are known."""
    return not stage.replaces or stage.applies(part.stage_input(stage, run.store))


class _PastRun:
    """Facts of earlier reports of a workspace; each part is read when it is asked for."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @cached_property
    def costs(self) -> dict[str, StageCost]:
        """Cost of each stage, in this source or else in any other."""
        source = self._run.source.name
        others = [name for name in self._run.workspace.top("sources") if name != source]
        costs: dict[str, StageCost] = {}
        for name in (*others, source):
            costs |= stage_costs(self._run.workspace, name)
        return costs

    @cached_property
    def parts_of_item(self) -> int:
        """Number of clips that a listed item was split into on average, at least 1."""
        counts = stage_costs(self._run.workspace, self._run.source.name)
        first = counts.get(self._run.stages[0].name)
        last = next((counts[stage.name] for stage in reversed(self._run.stages) if stage.name in counts), None)
        return max(1, round(last.results / first.results)) if first and last else 1

    @cached_property
    def _keys(self) -> dict[tuple[str, str], bytes]:
        """Key that the last report refers to, by item and stage; read when the first item has something to do."""
        columns = ("item", "stage", "key")
        table = read_references(self._run.workspace, self._run.source.name, columns)
        rows = zip(*(table.column(name).to_pylist() for name in columns), strict=True)
        return {(item, sys.intern(stage)): bytes.fromhex(key) for item, stage, key in rows}

    def reason(self, part: ItemProgress, stage: Stage) -> str:
        """Why a stage is to be done for an item."""
        key = part.stage_key(stage, self._run.store)
        before = self._keys.get((part.item.id, stage.name))
        if before is None:
            return NEW
        if before.hex() == key.key:
            return DAMAGED
        past = _read_key(self._run.workspace, stage.name, before.hex())
        return "changed" if past is None else compare_keys(past, key)


def compare_keys(past: Mapping[str, Any], key: StageKey) -> str:
    """Why a stage's key is not what it was: the gravest difference, in words."""
    if past["version"] != key.version:
        return "changed code"
    if settings := changed_settings(past["settings"], key.settings):
        return f"changed setting {', '.join(settings[:3])}{', ...' * (len(settings) > 3)}"
    names = {
        name for name in past["inputs"].keys() | key.inputs.keys() if past["inputs"].get(name) != key.inputs.get(name)
    }
    if any(name.startswith(("weights", "model", "revision")) for name in names):
        return "changed model"
    return NEW


def changed_settings(past: Any, present: Any, name: str = "") -> list[str]:
    """Names of the settings that differ between two nested values."""
    if not (isinstance(past, Mapping) and isinstance(present, Mapping)):
        is_same = past == present or (isinstance(present, tuple) and past == list(present))
        return [] if is_same else [name]
    prefix = f"{name}." if name else ""
    keys = sorted(past.keys() | present.keys())
    return [changed for key in keys for changed in changed_settings(past.get(key), present.get(key), f"{prefix}{key}")]


def _read_key(workspace: Location, stage: str, key: str) -> Mapping[str, Any] | None:
    """The description of a result that an earlier report refers to; None where it is gone."""
    try:
        return unseal_json(workspace.read(f"{result_folder(stage, key)}/{MANIFEST}"))
    except (OSError, ValueError):
        return None
