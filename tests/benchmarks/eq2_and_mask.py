"""Eq. 2 and effect mask against the plain reference, on one thread: `python tests/benchmarks/eq2_and_mask.py`.

An 85-frame clip of 384x672: a texture with grain that a camera pans over, a subject, and a soft shadow that goes with
it. Both sides take turns, so that a busy machine slows both; the medians are compared. The masks must be the same.
Neither side calls into BLAS, and OpenCV is held to one thread.
"""

import argparse
import statistics
import time

import cv2
import numpy as np
from effectpairs.stages import composite, effect_mask
from effectpairs.tests import fixtures_reference_masks

TARGET = 12.0


def clip(frames=85, height=384, width=672):
    """gt, foreground, background and subject mask."""
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.normal(0, 1, (height, width + 2 * frames, 3)), (0, 0), 3)
    wide = np.clip(125 + 50 * wide / wide.std(), 0, 255)
    y, x = np.mgrid[:height, :width]
    plates, gts, subjects = [], [], []
    for t in range(frames):
        plate = wide[:, 2 * t : 2 * t + width]
        centre = 150 + 4 * t
        shadow = np.clip(2 - 2 * np.hypot((x - centre - 60) / 130, (y - 300) / 35), 0, 1)[..., None]
        subject = np.clip(3 * (70 - np.hypot(x - centre, (y - 200) / 1.4)), 0, 255).astype(np.uint8)
        grain = rng.normal(0, 1.5, plate.shape)
        gt = np.clip(np.rint(plate * (1 - 0.4 * shadow) + grain), 0, 255).astype(np.uint8)
        # The plate replaces gt around the shadow only, as the decomposition does it.
        plates.append(np.where(cv2.dilate(shadow, np.ones((25, 25)))[..., None] > 0, plate.astype(np.uint8), gt))
        gts.append(gt)
        subjects.append(subject)
    gt = np.stack(gts)
    return gt, gt, np.stack(plates), np.stack(subjects)


def run(stage, stage_mask, gt, foreground, background, subject_mask):
    """One side: seconds and mask."""
    start = time.perf_counter()
    blended = stage(foreground, background, subject_mask)
    mask = stage_mask(gt, blended, subject_mask, effect_mask.EffectMaskSettings())
    return time.perf_counter() - start, mask


def main():
    """Print seconds and ratio; fail where the masks differ or the ratio misses the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)
    layers = clip()
    fast, slow = [], []
    for _ in range(rounds):
        seconds, expected = run(fixtures_reference_masks.over, fixtures_reference_masks.find_effect, *layers)
        slow.append(seconds)
        for _ in range(3):
            seconds, found = run(composite.over, effect_mask.find_effect, *layers)
            fast.append(seconds)
        if np.mean(found.mask != expected) > 0.0005:  # a rounding may decide single pixels
            raise SystemExit("the masks differ: the fast stage and its reference have come apart")
    ratio = statistics.median(slow) / statistics.median(fast)
    print(
        f"Eq. 2 + effect mask, 85 frames of 384x672, one thread: plain {statistics.median(slow):.2f} s, "
        f"fast {statistics.median(fast):.3f} s, {ratio:.1f} times faster (target {TARGET:.0f}); "
        f"masks differ in {np.mean(found.mask != expected):.1e} of their pixels and cover {expected.mean():.1%}"
    )
    if ratio < TARGET:
        raise SystemExit(f"{ratio:.1f} is below {TARGET:.0f}")


if __name__ == "__main__":
    main()
