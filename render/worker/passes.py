"""One frame of one pass: who is seen, who is held out, who throws a shadow, who is mirrored.

Every call of `draw` sets all that differs between frames and passes, so that neither their order nor what was drawn
before decides a pixel.
"""

from pathlib import Path
from typing import Any

import bpy

from . import framing, render_mask, render_settings
from .blender_scene import Studio

Used = tuple[list[int], Any]
"""Of a picture: the box that is drawn, and of each cell of it [rows, columns] how much is used."""

BEFORE = ("cloud", "drops", "sheets")
"""Media that can lie before the subject."""


def draw(studio: Studio, chosen: dict[str, Any], frame: int, target: Path, used: Used | None) -> None:
    """Draw a frame of a pass, or what is used of it, into `target`, which appears when it is whole."""
    scene = bpy.context.scene
    height, width = studio.plan["size"]
    scale = chosen.get("scale", 1.0)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    area = studio.boxes[frame] if chosen["what"] in ("subject", "front") else used[0] if used else None
    box = None if area is None else framing.scaled(area, (height, width), size)
    seed = studio.plan["seed"] + (0 if studio.plan["holds_still"] else frame)
    render_settings.choose(scene, chosen, seed)
    render_settings.resize(scene, size, box)
    studio.stage.set_frame(frame)
    for body in studio.bodies:
        body.set_frame(frame)
    _show(studio, chosen, frame)
    hidden = None if used is None else render_mask.unused(used[1], used[0], (height, width))
    studio.blind.close(hidden, studio.stage.camera.matrix_world)
    partial = target.with_name(f"{target.name}.partial")
    scene.render.filepath = str(partial)
    bpy.ops.render.render(write_still=True)
    partial.replace(target)


def _show(studio: Studio, chosen: dict[str, Any], frame: int) -> None:
    """Set every object's visibility for a pass."""
    what, index = chosen["what"], chosen["variant"]
    variant = None if index is None else studio.plan["variants"][index]
    _media(studio, chosen, frame)
    studio.stage.set_softness(variant["softness_deg"] if variant else None)
    rays = [ray for ray in variant["rays"] if ray != chosen["off"]] if variant else ["shadow", "reflection"]
    for body in studio.bodies:
        for piece in body.objects:
            piece.hide_render = body.role == "subject" and what == "plate"
            if body.role == "subject":
                _let_through(piece, rays)
    bpy.context.scene.render.film_transparent = what in ("subject", "front")
    _hold_out(studio, what)


def _let_through(piece: Any, rays: list[str]) -> None:
    """Without a shadow a body keeps no light from others, the sky's included; without a reflection no mirror has it."""
    piece.visible_shadow = piece.visible_diffuse = "shadow" in rays
    piece.visible_glossy = "reflection" in rays


def _media(studio: Studio, chosen: dict[str, Any], frame: int) -> None:
    """Show this variant's media less the effect that is off; every other variant's stay hidden."""
    studio.stage.ground.object.hide_render = False
    for media in studio.media:
        if media is not None:
            media.show(())
    index = chosen["variant"]
    if index is None or studio.media[index] is None or chosen["what"] not in ("whole", "front"):
        return
    given = studio.plan["variants"][index]["media"]
    shown = {medium["effect"] for medium in given if medium["effect"] != chosen["off"]}
    if chosen["what"] == "front":
        shown &= {medium["effect"] for medium in given if medium["kind"] in BEFORE}
    studio.media[index].set_frame(frame)
    studio.media[index].show(tuple(sorted(shown)))


def _hold_out(studio: Studio, what: str) -> None:
    """Cut out of the picture all but what a pass is about; what is cut out still lights the rest."""
    subject = {piece for body in studio.bodies if body.role == "subject" for piece in body.objects}
    for piece in bpy.context.scene.objects:
        mine = piece in subject if what == "subject" else piece.get("medium") in BEFORE
        piece.is_holdout = what in ("subject", "front") and not mine
