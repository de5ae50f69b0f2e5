"""Progress of an item: the result of each stage, read from the store once and then kept."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...datasets.store.atomic_io import key_digest
from ...datasets.store.store import LayerRef, StageKey, StageResult, Store
from .item import Item, UnusableItem
from .stage import Stage, StageInput


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
            self.facts[stage.name] = result.facts
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
