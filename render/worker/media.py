"""Media of effects as Blender objects: clouds, drops, water sheets, waves, lamps; shown and hidden by effect."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import clouds, water


@dataclass(frozen=True, kw_only=True)
class Lamp:
    """Light that the subject sheds on what is around it: a soft lamp inside it that the camera does not see."""

    holder: Any
    arrays: dict[str, np.ndarray]

    def set_frame(self, frame: int) -> bool:
        """Move and dim it; False if it is dark."""
        power = float(self.arrays["power_w"][frame])
        self.holder.location = tuple(float(value) for value in self.arrays["at"][frame])
        self.holder.data.energy = power
        return power > 0


class Media:
    """All media of a variant. A frame's state is made when it is first shown: what is hidden costs nothing."""

    def __init__(self, media: tuple[tuple[str, Any], ...], lake: water.Lake | None) -> None:
        """Keep effect and medium, pair by pair, and the water that all waves move together."""
        self._media = media
        self._lake = lake
        self._frame = 0
        self._states: dict[Any, tuple[int, bool]] = {}

    def set_frame(self, frame: int) -> None:
        """Choose the frame to be shown."""
        self._frame = frame

    def show(self, kinds: Collection[str]) -> None:
        """Show the media of these effects and hide all else; without waves the calm water is back."""
        for effect, medium in self._media:
            medium.holder.hide_render = not (effect in kinds and self._prepare(medium))
        if self._lake is not None:
            moved = self._lake.set_frame(self._frame, kinds)
            self._lake.holder.hide_render = not moved
            self._lake.calm.hide_render = moved

    def _prepare(self, medium: Any) -> bool:
        """Put a medium into the frame's state, unless it is in it; False if there is nothing of it."""
        frame, visible = self._states.get(medium.holder.name, (-1, False))
        if frame != self._frame:
            visible = medium.set_frame(self._frame)
            self._states[medium.holder.name] = (self._frame, visible)
        return visible


def build(variant: dict[str, Any], plan: dict[str, Any], folder: Path, ground: Any) -> Media:
    """Make the media of a variant, all hidden.

    Args:
        variant: The plan's entry.
        plan: All of the plan.
        folder: Folder of the plan's arrays.
        ground: The calm ground: `object`, which the lake stands in for, and `material`, which is the lake's too.
    """
    media: list[tuple[str, Any]] = []
    fields = []
    for number, entry in enumerate(variant["media"]):
        with np.load(folder / entry["file"]) as npz:
            arrays = {key: npz[key] for key in npz.files}
        if entry["kind"] == "waves":
            fields.append(water.Field(effect=entry["effect"], entry=entry, arrays=arrays))
        else:
            media.append((entry["effect"], _medium(f"{variant['name']}-{number}", plan, entry, arrays)))
    lake = water.build_lake(f"{variant['name']}-lake", tuple(fields), ground) if fields else None
    hidden = Media(tuple(media), lake)
    hidden.show(())
    return hidden


def _medium(name: str, plan: dict[str, Any], entry: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    if entry["kind"] == "cloud":
        medium: Any = clouds.build_cloud(name, entry, arrays, plan)
    elif entry["kind"] == "drops":
        medium = water.build_drops(name, entry, arrays)
    elif entry["kind"] == "sheets":
        medium = water.build_sheets(name, entry, arrays)
    else:
        medium = _lamp(name, entry, arrays)
    medium.holder["medium"] = entry["kind"]
    return medium


def _lamp(name: str, entry: dict[str, Any], arrays: dict[str, np.ndarray]) -> Lamp:
    """Make a lamp. The subject around it throws no shadow in its light: the light is the subject's own."""
    subject = [piece for piece in bpy.context.scene.objects if piece.get("role") == "subject"]
    light = bpy.data.lights.new(name, "POINT")
    light.color = tuple(channel**2.2 for channel in entry["colour"])
    light.shadow_soft_size = entry["radius_m"]
    holder = bpy.data.objects.new(name, light)
    holder.visible_camera = False
    bpy.context.scene.collection.objects.link(holder)
    transparent = bpy.data.collections.new(f"{name}-transparent")
    for piece in subject:
        transparent.objects.link(piece)
    for link in transparent.collection_objects:
        link.light_linking.link_state = "EXCLUDE"
    holder.light_linking.blocker_collection = transparent
    return Lamp(holder=holder, arrays=arrays)
