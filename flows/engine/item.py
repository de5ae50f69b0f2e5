"""An item: one thing that goes through stages (a video, a clip of it, a scene, a prompt), small enough to travel."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ...datasets.store.codec import Frames
from ...datasets.store.store import LayerRef, Store


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
    outcome: Literal["reject", "fail"] = "fail"


@dataclass(frozen=True, kw_only=True)
class ItemKind:
    """All that the engine asks of a kind of item; its functions are module-level, so that it travels by reference."""

    item_classes: tuple[type[Item], ...]
    """Classes of its items: of those listed, and of those that a stage splits them into."""
    list_items: Callable[[Any, Store], Iterable[Item | UnusableItem]]
    """List the items of a source; raises ValueError where the source as a whole cannot be read."""
    stages: Callable[[Any], tuple[Any, ...]]
    """Stages of a source in order; those after one that splits are the stages of the split items."""
    outcome: Callable[[Any, Any, Any], Any]
    """From a source, a finished item's progress and its failure, if any, to its ClipOutcome."""
    settings: Callable[[Any], Mapping[str, Any]]
    """Settings of a source that stand in its report and in the provenance of its rows."""


def slugify(name: str) -> str:
    """A file's name as part of an id: letters, digits and a few signs that need no quoting anywhere."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "clip"
