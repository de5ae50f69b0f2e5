"""Items, the stages that they go through, and how far each is.

An item is one thing that becomes a row, or is split into such (a video, a clip of it, a scene, a prompt); a stage says
what it needs, what it makes, and what decides its result; results are read from the store once and then kept.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ...datasets.store.atomic_io import key_digest
from ...datasets.store.codec import Frames
from ...datasets.store.store import LayerRef, ResultWriter, StageKey, StageResult, Store

MAX_SLUG = 110
"""Characters of a name in an id, so that with its source, variant and digest it is not longer than an id may be."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that goes through stages, by reference: it travels between processes as JSON.

    A kind of item derives a class from this one with the fields that its stages need.
    """

    id: str
    """Unique in its source; the `clip_id` where the item becomes a row."""
    fps: float = 16.0
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Digest of the content of each input, by its role."""
    layers: Mapping[str, LayerRef] = field(default_factory=dict)
    """Layers that are there before the item's first stage, by name."""
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Facts that are there before the item's first stage, by the stage that left them."""
    stages_done: int = 0
    """Number of its stages whose results stand in layers and facts already."""

    @property
    def outcome_names(self) -> tuple[str, ...]:
        """Names under which the item stands in the report while its children are not known."""
        return (self.id,)

    def read_layer(self, layer: LayerRef, store: Store) -> Frames:
        """Decode a layer, from memory where this process made or read it lately."""
        return store.layer(layer)


@dataclass(frozen=True, kw_only=True)
class UnusableItem:
    """An item that gives no row, and why; it stands in the report."""

    id: str
    stage: str
    """The stage that refused it; "list" where it was refused before the first."""
    reason: str
    outcome: Literal["reject", "fail", "purged"] = "fail"


@dataclass(frozen=True, kw_only=True)
class StageInput:
    """Input of a stage for one item: the item, its layers and facts so far, and the settings of its source."""

    item: Any
    """An `Item` of the class that the stage expects."""
    source: Any
    store: Store
    layers: Mapping[str, LayerRef]
    facts: Mapping[str, Mapping[str, Any]]
    """Facts by the stage that left them; a stage that refused its input left none."""
    key: str = ""
    """Key of the result that is being made."""
    prepared: Any = None
    """The item's share of what `Stage.prepare` returned."""

    def layer(self, name: str) -> Frames:
        """Decode a layer."""
        return self.item.read_layer(self.layers[name], self.store)  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of an item's way. Its functions are module-level, so that it travels between processes by reference."""

    name: str
    make: Callable[[StageInput, ResultWriter], None]
    """Make the result of one item; a ValueError says that its input cannot be used, and is kept as the result."""
    version: int = 1
    """Raise it when results change; results of older versions are then made again."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that decide the result, as JSON values."""
    needs: tuple[str, ...] = ()
    """Layers that it cannot do without."""
    takes: tuple[str, ...] = ()
    """Layers that it uses where the item has them."""
    reads: tuple[str, ...] = ()
    """Stages whose facts it uses."""
    reads_inputs: bool = False
    """Whether the item's own inputs decide the result, as they do for a first stage."""
    more_inputs: Callable[[StageInput], Mapping[str, str]] = lambda stage_input: {}
    """Digests of whatever else decides the result, by name."""
    applies: Callable[[StageInput], bool] = lambda stage_input: True
    """Whether the item takes this stage at all."""
    splits: Callable[[StageInput], Sequence[Item | UnusableItem]] | None = None
    """From the finished stage to the items that it splits the item into (a video to clips, a scene to variants)."""
    cleanup: Callable[[StageInput], None] | None = None
    """Deletes scratch files of the making; called when the result is whole."""
    prepare: Callable[[Sequence[StageInput]], Sequence[Any]] | None = None
    """One call over up to `batch` items before each is made, for models that take several at once."""
    batch: int = 1
    """Items given to one call of `prepare`."""
    concurrency: int = 1
    """Items in flight at once in one worker, for an endpoint that answers many."""
    phase: str = ""
    """Neighbouring stages of one phase are done one after another by the same worker; by default a phase of its own."""
    batch_name: str = "items"
    """Noun by which batches of the phase are called."""
    batch_items: int = 0
    """Items of one unit of scheduled work, worth 30 to 300 s; 0 takes as many clips as fit a worker's cache."""
    replaces: str = ""
    """Stage whose facts its own stand in for: it mends the result of that one, for the few items that need it."""
    optional: bool = False
    """Whether an item is finished without it: its absence is told in the row and does not fail the clip."""
    stall_s: float = math.inf
    """Seconds without a `heartbeat.beat` after which its worker is killed and the item given up."""
    uses: tuple[str, ...] = ("cpu",)
    """Resources: cpu, blender, gpu, endpoint. An endpoint is asked by one worker, which gets all items in one batch."""

    @property
    def takes_all_items(self) -> bool:
        """Whether one worker gets all items in one batch: one process keeps the budget of all requests."""
        return "endpoint" in self.uses


@dataclass(frozen=True, kw_only=True)
class ItemKind:
    """All that the engine asks of a kind of item; its functions are module-level, so that it travels by reference."""

    item_classes: tuple[type[Item], ...]
    """Classes of its items: of those listed, and of those that a stage splits them into."""
    list_items: Callable[[Any, Store], Iterable[Item | UnusableItem]]
    """List the items of a source; raises ValueError where the source as a whole cannot be read."""
    stages: Callable[[Any], tuple[Stage, ...]]
    """Stages of a source in order; those after one that splits are the stages of the split items."""
    outcome: Callable[[Any, Any, Any], Any]
    """From a source, a finished item's progress and its failure, if any, to its ClipOutcome."""
    settings: Callable[[Any], Mapping[str, Any]]
    """Settings of a source that stand in its report and in the provenance of its rows."""


class ItemProgress:
    """An item with what is done of it.

    Attributes:
        next_stage: the first stage that has no result yet; None where all are done or one refused its input.
        refusal: the stage that could not use its input, and its sentence; an optional stage refuses nothing.
        children: progress of the items that it was split into; None before the split.
    """

    def __init__(self, item: Item, stages: Sequence[Stage], source: Any) -> None:
        self.item = item
        self.source = source
        ends = [number for number, stage in enumerate(stages, start=1) if stage.splits]
        self.stages = tuple(stages[: ends[0]] if ends else stages)
        self._child_stages = tuple(stages[ends[0] :] if ends else ())
        self.results: dict[str, StageResult] = {}
        self.layers: dict[str, LayerRef] = dict(item.layers)
        self.facts: dict[str, Mapping[str, Any]] = dict(item.facts)
        self.next_stage: Stage | None = None
        self.refusal: tuple[str, str] | None = None
        self.children: list[ItemProgress | UnusableItem] | None = None
        self._position = item.stages_done

    @property
    def is_finished(self) -> bool:
        """Whether the item can be reported as it is: nothing but optional stages is missing."""
        return self.refusal is None and all(stage.optional for stage in self.stages[self._position :])

    def refresh(self, store: Store, until: str | None = None) -> None:
        """Read what the store has of the next stages, up to and not including the stage of that name."""
        self.next_stage = None
        while self.refusal is None and self._position < len(self.stages):
            stage = self.stages[self._position]
            if not stage.applies(self.stage_input(stage, store)):
                self._position += 1
                continue
            result = None if stage.name == until else store.find(self.stage_key(stage, store))
            if result is None:
                self.next_stage = stage
                return
            self.add(stage, result)
        if self.children is None and self.refusal is None and (last := self.stages[-1]).splits:
            parts = last.splits(self.stage_input(last, store))
            self.children = [
                part if isinstance(part, UnusableItem) else ItemProgress(part, self._child_stages, self.source)
                for part in parts
            ]
        for child in self.children or ():
            if isinstance(child, ItemProgress):
                child.refresh(store)

    def add(self, stage: Stage, result: StageResult) -> None:
        """Take in the result of the next stage."""
        self._position = self.stages.index(stage) + 1
        self.results[stage.name] = result
        if result.refused is None:
            self.facts[stage.replaces or stage.name] = result.facts
            self.layers |= result.layers
        elif not stage.optional:
            self.refusal = (stage.name, result.refused)

    def stage_key(self, stage: Stage, store: Store) -> StageKey:
        """Everything that decides the result of a stage."""
        names = [*stage.needs, *(name for name in stage.takes if name in self.layers)]
        inputs = {name: self.layers[name].sha256 for name in names}
        inputs |= {f"facts of {name}": key_digest(self.facts[name]) for name in stage.reads}
        if stage.reads_inputs:
            inputs |= self.item.inputs
        inputs |= stage.more_inputs(self.stage_input(stage, store))
        return StageKey(stage=stage.name, version=stage.version, settings=stage.settings, inputs=inputs)

    def stage_input(self, stage: Stage, store: Store, prepared: Any = None, key: str = "") -> StageInput:
        """Input of a stage, as far as the item has it."""
        return StageInput(
            item=self.item,
            source=self.source,
            store=store,
            layers=self.layers,
            facts=self.facts,
            key=key,
            prepared=prepared,
        )

    def snapshot(self) -> Item:
        """The item with what its coming stages need of those that are done, so that a worker reads no result again."""
        coming = self.stages[self._position :]
        names = {name for stage in coming for name in stage.reads} | set(self.item.facts)
        names |= {stage.name for stage in self.stages if stage.phase in {later.phase for later in coming}}
        facts = {stage: facts for stage, facts in self.facts.items() if stage in names}
        return replace(self.item, layers=dict(self.layers), facts=facts, stages_done=self._position)


def progress_tree(progress: ItemProgress | UnusableItem | None) -> Iterator[ItemProgress]:
    """Progress of an item, and of all that it was split into."""
    if isinstance(progress, ItemProgress):
        yield progress
        for child in progress.children or ():
            yield from progress_tree(child)


def slugify(name: str) -> str:
    """A file's name as part of an id: letters, digits and a few signs that need no quoting anywhere."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "clip"
    if len(slug) <= MAX_SLUG:
        return slug
    return f"{slug[: MAX_SLUG - 9]}-{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:8]}"
