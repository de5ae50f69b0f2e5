"""Quality of an unpaired clip: not black, not frozen, of the right length, and with the described colour.

There is no ground truth for such a clip. A clip of a text-to-video model is judged by its picture and motion alone; for
a clip rendered from its caption, the same scene without the effect is known, and the difference is measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from ..arrays import Rgb
from .quality_gates import Verdict, weigh

VERSION = 1
"""Raise it when results change; stored results of older versions are then made again."""
MOVED = 8
"""A pixel whose grey changes by more steps of 255 than this over the clip has moved."""
CHANGED = 6
"""A pixel that differs by more steps from the scene without the effect shows the effect."""
MIN_COSINE = 0.7
"""Cosine between the way a pixel changed and the way to the described colour, from which it went there."""
SAMPLED_FRAMES = 16
"""Number of frames, evenly over the clip, that are measured for colour."""
WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, kw_only=True)
class UnpairedThresholds:
    """Thresholds of an unpaired clip: below the first it goes to review, below the second it is rejected."""

    contrast: tuple[float, float] = (6.0, 2.5)
    """Mean over frames of the standard deviation of grey; a flat frame has none, a hazy desert in the evening had 9."""
    moving_share: tuple[float, float] = (0.002, 0.0003)
    """Share of the pixels that ever move; a thousandth of 384x672 is a patch of 16x16."""
    lively_frames: tuple[float, float] = (0.8, 0.3)
    """Share of the frames that differ from the one before."""
    effect_share: tuple[float, float] = (0.0005, 0.0001)
    """Rendered clips only: share of the pixels that the effect changes."""
    colour_share: tuple[float, float] = (0.0003, 0.00005)
    """Rendered clips only: share of the pixels that change towards the described colour; the least, of several."""

    def __post_init__(self) -> None:
        for field in fields(self):
            review, reject = getattr(self, field.name)
            if not 0 <= reject <= review:
                raise ValueError(
                    f"{field.name}={review, reject}: both are 0 or more, the second, for rejection, at most the first"
                )


MEANING = {
    "contrast": "the picture is all but one flat colour",
    "moving_share": "the clip stands still",
    "lively_frames": "most frames repeat the one before",
    "effect_share": "the described effect cannot be seen",
    "colour_share": "the described colour cannot be seen",
}


def measure(
    gt: Rgb, over: Rgb | None = None, colours: Mapping[str, tuple[float, float, float]] | None = None
) -> dict[str, float]:
    """The numbers of `UnpairedThresholds`, as far as they can be had.

    Args:
        gt: the clip.
        over: the same scene without its effect, where it is known.
        colours: described colours by their word, display space 0 to 1; looked for where `over` is known.
    """
    low = high = previous = _to_grey(gt[0])
    contrast, lively = [float(previous.std())], []
    for frame in gt[1:]:
        grey = _to_grey(frame)
        lively.append(bool((np.abs(grey - previous) > MOVED).mean() > 0.0001))
        low, high, previous = np.minimum(low, grey), np.maximum(high, grey), grey
        contrast.append(float(grey.std()))
    numbers = {
        "contrast": float(np.mean(contrast)),
        "moving_share": float((high - low > MOVED).mean()),
        "lively_frames": float(np.mean(lively)) if lively else 0.0,
    }
    return numbers if over is None else numbers | _measure_effect(gt, over, colours or {})


def judge(numbers: Mapping[str, float], limits: UnpairedThresholds, *, frames: int, expected_frames: int) -> Verdict:
    """Weigh the numbers; a clip of another length than was asked for is rejected."""
    failures = [] if frames == expected_frames else [f"it has {frames} frames, not {expected_frames}"]
    doubts: list[str] = []
    for field in fields(limits):
        value = numbers.get(field.name)
        review, reject = getattr(limits, field.name)
        if value is None or value >= review:
            continue
        limit, target = (reject, failures) if value < reject else (review, doubts)
        target.append(f"{MEANING[field.name]}: {field.name} is {value:.3g}, below the limit of {limit:.3g}")
    praise = f"{100 * numbers['moving_share']:.3g} % of the picture moves"
    if "effect_share" in numbers:
        praise += f", the effect changes {100 * numbers['effect_share']:.3g} % of it"
    return weigh(failures, doubts, praise)


def _measure_effect(gt: Rgb, over: Rgb, colours: Mapping[str, tuple[float, float, float]]) -> dict[str, float]:
    shares: dict[str, list[float]] = {word: [] for word in colours}
    changed = []
    for index in sorted({round(position) for position in np.linspace(0, len(gt) - 1, SAMPLED_FRAMES)}):
        without_effect = over[index].astype(np.float32)
        change = gt[index] - without_effect
        is_changed = np.abs(change).max(axis=-1) > CHANGED
        changed.append(float(is_changed.mean()))
        for word, colour in colours.items():
            direction = np.asarray(colour, np.float32) * 255 - without_effect
            lengths = np.linalg.norm(change, axis=-1) * np.linalg.norm(direction, axis=-1)
            towards_colour = (change * direction).sum(axis=-1) > MIN_COSINE * np.maximum(lengths, 1e-6)
            shares[word].append(float((is_changed & towards_colour).mean()))
    numbers = {"effect_share": float(np.mean(changed))}
    if shares:
        numbers["colour_share"] = min(float(np.mean(frame_shares)) for frame_shares in shares.values())
    return numbers


def _to_grey(frame: np.ndarray) -> np.ndarray:
    return np.asarray(frame.astype(np.float32) @ WEIGHTS)
