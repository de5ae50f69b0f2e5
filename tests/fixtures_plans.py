"""Small plans written by hand, so that the worker is tested without scenes."""

import copy
from pathlib import Path

import numpy as np
from effectpairs.render.blender.exr_frames import read_exr

SIZE = (36, 64)
GREY = {
    "kind": "plain", "colour": (0.6, 0.6, 0.6), "second": (0.3, 0.3, 0.3), "roughness": 0.4, "scale_m": 0.3,
    "emission": 0.0,
}  # fmt: skip


def look(**changes):
    return GREY | changes


def at(x, y, z):
    place = np.eye(4)
    place[:3, 3] = x, y, z
    return place.ravel().tolist()


def camera(eye, target):
    back = np.subtract(eye, target)
    back = back / np.linalg.norm(back)
    right = np.cross((0, 0, 1), back)
    right /= np.linalg.norm(right)
    place = np.eye(4)
    place[:3] = np.stack([right, np.cross(back, right), back, eye], axis=1)
    return place.ravel().tolist()


def part(mesh, size, places, **more):
    return {"mesh": mesh, "size": size, "bevel_m": 0.0, "asset": None, "look": look(), "matrices": places} | more


def a_pass(what, frames=2, **changes):
    variant = 0 if what in ("whole", "front") else None
    return {
        "name": what, "kind": what, "variant": variant, "off": None, "samples": 4, "denoise": False, "scale": 1.0,
        "frames": list(range(frames)),
    } | changes  # fmt: skip


def a_plan(**changes):
    """A ball on a wet floor, behind a post that hides some of it; two frames."""
    ball = part("sphere", (1, 1, 1), [at(0.3 * frame, 0, 0.5) for frame in (0, 1)], look=look(colour=(0.8, 0.2, 0.1)))
    post = part("box", (0.15, 0.15, 1.5), [at(0.45, -1, 0.75)], bevel_m=0.01)
    return copy.deepcopy(
        {
            "version": 1, "size": list(SIZE), "frames": 2, "fps": 16.0, "seed": 7, "holds_still": False,
            "device": "CPU", "camera": {"matrices": [camera((0, -6, 1.6), (0, 0, 0.6))], "focal_mm": 35},
            "sky": {"kind": "gradient", "colour": (0.75, 0.83, 0.95), "zenith": (0.35, 0.55, 0.88), "hdri": None,
                    "strength": 1.0, "turned_deg": 0.0},
            "sun": {"elevation_deg": 40.0, "azimuth_deg": 130.0, "strength": 3.0, "softness_deg": 1.0,
                    "colour": (1.0, 0.96, 0.9)},
            "ground": {"kind": "wet", "look": look(kind="noise"), "bumps_m": 0.0}, "walls": [],
            "bodies": [{"name": "ball", "role": "subject", "parts": [ball]},
                       {"name": "post", "role": "prop", "parts": [post]}],
            "variants": [{"name": "a", "softness_deg": None, "rays": ["shadow", "reflection"], "media": []}],
            "passes": [a_pass("plate"), a_pass("whole"), a_pass("subject")],
        }
        | changes
    )  # fmt: skip


def frames_of(folder: Path) -> dict[str, np.ndarray]:
    """Every frame file's pixels, by name."""
    return {str(path.relative_to(folder)): read_exr(path) for path in sorted(folder.glob("*/*.exr"))}


def full(cropped: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """A cropped layer in the whole picture."""
    picture = np.zeros((*SIZE, 4), np.float32)
    x0, y0, x1, y1 = box
    picture[y0:y1, x0:x1] = cropped
    return picture
