"""Effects of a clip: as scene or source name them; else as measured, with the evidence; else unknown.

A scene knows its effects. A source names them for many clips, so its word is compared with what this clip shows.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from ...arrays import Mask, Matte, Rgb
from ..interface.captioner import ClipContext, even_indices
from ..language.caption_parsing import related_effects
from ..language.vocabulary import colour_name
from .extent_and_motion import ClipMeasures, measure_clip
from .opacity_fit import MIN_PIXELS, MIN_TEXTURE, OpacityFit

DOUBT_SHARE = 0.6
"""Share of an effect's pixels that change in the wrong direction, above which its kind is doubted."""
EARTH_COLOURS = frozenset({"tan", "beige", "brown", "dark brown", "orange"})


@dataclass(frozen=True, kw_only=True)
class EffectTags:
    """Effects of one clip, and how they are known."""

    effects: tuple[str, ...]
    """Words of the corpus's vocabulary; empty where they are not known."""
    source: Literal["given", "measured", "unknown"]
    evidence: tuple[str, ...]
    """Sentences."""
    review: bool
    """Whether a person should look at it."""
    doubt: str | None = None
    """Contradiction between the frames and the source's words."""


def classify_effects(clip: ClipContext, measures: ClipMeasures | None = None) -> EffectTags:
    """Return a clip's effects. Measurement names at most one, and only where scene and source name none."""
    if clip.effects and clip.facts:
        return EffectTags(effects=clip.effects, source="given", evidence=("the scene says so",), review=False)
    measures = measures or measure_clip(clip)
    return _compare_with_source(clip, measures) if clip.effects else _classify_by_measures(clip, measures)


def _compare_with_source(clip: ClipContext, measures: ClipMeasures) -> EffectTags:
    """Compare the source's word with the frames; the word stays, but a contradiction goes to review."""
    names, doubt = " and ".join(clip.effects), None
    evidence: tuple[str, ...] = ("the source says so",)
    if clip.over is not None and clip.effect_mask is not None:
        measured, fit = _classify_by_measures(clip, measures), measures.fit
        evidence = (*evidence, f"the frames: {measured.evidence[0]}")
        if measures.extent is None:
            doubt = f"the source says {names}, and the frames show none: the effect mask is empty"
        elif measured.effects and not set(measured.effects) & related_effects(clip.effects):
            doubt = f"the source says {names}, and the frames rather show {measured.effects[0]}: {measured.evidence[0]}"
        elif fit is not None and set(clip.effects) == {"shadow"} and fit.lighter_share > DOUBT_SHARE:
            doubt = (
                f"the source says {names}, and {fit.lighter_share:.0%} of what it covers is brighter than without it"
            )
        elif fit is not None and set(clip.effects) <= {"glow", "light"} and fit.darker_share > DOUBT_SHARE:
            doubt = f"the source says {names}, and {fit.darker_share:.0%} of what it covers is darker than without it"
    return EffectTags(effects=clip.effects, source="given", evidence=evidence, review=doubt is not None, doubt=doubt)


def _classify_by_measures(clip: ClipContext, measures: ClipMeasures) -> EffectTags:
    if measures.fit is None:
        return EffectTags(effects=(), source="unknown", evidence=("no effect could be measured",), review=True)
    correlation = 0.0
    if clip.over is not None and clip.subject_mask is not None and clip.effect_mask is not None:
        correlation = mirror_correlation(clip.gt, clip.over, clip.subject_mask, clip.effect_mask)
    effect, evidence = _likely_effect(measures, measures.fit, correlation)
    if effect is None:
        return EffectTags(effects=(), source="unknown", evidence=(evidence,), review=True)
    return EffectTags(effects=(effect,), source="measured", evidence=(evidence,), review=False)


def mirror_correlation(gt: Rgb, over: Rgb, subject_mask: Matte, effect: Mask) -> float:
    """Return how much of the picture below the subject is its mirror image, as a partial correlation without ground.

    Returns:
        0 where nothing is mirrored or the subject is too plain to tell, at most 1.
    """
    scores = []
    for frame in even_indices(len(gt), 8):
        rows = np.nonzero(subject_mask[frame].max(axis=1) > 128)[0]
        if len(rows) == 0:
            continue
        y, x = np.nonzero(effect[frame] & (subject_mask[frame] < 26))
        mirrored_y = 2 * rows[-1] - y
        inside = (y > rows[-1]) & (mirrored_y >= 0)
        y, x, mirrored_y = y[inside], x[inside], mirrored_y[inside]
        inside = subject_mask[frame][mirrored_y, x] > 200
        if inside.sum() >= MIN_PIXELS:
            top, ground = cv2.blur(gt[frame], (3, 3)), cv2.blur(over[frame], (3, 3))
            below = (y[inside], x[inside])
            scores.append(_partial_correlation(top[below], ground[below], top[mirrored_y[inside], x[inside]]))
    return float(np.median(scores)) if scores else 0.0


def _partial_correlation(top: np.ndarray, ground: np.ndarray, mirror: np.ndarray) -> float:
    """Return the correlation of top with mirror after the ground has explained what it can, over all channels."""

    def residuals(values: np.ndarray) -> np.ndarray:
        channels = []
        for shade, y in zip(ground.T.astype(np.float64), values.T.astype(np.float64), strict=True):
            x = np.stack([shade, np.ones(len(shade))], axis=1)
            channels.append(y - x @ np.linalg.lstsq(x, y, rcond=None)[0])
        return np.concatenate(channels)

    a, b = residuals(top), residuals(mirror)
    if b.std() < 4:
        return 0.0
    return float(max(0.0, (a * b).sum() / max(float(np.sqrt((a**2).sum() * (b**2).sum())), 1e-6)))


def _likely_effect(measures: ClipMeasures, fit: OpacityFit, correlation: float) -> tuple[str | None, str]:
    """Return the one effect that explains the change, and why; or None and why not."""
    colour, luma = colour_name(fit.colour), sum(fit.colour) / 3
    numbers = (
        f"opacity {fit.opacity:.2f}, {colour}, {fit.explained_share:.0%} explained, {fit.fine_share:.0%} fine-grained"
    )
    is_veil = fit.is_reliable and fit.explained_share > 0.85
    if correlation > 0.5 and not is_veil:
        return "reflection", f"below the subject its mirror image shows (correlation {correlation:.2f})"
    is_broken = fit.fine_share > 0.5 or (fit.fine_share > 0.35 and fit.explained_share < 0.4)
    if fit.lighter_share > 0.25 and is_broken:
        return "splash", f"broken and bright, as drops are ({numbers})"
    if is_veil and 28 < luma < 60:
        return None, f"a shadow, or a dark veil such as black smoke ({numbers})"
    if fit.darker_share > 0.85 and fit.loss_similarity > 0.97 and measures.side != "above":
        if fit.explained_share > 0.45 and fit.texture_std >= MIN_TEXTURE and luma < 55:
            return "shadow", f"takes light away and adds none ({numbers})"
        if fit.texture_std < 6 and fit.fine_share < 0.4 and fit.relative_change > -0.85:
            return "shadow", f"even ground is darker by {-fit.relative_change:.0%}, in proportion to its colour"
    if fit.is_reliable and luma >= 60 and fit.fine_share < 0.35:
        effect = "dust" if colour in EARTH_COLOURS else "smoke"
        return effect, f"veils the ground with a colour of its own ({numbers})"
    return None, f"no kind of effect fits ({numbers}, mirror image {correlation:.2f})"
