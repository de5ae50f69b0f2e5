"""Proof that a run learnt effects: its error inside and outside the effect masks of held-out clips, and moved masks.

Error is the mean absolute difference from `gt` over all pixels of a region and all clips, in 8-bit steps; a pixel's is
the mean of its colours. Inside is the clip's `effect_mask`, outside is every other pixel, subject too. Each is compared
with that of `over` as it is. `gt` and `over` of drawn clips are two passes with noise of their own, so `over` has an
error outside too; a copy of it has 1.0 of that, and no video can have less than 0.71, for gt's own noise is not known.

Then the same clips are made with their masks moved to where there is neither effect nor subject. Darkening is the mean
of `over` less the video in a region; it has to be at the mask, and to be gone where the mask was.
"""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..arrays import Mask, Rgb
from ..datasets.corpus.clip import Clip
from ..datasets.corpus.reader import open_corpus
from ..datasets.store import codec
from ..datasets.store.atomic_io import atomic_write, json_bytes
from ..render.compositing.contact_sheet import contact_sheet
from ..untrusted_input import path_within
from .configs.config import TrainingConfig
from .fitting.step_log import EVALUATION_FOLDER, SAMPLES_FOLDER, TRAINED_FOLDER
from .latents.encode_plan import training_mask
from .results import select_evaluation_clips

RECORD, STRIP = "effect_check.json", "effect_check.png"
STRIP_CLIPS = 4
MOVES = tuple(step / 20 for step in range(-16, 17))
"""Shares of height and width by which a mask may be moved."""
GOALS = {"inside": 0.6, "outside": 1.2}
"""Largest ratios to the error of `over` with which a run counts as having learnt."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EffectErrors:
    """Sums over pixels, so that clips add up."""

    inside: float = 0.0
    outside: float = 0.0
    over_inside: float = 0.0
    over_outside: float = 0.0
    inside_pixels: int = 0
    outside_pixels: int = 0

    def __add__(self, other: "EffectErrors") -> "EffectErrors":
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return EffectErrors(**dict(zip(vars(self), map(sum, pairs), strict=True)))

    def to_record(self) -> dict[str, float]:
        """Mean errors in 8-bit steps, and their ratios to those of `over`."""
        pixels = {"inside": self.inside_pixels, "outside": self.outside_pixels}
        means = {name: value / pixels[name.removeprefix("over_")] for name, value in list(vars(self).items())[:4]}
        ratios = {f"{name}_ratio": means[name] / means[f"over_{name}"] for name in pixels}
        return means | ratios


def measure_errors(video: Rgb, over: Rgb, gt: Rgb, mask: Mask) -> EffectErrors:
    """Errors of a video and of `over` against gt."""
    errors, over_errors = (np.abs(gt.astype(np.int16) - frames).mean(axis=3) for frames in (video, over))
    return EffectErrors(
        inside=float(errors[mask].sum()),
        outside=float(errors[~mask].sum()),
        over_inside=float(over_errors[mask].sum()),
        over_outside=float(over_errors[~mask].sum()),
        inside_pixels=int(mask.sum()),
        outside_pixels=int((~mask).sum()),
    )


def move_mask(mask: Mask, occupied: Mask) -> Mask | None:
    """The mask moved as a whole, within the picture, to where no frame is occupied; None where it cannot be.

    Of several moves the longest is chosen.
    """
    height, width = mask.shape[1:]
    moves = [(round(down * height), round(across * width)) for down in MOVES for across in MOVES]
    for down, across in sorted(moves, key=lambda move: -abs(move[0]) - abs(move[1])):
        shift = np.array([[1, 0, across], [0, 1, down]], np.float32)
        frames = [cv2.warpAffine(frame.astype(np.uint8), shift, (width, height)) for frame in mask]
        moved = np.stack(frames).astype(bool)
        if moved.sum() == mask.sum() and not (moved & occupied).any():
            return moved
    return None


def darkening(video: Rgb, over: Rgb, region: Mask) -> float:
    """Mean of `over` less the video in a region, in 8-bit steps."""
    return float((over.astype(np.int16) - video).mean(axis=3)[region].mean())


def check_effects(settings: TrainingConfig, count: int) -> Iterator[str]:
    """Measure a run's samples, make those clips with moved masks, yield each clip's id; write record and strip last.

    Both lie in OUTPUT/evaluation.

    Raises:
        ValueError: the run has no samples.
    """
    from .generate import DeviceSettings, load_pipeline
    from .sampling.pipeline import PipelineInput
    from .sampling.sample import SamplingSettings

    corpus, validation = open_corpus(settings.corpus), settings.validation
    sampling = SamplingSettings(steps=validation.steps, guidance=validation.guidance, seed=validation.seed)
    pipeline = load_pipeline(DeviceSettings(trained=settings.output_path / TRAINED_FOLDER))
    errors = EffectErrors()
    moves: list[list[float]] = []
    rows: list[dict[str, Any]] = []
    for clip_id in select_evaluation_clips(corpus, count)[1]:
        clip = corpus.clip(clip_id)
        path = path_within(settings.output_path, f"{SAMPLES_FOLDER}/{clip_id}.mkv")
        if not path.exists():
            raise ValueError(f"{path}: is not there; sample first")
        video, mask, over = codec.decode(path.read_bytes()), training_mask(clip, settings.cache), clip.over
        assert mask is not None, "evaluation clips are pairs"
        assert over is not None
        errors += measure_errors(video, over, clip.gt, mask)
        moved = move_mask(mask, _widened(mask | (np.asarray(clip.subject_mask) > 0)))
        if moved is not None:
            inputs = PipelineInput(prompt=clip.caption or "", over=over, effect_mask=moved)
            result = pipeline(inputs, sampling)
            moves.append([darkening(video, over, mask), *(darkening(result, over, region) for region in (moved, mask))])
            rows += [_strip_row(clip, video, mask, moved, result)] if len(rows) < STRIP_CLIPS else []
        yield clip_id
    record = errors.to_record()
    if moves:
        names = "darkening", "darkening_at_moved_mask", "darkening_where_mask_was"
        record |= dict(zip(names, np.mean(moves, axis=0).tolist(), strict=True)) | {"moved_clips": len(moves)}
        _, encoded = cv2.imencode(".png", contact_sheet(rows)[..., ::-1])
        atomic_write(settings.output_path / EVALUATION_FOLDER / STRIP, encoded.tobytes())
    atomic_write(settings.output_path / EVALUATION_FOLDER / RECORD, json_bytes(record))


def describe_check(output: Path) -> str:
    """One line on the record of a run."""
    record = json.loads((output / EVALUATION_FOLDER / RECORD).read_text())
    words = [
        f"error {name} the masks {record[f'{name}_ratio']:.2f} of over's (at most {GOALS[name]})" for name in GOALS
    ]
    if "darkening" in record:
        words.append(
            f"darkening {record['darkening']:.1f}, with masks moved {record['darkening_at_moved_mask']:.1f} there and "
            f"{record['darkening_where_mask_was']:.1f} where they were"
        )
    return "; ".join(words)


def _widened(region: Mask) -> Mask:
    return np.stack([cv2.dilate(frame.astype(np.uint8), np.ones((5, 5), np.uint8)) for frame in region]).astype(bool)


def _strip_row(clip: Clip, video: Rgb, mask: Mask, moved: Mask, result: Rgb) -> dict[str, Any]:
    """The middle frame of each layer of a clip."""
    middle = len(video) // 2
    layers: dict[str, Any] = {"over": clip.over, "mask": mask, "generated": video, "gt": clip.gt, "moved mask": moved}
    pictures = {name: layer[middle] for name, layer in (layers | {"with moved mask": result}).items()}
    return {name: frame * np.uint8(255) if frame.dtype == bool else frame for name, frame in pictures.items()}
