"""Frame files to linear light: Blender's renders as float32 pictures of the clip's full size.

A folder holds `plan.json` (its passes), `boxes.json` (the subject's box in each frame, to which the passes `subject`
and `front` are cut), `areas/<variant:02d>-<frame:04d>.npz` (the region in which that variant differs from its plate:
the box to which its cropped passes are cut, and how much of each pixel is used) and `<pass>/<frame:04d>.exr`. One
picture is in memory at a time.
"""

import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32

from ...extras import require

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are the first outside."""
Light = Float32[np.ndarray, "H W 3"]
"""Linear light, red, green, blue; 1 is white on the screen, more is brighter."""
Cover = Float32[np.ndarray, "H W"]
"""Coverage, 0 to 1."""
Rgba = Float32[np.ndarray, "rows columns 4"]
"""One file's picture: colour premultiplied by coverage, and coverage."""
Part = Float32[np.ndarray, "rows columns 3"]
"""Linear light of a part of a picture, or of one of another size."""
FADE_WIDTH = 0.04
"""Width inside its border over which a cropped picture fades into its surroundings, as a share of the picture's shorter
side."""


class CorruptFrame(RuntimeError):
    """A frame file is missing or damaged: it has to be rendered again; nothing is wrong with the scene."""

    is_transient = True
    is_sentence = True


@dataclass(frozen=True, kw_only=True)
class FrameFiles:
    """The frame files of one scene."""

    folder: Path
    size: tuple[int, int]
    boxes: tuple[Box, ...]
    frames: dict[str, tuple[int, ...]]
    """Frames of each pass; a pass of one frame stands for all."""
    scales: dict[str, float]
    """Size of each pass as a share of the picture's."""
    cropped: dict[str, int]
    """Variant of each pass that holds only the region in which that differs from its plate."""

    def light(self, name: str, frame: int, surroundings: Light | None = None) -> Part:
        """Read a pass that fills the picture, at the size at which it was rendered.

        A cropped pass is put into its surroundings, a picture of the clip's size, or into black.

        Raises:
            ValueError: a value of it is not finite.
            CorruptFrame: the file is not there, damaged, or not of its box's size.
        """
        light = np.ascontiguousarray(self._read(name, frame)[..., :3])
        if name not in self.cropped:
            return light
        box, share = self.crop_region(name, frame)
        size = share.shape
        if light.shape[:2] != (box[3] - box[1], box[2] - box[0]):
            raise CorruptFrame(
                f"{self._path(name, frame)} is not of its box's size; delete {self.folder} and run again"
            )
        around = np.zeros((*self.size, 3), np.float32) if surroundings is None else surroundings
        if around.shape[:2] != size:
            around = cv2.resize(around, size[::-1], interpolation=cv2.INTER_AREA)
        return paste(light, box, around, share)

    def layer(self, name: str, frame: int) -> tuple[Light, Cover]:
        """Read a pass cut to the subject's box: premultiplied colour and coverage in the full picture, 0 elsewhere.

        Raises:
            ValueError: a value of it is not finite.
            CorruptFrame: the file is not there, damaged, or not of its box's size.
        """
        light, cover = np.zeros((*self.size, 3), np.float32), np.zeros(self.size, np.float32)
        x0, y0, x1, y1 = self.boxes[frame]
        if x1 <= x0 or y1 <= y0:
            return light, cover
        rgba = self._read(name, frame)
        if rgba.shape != (y1 - y0, x1 - x0, 4):
            raise CorruptFrame(
                f"{self._path(name, frame)} is {rgba.shape[0]}x{rgba.shape[1]}, its box {y1 - y0}x{x1 - x0}; delete "
                f"{self.folder} and run again"
            )
        light[y0:y1, x0:x1] = rgba[..., :3]
        cover[y0:y1, x0:x1] = rgba[..., 3].clip(0, 1)
        return light, cover

    def crop_region(self, name: str, frame: int) -> tuple[Box, Cover]:
        """Return the box of a cropped pass and the share that it has in each pixel of its picture.

        Raises:
            CorruptFrame: the area's file is not there or damaged.
        """
        size = (round(self.size[0] * self.scales[name]), round(self.size[1] * self.scales[name]))
        path = area_path(self.folder, self.cropped[name], frame)
        try:
            with np.load(path, allow_pickle=False) as npz:
                (x0, y0, x1, y1), small = (int(edge) for edge in npz["box"]), npz["share"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as broken:
            raise CorruptFrame(f"{path} is missing or damaged; delete {self.folder} and run again") from broken
        down, across = size[0] / self.size[0], size[1] / self.size[1]
        box = (
            math.floor(x0 * across),
            math.floor(y0 * down),
            min(math.ceil(x1 * across), size[1]),
            min(math.ceil(y1 * down), size[0]),
        )
        share = cv2.resize(small.astype(np.float32) / 255, size[::-1], interpolation=cv2.INTER_LINEAR)
        return box, share

    def _path(self, name: str, frame: int) -> Path:
        frames = self.frames[name]
        return self.folder / name / f"{frames[0] if len(frames) == 1 else frame:04d}.exr"

    def _read(self, name: str, frame: int) -> Rgba:
        rgba = read_exr(self._path(name, frame))
        if not np.isfinite(rgba).all():
            raise ValueError(f"pass '{name}', frame {frame}: a value is not finite; change what shines without bound")
        return rgba


def area_path(folder: Path, variant: int, frame: int) -> Path:
    """Path to the worker's file with the crop region of a variant in a frame."""
    return folder / "areas" / f"{variant:02d}-{frame:04d}.npz"


def read_boxes(folder: Path) -> tuple[Box, ...]:
    """Read the subject's box in each frame."""
    return tuple((box[0], box[1], box[2], box[3]) for box in json.loads((folder / "boxes.json").read_bytes()))


def open_render_frames(folder: Path) -> FrameFiles:
    """Open the frame files of a folder that Blender has filled.

    Raises:
        CorruptFrame: the folder's own description cannot be read.
    """
    try:
        plan: dict[str, Any] = json.loads((folder / "plan.json").read_bytes())
        return FrameFiles(
            folder=folder,
            size=(plan["size"][0], plan["size"][1]),
            boxes=read_boxes(folder),
            frames={entry["name"]: tuple(entry["frames"]) for entry in plan["passes"]},
            cropped={entry["name"]: entry["variant"] for entry in plan["passes"] if entry.get("crop")},
            scales={entry["name"]: entry.get("scale", 1.0) for entry in plan["passes"]},
        )
    except (OSError, ValueError, KeyError, IndexError, TypeError) as broken:
        raise CorruptFrame(
            f"{folder}: plan.json or boxes.json is missing or damaged; delete it and run again"
        ) from broken


def paste(part: Part, box: Box, around: Light, share: Cover) -> Light:
    """Put a cropped picture in its box into its surroundings, and fade it inside its border (not at the picture's own).

    `share` is the greatest share of each pixel that the cropped picture gets.
    """
    x0, y0, x1, y1 = box
    height, width = around.shape[:2]
    fade = max(1, round(FADE_WIDTH * min(height, width)))
    inwards = [
        np.minimum(
            np.arange(1, last - first + 1) if first else np.full(last - first, fade),
            np.arange(last - first, 0, -1) if last < limit else np.full(last - first, fade),
        )
        for first, last, limit in ((y0, y1, height), (x0, x1, width))
    ]
    inner = np.minimum(inwards[0][:, None], inwards[1])
    weight = np.minimum(np.where(inner >= fade, 1, inner / (fade + 1)), share[y0:y1, x0:x1]).astype(np.float32)
    light = around.copy()
    inside = light[y0:y1, x0:x1]
    inside += weight[..., None] * (part - inside)
    inside[weight == 1] = part[weight == 1]
    return light


def read_exr(path: Path) -> Rgba:
    """Read an OpenEXR file of red, green, blue and coverage.

    Raises:
        CorruptFrame: it is not there, or cut short.
    """
    exr = require("OpenEXR", extra="render")
    if not path.is_file():
        raise CorruptFrame(f"{path} is missing; run again to draw it")
    try:
        pixels = exr.File(str(path)).channels()["RGBA"].pixels
    except (RuntimeError, ValueError, KeyError) as broken:
        raise CorruptFrame(f"{path} is damaged; delete it and run again") from broken
    return np.asarray(pixels, np.float32)
