"""Frame files to linear light: what Blender drew, as float32 pictures of the clip's full size.

A folder holds `plan.json` (which passes there are), `boxes.json` (per frame the subject's box, where the passes
`subject` and `front` are cut out) and `<pass>/<frame:04d>.exr`. One picture is in memory at a time.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from ..extras import require

Light = Float32[np.ndarray, "H W 3"]
"""Linear light, red, green, blue; 1 is white on the screen, more is brighter."""
Cover = Float32[np.ndarray, "H W"]
"""Coverage, 0 to 1."""
Drawn = Float32[np.ndarray, "rows columns 4"]
"""One file's picture: colour premultiplied by coverage, and coverage."""
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are the first outside."""


class BrokenFrame(RuntimeError):
    """A frame file is missing or damaged: it is to be drawn again; nothing is wrong with the scene."""


@dataclass(frozen=True, kw_only=True)
class FrameFiles:
    """The frame files of one scene."""

    folder: Path
    size: tuple[int, int]
    boxes: tuple[Box, ...]
    frames: dict[str, tuple[int, ...]]
    """By pass, the frames that it was drawn for; a pass of one frame stands for all."""

    def has(self, name: str) -> bool:
        """Is there such a pass?"""
        return name in self.frames

    def light(self, name: str, frame: int) -> Light:
        """A pass that fills the picture, at the size at which it was drawn.

        Raises:
            ValueError: a value of it is not finite.
            BrokenFrame: the file is not there or damaged.
        """
        return np.ascontiguousarray(self._read(name, frame)[..., :3])

    def layer(self, name: str, frame: int) -> tuple[Light, Cover]:
        """A pass that was cut out: premultiplied colour and coverage in the full picture, 0 outside the box.

        Raises:
            ValueError: a value of it is not finite.
            BrokenFrame: the file is not there, damaged, or not of its box's size.
        """
        light, cover = np.zeros((*self.size, 3), np.float32), np.zeros(self.size, np.float32)
        left, top, right, bottom = self.boxes[frame]
        if right <= left or bottom <= top:
            return light, cover
        drawn = self._read(name, frame)
        if drawn.shape != (bottom - top, right - left, 4):
            raise BrokenFrame(
                f"{self._path(name, frame)} is {drawn.shape[0]}x{drawn.shape[1]}, its box {bottom - top}x"
                f"{right - left}; delete {self.folder} and run again"
            )
        light[top:bottom, left:right] = drawn[..., :3]
        cover[top:bottom, left:right] = drawn[..., 3].clip(0, 1)
        return light, cover

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
        BrokenFrame: the folder's own description cannot be read.
    """
    try:
        plan: dict[str, Any] = json.loads((folder / "plan.json").read_bytes())
        boxes = json.loads((folder / "boxes.json").read_bytes())
        return FrameFiles(
            folder=folder,
            size=(plan["size"][0], plan["size"][1]),
            boxes=tuple((box[0], box[1], box[2], box[3]) for box in boxes),
            frames={drawn["name"]: tuple(drawn["frames"]) for drawn in plan["passes"]},
        )
    except (OSError, ValueError, KeyError, IndexError, TypeError) as broken:
        raise BrokenFrame(
            f"{folder}: plan.json or boxes.json is missing or damaged; delete it and run again"
        ) from broken


def read_exr(path: Path) -> Drawn:
    """An OpenEXR file of red, green, blue and coverage.

    Raises:
        BrokenFrame: it is not there, or cut short.
    """
    exr = require("OpenEXR", extra="render")
    if not path.is_file():
        raise BrokenFrame(f"{path} is missing; run again to draw it")
    try:
        pixels = exr.File(str(path)).channels()["RGBA"].pixels
    except (RuntimeError, ValueError, KeyError) as broken:
        raise BrokenFrame(f"{path} is damaged; delete it and run again") from broken
    return np.asarray(pixels, np.float32)
