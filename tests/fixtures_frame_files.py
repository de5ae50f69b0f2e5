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
    all_frames, once = list(range(frames)), [0]
    passes = [
        pass_spec("background", "plate", once if still else all_frames),
        pass_spec("subject", "subject", all_frames),
    ]
    passes.append(pass_spec("v00", "whole", all_frames, variant=0))
    if front:
        passes.append(pass_spec("v00-front", "front", all_frames, variant=0))
    if own_plate:
        passes.append(pass_spec("v00-plate", "plate", once if still else all_frames, variant=0))
    if len(effects) > 1:
        passes.append(pass_spec("v00-truth", "whole", all_frames, variant=0, scale=0.5))
        passes += [
            pass_spec(f"v00-without-{off}", "whole", all_frames, variant=0, off=off, scale=0.5) for off in effects
        ]
    variants = [{"name": "one", "effects": list(effects)}]
    return {"version": 1, "size": list(size), "frames": frames, "seed": 1, "passes": passes, "variants": variants}


def pass_spec(name, what, frames, variant=None, off=None, scale=1.0) -> dict[str, Any]:
    """A pass of a plan."""
    return {"name": name, "kind": what, "variant": variant, "off": off, "frames": frames, "scale": scale}


def write_frames(plan: Mapping[str, Any], folder: Path) -> list[list[int]]:
    """Draw every pass of a plan; return the subject's boxes."""
    boxes = [box_at(plan, frame) for frame in range(plan["frames"])]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "boxes.json").write_text(json.dumps(boxes))
    for frame_pass in plan["passes"]:
        (folder / frame_pass["name"]).mkdir(exist_ok=True)
        for frame in frame_pass["frames"]:
            picture = draw_pass(plan, frame_pass, frame)
            if frame_pass["kind"] in ("subject", "front"):
                x0, y0, x1, y1 = boxes[frame]
                picture = picture[y0:y1, x0:x1]
            write_exr(folder / frame_pass["name"] / f"{frame:04d}.exr", picture)
    return boxes


def write_exr(path: Path, picture: np.ndarray) -> None:
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"RGBA": np.ascontiguousarray(picture, np.float16)}).write(str(path))


def draw_pass(plan, drawn, frame) -> np.ndarray:
    """One pass of one frame in full, premultiplied colour and coverage."""
    height, width = plan["size"]
    plate = draw_plate(height, width)
    subject, cover = draw_subject(plan, frame)
    if drawn["kind"] == "plate":
        picture = plate if drawn["variant"] is None else plate * 0.5
        return put_over(picture, np.ones((height, width)))
    if drawn["kind"] == "subject":
        return put_over(subject, cover)
    smoke = draw_smoke(plan, frame)
    if drawn["kind"] == "front":
        return put_over(SMOKE * smoke[..., None], smoke)
    effects = plan["variants"][drawn["variant"]]["effects"]
    light = plate * (0.5 if any(pass_spec["name"].endswith("-plate") for pass_spec in plan["passes"]) else 1)
    if "shadow" in effects and drawn["off"] != "shadow":
        light = light * (1 - (1 - SHADE) * draw_shadow(plan, frame)[..., None])
    light = subject + (1 - cover[..., None]) * light
    if "dust" in effects and drawn["off"] != "dust":
        light = smoke[..., None] * SMOKE + (1 - smoke[..., None]) * light
    return shrink(put_over(light, np.ones((height, width))), drawn["scale"])


def draw_plate(height, width) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([0.2 + 0.3 * rows / height, 0.3 + 0.2 * columns / width, np.full((height, width), 0.3)], axis=-1)


def box_at(plan, frame) -> list[int]:
    return [8 + 3 * frame, 8, 22 + 3 * frame, 26]


def draw_subject(plan, frame) -> tuple[np.ndarray, np.ndarray]:
    cover = np.zeros(plan["size"])
    left, top, right, bottom = box_at(plan, frame)
    cover[top + 1 : bottom - 1, left + 1 : right - 1] = 0.5
    cover[top + 2 : bottom - 2, left + 2 : right - 2] = 1
    return cover[..., None] * SUBJECT, cover


def draw_shadow(plan, frame) -> np.ndarray:
    shadow = np.zeros(plan["size"])
    left, _, right, bottom = box_at(plan, frame)
    shadow[bottom - 4 : bottom + 6, left : right + 8] = 1
    return shadow


def draw_smoke(plan, frame) -> np.ndarray:
    """Before the upper half of the subject, and left of it."""
    smoke = np.zeros(plan["size"])
    left, top, right, _ = box_at(plan, frame)
    smoke[top : top + 9, left - 8 : right - 4] = 0.6
    return smoke


def put_over(colour, cover) -> np.ndarray:
    return np.concatenate([colour, cover[..., None]], axis=-1)


def shrink(picture, scale) -> np.ndarray:
    step = round(1 / scale)
    height, width = picture.shape[0] // step, picture.shape[1] // step
    return picture[: height * step, : width * step].reshape(height, step, width, step, 4).mean(axis=(1, 3))
