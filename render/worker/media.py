"""What effects are made of, as Blender objects: clouds, drops, skins, water, lamps; shown and hidden by effect."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import clouds, droplets, lamps, water, water_sheets


class Media:
    """All media of a variant. A frame's state is made when it is first shown: what is hidden costs nothing."""

    def __init__(self, pieces: tuple[tuple[str, Any], ...], lake: water.Lake | None) -> None:
        """Keep effect and medium, pair by pair, and the water that all waves move together."""
        self._pieces = pieces
        self._lake = lake
        self._frame = 0
        self._made: dict[Any, tuple[int, bool]] = {}

    def set_frame(self, frame: int) -> None:
        """Say which frame is to be shown."""
        self._frame = frame

    def show(self, kinds: Collection[str]) -> None:
        """Show what belongs to these effects, and hide all else; without waves the calm water is back."""
        for effect, made in self._pieces:
            made.holder.hide_render = not (effect in kinds and self._ready(made))
        if self._lake is not None:
            moved = self._lake.set_frame(self._frame, kinds)
            self._lake.holder.hide_render = not moved
            self._lake.calm.hide_render = moved

    def _ready(self, made: Any) -> bool:
        """Put a medium into the frame's state, unless it is in it; False where there is nothing of it."""
        frame, some = self._made.get(made.holder.name, (-1, False))
        if frame != self._frame:
            some = made.set_frame(self._frame)
            self._made[made.holder.name] = (self._frame, some)
        return some


def build(variant: dict[str, Any], plan: dict[str, Any], folder: Path, ground: Any) -> Media:
    """Make the media of a variant, all hidden.

    Args:
        variant: Of the plan.
        plan: All of it.
        folder: Where the plan's arrays lie.
        ground: The calm ground: `object`, which the lake stands in for, and `material`, which is the lake's too.
    """
    pieces: list[tuple[str, Any]] = []
    fields = []
    for number, entry in enumerate(variant["media"]):
        with np.load(folder / entry["file"]) as stored:
            arrays = {key: stored[key] for key in stored.files}
        if entry["kind"] == "waves":
            fields.append(water.Field(effect=entry["effect"], entry=entry, arrays=arrays))
        else:
            pieces.append((entry["effect"], _piece(f"{variant['name']}-{number}", plan, entry, arrays)))
    lake = water.build(f"{variant['name']}-lake", tuple(fields), ground) if fields else None
    media = Media(tuple(pieces), lake)
    media.show(())
    return media


def _piece(name: str, plan: dict[str, Any], entry: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    if entry["kind"] == "cloud":
        made: Any = clouds.build(name, entry, arrays, plan)
    elif entry["kind"] == "drops":
        made = droplets.build(name, entry, arrays)
    elif entry["kind"] == "sheets":
        made = water_sheets.build(name, entry, arrays)
    else:
        subject = tuple(piece for piece in bpy.context.scene.objects if piece.get("role") == "subject")
        made = lamps.build(name, entry, arrays, subject)
    made.holder["medium"] = entry["kind"]
    return made
