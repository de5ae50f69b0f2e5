"""A scene whose truth is known, and how to write it as footage comes."""

from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from effectpairs.arrays import Mask, Matte, Rgb


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A square that slides over a textured ground and drags a shadow, and what it was made of."""

    gt: Rgb
    background: Rgb
    subject_mask: Matte
    shadow: Mask


def sliding_square(frames: int = 13, height: int = 48, width: int = 80, *, seed: int = 0) -> Scene:
    """Build the scene; the square's shadow darkens the ground below it to 55 %."""
    rng = np.random.default_rng(seed)
    ground = cv2.GaussianBlur(rng.integers(60, 200, (height, width, 3)).astype(np.uint8), (0, 0), 1.2)
    gt = np.repeat(ground[None], frames, axis=0)
    subject = np.zeros((frames, height, width), np.uint8)
    shadow = np.zeros((frames, height, width), bool)
    side = height // 4
    for frame in range(frames):
        x = 2 + round((width - side - 8) * frame / max(frames - 1, 1))
        y = height // 3
        shadow[frame, y + side : y + side + side // 2, x + 2 : x + side + 2] = True
        gt[frame][shadow[frame]] = np.rint(gt[frame][shadow[frame]] * 0.55)
        gt[frame, y : y + side, x : x + side] = (220, 60, 40)
        subject[frame, y : y + side, x : x + side] = 255
    return Scene(gt=gt, background=np.repeat(ground[None], frames, axis=0), subject_mask=subject, shadow=shadow)


def soft_shadow(frames: int = 8, height: int = 32, width: int = 64) -> Scene:
    """Build a soft ball over a textured ground; its shadow darkens the ground by up to a half and has no edge."""
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.integers(60, 220, (height, width, 3)).astype(np.uint8), (0, 0), 1.5)
    balls, shades = _ball_and_shade(frames, height, width)
    lit = (1 - shades[..., None]) * ground
    gt = balls[..., None] * (220, 60, 40) + (1 - balls[..., None]) * lit
    return Scene(
        gt=np.rint(gt).astype(np.uint8),
        background=np.repeat(ground[None], frames, axis=0),
        subject_mask=np.rint(255 * balls).astype(np.uint8),
        shadow=shades > 0.02,
    )


def soft_shadow_truth(frames: int = 8, height: int = 32, width: int = 64) -> np.ndarray:
    """Opacity of ball and shadow together in `soft_shadow`, float [T, H, W]."""
    balls, shades = _ball_and_shade(frames, height, width)
    return 1 - (1 - balls) * (1 - shades)


def _ball_and_shade(frames: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:height, :width]
    centre = 12 + (width - 28) * np.arange(frames)[:, None, None] / max(frames - 1, 1)
    ball = np.clip(6.5 - np.hypot(x - centre, y - 11), 0, 1)
    shade = 0.5 * np.clip(1.5 * (1 - np.hypot((x - centre - 4) / 9, (y - 21) / 5)), 0, 1)
    return ball, shade


def write_h264(path: Path, frames: Rgb | Matte, *, fps: int = 16, crf: int = 4) -> Path:
    """Write real H.264, as footage comes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = frames.ndim == 4
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": str(crf), "preset": "veryfast"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24" if colour else "gray")))
        container.mux(stream.encode(None))
    return path
