"""Where a variant can differ from its plate: an area per frame, found by two tiny pictures before the large one.

Plate and variant are drawn at a fraction of the size, with few samples and one seed. Light that meets nothing of the
variant is the same in both, number for number, so what differs differs because of the variant; averaging over a
neighbourhood takes the noise of single rays away. The box holds every place that differs by what can be seen, with room
around it, the subject and every drop. It is the same whoever finds it, so that several processes draw one clip.
"""

import os
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from . import framing, passes
from .blender_scene import Studio

Box = list[int]
SHARE = 0.25
LEAST_PX = 48
"""The tiny pictures' size: this share of the picture's, but with at least so many pixels on the shorter side."""
SAMPLES = 4
REACH = 3
"""Averaged over so many pixels of the tiny pictures to every side."""
STEP = 1.5
"""8-bit steps on the screen from which a difference counts."""
RUFFLED = 2.5
RUFFLED_BY_WAVES = 1.4
"""The same for differences that even out, as single rays make them, and as waves do."""
ROOM = 0.05
"""Of the picture's shorter side, left around what differs; readers fade from the plate to the picture within it."""
NEARLY_ALL = 0.92
"""Of the picture: a box that large is not worth its edge."""


class Areas:
    """The areas of a folder's variants, kept as areas/<variant:02d>-<frame:04d>.npz."""

    def __init__(self, studio: Studio, folder: Path) -> None:
        """Prepare to find them."""
        self._studio = studio
        self._folder = folder
        self._plates: dict[tuple[int, float | None], Any] = {}
        self._drops: dict[int, list[dict[str, Any]]] = {}
        (folder / "areas").mkdir(exist_ok=True)

    def path(self, variant: int, frame: int) -> Path:
        """Where an area is kept."""
        return self._folder / "areas" / f"{variant:02d}-{frame:04d}.npz"

    def of(self, variant: int, frame: int) -> passes.Used:
        """The box of a variant in a frame: x0, y0, x1, y1 from the top left, x1 and y1 outside; and the share used."""
        path = self.path(variant, frame)
        if not path.exists():
            box, share = self._find(variant, frame)
            partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
            with partial.open("wb") as file:
                np.savez_compressed(file, box=np.array(box), share=share)
            partial.replace(path)
        with np.load(path) as kept:
            return [int(edge) for edge in kept["box"]], kept["share"]

    def _find(self, variant: int, frame: int) -> tuple[Box, Any]:
        """The box, and within the picture [rows, columns] how sure it is that there is a difference, 0 to 255."""
        height, width = size = self._studio.plan["size"]
        waves = any(medium["kind"] == "waves" for medium in self._studio.plan["variants"][variant]["media"])
        ruffled = RUFFLED_BY_WAVES if waves else RUFFLED
        share = _share(self._plate(variant, frame), self._tiny("whole", variant, frame), ruffled)
        for box in (self._studio.boxes[frame], *self._around_drops(variant, frame)):
            x0, y0, x1, y1 = framing.scaled(box, size, share.shape)
            share[y0:y1, x0:x1] = 1
        rows, columns = np.flatnonzero((share == 1).any(axis=1)), np.flatnonzero((share == 1).any(axis=0))
        if not len(rows):
            return [0, 0, 1, 1], np.zeros(share.shape, np.uint8)  # nothing to be seen of it; a picture has a pixel
        tiny = [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
        found, room = framing.scaled(tiny, share.shape, size), max(2, round(ROOM * min(size)))
        x0, y0, x1, y1 = (max(0, found[0] - room), max(0, found[1] - room), found[2] + room, found[3] + room)
        x1, y1 = min(x1, width), min(y1, height)
        if (x1 - x0) * (y1 - y0) > NEARLY_ALL * height * width:
            x0, y0, x1, y1 = 0, 0, width, height
        return [x0, y0, x1, y1], np.rint(share * 255).astype(np.uint8)

    def _plate(self, variant: int, frame: int) -> Any:
        """The tiny plate under the variant's sun; where nothing but the subject moves, one for all frames."""
        key = (0 if self._studio.plan["holds_still"] else frame, self._studio.plan["variants"][variant]["softness_deg"])
        if key not in self._plates:
            self._plates[key] = self._tiny("plate", variant, frame)
        return self._plates[key]

    def _tiny(self, what: str, variant: int, frame: int) -> Any:
        """Linear light [rows, columns, 3] of a small, noisy picture."""
        size = self._studio.plan["size"]
        scale = min(1.0, max(SHARE, LEAST_PX / min(size)))
        chosen = {"what": what, "variant": variant, "off": None, "samples": SAMPLES, "denoise": False, "scale": scale}
        drawn = self._folder / f"tiny-{os.getpid()}.partial"
        passes.draw(self._studio, chosen, frame, drawn, None)
        image = bpy.data.images.load(str(drawn))
        across, down = image.size
        light = np.empty(across * down * 4, np.float32)
        image.pixels.foreach_get(light)
        bpy.data.images.remove(image)
        drawn.unlink()
        return light.reshape(down, across, 4)[::-1, :, :3]

    def _around_drops(self, variant: int, frame: int) -> list[Box]:
        """Around every drop: the tiny pictures may miss what is smaller than their pixels."""
        if variant not in self._drops:
            entries = self._studio.plan["variants"][variant]["media"]
            self._drops[variant] = [
                dict(np.load(self._folder / one["file"])) for one in entries if one["kind"] in ("drops", "sheets")
            ]
        found = (_points(arrays, frame) for arrays in self._drops[variant])
        return [framing.around(points.astype(np.float64), frame, self._studio.plan) for points in found if len(points)]


def _points(arrays: dict[str, Any], frame: int) -> Any:
    """Of drops both ends of their streaks, of skins what is there of them [N, 3]."""
    if "cover" in arrays:
        return arrays["places"][frame][arrays["cover"][frame] > 0]
    chosen = slice(int(arrays["ends"][frame - 1]) if frame else 0, int(arrays["ends"][frame]))
    places, moves = arrays["points"][chosen, :3], arrays["moves"][chosen]
    return np.concatenate([places - moves / 2, places + moves / 2])


def _share(plate: Any, whole: Any, most_ruffled: float) -> Any:
    """Where two pictures differ by what can be seen [rows, columns], 1, fading to 0 where none of it is left."""
    mean = np.abs(_shown(_calm(whole)) - _shown(_calm(plate))).max(axis=2)
    ruffled = _calm(np.abs(_shown(whole) - _shown(plate))).max(axis=2)  # waves are as bright as calm water on average
    return np.clip(2 * np.maximum(mean / STEP, ruffled / most_ruffled) - 1, 0, 1)


def _calm(light: Any) -> Any:
    """The mean of each pixel's neighbourhood."""
    width = 2 * REACH + 1
    padded = np.pad(light.astype(np.float64), ((REACH, REACH), (REACH, REACH), (0, 0)), mode="edge")
    for axis in (0, 1):
        sums = np.cumsum(padded, axis=axis)
        sums = np.concatenate([np.zeros_like(np.take(sums, [0], axis=axis)), sums], axis=axis)
        count = sums.shape[axis]
        padded = np.take(sums, np.arange(width, count), axis=axis) - np.take(sums, np.arange(count - width), axis=axis)
    return padded / width**2


def _shown(light: Any) -> Any:
    """Linear light as values on the screen, 0 to 255."""
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055)
