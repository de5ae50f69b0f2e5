"""The whole scene as it stands in Blender, every object of it made once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from . import bodies, environment, framing, media, render_mask, render_settings


@dataclass(frozen=True, kw_only=True)
class Studio:
    """A scene ready to be drawn."""

    plan: dict[str, Any]
    stage: environment.Environment
    bodies: tuple[bodies.Body, ...]
    media: tuple[Any, ...]
    """Of each variant, what effects are made of."""
    blind: render_mask.RenderMask
    boxes: list[list[int]]


def build(plan: dict[str, Any], folder: Path) -> Studio:
    """Make every object of the plan.

    Raises:
        Refused: an asset or a sky cannot be used, or the device is not there.
    """
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.preferences.filepaths.use_scripts_auto_execute = False
    plan = {**plan, "bodies": [_named(number, body) for number, body in enumerate(plan["bodies"])]}
    render_settings.prepare(bpy.context.scene, plan)
    made = tuple(bodies.build(body) for body in plan["bodies"])
    place = environment.build(plan)
    effects = tuple(_media(variant, plan, folder, place.ground) for variant in plan["variants"])
    subject = [body for body in made if body.role == "subject"]
    return Studio(
        plan=plan,
        stage=place,
        bodies=made,
        media=effects,
        blind=render_mask.RenderMask(plan),
        boxes=framing.boxes(plan, subject),
    )


def _named(number: int, body: dict[str, Any]) -> dict[str, Any]:
    """A body under a name that Blender keeps: it cuts long ones, and counts behind a dot."""
    return {**body, "name": f"{body['role']}-{number}"}


def _media(variant: dict[str, Any], plan: dict[str, Any], folder: Path, ground: Any) -> Any:
    """What a variant's effects are made of, hidden; none for effects of rays alone."""
    return media.build(variant, plan, folder, ground) if variant["media"] else None
