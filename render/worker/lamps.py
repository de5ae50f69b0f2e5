"""Light that the subject sheds on what is around it: a soft lamp inside it that nobody sees."""

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np


@dataclass(frozen=True, kw_only=True)
class Lamp:
    """One lamp, moved and dimmed for each frame."""

    holder: Any
    arrays: dict[str, np.ndarray]

    def set_frame(self, frame: int) -> bool:
        """Put it where it is; False where it is dark."""
        power = float(self.arrays["power_w"][frame])
        self.holder.location = tuple(float(value) for value in self.arrays["at"][frame])
        self.holder.data.energy = power
        return power > 0


def build(name: str, entry: dict[str, Any], arrays: dict[str, np.ndarray], subject: tuple[Any, ...]) -> Lamp:
    """Make the lamp. The subject around it throws no shadow in its light: the light is the subject's own."""
    light = bpy.data.lights.new(name, "POINT")
    light.color = tuple(channel**2.2 for channel in entry["colour"])
    light.shadow_soft_size = entry["radius_m"]
    holder = bpy.data.objects.new(name, light)
    holder.visible_camera = False
    bpy.context.scene.collection.objects.link(holder)
    through = bpy.data.collections.new(f"{name}-through")
    for part in subject:
        through.objects.link(part)
    for link in through.collection_objects:
        link.light_linking.link_state = "EXCLUDE"
    holder.light_linking.blocker_collection = through
    return Lamp(holder=holder, arrays=arrays)
