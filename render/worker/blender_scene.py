"""A plan's scene in Blender, every object of it made once, and how a frame of a pass of it is rendered.

Every call of `render_frame` sets all that differs between frames and passes (what the camera sees, what is held out,
what throws a shadow, what is mirrored), so that neither their order nor what was rendered before decides a pixel.
"""

import math
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import render_settings
from .bodies import Body, Box, scale_box, subject_boxes
from .environment import Environment
from .materials import new_material
from .media import Media
from .meshes import add_mesh

CropRegion = tuple[Box, Any]
"""Part of a picture that is rendered: its box, and how much of each cell [rows, columns] of the picture is used."""
RAYS = ("shadow", "reflection")
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
        black, nodes = new_material("render mask")
        dark = nodes.add("ShaderNodeEmission", {"Strength": 0.0}).outputs[0]
        nodes.add("ShaderNodeOutputMaterial", {"Surface": dark})
        self._holder = add_mesh("render mask", [], [], black)
        for ray in ("diffuse", "glossy", "transmission", "volume_scatter", "shadow"):
            setattr(self._holder, f"visible_{ray}", False)
        self._holder.hide_render = True

    def cover(self, cells: Any | None, camera: Any) -> None:
        """Cover the cells [rows, columns] that are true, as seen from a camera's matrix; None covers nothing."""
        self._holder.hide_render = cells is None
        if cells is None:
            return
        rows, columns = cells.shape
        height, width = self._plan["size"]
        lens = self._plan["camera"]
        half = MASK_DISTANCE_M * lens.get("sensor_mm", 36) / lens["focal_mm"] / 2  # spans the width
        points: list[tuple[float, float, float]] = []
        for row in range(rows):  # a rectangle for every run of cells
            edges = np.flatnonzero(np.diff(np.pad(cells[row].astype(np.int8), 1)))
            for run in edges.reshape(-1, 2):
                x0, x1 = (half * (2 * edge / columns - 1) for edge in run)
                y0, y1 = (half * height / width * (1 - 2 * edge / rows) for edge in (row, row + 1))
                points += [(x, y, -MASK_DISTANCE_M) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
        self._holder.data.clear_geometry()
        self._holder.data.from_pydata(points, [], np.arange(len(points)).reshape(-1, 4).tolist())
        self._holder.data.update()
        self._holder.matrix_world = camera


class BlenderScene:
    """A scene ready to be rendered."""

    def __init__(self, plan: dict[str, Any], folder: Path) -> None:
        """Make every object of the plan.

        Raises:
            Refused: an asset or a sky cannot be used, or the device is not there.
        """
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.context.preferences.filepaths.use_scripts_auto_execute = False
        # Blender cuts long names, and counts behind a dot.
        entries = [{**body, "name": f"{body['role']}-{number}"} for number, body in enumerate(plan["bodies"])]
        self.plan = plan
        render_settings.prepare(bpy.context.scene, plan)
        self._bodies = [Body(entry) for entry in entries]
        self._environment = Environment(plan)
        self.media = [Media(variant, plan, folder, self._environment.ground) for variant in plan["variants"]]
        self._render_mask = RenderMask(plan)
        self.boxes = subject_boxes(plan, [body for body in self._bodies if body.role == "subject"])
        """The subject's box in every frame."""

    def render_frame(self, render_pass: dict[str, Any], frame: int, target: Path, region: CropRegion | None) -> None:
        """Render a frame of a pass, or a region of it, into `target`, which appears when it is complete."""
        plan = self.plan
        height, width = plan["size"]
        scale = render_pass.get("scale", 1.0)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        area = self.boxes[frame] if render_pass["kind"] in ("subject", "front") else region[0] if region else None
        box = None if area is None else scale_box(area, (height, width), size)
        seed = plan["seed"] + (0 if plan["holds_still"] else frame)
        render_settings.set_pass(bpy.context.scene, render_pass, seed, size, box)
        for body in self._bodies:
            body.set_frame(frame)
        self._show_media(render_pass, frame)
        self._set_visibility(render_pass, frame)
        cells = None if region is None else unused_cells(region[1], region[0], (height, width))
        self._render_mask.cover(cells, self._environment.camera.matrix_world)
        partial = target.with_name(f"{target.name}.partial")
        bpy.context.scene.render.filepath = str(partial)
        bpy.ops.render.render(write_still=True)
        partial.replace(target)

    def _set_visibility(self, render_pass: dict[str, Any], frame: int) -> None:
        """Set every object's visibility for a pass, and the sun's width."""
        kind, index = render_pass["kind"], render_pass["variant"]
        variant = {} if index is None else self.plan["variants"][index]
        self._environment.set_frame(frame, variant.get("softness_deg"))
        rays = [ray for ray in variant.get("rays", RAYS) if ray != render_pass["off"]]
        is_cut_out = bpy.context.scene.render.film_transparent = kind in ("subject", "front")
        for piece in bpy.context.scene.objects:
            is_subject = piece.get("role") == "subject"
            if is_subject:
                piece.hide_render = kind == "plate"
                # Without a shadow it keeps no light from others, the sky's included; without a reflection no mirror
                # has it.
                piece.visible_shadow = piece.visible_diffuse = "shadow" in rays
                piece.visible_glossy = "reflection" in rays
            # Cut out of the picture all but what the pass is about; what is cut out still lights the remainder.
            is_shown = is_subject if kind == "subject" else piece.get("medium") in BEFORE_SUBJECT
            piece.is_holdout = is_cut_out and not is_shown

    def _show_media(self, render_pass: dict[str, Any], frame: int) -> None:
        """Show this variant's media less the effect that is off; every other variant's stay hidden."""
        self._environment.ground.hide_render = False
        for variant_media in self.media:
            variant_media.show(())
        kind, index = render_pass["kind"], render_pass["variant"]
        if index is not None and kind in ("whole", "front"):
            shown = [entry for entry in self.plan["variants"][index]["media"] if entry["effect"] != render_pass["off"]]
            effects = {entry["effect"] for entry in shown if kind == "whole" or entry["kind"] in BEFORE_SUBJECT}
            self.media[index].show(effects, frame)


def unused_cells(share: Any, box: Box, size: tuple[int, int]) -> Any | None:
    """Cells of a picture that no reader uses, or None if there are too few of them within the box.

    Args:
        share: Used share of each cell [rows, columns].
        box: Box that is rendered.
        size: Height and width of the picture in pixels.
    """
    rows, columns = share.shape
    margin = math.ceil(MASK_MARGIN_PX * rows / size[0])
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(share > 0, margin), (2 * margin + 1, 2 * margin + 1))
    used = windows.any(axis=(2, 3))
    y, x = (np.arange(count) * side / count for count, side in ((rows, size[0]), (columns, size[1])))
    inside = ((y >= box[1]) & (y < box[3]))[:, None] & ((x >= box[0]) & (x < box[2]))
    return ~used if (~used & inside).sum() > MIN_MASKED_SHARE * inside.sum() else None
