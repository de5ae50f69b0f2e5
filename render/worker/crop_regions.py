"""Crop regions: where a variant can differ from its plate in a frame, found by two tiny pictures before the large one.

Plate and variant are rendered at a fraction of the size, with few samples and one seed. Light that meets nothing of the
variant is the same in both, number for number, so what differs differs because of the variant; averaging over a
neighbourhood takes the noise of single rays away. The box holds every pixel that visibly differs, with room around it,
the subject and every drop. It is the same whoever finds it, so that several processes render one clip.
"""

import os
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .blender_scene import BlenderScene, CropRegion
from .bodies import Box, box_around, scale_box

TINY_SCALE = 0.25
MIN_TINY_PX = 48
"""Size of the tiny pictures: TINY_SCALE of the picture's, but with at least so many pixels on the shorter side."""
SAMPLES = 4
AVERAGING_RADIUS_PX = 3
"""Radius of the averaging, in pixels of the tiny pictures."""
MEAN_THRESHOLD = 1.5
"""8-bit steps on the screen from which a difference of means counts."""
NOISE_THRESHOLD = 2.5
WAVE_THRESHOLD = 1.4
"""The same for mean absolute differences: those that even out, as single rays make them, and as waves do."""
MARGIN = 0.05
"""Margin around the differing pixels, as a share of the picture's shorter side; readers fade from the plate to the
picture within it."""
MAX_BOX_SHARE = 0.92
"""Share of the picture from which a box is not worth its edge."""


class CropRegions:
    """Crop regions of a folder's variants, stored as areas/<variant:02d>-<frame:04d>.npz."""

    def __init__(self, scene: BlenderScene, folder: Path) -> None:
        """Prepare to find them."""
        self._scene = scene
        self._folder = folder
        self._plates: dict[tuple[int, float | None], Any] = {}
        (folder / "areas").mkdir(exist_ok=True)

    def path(self, variant: int, frame: int) -> Path:
        """Path of a region's file."""
        return self._folder / "areas" / f"{variant:02d}-{frame:04d}.npz"

    def load(self, variant: int, frame: int) -> CropRegion:
        """Region of a variant in a frame: read from its file, or found and written."""
        path = self.path(variant, frame)
        if not path.exists():
            box, share = self._find(variant, frame)
            partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
            with partial.open("wb") as file:
                np.savez_compressed(file, box=np.array(box), share=share)
            partial.replace(path)
        with np.load(path) as npz:
            return [int(edge) for edge in npz["box"]], npz["share"]

    def _find(self, variant: int, frame: int) -> tuple[Box, Any]:
        """Return the box, and the certainty [rows, columns] that there is a difference, 0 to 255."""
        plan = self._scene.plan
        height, width = size = plan["size"]
        waves = any(medium["kind"] == "waves" for medium in plan["variants"][variant]["media"])
        noise_threshold = WAVE_THRESHOLD if waves else NOISE_THRESHOLD
        # The plate under the variant's sun; if nothing but the subject moves, one for all frames.
        key = (0 if plan["holds_still"] else frame, plan["variants"][variant]["softness_deg"])
        if key not in self._plates:
            self._plates[key] = self._tiny("plate", variant, frame)
        share = _difference_share(self._plates[key], self._tiny("whole", variant, frame), noise_threshold)
        # The tiny pictures may miss a drop, which is smaller than their pixels.
        drops = [points for points in self._scene.media[variant].water_points(frame) if len(points)]
        drop_boxes = [box_around([(points.astype(np.float64), np.eye(4))], frame, plan) for points in drops]
        for box in (self._scene.boxes[frame], *drop_boxes):
            x0, y0, x1, y1 = scale_box(box, size, share.shape)
            share[y0:y1, x0:x1] = 1
        rows, columns = np.flatnonzero((share == 1).any(axis=1)), np.flatnonzero((share == 1).any(axis=0))
        if not len(rows):
            return [0, 0, 1, 1], np.zeros(share.shape, np.uint8)  # nothing of it is visible; a picture has a pixel
        tiny = [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
        x0, y0, x1, y1 = scale_box(tiny, share.shape, size)
        margin = max(2, round(MARGIN * min(size)))
        x0, y0, x1, y1 = max(0, x0 - margin), max(0, y0 - margin), min(x1 + margin, width), min(y1 + margin, height)
        if (x1 - x0) * (y1 - y0) > MAX_BOX_SHARE * height * width:
            x0, y0, x1, y1 = 0, 0, width, height
        return [x0, y0, x1, y1], np.rint(share * 255).astype(np.uint8)

    def _tiny(self, kind: str, variant: int, frame: int) -> Any:
        """Linear light [rows, columns, 3] of a small, noisy picture."""
        size = self._scene.plan["size"]
        scale = min(1.0, max(TINY_SCALE, MIN_TINY_PX / min(size)))
        tiny_pass = {
            "kind": kind, "variant": variant, "off": None, "samples": SAMPLES, "denoise": False, "scale": scale,
        }  # fmt: skip
        path = self._folder / f"tiny-{os.getpid()}.partial"
        self._scene.render_frame(tiny_pass, frame, path, None)
        image = bpy.data.images.load(str(path))
        across, down = image.size
        light = np.empty(across * down * 4, np.float32)
        image.pixels.foreach_get(light)
        bpy.data.images.remove(image)
        path.unlink()
        return light.reshape(down, across, 4)[::-1, :, :3]


def _difference_share(plate: Any, variant: Any, noise_threshold: float) -> Any:
    """1 where two pictures [rows, columns, 3] visibly differ, fading to 0 where they are equal."""
    mean = np.abs(_display(_average(variant)) - _display(_average(plate))).max(axis=2)
    # Waves are as bright as calm water on average.
    noise = _average(np.abs(_display(variant) - _display(plate))).max(axis=2)
    return np.clip(2 * np.maximum(mean / MEAN_THRESHOLD, noise / noise_threshold) - 1, 0, 1)


def _average(light: Any) -> Any:
    """Mean of each pixel's neighbourhood."""
    radius = AVERAGING_RADIUS_PX
    width = 2 * radius + 1
    padded = np.pad(light.astype(np.float64), ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    for axis in (0, 1):
        sums = np.cumsum(padded, axis=axis)
        sums = np.concatenate([np.zeros_like(np.take(sums, [0], axis=axis)), sums], axis=axis)
        count = sums.shape[axis]
        padded = np.take(sums, np.arange(width, count), axis=axis) - np.take(sums, np.arange(count - width), axis=axis)
    return padded / width**2


def _display(light: Any) -> Any:
    """Linear light as sRGB values on the screen, 0 to 255."""
    light = np.clip(light, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055)
