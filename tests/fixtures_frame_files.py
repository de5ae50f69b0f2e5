"""A stand-in for Blender: frame files of a square that slides over a plate and drags a shadow, drawn in numpy."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

SUBJECT = np.array([0.7, 0.2, 0.1], np.float32)
SHADE = 0.4
SMOKE = np.array([0.8, 0.8, 0.8], np.float32)


def frame_plan(
    size=(36, 64), frames=5, effects=("shadow",), still=True, front=False, own_plate=False
) -> dict[str, Any]:
    """A plan as far as its passes go."""
    every, once = list(range(frames)), [0]
    passes = [one("background", "plate", once if still else every), one("subject", "subject", every)]
    passes.append(one("v00", "whole", every, variant=0))
    if front:
        passes.append(one("v00-front", "front", every, variant=0))
    if own_plate:
        passes.append(one("v00-plate", "plate", once if still else every, variant=0))
    if len(effects) > 1:
        passes.append(one("v00-truth", "whole", every, variant=0, scale=0.5))
        passes += [one(f"v00-without-{off}", "whole", every, variant=0, off=off, scale=0.5) for off in effects]
    variants = [{"name": "one", "effects": list(effects)}]
    return {"version": 1, "size": list(size), "frames": frames, "seed": 1, "passes": passes, "variants": variants}


def one(name, what, frames, variant=None, off=None, scale=1.0) -> dict[str, Any]:
    """A pass of a plan."""
    return {"name": name, "kind": what, "variant": variant, "off": off, "frames": frames, "scale": scale}


def write_frames(plan: Mapping[str, Any], folder: Path) -> list[list[int]]:
    """Draw every pass of a plan; return the subject's boxes."""
    boxes = [box_at(plan, frame) for frame in range(plan["frames"])]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "boxes.json").write_text(json.dumps(boxes))
    for drawn in plan["passes"]:
        (folder / drawn["name"]).mkdir(exist_ok=True)
        for frame in drawn["frames"]:
            picture = draw(plan, drawn, frame)
            if drawn["kind"] in ("subject", "front"):
                left, top, right, bottom = boxes[frame]
                picture = picture[top:bottom, left:right]
            write_exr(folder / drawn["name"] / f"{frame:04d}.exr", picture)
    return boxes


def write_exr(path: Path, picture: np.ndarray) -> None:
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"RGBA": np.ascontiguousarray(picture, np.float16)}).write(str(path))


def draw(plan, drawn, frame) -> np.ndarray:
    """One pass of one frame in full, premultiplied colour and coverage."""
    height, width = plan["size"]
    plate = plate_of(height, width)
    subject, cover = subject_of(plan, frame)
    if drawn["kind"] == "plate":
        picture = plate if drawn["variant"] is None else plate * 0.5
        return with_cover(picture, np.ones((height, width)))
    if drawn["kind"] == "subject":
        return with_cover(subject, cover)
    smoke = smoke_of(plan, frame)
    if drawn["kind"] == "front":
        return with_cover(SMOKE * smoke[..., None], smoke)
    effects = plan["variants"][drawn["variant"]]["effects"]
    light = plate * (0.5 if any(one["name"].endswith("-plate") for one in plan["passes"]) else 1)
    if "shadow" in effects and drawn["off"] != "shadow":
        light = light * (1 - (1 - SHADE) * shadow_of(plan, frame)[..., None])
    light = subject + (1 - cover[..., None]) * light
    if "dust" in effects and drawn["off"] != "dust":
        light = smoke[..., None] * SMOKE + (1 - smoke[..., None]) * light
    return shrunk(with_cover(light, np.ones((height, width))), drawn["scale"])


def plate_of(height, width) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([0.2 + 0.3 * rows / height, 0.3 + 0.2 * columns / width, np.full((height, width), 0.3)], axis=-1)


def box_at(plan, frame) -> list[int]:
    return [8 + 3 * frame, 8, 22 + 3 * frame, 26]


def subject_of(plan, frame) -> tuple[np.ndarray, np.ndarray]:
    cover = np.zeros(plan["size"])
    left, top, right, bottom = box_at(plan, frame)
    cover[top + 1 : bottom - 1, left + 1 : right - 1] = 0.5
    cover[top + 2 : bottom - 2, left + 2 : right - 2] = 1
    return cover[..., None] * SUBJECT, cover


def shadow_of(plan, frame) -> np.ndarray:
    shadow = np.zeros(plan["size"])
    left, _, right, bottom = box_at(plan, frame)
    shadow[bottom - 4 : bottom + 6, left : right + 8] = 1
    return shadow


def smoke_of(plan, frame) -> np.ndarray:
    """Before the upper half of the subject, and left of it."""
    smoke = np.zeros(plan["size"])
    left, top, right, _ = box_at(plan, frame)
    smoke[top : top + 9, left - 8 : right - 4] = 0.6
    return smoke


def with_cover(colour, cover) -> np.ndarray:
    return np.concatenate([colour, cover[..., None]], axis=-1)


def shrunk(picture, scale) -> np.ndarray:
    step = round(1 / scale)
    height, width = picture.shape[0] // step, picture.shape[1] // step
    return picture[: height * step, : width * step].reshape(height, step, width, step, 4).mean(axis=(1, 3))
