"""Frame files to linear light: what Blender drew, as float32 pictures of the clip's full size.

A folder holds `plan.json` (which passes there are), `boxes.json` (per frame the subject's box, where the passes
`subject` and `front` are cut out), `areas/<variant:02d>-<frame:04d>.npz` (where that variant differs from its plate:
the box where its cropped passes are cut out, and what of it is used) and `<pass>/<frame:04d>.exr`. One picture is in
memory at a time.
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
from .render_folder import Box, area_path

Light = Float32[np.ndarray, "H W 3"]
"""Linear light, red, green, blue; 1 is white on the screen, more is brighter."""
Cover = Float32[np.ndarray, "H W"]
"""Coverage, 0 to 1."""
Drawn = Float32[np.ndarray, "rows columns 4"]
"""One file's picture: colour premultiplied by coverage, and coverage."""
Part = Float32[np.ndarray, "rows columns 3"]
"""Linear light of a part of a picture, or of one of another size."""
FADE = 0.04
"""Of the picture's shorter side: how far inside its border a cut-out picture fades into what surrounds it."""


class CorruptFrame(RuntimeError):
    """A frame file is missing or damaged: it is to be drawn again; nothing is wrong with the scene."""

    is_sentence = True


@dataclass(frozen=True, kw_only=True)
class FrameFiles:
    """The frame files of one scene."""

    folder: Path
    size: tuple[int, int]
    boxes: tuple[Box, ...]
    frames: dict[str, tuple[int, ...]]
    """By pass, the frames that it was drawn for; a pass of one frame stands for all."""
    scales: dict[str, float]
    """By pass, its size as a share of the picture's."""
    cropped: dict[str, int]
    """The passes that hold no more than where their variant differs from its plate, and which variant that is."""

    def has(self, name: str) -> bool:
        """Is there such a pass?"""
        return name in self.frames

    def light(self, name: str, frame: int, beyond: Light | None = None) -> Part:
        """A pass that fills the picture, at the size at which it was drawn.

        Args:
            name: of the pass.
            frame: which one.
            beyond: what surrounds a pass that was cropped, at the clip's size; black without it.

        Raises:
            ValueError: a value of it is not finite.
            CorruptFrame: the file is not there, damaged, or not of its box's size.
        """
        drawn = np.ascontiguousarray(self._read(name, frame)[..., :3])
        if name not in self.cropped:
            return drawn
        box, share = self.used(name, frame)
        size = share.shape
        if drawn.shape[:2] != (box[3] - box[1], box[2] - box[0]):
            raise CorruptFrame(
                f"{self._path(name, frame)} is not of its box's size; delete {self.folder} and run again"
            )
        around = np.zeros((*self.size, 3), np.float32) if beyond is None else beyond
        if around.shape[:2] != size:
            around = cv2.resize(around, size[::-1], interpolation=cv2.INTER_AREA)
        return pasted(drawn, box, around, share)

    def layer(self, name: str, frame: int) -> tuple[Light, Cover]:
        """A pass that was cut out: premultiplied colour and coverage in the full picture, 0 outside the box.

        Raises:
            ValueError: a value of it is not finite.
            CorruptFrame: the file is not there, damaged, or not of its box's size.
        """
        light, cover = np.zeros((*self.size, 3), np.float32), np.zeros(self.size, np.float32)
        left, top, right, bottom = self.boxes[frame]
        if right <= left or bottom <= top:
            return light, cover
        drawn = self._read(name, frame)
        if drawn.shape != (bottom - top, right - left, 4):
            raise CorruptFrame(
                f"{self._path(name, frame)} is {drawn.shape[0]}x{drawn.shape[1]}, its box {bottom - top}x"
                f"{right - left}; delete {self.folder} and run again"
            )
        light[top:bottom, left:right] = drawn[..., :3]
        cover[top:bottom, left:right] = drawn[..., 3].clip(0, 1)
        return light, cover

    def used(self, name: str, frame: int) -> tuple[Box, Cover]:
        """Where a cropped pass lies in its picture, and how much of each pixel of that picture is its own.

        Raises:
            CorruptFrame: the area's file is not there or damaged.
        """
        size = (round(self.size[0] * self.scales[name]), round(self.size[1] * self.scales[name]))
        path = area_path(self.folder, self.cropped[name], frame)
        try:
            with np.load(path, allow_pickle=False) as kept:
                (left, top, right, bottom), small = (int(edge) for edge in kept["box"]), kept["share"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as broken:
            raise CorruptFrame(f"{path} is missing or damaged; delete {self.folder} and run again") from broken
        down, across = size[0] / self.size[0], size[1] / self.size[1]
        box = (
            math.floor(left * across),
            math.floor(top * down),
            min(math.ceil(right * across), size[1]),
            min(math.ceil(bottom * down), size[0]),
        )
        share = cv2.resize(small.astype(np.float32) / 255, size[::-1], interpolation=cv2.INTER_LINEAR)
        return box, share

    def _path(self, name: str, frame: int) -> Path:
        drawn = self.frames[name]
        return self.folder / name / f"{drawn[0] if len(drawn) == 1 else frame:04d}.exr"

    def _read(self, name: str, frame: int) -> Drawn:
        path = self._path(name, frame)
        drawn = read_exr(path)
        if not np.isfinite(drawn).all():
            raise ValueError(f"pass '{name}', frame {frame}: a value is not finite; change what shines without bound")
        return drawn


def open_frames(folder: Path) -> FrameFiles:
    """The frame files of a folder that Blender has filled.

    Raises:
        CorruptFrame: the folder's own description cannot be read.
    """
    try:
        plan: dict[str, Any] = json.loads((folder / "plan.json").read_bytes())
        boxes = json.loads((folder / "boxes.json").read_bytes())
        return FrameFiles(
            folder=folder,
            size=(plan["size"][0], plan["size"][1]),
            boxes=tuple((box[0], box[1], box[2], box[3]) for box in boxes),
            frames={drawn["name"]: tuple(drawn["frames"]) for drawn in plan["passes"]},
            cropped={drawn["name"]: drawn["variant"] for drawn in plan["passes"] if drawn.get("crop")},
            scales={drawn["name"]: drawn.get("scale", 1.0) for drawn in plan["passes"]},
        )
    except (OSError, ValueError, KeyError, IndexError, TypeError) as broken:
        raise CorruptFrame(
            f"{folder}: plan.json or boxes.json is missing or damaged; delete it and run again"
        ) from broken


def pasted(drawn: Part, box: Box, around: Light, share: Cover) -> Light:
    """A cut-out picture in what surrounds it, into which it fades inside its border (not at the picture's own).

    Args:
        drawn: the cut-out picture.
        box: where it lies.
        around: what surrounds it.
        share: how much of each pixel is the cut-out picture's at most.
    """
    left, top, right, bottom = box
    height, width = around.shape[:2]
    fade = max(1, round(FADE * min(height, width)))
    inwards = [
        np.minimum(
            np.arange(1, last - first + 1) if first else np.full(last - first, fade),
            np.arange(last - first, 0, -1) if last < most else np.full(last - first, fade),
        )
        for first, last, most in ((top, bottom, height), (left, right, width))
    ]
    inner = np.minimum(inwards[0][:, None], inwards[1])
    own = np.minimum(np.where(inner >= fade, 1, inner / (fade + 1)), share[top:bottom, left:right]).astype(np.float32)
    light = around.copy()
    light[top:bottom, left:right] += own[..., None] * (drawn - light[top:bottom, left:right])
    whole = own == 1
    light[top:bottom, left:right][whole] = drawn[whole]
    return light


def read_exr(path: Path) -> Drawn:
    """An OpenEXR file of red, green, blue and coverage.

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
