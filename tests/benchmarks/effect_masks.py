"""How well stage 5 finds effects through damaged layers: IoU and boundary F on rendered truth, as a Markdown table.

The clean plate of each rendered clip (`over` off the subject) is damaged as tools and codecs damage it. The effect
is then found by the recipe alone, `paper` (the plain one) and `default`, and by the whole way of layers from elsewhere,
`external`, which places the plate, brings it to the clip's tone and puts gt back. Truth is where the renderer's own
strength is above 0 and shows in gt by 4 steps or more. `docs/effect_masks.md` has the numbers of one run.

Run: python tests/benchmarks/effect_masks.py [CORPUS ...] [--json FILE]. Without a corpus it renders the demo's scenes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import effectpairs
import numpy as np
from effectpairs.stages import composite
from effectpairs.stages.decompose import ExternalLayers
from effectpairs.stages.difference import Noise, to_grey
from effectpairs.stages.effect_mask import EffectMaskSettings, find_effect
from effectpairs.stages.external import External
from effectpairs.tests.fixtures_videos import h264

VISIBLE_STEPS = 4
BOUNDARY_TOLERANCE = 0.008
"""Distance within which two boundaries agree, as a share of the picture's diagonal (as DAVIS measures F)."""
RECIPES = ("paper", "default", "external")


def moved(clip, scale, across, down):
    """The clip scaled about its middle and shifted, in pixels."""
    height, width = clip.shape[1:3]
    matrix = np.array([[scale, 0, (1 - scale) * width / 2 + across], [0, scale, (1 - scale) * height / 2 + down]])
    border = cv2.BORDER_REFLECT_101
    return np.stack(
        [cv2.warpAffine(f, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=border) for f in clip]
    )


def blurred(clip):
    """Detail lost and texture invented, as a video autoencoder does: blur of sigma 1, smooth noise of 3 steps."""
    rng, frames = np.random.default_rng(0), []
    for frame in clip:
        noise = cv2.GaussianBlur(rng.normal(0, 1, frame.shape).astype(np.float32), (0, 0), 1.0)
        frames.append(cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 1.0) + noise * (3 / noise.std()))
    return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def grown(mask, pixels):
    """Subject masks drawn too large, or for negative pixels too small."""
    kernel = np.ones((2 * abs(pixels) + 1,) * 2, np.uint8)
    return np.stack([(cv2.dilate if pixels > 0 else cv2.erode)(frame, kernel) for frame in mask])


LADDER: dict[str, Callable] = {
    "none": lambda plate: plate,
    "H.264, CRF 18": lambda plate: h264(plate, 18),
    "H.264, CRF 23": lambda plate: h264(plate, 23),
    "H.264, CRF 28": lambda plate: h264(plate, 28),
    "H.264, CRF 38": lambda plate: h264(plate, 38),
    "shift 1 px": lambda plate: moved(plate, 1, 1, 0),
    "shift 2 px": lambda plate: moved(plate, 1, 2, 1),
    "scale 1 %": lambda plate: moved(plate, 1.01, 0, 0),
    "gain 1.05, bias 3": lambda plate: np.clip(np.rint(plate * 1.05 + 3), 0, 255).astype(np.uint8),
    "blur 1 px, noise 3": blurred,
    "subject mask 2 px small": lambda plate: plate,
    "subject mask 2 px large": lambda plate: plate,
}
MASK_ERRORS_PX = {"subject mask 2 px small": -2, "subject mask 2 px large": 2}


def find(recipe, gt, plate, subject):
    """The effect mask by one recipe."""
    if recipe != "external":
        settings = EffectMaskSettings(preset=recipe)
        return find_effect(gt, composite.over(gt, plate, subject), subject, settings).mask
    layers = External().decompose(gt, subject, None, ExternalLayers(background=plate))
    over = composite.over(layers.foreground, layers.background, subject)
    return find_effect(gt, over, subject, EffectMaskSettings(), Noise.from_facts(layers.facts)).mask


def iou(mask, truth):
    """Intersection over union, over the clip."""
    union = (mask | truth).sum()
    return float((mask & truth).sum() / union) if union else 1.0


def boundary_f(mask, truth):
    """Harmonic mean of the shares of either boundary that lie near the other, mean over the frames."""
    radius = max(1, round(BOUNDARY_TOLERANCE * float(np.hypot(*mask.shape[1:]))))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    scores = []
    for frames in zip(mask, truth, strict=True):
        edges = [cv2.morphologyEx(f.view(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) for f in frames]
        if any(edge.any() for edge in edges):
            near = [cv2.dilate(edge, disk) for edge in edges]
            precision, recall = ((edges[a] & near[b]).sum() / max(edges[a].sum(), 1) for a, b in ((0, 1), (1, 0)))
            scores.append(2 * precision * recall / max(precision + recall, 1e-9))
    return float(np.mean(scores)) if scores else 1.0


def rendered_clips(corpora) -> Iterator[tuple]:
    """Yield id, gt, over, subject mask and true mask of each clip whose renderer says where its effect is."""
    for path in corpora:
        corpus = effectpairs.open(path)
        for clip in corpus:
            strength = clip.truth_strength()
            if strength is not None:
                steps = np.stack([to_grey(cv2.absdiff(a, b)) for a, b in zip(clip.gt, clip.over, strict=True)])
                truth = (strength > 0) & (steps >= VISIBLE_STEPS) & (clip.subject_mask < 128)
                yield clip.clip_id, clip.gt, clip.over, clip.subject_mask, truth


def measure(corpora):
    """Scores by rung, recipe and measure, one number a clip."""
    scores = {rung: {recipe: {"iou": [], "boundary_f": []} for recipe in RECIPES} for rung in LADDER}
    names = []
    for name, gt, over, subject, truth in rendered_clips(corpora):
        names.append(name)
        for rung, damage in LADDER.items():
            plate, pixels = damage(over), MASK_ERRORS_PX.get(rung, 0)
            mask = grown(subject, pixels) if pixels else subject
            for recipe in RECIPES:
                found = find(recipe, gt, plate, mask)
                scores[rung][recipe]["iou"].append(round(iou(found, truth), 4))
                scores[rung][recipe]["boundary_f"].append(round(boundary_f(found, truth), 4))
    return {"clips": names, "scores": scores}


def render_demo_scenes(folder: Path) -> Path:
    """Render and publish the demo's scenes."""
    command = [sys.executable, "-m", "effectpairs"]
    options = ["--workspace", str(folder / "workspace"), "--no-prefect"]
    subprocess.run([*command, "run", "demo-scenes", *options], check=True)
    subprocess.run([*command, "publish", str(folder / "corpus"), *options], check=True)
    return folder / "corpus"


def main():
    """Print the table; write every number to --json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="*", metavar="CORPUS")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(options.corpora or [render_demo_scenes(Path(folder))])
    print(f"{len(measured['clips'])} clips; IoU / boundary F, means over the clips")
    print("| damage | " + " | ".join(RECIPES) + " |\n|---" + "|---" * len(RECIPES) + "|")
    for rung, recipes in measured["scores"].items():
        means = [[np.mean(recipes[recipe][name]) for name in ("iou", "boundary_f")] for recipe in RECIPES]
        print(f"| {rung} | " + " | ".join(f"{overlap:.2f} / {edge:.2f}" for overlap, edge in means) + " |")
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
