"""Stage 6, second half: from numbers to accept, review or reject, and why, in words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from .quality import QUALITY_NUMBERS

VERSION = 3
"""Raise it when results change; stored results of older versions are then made again."""

Decision = Literal["accept", "review", "reject"]
Limits = tuple[float, float]
"""Beyond the first the clip goes to review, beyond the second it is rejected."""


@dataclass(frozen=True, kw_only=True)
class QualityThresholds:
    """Thresholds that a pair must meet.

    A field is named after its number and the side on which the limit lies; each holds two limits, for review and for
    rejection. A number that was not measured passes.
    """

    reconstruction_psnr_db_min: Limits = (34.0, 26.0)
    """Compression alone gives 36 to 42 dB; below 34 the layers show another picture to the eye, below 26 to anyone."""
    preservation_psnr_db_min: Limits = (40.0, 30.0)
    """Outside mask and subject only differences below the mask's threshold may be: 10 steps on a tenth of the picture
    are 38 dB. Real clips with a sound plate have 42 to 53; at 30 the background is another one."""
    effect_area_min: Limits = (0.0005, 0.00005)
    """Half a thousandth of 384x672 is 129 pixels: a patch of 11x11, too little to learn from; a tenth of it a speck."""
    effect_peak_area_max: Limits = (0.5, 0.85)
    """An effect seldom fills half of a frame; the whole frame differs when the light or the registration fails."""
    effect_flicker_max: Limits = (0.25, 0.6)
    """A steady shadow stays under 0.02, the ghosts of a bad plate reach 0.2; at 0.6 more of the mask is new than
    stays."""
    effect_strength_min: Limits = (6.0, 3.0)
    """Steps of 255. 6 is the floor of the threshold; weaker means that most of the mask is its loose border."""
    registration_error_px_max: Limits = (1.0, 3.0)
    """From one pixel on, edges of the background show in the difference (good clips have 0.4 to 0.6); from three on
    they double."""
    unseen_share_max: Limits = (0.6, 0.7)
    """Pixels that no frame showed are invented. Calm ground is invented well, see unseen_detail_max; but seven tenths
    is a subject that never moved, whose effects were not found either."""
    unseen_detail_max: Limits = (0.2, 0.7)
    """Invented pixels, weighed by the detail around them. On calm water 39 % unseen count 18 %, and the reflection is
    found; 27 % under a swan between branches count 22 %, and half of its reflection stays. Under a fifth it is a rim, a
    foot, or what the subject covers again."""
    moving_surroundings_max: Limits = (0.35, 0.8)
    """Share of the effect on surfaces that differ far from the subject too. A shadow on dry ground has under 0.1, the
    reflection of a swan among moving swans 0.27, a shadow beside small waves 0.33; masks with waves or wet sand in them
    have 0.4 to 0.6. At 0.8 the effect is waves."""
    mover_contact_max: Limits = (0.02, 1.0)
    """Parts and shadows of another body that meets the subject pass for the subject's effects: a second camel's do in
    every frame. Its mask mends that; never a reason to reject."""
    subject_leak_max: Limits = (0.3, 0.6)
    """A clean background stays under 0.1; at 0.3 a ghost can be seen, at 0.6 the subject is simply there."""
    mask_confidence_min_min: Limits = (0.5, 0.0)
    """Half-sure in one frame already wants an eye; never a reason to reject. Drafts from a box stay at 0.4; masks
    carried soundly between keys do not fall under 0.59."""
    mask_confidence_mean_min: Limits = (0.6, 0.0)
    """The same over the clip."""
    subject_area_min: Limits = (0.001, 0.00005)
    """A thousandth of 384x672 is a figure of 11x23 pixels; at a twentieth of that there is no subject."""
    subject_area_max: Limits = (0.5, 0.8)
    """A subject that fills the picture leaves little background to see the effect on."""
    edge_effect_max: Limits = (0.42, 0.95)
    """A mask that hugs the outline is the rim of a tight or late subject mask, or what is left of an effect that the
    subject mask holds. Five real subjects have 0.001 to 0.40, the most a boy's contact shadow; the swan whose mask
    takes in its reflection 0.45 to 0.57, a camel whose mask takes in its shadow 0.96."""
    layer_correlation_min: Limits = (0.7, 0.45)
    """Layers of other tools: three of OmnimatteZero reach 0.76, 0.86 and 0.96 once placed; the same 15 frames late
    0.29 to 0.84, shuffled 0.28 to 0.71, mirrored or of another video 0.01 to 0.36."""
    layer_psnr_db_min: Limits = (26.0, 22.0)
    """The three have 37, 29 and 36 dB off subject and effect; 15 frames late 22 to 34, mirrored 21 to 24, of another
    video 20 to 23."""
    layer_tone_max: Limits = (45.0, 120.0)
    """The three need 2 to 5 steps, a layer darkened to 85 % 36; of another video 72 to 175."""
    layer_flicker_max: Limits = (2.0, 5.0)
    """The three have 0.7 to 1.1 on moving water; shuffled 1.9 to 7.9."""
    layer_missing_max: Limits = (0.1, 0.3)
    """One frame in ten that stands still can be seen; more than three have no layer to speak of."""

    truth_preservation_psnr_db_min: Limits = (45.0, 40.0)
    """Rendered pairs only: where the renderer knows of no effect its layers are equal but for noise, which leaves 46 dB
    and more (see docs/effects.md)."""
    subject_error_max: Limits = (0.0, 2.0)
    """Rendered pairs only: inside the subject gt and over are one picture; two steps would be another rounding."""
    firefly_share_max: Limits = (0.0002, 0.002)
    """Rendered pairs only: one pixel in five thousand glitters in motion, one in five hundred is a bad picture."""

    def __post_init__(self) -> None:
        """Check that rejecting is never easier than reviewing."""
        for field in fields(self):
            review, reject = limits = getattr(self, field.name)
            is_minimum = field.name.endswith("_min")
            if not all(map(math.isfinite, limits)) or (reject > review if is_minimum else reject < review):
                raise ValueError(
                    f"{field.name}={limits}: the second limit, for rejection, must be "
                    f"{'at most' if is_minimum else 'at least'} the first, for review"
                )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Decision about a pair, with reasons."""

    verdict: Decision
    reasons: tuple[str, ...]
    """At least one sentence, the gravest first; also for an accepted pair."""


MEANING = {
    "reconstruction_psnr_db_min": "the layers do not add up to gt",
    "preservation_psnr_db_min": "gt and over differ where there is neither effect nor subject",
    "effect_area_min": "next to no effect found",
    "effect_peak_area_max": "nearly the whole picture differs: changing light or a failed registration, not an effect",
    "effect_flicker_max": "the effect mask comes and goes between frames",
    "effect_strength_min": "the effect is hardly visible",
    "registration_error_px_max": "the frames do not lie on each other, so edges of the background double",
    "unseen_share_max": "most of what the subject hides was never seen and is invented",
    "unseen_detail_max": "much of what the subject hides is full of detail, was never seen and is invented",
    "moving_surroundings_max": "moving surroundings: most of the mask differs as much far from the subject",
    "mover_contact_max": "another body meets the subject and no mask of it was given (a mask of it as a second subject "
    "would tell them apart)",
    "subject_leak_max": "the subject is still visible in background",
    "mask_confidence_min_min": "the subject mask is doubtful in at least one frame",
    "mask_confidence_mean_min": "the subject mask is doubtful throughout",
    "subject_area_min": "hardly any subject",
    "subject_area_max": "the subject fills the picture",
    "layer_correlation_min": "the background, as it was made, does not show what the clip shows",
    "layer_psnr_db_min": "the background, as it was made, differs from the clip all over",
    "layer_tone_max": "the background, as it was made, has other colours than the clip",
    "layer_flicker_max": "the background, as it was made, jumps between frames",
    "layer_missing_max": "the tool that made the background returned too few frames",
    "edge_effect_max": "the effect mask is a rim around the subject rather than an effect, as if the subject mask were "
    "too tight, or held the effect too: give a mask of the subject alone",
    "truth_preservation_psnr_db_min": "gt and over differ where the renderer knows of no effect",
    "subject_error_max": "gt and over differ inside the subject, where nothing lies before it",
    "firefly_share_max": "pixels shine alone; more samples, or less glass and lamps, would help",
}
"""Meaning of a broken limit, by the threshold's name."""

UNREMOVED_AREA, UNREMOVED_SHARE = 0.002, 0.05
"""Shares of the picture, and of the subject's area, below both of which a mask beyond the subject's rim is too small
for an effect of which somebody speaks. Measured at 384x672: with shadow or reflection left in the background, three
clips through `external` have 0.008 to 0.07 % of the picture and 0.4 to 0.7 % of their subject there (0.06 to 0.4 % of
the picture with the rim); clips whose effect was found have 8 to 90 % of their subject, the least of them a boy's
contact shadow of 0.12 % of the picture. Of 19 accepted rendered clips none is under 1.2 % of the picture."""

NO_EFFECT = (
    "no effect found: gt and over differ by no more than noise outside the subject, so the mask is empty; where the "
    "clip shows one, the subject mask holds it too (give a mask of the subject alone), or background still shows it"
)


def judge(numbers: Mapping[str, float | None], thresholds: QualityThresholds, notes: Sequence[str] = ()) -> Verdict:
    """Weigh the numbers of `quality.measure` against the thresholds.

    Args:
        numbers: by name; None or absent is not measured and passes.
        thresholds: two limits for each number.
        notes: sentences of earlier stages; they are passed on behind the reasons and change no verdict.

    Raises:
        ValueError: a number is not finite.
    """
    for name, value in numbers.items():
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{name}={value} is not finite; a number that cannot be measured is None")
    empty = numbers.get("effect_area") == 0
    rejected, doubts = [NO_EFFECT] if empty else [], list[str]()
    for field in fields(thresholds):
        value = numbers.get(name := field.name[: -len("_min")])
        if value is None or (empty and name == "effect_area"):
            continue
        is_minimum = field.name.endswith("_min")
        review, reject = getattr(thresholds, field.name)
        for decision, limit, reasons in (("reject", reject, rejected), ("review", review, doubts)):
            if value < limit if is_minimum else value > limit:
                side = "below" if is_minimum else "above"
                measured, allowed = format_number(name, value), format_number(name, limit)
                reasons.append(f"{MEANING[field.name]}: {name} is {measured}, {side} the {decision} limit of {allowed}")
                break
    return weigh(rejected, doubts, _praise(numbers), notes)


def unremoved_effect(numbers: Mapping[str, float | None], effects: Sequence[str]) -> str | None:
    """Return why an effect that source or caption speaks of was hardly removed; None where the mask may hold it.

    A background in which the effect still lies looks perfect in every other number: gt and over are equal there.

    Args:
        numbers: by name: `effect_area` and `subject_area` as shares of the picture, `edge_effect` as one of the mask.
        effects: effects that source or caption speaks of; without any there is nothing to miss.
    """
    area, subject = numbers.get("effect_area"), numbers.get("subject_area")
    if not effects or not area or not subject:
        return None
    area *= 1 - (numbers.get("edge_effect") or 0.0)
    if area >= min(UNREMOVED_AREA, UNREMOVED_SHARE * subject):
        return None
    return (
        f"{' and '.join(effects)} may not have been removed: beyond the subject's rim the effect mask is "
        f"{100 * area:.2g} % of the picture and {100 * area / subject:.2g} % of the subject; look whether background "
        "still shows it, or the subject mask holds it too"
    )


def weigh(rejected: Sequence[str], doubts: Sequence[str], praise: str, notes: Sequence[str] = ()) -> Verdict:
    """Make a verdict of the reasons to reject and to review; praise is the reason where there are none."""
    if rejected or doubts:
        return Verdict(verdict="reject" if rejected else "review", reasons=(*rejected, *doubts, *notes))
    return Verdict(verdict="accept", reasons=(praise, *notes))


def format_number(name: str, value: float) -> str:
    """A number with its unit; shares as per cent."""
    unit = QUALITY_NUMBERS[name]
    return f"{100 * value:.3g} %" if unit == "share" else f"{value:.3g} {unit}"


def _praise(numbers: Mapping[str, float | None]) -> str:
    phrases = []
    for name, phrase, text_if_none in _PRAISE:
        if name in numbers:
            value = numbers[name]
            phrases.append(text_if_none if value is None else phrase.format(format_number(name, value)))
    return "; ".join(filter(None, phrases)) or "no number breaks a limit"


_PRAISE = (
    ("reconstruction_psnr_db", "layers rebuild gt at {}", "layers rebuild gt exactly"),
    (
        "preservation_psnr_db",
        "outside effect and subject over is gt at {}",
        "outside effect and subject over is gt, exactly",
    ),
    ("effect_area", "effect covers {} of the picture", ""),
    ("effect_strength", "where it changes gt by {} of 255", ""),
    ("subject_leak", "{} of the subject's detail is left in background", ""),
    ("unseen_share", "{} of what was removed was never seen", ""),
    ("layer_correlation", "the background, as it was made, shows the clip at {} of its detail", ""),
    ("mask_confidence_min", "the subject mask is at least {} sure", ""),
)
