"""Which effects a clip shows: as the scene or the source says; else as measured, with the evidence; else unknown.

A scene knows; a source's word is somebody's word for many clips, so it is held against what this one shows.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from ...arrays import Mask, Matte, Rgb
from ..interface.captioner import ClipContext
from ..language.caption_parsing import related_effects
from ..language.vocabulary import EFFECTS
from ..measuring.clip_measures import ClipMeasures, measure_clip
from ..measuring.colour_names import colour_name
from ..measuring.opacity_fit import FEWEST, VARIED, OpacityFit, sample_indices

MOSTLY = 0.6
"""Share of an effect's pixels that go the wrong way, from which its kind is doubted."""
EARTHY = frozenset({"tan", "beige", "brown", "dark brown", "orange"})


@dataclass(frozen=True, kw_only=True)
class EffectTags:
    """The effects of one clip, and how they are known."""

    effects: tuple[str, ...]
    """Words of the corpus's vocabulary; empty where they are not known."""
    source: Literal["given", "measured", "unknown"]
    evidence: tuple[str, ...]
    """Sentences."""
    review: bool
    """Somebody should look at it."""
    doubt: str | None = None
    """Where the frames contradict the source: how."""


def classify_effects(seen: ClipContext, measures: ClipMeasures | None = None) -> EffectTags:
    """The effects of a clip. Measurement names at most one, and only where scene and source name none."""
    if seen.effects and seen.facts:
        return EffectTags(effects=tuple(seen.effects), source="given", evidence=("the scene says so",), review=False)
    measures = measures or measure_clip(seen)
    return _held(seen, measures) if seen.effects else _told(seen, measures)


def _held(seen: ClipContext, measures: ClipMeasures) -> EffectTags:
    """What the source says, held against what the frames show; its word stays, but somebody should look."""
    said, doubt = " and ".join(seen.effects), None
    evidence: tuple[str, ...] = ("the source says so",)
    if seen.over is not None and seen.effect_mask is not None:
        found, fit = _told(seen, measures), measures.fit
        evidence = (*evidence, f"the frames: {found.evidence[0]}")
        if measures.extent is None:
            doubt = f"the source says {said}, and the frames show none: the effect mask is empty"
        elif found.effects and not set(found.effects) & related_effects(
            word for word in seen.effects if word in EFFECTS
        ):
            doubt = f"the source says {said}, and the frames rather show {found.effects[0]}: {found.evidence[0]}"
        elif fit is not None and set(seen.effects) == {"shadow"} and fit.lighter > MOSTLY:
            doubt = f"the source says {said}, and {fit.lighter:.0%} of what it covers is brighter than without it"
        elif fit is not None and set(seen.effects) <= {"glow", "light"} and fit.darker > MOSTLY:
            doubt = f"the source says {said}, and {fit.darker:.0%} of what it covers is darker than without it"
    return EffectTags(
        effects=tuple(seen.effects), source="given", evidence=evidence, review=doubt is not None, doubt=doubt
    )


def _told(seen: ClipContext, measures: ClipMeasures) -> EffectTags:
    """What the frames alone tell."""
    if measures.fit is None:
        return EffectTags(effects=(), source="unknown", evidence=("no effect could be measured",), review=True)
    mirrored = 0.0
    if seen.over is not None and seen.subject_mask is not None and seen.effect_mask is not None:
        mirrored = mirror_correlation(seen.gt, seen.over, seen.subject_mask, seen.effect_mask)
    word, evidence = _guess(measures, measures.fit, mirrored)
    if word is None:
        return EffectTags(effects=(), source="unknown", evidence=(evidence,), review=True)
    return EffectTags(effects=(word,), source="measured", evidence=(evidence,), review=False)


def mirror_correlation(gt: Rgb, over: Rgb, subject_mask: Matte, effect: Mask) -> float:
    """How much of what is seen below the subject is its mirror image: the partial correlation, ground taken out.

    Returns:
        0 where nothing is mirrored or the subject is too plain to tell, at most 1.
    """
    scores = []
    for frame in sample_indices(len(gt), 8):
        rows = np.nonzero(subject_mask[frame].max(axis=1) > 128)[0]
        if len(rows) == 0:
            continue
        y, x = np.nonzero(effect[frame] & (subject_mask[frame] < 26))
        source = 2 * rows[-1] - y
        inside = (y > rows[-1]) & (source >= 0)
        y, x, source = y[inside], x[inside], source[inside]
        inside = subject_mask[frame][source, x] > 200
        if inside.sum() >= FEWEST:
            seen, ground = cv2.blur(gt[frame], (3, 3)), cv2.blur(over[frame], (3, 3))
            at = (y[inside], x[inside])
            scores.append(_partial(seen[at], ground[at], seen[source[inside], x[inside]]))
    return float(np.median(scores)) if scores else 0.0


def _partial(top: np.ndarray, ground: np.ndarray, mirror: np.ndarray) -> float:
    """Correlation of top with mirror after the ground has explained what it can, over all channels."""
    left = []
    for values in (top, mirror):
        rest = []
        for channel in range(3):
            x = np.stack([ground[:, channel].astype(np.float64), np.ones(len(ground))], axis=1)
            y = values[:, channel].astype(np.float64)
            rest.append(y - x @ np.linalg.lstsq(x, y, rcond=None)[0])
        left.append(np.concatenate(rest))
    a, b = left
    if b.std() < 4:
        return 0.0
    return float(max(0.0, (a * b).sum() / max(float(np.sqrt((a**2).sum() * (b**2).sum())), 1e-6)))


def _guess(measures: ClipMeasures, fit: OpacityFit, mirrored: float) -> tuple[str | None, str]:
    """The one effect that explains the change, and why; None and why not."""
    name, luma = colour_name(fit.colour), sum(fit.colour) / 3
    numbers = f"opacity {fit.opacity:.2f}, {name}, {fit.explained:.0%} explained, {fit.fine:.0%} fine-grained"
    veil = fit.trusted and fit.explained > 0.85
    if mirrored > 0.5 and not veil:
        return "reflection", f"below the subject its mirror image shows (correlation {mirrored:.2f})"
    if fit.lighter > 0.25 and (fit.fine > 0.5 or (fit.fine > 0.35 and fit.explained < 0.4)):
        return "splash", f"broken and bright, as drops are ({numbers})"
    if veil and 28 < luma < 60:
        return None, f"a shadow, or a dark veil such as black smoke ({numbers})"
    if fit.darker > 0.85 and fit.proportional > 0.97 and measures.side != "above":
        if fit.explained > 0.45 and fit.varied >= VARIED and luma < 55:
            return "shadow", f"takes light away and adds none ({numbers})"
        if fit.varied < 6 and fit.fine < 0.4 and fit.relative > -0.85:
            return "shadow", f"even ground is darker by {-fit.relative:.0%}, in proportion to its colour"
    if fit.trusted and luma >= 60 and fit.fine < 0.35:
        return ("dust" if name in EARTHY else "smoke"), f"veils the ground with a colour of its own ({numbers})"
    return None, f"no kind of effect fits ({numbers}, mirror image {mirrored:.2f})"
