"""Effects of a clip: as its scene names them; else as measured, hinted and captioned, with the evidence.

A scene knows its effects. A source expects them of many clips, so its word is a hint: what this clip's frames show
goes before it, and what somebody says who saw them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from ...arrays import Mask, Matte, Rgb
from ..interface.captioner import ClipContext, even_indices
from ..language.colours import colour_name
from ..language.vocabulary import EFFECTS, terms
from .extent_and_motion import ClipMeasures, measure_clip
from .opacity_fit import MIN_PIXELS, MIN_TEXTURE, OpacityFit

DOUBT_SHARE = 0.6
"""Share of an effect's pixels that change in the wrong direction, above which its kind is doubted."""
RIM_PX, RIM_SHARE = 6, 0.6
"""Width of a subject's rim, at a shorter side of 384 px, and share of the mask in it above which no kind is told: rims
measured as a splash on a cyclist and as a reflection on a swan, with 98 and 87 % of the mask in them."""
EARTH_COLOURS = frozenset({"tan", "beige", "brown", "dark brown", "orange"})


LOOKS_LIKE = {
    "shadow": frozenset({"shadow", "footprints"}),
    "reflection": frozenset({"reflection"}),
    "splash": frozenset(terms("splash spray snow mud sparks leaves debris fire fog")),
    "dust": frozenset(terms("dust smoke snow mud fog debris leaves spray fire")),
    "smoke": frozenset(terms("smoke dust fog snow spray mud splash fire glow light sparks")),
}
"""Effects of the vocabulary that may measure as each kind: dust and smoke differ by colour, drops and sparks hardly."""
LIGHTS = frozenset({"glow", "light", "fire", "sparks"})
"""Effects that give light and can darken nothing."""


@dataclass(frozen=True, kw_only=True)
class EffectTags:
    """Effects of one clip before anybody has captioned it, and how they are known."""

    effects: tuple[str, ...]
    """Effects that frames and hint allow to state; empty where no kind can be told."""
    source: Literal["given", "measured", "hint", "unknown"]
    evidence: tuple[str, ...]
    """Sentences."""
    review: bool
    """Whether a person should look at it."""
    doubt: str | None = None
    """Contradiction between the frames and the source's hint."""
    hint: tuple[str, ...] = ()
    """Effects that the source expects."""
    measured: tuple[str, ...] = ()
    """Kind that the frames show by themselves; one at most."""
    is_empty: bool = False
    """Whether the effect mask is empty."""
    darker_share: float | None = None
    """Share of the mask that the effect darkens; None where it was not measured. `lighter_share` likewise."""
    lighter_share: float | None = None


@dataclass(frozen=True, kw_only=True)
class EffectDecision:
    """Effects of a captioned clip: the column `effects` of its row."""

    effects: tuple[str, ...]
    source: Literal["given", "measured", "hint", "caption", "unknown"]
    evidence: tuple[str, ...]
    doubt: str | None = None
    """Contradiction between the frames and the words; a reason for review."""


def classify_effects(clip: ClipContext, measures: ClipMeasures | None = None) -> EffectTags:
    """Return a clip's effects: a scene's; else as measured; else those of the hint that the frames do not contradict.

    Measurement names at most one.
    """
    if clip.effects:
        return EffectTags(effects=clip.effects, source="given", evidence=("the scene says so",), review=False)
    measures = measures or measure_clip(clip)
    tags, fit = _classify_by_measures(clip, measures), measures.fit
    if fit is not None:
        tags = replace(tags, darker_share=fit.darker_share, lighter_share=fit.lighter_share)
    is_empty = clip.effect_mask is not None and measures.extent is None
    tags = replace(tags, hint=clip.expected_effects, measured=tags.effects, is_empty=is_empty)
    return _weigh_hint(tags) if clip.expected_effects else tags


def decide_effects(tags: EffectTags, named: Sequence[str]) -> EffectDecision:
    """Decide on a clip's effects when a caption by somebody who saw it, a model or a person, has named some.

    The caption's words stand, and what was measured beside them; a hint that neither bears out is dropped. A doubt is
    raised where the frames contradict: the mask is empty, or looks like none of the words.
    """
    if tags.source == "given" or not named:
        return EffectDecision(effects=tags.effects, source=tags.source, evidence=tags.evidence, doubt=tags.doubt)
    contradiction = frames_against(named, tags)
    unnamed = tuple(effect for effect in tags.measured if contradiction and effect not in named)
    expected = f"the source expects {' and '.join(tags.hint)}" if tags.hint else None
    evidence = (f"the caption names {' and '.join(named)}", *(text for text in tags.evidence if text != expected))
    return EffectDecision(
        effects=(*named, *unnamed),
        source="caption",
        evidence=(*evidence, *((expected,) if expected else ())),
        doubt=f"the caption says {' and '.join(named)}, and {contradiction}" if contradiction else None,
    )


def frames_against(words: Sequence[str], tags: EffectTags) -> str | None:
    """Say how the frames contradict words for a clip's effects; None where they do not."""
    if tags.is_empty:
        return "the frames show none: the effect mask is empty"
    for likely in tags.measured:
        if all(word in EFFECTS and word not in LOOKS_LIKE[likely] for word in words):
            return f"the frames rather show {likely}: {tags.evidence[-1].removeprefix('the frames: ')}"
    if set(words) == {"shadow"} and (tags.lighter_share or 0.0) > DOUBT_SHARE:
        return f"{tags.lighter_share:.0%} of what it covers is brighter than without it"
    if LIGHTS.issuperset(words) and (tags.darker_share or 0.0) > DOUBT_SHARE:
        return f"{tags.darker_share:.0%} of what it covers is darker than without it"
    return None


def _weigh_hint(tags: EffectTags) -> EffectTags:
    """Take the hint in where measurement alone names nothing; one that the frames contradict goes to review."""
    names = " and ".join(tags.hint)
    evidence = (f"the source expects {names}", f"the frames: {tags.evidence[0]}")
    contradiction = frames_against(tags.hint, tags)
    if contradiction is not None:
        doubt = f"the source expects {names}, and {contradiction}"
        return replace(tags, evidence=evidence, review=True, doubt=doubt)
    if tags.measured:
        return replace(tags, evidence=evidence)
    borne_out = tuple(word for word in tags.hint if frames_against((word,), tags) is None)
    return replace(tags, effects=borne_out, source="hint", evidence=evidence, review=not borne_out)


def _classify_by_measures(clip: ClipContext, measures: ClipMeasures) -> EffectTags:
    if measures.fit is None:
        return EffectTags(effects=(), source="unknown", evidence=("no effect could be measured",), review=True)
    correlation = 0.0
    if clip.over is not None and clip.subject_mask is not None and clip.effect_mask is not None:
        if (share := rim_share(clip.subject_mask, clip.effect_mask)) > RIM_SHARE:
            evidence = f"{share:.0%} of the mask is a rim around the subject, which tells no kind of effect"
            return EffectTags(effects=(), source="unknown", evidence=(evidence,), review=True)
        correlation = mirror_correlation(clip.gt, clip.over, clip.subject_mask, clip.effect_mask)
    effect, evidence = _likely_effect(measures, measures.fit, correlation)
    if effect is None:
        return EffectTags(effects=(), source="unknown", evidence=(evidence,), review=True)
    return EffectTags(effects=(effect,), source="measured", evidence=(evidence,), review=False)


def rim_share(subject_mask: Matte, effect: Mask) -> float:
    """Return the share of the effect that hugs the subject's outline, 0 to 1: the halo of a mask too tight."""
    near = total = 0
    radius_px = max(1, round(RIM_PX * min(effect.shape[1:]) / 384))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    for frame in even_indices(len(effect), 8):
        outline = cv2.dilate((subject_mask[frame] > 128).view(np.uint8), disk)
        near += cv2.countNonZero(outline & effect[frame].view(np.uint8))
        total += cv2.countNonZero(effect[frame].view(np.uint8))
    return near / total if total else 0.0


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
    if (correlation > 0.5 or (correlation > 0.4 and measures.side == "below")) and not is_veil:
        return "reflection", f"below the subject its mirror image shows (correlation {correlation:.2f})"
    is_broken = fit.fine_share > 0.5 or (fit.fine_share > 0.35 and fit.explained_share < 0.4)
    if fit.lighter_share > 0.25 and is_broken:
        return "splash", f"broken and bright, as drops are ({numbers})"
    if is_veil and 28 < luma < 60:
        return None, f"a shadow, or a dark veil such as black smoke ({numbers})"
    if correlation > 0.25 and measures.side == "below" and not is_veil:
        # A swan's dark mirror image takes light away in the water's own colour, as a shadow does (correlation 0.31).
        return None, f"a shadow or a dark mirror image ({numbers}, mirror image {correlation:.2f})"
    if fit.darker_share > 0.85 and fit.loss_similarity > 0.97 and measures.side != "above":
        if fit.explained_share > 0.45 and fit.texture_std >= MIN_TEXTURE and luma < 55:
            return "shadow", f"takes light away and adds none ({numbers})"
        if fit.texture_std < 6 and fit.fine_share < 0.4 and fit.relative_change > -0.85:
            return "shadow", f"even ground is darker by {-fit.relative_change:.0%}, in proportion to its colour"
        finest = 0.45 if fit.relative_change < -0.2 else 0.3
        if fit.loss_similarity > 0.985 and fit.fine_share < finest and fit.relative_change > -0.85:
            # Of real footage, whose ground is less even: a camel's shadow on sand has 0.997 and 0.16 to 0.31 at two
            # sizes and takes a quarter of the light; a swan's mirror image on a lake has 0.967 and 0.20; masks that
            # waves got into have 0.41 and more, and take a tenth. On 22 rendered clips 8 kinds are told, all truly.
            return "shadow", f"the ground is darker by {-fit.relative_change:.0%} in its own colour"
    if fit.is_reliable and luma >= 60 and fit.fine_share < 0.35:
        effect = "dust" if colour in EARTH_COLOURS else "smoke"
        return effect, f"veils the ground with a colour of its own ({numbers})"
    return None, f"no kind of effect fits ({numbers}, mirror image {correlation:.2f})"
