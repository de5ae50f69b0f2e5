"""A plan's scene in Blender, every object of it made once, and how a frame of a pass of it is rendered.

Every call of `render_frame` sets all that differs between frames and passes (what the camera sees, what is held out,
what throws a shadow, what is mirrored), so that neither their order nor what was rendered before decides a pixel.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import bodies, environment, media, render_settings
from .bodies import Box

CropRegion = tuple[Box, Any]
"""Part of a picture that is rendered: its box, and how much of each cell [rows, columns] of the picture is used."""
BEFORE_SUBJECT = ("cloud", "drops", "sheets")
"""Media that can lie before the subject."""
MASK_DISTANCE_M = 0.012
"""Distance of the render mask from the lens, just beyond the near clip."""
MASK_MARGIN_PX = 6
"""Width around all used cells that stays open: readers blend between cells, and the denoiser looks around itself."""
MIN_MASKED_SHARE = 0.08
"""Share of the box from which a render mask is worth its time."""


class RenderMask:
    """Black rectangles close before the lens that cover the part of a picture that nobody will use.

    They are seen by the camera alone and throw no shadow, so no light is followed there and every other pixel keeps
    its numbers, bit for bit. One mesh, made anew for each frame that has some.
    """

    def __init__(self, plan: dict[str, Any]) -> None:
        """Make it, covering nothing."""
        self._plan = plan
        black = bpy.data.materials.new("render mask")
        black.use_nodes = True
        tree = black.node_tree
        tree.nodes.clear()
        dark, output = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
        dark.inputs["Strength"].default_value = 0.0
        tree.links.new(dark.outputs[0], output.inputs["Surface"])
        self._holder = bpy.data.objects.new("render mask", bpy.data.meshes.new("render mask"))
        self._holder.data.materials.append(black)
        bpy.context.scene.collection.objects.link(self._holder)
        for ray in ("diffuse", "glossy", "transmission", "volume_scatter", "shadow"):
            setattr(self._holder, f"visible_{ray}", False)
        self._holder.hide_render = True

    def cover(self, cells: Any | None, camera: Any) -> None:
        """Cover the cells [rows, columns] that are true, as seen from a camera's matrix; None covers nothing."""
        self._holder.hide_render = cells is None
        if cells is None:
            return
        points, faces = _rectangles(cells, self._plan)
        self._holder.data.clear_geometry()
        self._holder.data.from_pydata(points, [], faces)
        self._holder.data.update()
        self._holder.matrix_world = camera


@dataclass(frozen=True, kw_only=True)
class BlenderScene:
    """A scene ready to be rendered."""

    plan: dict[str, Any]
    environment: environment.Environment
    bodies: tuple[bodies.Body, ...]
    media: tuple[media.Media | None, ...]
    """Media of each variant; None for effects of rays alone."""
    render_mask: RenderMask
    boxes: list[Box]
    """The subject's box in every frame."""


def build(plan: dict[str, Any], folder: Path) -> BlenderScene:
    """Make every object of the plan.

    Raises:
        Refused: an asset or a sky cannot be used, or the device is not there.
    """
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.preferences.filepaths.use_scripts_auto_execute = False
    # Blender cuts long names, and counts behind a dot.
    entries = [{**body, "name": f"{body['role']}-{number}"} for number, body in enumerate(plan["bodies"])]
    plan = {**plan, "bodies": entries}
    render_settings.prepare(bpy.context.scene, plan)
    scene_bodies = tuple(bodies.build(body) for body in plan["bodies"])
    surroundings = environment.build(plan)
    variants = tuple(
        media.build(variant, plan, folder, surroundings.ground) if variant["media"] else None
        for variant in plan["variants"]
    )
    return BlenderScene(
        plan=plan,
        environment=surroundings,
        bodies=scene_bodies,
        media=variants,
        render_mask=RenderMask(plan),
        boxes=bodies.subject_boxes(plan, [body for body in scene_bodies if body.role == "subject"]),
    )


def render_frame(
    scene: BlenderScene, render_pass: dict[str, Any], frame: int, target: Path, region: CropRegion | None
) -> None:
    """Render a frame of a pass, or a region of it, into `target`, which appears when it is complete."""
    plan, render = scene.plan, bpy.context.scene.render
    height, width = plan["size"]
    scale = render_pass.get("scale", 1.0)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    area = scene.boxes[frame] if render_pass["kind"] in ("subject", "front") else region[0] if region else None
    box = None if area is None else bodies.scale_box(area, (height, width), size)
    render_settings.set_sampling(bpy.context.scene, render_pass, plan["seed"] + (0 if plan["holds_still"] else frame))
    render_settings.set_size(render, size, box)
    scene.environment.set_frame(frame)
    for body in scene.bodies:
        body.set_frame(frame)
    _set_visibility(scene, render_pass, frame)
    cells = None if region is None else unused_cells(region[1], region[0], (height, width))
    scene.render_mask.cover(cells, scene.environment.camera.matrix_world)
    partial = target.with_name(f"{target.name}.partial")
    render.filepath = str(partial)
    bpy.ops.render.render(write_still=True)
    partial.replace(target)


def _set_visibility(scene: BlenderScene, render_pass: dict[str, Any], frame: int) -> None:
    """Set every object's visibility for a pass."""
    kind, index = render_pass["kind"], render_pass["variant"]
    variant = None if index is None else scene.plan["variants"][index]
    _show_media(scene, render_pass, frame)
    scene.environment.set_softness(variant["softness_deg"] if variant else None)
    rays = [ray for ray in variant["rays"] if ray != render_pass["off"]] if variant else ["shadow", "reflection"]
    for body in scene.bodies:
        for piece in body.objects:
            piece.hide_render = body.role == "subject" and kind == "plate"
            if body.role == "subject":
                # Without a shadow it keeps no light from others, the sky's included; without a reflection no mirror
                # has it.
                piece.visible_shadow = piece.visible_diffuse = "shadow" in rays
                piece.visible_glossy = "reflection" in rays
    bpy.context.scene.render.film_transparent = kind in ("subject", "front")
    # Cut out of the picture all but what the pass is about; what is cut out still lights the remainder.
    subject = {piece for body in scene.bodies if body.role == "subject" for piece in body.objects}
    for piece in bpy.context.scene.objects:
        is_shown = piece in subject if kind == "subject" else piece.get("medium") in BEFORE_SUBJECT
        piece.is_holdout = kind in ("subject", "front") and not is_shown


def _show_media(scene: BlenderScene, render_pass: dict[str, Any], frame: int) -> None:
    """Show this variant's media less the effect that is off; every other variant's stay hidden."""
    scene.environment.ground.object.hide_render = False
    for variant_media in scene.media:
        if variant_media is not None:
            variant_media.show(())
    index = render_pass["variant"]
    active = None if index is None else scene.media[index]
    if active is None or render_pass["kind"] not in ("whole", "front"):
        return
    entries = scene.plan["variants"][index]["media"]
    effects = {entry["effect"] for entry in entries if entry["effect"] != render_pass["off"]}
    if render_pass["kind"] == "front":
        effects &= {entry["effect"] for entry in entries if entry["kind"] in BEFORE_SUBJECT}
    active.set_frame(frame)
    active.show(tuple(sorted(effects)))


def unused_cells(share: Any, box: Box, size: tuple[int, int]) -> Any | None:
    """Cells of a picture that no reader uses, or None if there are too few of them within the box.

    Args:
        share: Used share of each cell [rows, columns].
        box: Box that is rendered.
        size: Height and width of the picture in pixels.
    """
    rows, columns = share.shape
    margin = math.ceil(MASK_MARGIN_PX * rows / size[0])
    padded, width = np.pad(share > 0, margin), 2 * margin + 1
    used = np.zeros((rows, columns), bool)
    for down in range(width):
        for right in range(width):
            used |= padded[down : down + rows, right : right + columns]
    y, x = (np.arange(count) * side / count for count, side in ((rows, size[0]), (columns, size[1])))
    inside = ((y >= box[1]) & (y < box[3]))[:, None] & ((x >= box[0]) & (x < box[2]))
    return ~used if (~used & inside).sum() > MIN_MASKED_SHARE * inside.sum() else None


def _rectangles(cells: Any, plan: dict[str, Any]) -> tuple[list[tuple[float, float, float]], list[list[int]]]:
    """Points before the camera and faces of every run of cells in a row."""
    rows, columns = cells.shape
    height, width = plan["size"]
    half = MASK_DISTANCE_M * plan["camera"].get("sensor_mm", 36) / plan["camera"]["focal_mm"] / 2  # spans the width
    points: list[tuple[float, float, float]] = []
    for row in range(rows):
        edges = np.flatnonzero(np.diff(np.pad(cells[row].astype(np.int8), 1)))
        for first, last in edges.reshape(-1, 2):
            x0, x1 = (half * (2 * edge / columns - 1) for edge in (first, last))
            y0, y1 = (half * height / width * (1 - 2 * edge / rows) for edge in (row, row + 1))
            points += [(x, y, -MASK_DISTANCE_M) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
    return points, np.arange(len(points)).reshape(-1, 4).tolist()
