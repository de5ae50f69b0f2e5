"""The whole scene as it stands in Blender, and one frame of one pass drawn from it.

Every call of `draw` sets all that differs between frames and passes, so that neither their order nor what was drawn
before decides a pixel.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from . import bodies, framing, passes, picture, stage


@dataclass(frozen=True, kw_only=True)
class Studio:
    """A scene ready to be drawn."""

    plan: dict[str, Any]
    stage: stage.Stage
    bodies: tuple[bodies.Body, ...]
    media: tuple[Any, ...]
    """Of each variant, what effects are made of."""
    boxes: list[list[int]]


def build(plan: dict[str, Any], folder: Path) -> Studio:
    """Make every object of the plan.

    Raises:
        Refused: an asset or a sky cannot be used, or the device is not there.
    """
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.preferences.filepaths.use_scripts_auto_execute = False
    scene = bpy.context.scene
    picture.prepare(scene, plan)
    made = tuple(bodies.build(body) for body in plan["bodies"])
    place = stage.build(plan)
    media = tuple(passes.build_media(variant, plan, folder, place.ground) for variant in plan["variants"])
    subject = [body for body in made if body.role == "subject"]
    return Studio(plan=plan, stage=place, bodies=made, media=media, boxes=framing.boxes(plan, subject))


def draw(studio: Studio, chosen: dict[str, Any], frame: int, target: Path) -> None:
    """Draw a frame of a pass into `target`, which appears when it is whole."""
    scene = bpy.context.scene
    height, width = studio.plan["size"]
    scale = chosen.get("scale", 1.0)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    cropped = chosen["what"] in ("subject", "front")
    box = framing.scaled(studio.boxes[frame], (height, width), size) if cropped else None
    seed = studio.plan["seed"] + (0 if studio.plan["holds_still"] else frame)
    picture.choose(scene, chosen, seed)
    picture.resize(scene, size, box)
    studio.stage.set_frame(frame)
    for body in studio.bodies:
        body.set_frame(frame)
    passes.show(studio, chosen, frame)
    partial = target.with_name(f"{target.name}.partial")
    scene.render.filepath = str(partial)
    bpy.ops.render.render(write_still=True)
    partial.replace(target)
