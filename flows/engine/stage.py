"""A stage as the engine sees it: what it needs, what it makes, and what decides its result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...datasets.store.codec import Frames
from ...datasets.store.store import LayerRef, ResultWriter, Store
from .item import Item, UnusableItem


@dataclass(frozen=True, kw_only=True)
class StageInput:
    """Input of a stage for one item: the item, its layers and facts so far, and the settings of its source."""

    item: Any
    """An `Item` of the class that the stage expects."""
    source: Any
    store: Store
    layers: Mapping[str, LayerRef]
    facts: Mapping[str, Mapping[str, Any]]
    """By the stage that left them; a stage that refused its input left none."""
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
    optional: bool = False
    """Whether an item is finished without it: its absence is told in the row and does not fail the clip."""
    uses: tuple[str, ...] = ("cpu",)
    """Resources: cpu, blender, gpu, endpoint. An endpoint is asked by one worker, which gets all items in one batch."""

    @property
    def is_concurrent(self) -> bool:
        """Whether one worker has many items in flight."""
        return "endpoint" in self.uses
