"""How well key masks are carried through real clips: mean J over the frames that are not keys, as a Markdown table.

Run as `python tests/benchmarks/propagate_j.py [CLIPS]`; about three minutes on one core. `static` holds the nearest
key, `warp` carries masks by dense flow alone (nearest key too); `trust` is the correlation of confidence with J.
"""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from effectpairs.stages.propagate import Propagate
from effectpairs.stages.tracking.prompts import SubjectPrompt

CLIPS = Path(os.environ.get("EFFECTPAIRS_CLIPS", Path(__file__).parents[2].parent / "shared" / "clips"))
SIZE = (672, 384)
MAX_FRAMES = 85
EVERY = {"15": 15, "8": 8, "first": MAX_FRAMES}
HIDDEN = "davis_camel 01"  # an animal that is almost fully behind another: out of the mean


def main(clips: Path) -> None:
    print("| clip, subject | keys | static | warp | propagate | worst frame | trust | ms a frame |")
    print("|---|---|---|---|---|---|---|---|")
    means: dict[str, list[tuple[float, float, float]]] = {keys: [] for keys in EVERY}
    for name, gt, truth in footage(clips):
        for keys, every in EVERY.items():
            row = measured(gt, truth, every)
            print(
                f"| {name} | {keys} | " + " | ".join(f"{value:.2f}" for value in row[:5]) + f" | {row[5]:.0f} |",
                flush=True,
            )
            if name != HIDDEN:
                means[keys].append(row[:3])
    for keys, rows in means.items():
        static, warp, ours = np.mean(rows, axis=0)
        print(f"| **mean without {HIDDEN}** | {keys} | {static:.2f} | {warp:.2f} | **{ours:.2f}** | | | |")


def measured(gt: np.ndarray, truth: np.ndarray, every: int) -> tuple[float, ...]:
    """J of holding, warping and propagating, J of the worst frame, correlation of confidence and J, time."""
    keys = {frame: truth[frame] for frame in range(0, len(gt), every)}
    others = [frame for frame in range(len(gt)) if frame not in keys]
    nearest = [min(keys, key=lambda key: abs(key - frame)) for frame in range(len(gt))]
    started = time.perf_counter()
    found = Propagate().track(gt, SubjectPrompt(keys=keys))
    spent_ms = (time.perf_counter() - started) / len(gt) * 1000
    ours = np.array([jaccard(found.mask[frame], truth[frame]) for frame in others])
    static = np.mean([jaccard(truth[nearest[frame]], truth[frame]) for frame in others])
    warped = warp_only(gt, keys, nearest)
    plain = np.mean([jaccard(warped[frame], truth[frame]) for frame in others])
    trust = np.corrcoef(found.confidence[others], ours)[0, 1]
    return float(static), float(plain), float(ours.mean()), float(ours.min()), float(trust), spent_ms


def warp_only(gt: np.ndarray, keys: dict[int, np.ndarray], nearest: list[int]) -> np.ndarray:
    """Each frame's mask warped from its neighbour on the side of the nearest key, and nothing else."""
    finder = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in gt]
    rows, columns = np.indices(grey[0].shape, dtype=np.float32)
    masks = np.zeros(gt.shape[:3], np.uint8)
    for frame in sorted(range(len(gt)), key=lambda frame: abs(frame - nearest[frame])):
        if frame in keys:
            masks[frame] = keys[frame]
            continue
        before = frame - int(np.sign(frame - nearest[frame]))
        flow = finder.calc(grey[frame], grey[before], None)
        masks[frame] = cv2.remap(masks[before], columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
    return masks


def jaccard(mask: np.ndarray, truth: np.ndarray) -> float:
    union = np.count_nonzero((mask > 127) | (truth > 127))
    return np.count_nonzero((mask > 127) & (truth > 127)) / union if union else 1.0


def footage(clips: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, clip and given masks at the working size."""
    for folder in ("davis_camel", "boys-beach"):
        gt = decoded(clips / "gen_omnimatte" / folder / "input_video.mp4", "rgb24")
        for path in sorted((clips / "gen_omnimatte" / folder).glob("mask_*.mp4")):
            yield f"{folder} {path.stem[-2:]}", gt, binary(decoded(path, "gray"))
    davis = clips / "davis"
    images = sorted((davis / "JPEGImages/480p/bmx-trees").iterdir())[:MAX_FRAMES]
    gt = np.stack([fitted(cv2.imread(str(path))[..., ::-1]) for path in images])
    paths = sorted((davis / "Annotations/480p/bmx-trees").iterdir())[:MAX_FRAMES]
    labels = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
    yield "bmx-trees", gt, binary(np.stack([fitted((label > 0).astype(np.uint8) * 255) for label in labels]))
    swan = clips / "omnimatte_zero" / "swan_lake"
    yield "swan_lake", decoded(swan / "video.mp4", "rgb24"), binary(decoded(swan / "object_mask.mp4", "gray"))


def decoded(path: Path, pixels: str) -> np.ndarray:
    with av.open(str(path)) as container:
        frames = zip(range(MAX_FRAMES), container.decode(video=0), strict=False)
        return np.stack([fitted(frame.to_ndarray(format=pixels)) for _, frame in frames])


def fitted(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)


def binary(mattes: np.ndarray) -> np.ndarray:
    return (mattes > 127).astype(np.uint8) * 255


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else CLIPS)
