"""Media of effects as Blender objects: clouds, drops, water sheets, waves, lamps; shown and hidden by effect."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .clouds import Cloud
from .meshes import add_object
from .water import Drops, Lake, Sheets


class Lamp:
    """Light that the subject sheds on what is around it: a soft lamp inside it that the camera does not see."""

    def __init__(self, name: str, entry: dict[str, Any], arrays: dict[str, Any], plan: dict[str, Any]) -> None:
        """Make the lamp. The subject around it throws no shadow in its light: the light is the subject's own."""
        self._arrays = arrays
        light = bpy.data.lights.new(name, "POINT")
        light.color = tuple(channel**2.2 for channel in entry["colour"])
        light.shadow_soft_size = entry["radius_m"]
        subject = [piece for piece in bpy.context.scene.objects if piece.get("role") == "subject"]
        self.holder = add_object(name, light)
        self.holder.visible_camera = False
        transparent = bpy.data.collections.new(f"{name}-transparent")
        for piece in subject:
            transparent.objects.link(piece)
        for link in transparent.collection_objects:
            link.light_linking.link_state = "EXCLUDE"
        self.holder.light_linking.blocker_collection = transparent

    def set_frame(self, frame: int) -> bool:
        """Move and dim it; False if it is dark."""
        power = float(self._arrays["power_w"][frame])
        self.holder.location = tuple(float(value) for value in self._arrays["at"][frame])
        self.holder.data.energy = power
        return power > 0


KINDS: dict[str, Callable[..., Any]] = {"cloud": Cloud, "drops": Drops, "sheets": Sheets, "lamp": Lamp}
"""Media that one effect has for itself; waves of all effects move one lake."""


class Media:
    """All media of a variant. A frame's state is made when it is first shown: what is hidden costs nothing."""

    def __init__(self, variant: dict[str, Any], plan: dict[str, Any], folder: Path, ground: Any) -> None:
        """Make the media of a plan's variant, all hidden; a lake with waves stands in for the calm `ground`."""
        self._media: list[tuple[str, Any]] = []
        self._states: dict[Any, tuple[int, bool]] = {}
        """Frame for which each medium was last made, and whether it has anything to show there."""
        fields = []
        for number, entry in enumerate(variant["media"]):
            arrays: dict[str, Any] = dict(np.load(folder / entry["file"]))
            if entry["kind"] in ("cloud", "drops"):
                ends = arrays.pop("ends")
                arrays = {name: np.split(values, ends[:-1]) for name, values in arrays.items() if values.ndim}
            if entry["kind"] == "waves":
                fields.append((entry, arrays))
            else:
                medium = KINDS[entry["kind"]](f"{variant['name']}-{number}", entry, arrays, plan)
                medium.holder["medium"] = entry["kind"]
                self._media.append((entry["effect"], medium))
        self._lake = Lake(f"{variant['name']}-lake", fields, ground) if fields else None
        self.show(())

    def show(self, kinds: Collection[str], frame: int = 0) -> None:
        """Show the media of these effects in a frame and hide all else; without waves the calm water is back."""
        for effect, medium in self._media:
            if effect in kinds and self._states.get(medium, (-1, False))[0] != frame:
                self._states[medium] = (frame, medium.set_frame(frame))
            medium.holder.hide_render = effect not in kinds or not self._states[medium][1]
        if self._lake is not None:
            moved = self._lake.set_frame(frame, kinds)
            self._lake.holder.hide_render = not moved
            self._lake.calm.hide_render = moved

    def water_points(self, frame: int) -> list[np.ndarray]:
        """Points [N, 3] of the drops and of the water sheets in a frame, medium by medium."""
        return [medium.points(frame) for _, medium in self._media if isinstance(medium, Drops | Sheets)]
