"""How well `plate` finds back a background that is known: prints a Markdown table.

A figure walks through real footage whose camera moves. It drags a soft shadow (black, at most 45 % opaque), in two
scenes also one of low sun, more than twice as long as the figure, or a spray of light that is added to the picture. The
footage itself is the truth; whatever moves in it (animals, riders) is passed as `others` and must stay. The figure's
whole shadow is in the picture, on ground that is not in shade already, and clear of the animals' and riders' own
shadows: these belong to the truth, and how one subject's shadow is told from another's is not tested. Where the camera
pans the figure walks against it, for a figure that keeps pace with the camera hides the same ground in every frame.

PSNR counts removed pixels that some other frame shows free of figure, effect and others, as the true masks and the
registered camera tell. Run: python tests/benchmarks/plate_truth.py [--quick] [SCENE ...]
"""

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from effectpairs.stages.composite import over
from effectpairs.stages.effect_mask import EffectMaskSettings, find_effect
from effectpairs.stages.plate import Plate
from effectpairs.stages.plates.registration import register_camera

CLIPS = Path(os.environ.get("EFFECTPAIRS_CLIPS", Path(__file__).parents[3] / "shared" / "clips"))
SIZE = (384, 672)
FRAMES = 85
EFFECT_LEVELS = 8
"""From this change in mean grey on a pixel belongs to the true effect mask."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Footage, the masks of what moves in it, and where the figure's feet go (shares of width and height)."""

    name: str
    video: str
    masks: tuple[str, ...]
    start: tuple[float, float]
    end: tuple[float, float]
    effects: tuple[str, ...] = ("shadow", "spray")


SCENES = (
    Scene(
        name="camel",
        video="gen_omnimatte/davis_camel/input_video.mp4",
        masks=("gen_omnimatte/davis_camel/mask_00.mp4", "gen_omnimatte/davis_camel/mask_01.mp4"),
        start=(0.16, 0.88),
        end=(0.04, 0.88),
        effects=("shadow", "long shadow", "spray"),
    ),
    Scene(
        name="beach",
        video="gen_omnimatte/boys-beach/input_video.mp4",
        masks=("gen_omnimatte/boys-beach/mask_00.mp4", "gen_omnimatte/boys-beach/mask_01.mp4"),
        start=(0.10, 0.80),
        end=(0.55, 0.85),
        effects=("shadow", "long shadow", "spray"),
    ),
    Scene(
        name="bmx",
        video="davis/JPEGImages/480p/bmx-trees",
        masks=("davis/Annotations/480p/bmx-trees",),
        start=(0.84, 0.74),
        end=(0.50, 0.74),
    ),
    Scene(name="lake", video="omnimatte_zero/swan_lake/background.mp4", masks=(), start=(0.12, 0.75), end=(0.85, 0.65)),
)


def footage(source: str, interpolation: int = cv2.INTER_AREA) -> np.ndarray:
    """Frames of a video or of a folder of pictures, covering SIZE."""
    frames = []
    for frame in _frames(CLIPS / source):
        scale = max(SIZE[0] / frame.shape[0], SIZE[1] / frame.shape[1])
        side = (max(round(frame.shape[1] * scale), SIZE[1]), max(round(frame.shape[0] * scale), SIZE[0]))
        large = cv2.resize(frame, side, interpolation=interpolation if scale < 1 else cv2.INTER_LINEAR)
        top, left = (large.shape[0] - SIZE[0]) // 2, (large.shape[1] - SIZE[1]) // 2
        frames.append(large[top : top + SIZE[0], left : left + SIZE[1]])
        if len(frames) == FRAMES:
            break
    return np.stack(frames)


def _frames(path: Path) -> Iterator[np.ndarray]:
    if path.is_dir():
        for picture in sorted(path.iterdir()):
            yield cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB)
        return
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def figure(scene: Scene, frame: int, frames: int) -> tuple[np.ndarray, tuple[float, float]]:
    """Coverage (0 to 1) of a walking figure and where its feet are."""
    share = frame / max(frames - 1, 1)
    x, y = ((a + (b - a) * share) * side for a, b, side in zip(scene.start, scene.end, SIZE[::-1], strict=True))
    height = 0.26 * SIZE[0]
    body = np.zeros(SIZE, np.uint8)
    stride = 0.12 * height * np.sin(frame * 0.6)
    for foot in (-stride, stride):
        _stroke(body, (x, y - 0.45 * height), (x + foot, y), 0.07 * height)
    _stroke(body, (x, y - 0.8 * height), (x, y - 0.45 * height), 0.2 * height)
    _stroke(body, (x, y - 0.75 * height), (x - 1.4 * stride, y - 0.45 * height), 0.06 * height)
    cv2.circle(body, (round(x), round(y - 0.93 * height)), round(0.09 * height), 255, -1, cv2.LINE_AA)
    return cv2.GaussianBlur(body, (0, 0), 0.7) / np.float32(255), (x, y)


def _stroke(body: np.ndarray, start: tuple[float, float], end: tuple[float, float], width: float) -> None:
    ends = [(round(x), round(y)) for x, y in (start, end)]
    cv2.line(body, ends[0], ends[1], 255, max(round(width), 1), cv2.LINE_AA)


def shadow(body: np.ndarray, feet: tuple[float, float], length: float) -> np.ndarray:
    """Opacity of a soft black shadow: the figure laid down to the right, so many times as long as it is high."""
    shear = np.array([[1, -length, length * feet[1]], [0, -0.25, 1.25 * feet[1]]], np.float32)
    laid = cv2.warpAffine(body, shear, SIZE[::-1])
    return 0.45 * cv2.GaussianBlur(laid, (0, 0), 2.5)


def spray(feet: tuple[float, float], frame: int) -> np.ndarray:
    """Levels of light to add: a flickering plume behind the feet."""
    rng = np.random.default_rng(frame)
    drops = cv2.GaussianBlur(rng.random(SIZE).astype(np.float32), (0, 0), 2.0)
    drops = (drops - drops.min()) / (drops.max() - drops.min())
    ys, xs = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    plume = np.exp(-(((xs - feet[0] + 22) / 26) ** 2) - ((ys - feet[1] + 10) / 14) ** 2)
    return 150 * plume * drops


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A clip whose background and effect are known."""

    gt: np.ndarray
    subject_mask: np.ndarray
    true_over: np.ndarray


def composite(scene: Scene, truth: np.ndarray, effect: str) -> Trial:
    """Put the figure and its effect into the footage."""
    gt, masks, overs = np.empty_like(truth), [], []
    for frame, plate in enumerate(truth):
        body, feet = figure(scene, frame, len(truth))
        seen = plate.astype(np.float32)
        if effect == "spray":
            seen += spray(feet, frame)[..., None]
        else:
            seen *= 1 - shadow(body, feet, 2.2 if effect == "long shadow" else 0.9)[..., None]
        cover = body[..., None]
        colour = np.float32((60, 70, 150))
        gt[frame] = np.rint(np.clip(seen, 0, 255) * (1 - cover) + cover * colour)
        overs.append(np.rint(plate * (1 - cover) + cover * colour).astype(np.uint8))
        masks.append(np.rint(body * 255).astype(np.uint8))
    return Trial(gt=gt, subject_mask=np.stack(masks), true_over=np.stack(overs))


def measure(scene: Scene, effect: str, frames: int) -> dict[str, float]:
    """Decompose one composite and compare with the truth."""
    truth = footage(scene.video)[:frames]
    others = [footage(mask, cv2.INTER_AREA)[:frames, ..., 0] >= 64 for mask in scene.masks]
    moving = np.any(others, axis=0) if others else None
    trial = composite(scene, truth, effect)
    if moving is not None:
        moving &= trial.subject_mask < 128  # masks show what is visible, and the figure is in front
    start = time.process_time()
    layers = Plate().decompose(trial.gt, trial.subject_mask, moving, None)
    seconds = time.process_time() - start
    changed = np.abs(trial.gt.mean(axis=3) - trial.true_over.mean(axis=3)) >= EFFECT_LEVELS
    true_effect = changed & (trial.subject_mask < 128)
    shown = over(layers.foreground, layers.background, trial.subject_mask)
    found = find_effect(trial.gt, shown, trial.subject_mask, EffectMaskSettings()).mask
    hidden = (trial.subject_mask > 0) | true_effect
    fixed = seen_elsewhere(trial.gt, hidden, moving)
    left = (layers.background != trial.gt).any(axis=3)
    return {
        "psnr_removed_db": psnr(layers.background, truth, fixed),
        "psnr_effect_db": psnr(layers.background, truth, fixed & true_effect & (trial.subject_mask == 0)),
        "psnr_before_db": psnr(trial.gt, truth, fixed & true_effect & (trial.subject_mask == 0)),
        "effect_iou": float((found & true_effect).sum() / max((found | true_effect).sum(), 1)),
        "effect_recall": float((found & true_effect).sum() / max(true_effect.sum(), 1)),
        "touched_outside": float((left & ~hidden).sum() / hidden.sum()),
        "unseen_share": layers.facts["unseen_share"],
        "registration_px": layers.facts["registration_error_px"],
        "seconds": seconds,
    }


def seen_elsewhere(gt: np.ndarray, hidden: np.ndarray, moving: np.ndarray | None) -> np.ndarray:
    """The hidden pixels, less what moves by itself, that at least one other frame shows free."""
    blocked = hidden if moving is None else hidden | moving
    camera = register_camera(gt, blocked)
    free = (~blocked).view(np.uint8)
    seen = np.zeros_like(hidden)
    for target in range(len(gt)):
        for source in (source for source in range(len(gt)) if source != target):
            step = camera.between(source, target)
            seen[target] |= cv2.warpPerspective(free[source], step, SIZE[::-1], flags=cv2.INTER_NEAREST) > 0
    return hidden & seen if moving is None else hidden & seen & ~moving


def psnr(image: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """Peak signal-to-noise ratio over some pixels, in dB."""
    error = (image[where].astype(np.float32) - truth[where]) ** 2
    return float(10 * np.log10(255**2 / max(error.mean(), 1e-9)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="21 frames instead of 85")
    parser.add_argument("scenes", nargs="*", default=[scene.name for scene in SCENES])
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    header = False
    for scene in (scene for scene in SCENES if scene.name in chosen.scenes):
        for effect in scene.effects:
            row = measure(scene, effect, 21 if chosen.quick else FRAMES)
            if not header:
                print("| scene | effect | " + " | ".join(row) + " |\n|" + "---|" * (len(row) + 2))
                header = True
            print(
                f"| {scene.name} | {effect} | " + " | ".join(f"{value:.3g}" for value in row.values()) + " |",
                flush=True,
            )


if __name__ == "__main__":
    main()
