"""The external backend: another tool made the layers; they are brought onto the clip, and what is missing is solved."""

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64

from ..arrays import Mask, Matte, MatteImage, Rgb
from .alignment.local_shift import find_local_shift, shift_frame
from .alignment.scale_and_shift import Placement, find_placement, measure_correlation, warp_layer
from .alignment.tone import apply_tone, fit_tone
from .composite import over as composite_over
from .decompose import ExternalLayers, Layers, check_subject, solve_matte
from .difference import WORKING_PX
from .effect_mask import EffectMaskSettings, find_effect
from .plate import blend_plates
from .plates.effect_region import dilate

VERSION = 8
"""Raise it when results change; stored results of older versions are then made again."""
LIMITED = (219 / 255, 16.0)
"""Gain and offset of full range written as limited range (ITU-R BT.601: black 16, white 235)."""
TONE_STEPS = 1.0
"""Tone that moves no level by more is left: rounding would cost as much as it mends."""
LOCAL_GAIN = 0.01
"""Correlation that a smooth local shift has to gain to be taken."""
REACH_PX, RAMP_PX = 7.0, 4.0
"""Width by which the replaced region is wider than subject and effect, whose borders are soft, and width, inside it, in
which gt fades into the background; in pixels of a clip whose shorter side is 384."""
MODEL_NOISE = EffectMaskSettings(noise_block_quantile=0.95)
"""Settings by which the effect is looked for in a background that a model made: its noise is that of its worst patches.
With their median IoU on the three clips of OmnimatteZero falls from 0.73, 0.81, 0.88 to 0.60, 0.41, 0.76."""
ColourMap = tuple[float, float]
Levels = Float64[np.ndarray, "N"]
Region = Bool[np.ndarray, "H W"]


@dataclass(frozen=True, kw_only=True)
class External:
    """Backend that takes the layers of another tool.

    They may be of another size, cropped or stretched, a little beside, of another colour range, brighter or flatter;
    `flows` has matched their frames before. Measured before anything is mended for good: `layer_correlation`,
    `layer_psnr_db`, `layer_tone` and `layer_flicker`, for afterwards every number looks perfect.
    """

    kind: Literal["external"] = "external"
    threshold: float = 6.0
    """Differences of fewer 8-bit levels are noise: alpha is 0 there, outside the subject."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.threshold < 128:
            raise ValueError(f"threshold={self.threshold} is not in [0, 128); 6 levels suit a well compressed video")

    def decompose(
        self, gt: Rgb, subject_mask: Matte, other_subjects: Mask | None, external: ExternalLayers | None
    ) -> Layers:
        """Bring the layers onto the clip; outside subject and effect the background is gt, bit for bit.

        The effect is found as stage 5 finds it. Other subjects are expected to be in the background and get no alpha.

        Raises:
            ValueError: when the background is missing or of another length than the clip, or when the subject mask is
                empty or full in every frame.
        """
        if external is None:
            raise ValueError("external needs the background that another tool made; give one, or decompose with plate")
        if len(external.background) != len(gt):
            raise ValueError(
                f"the background has {len(external.background)} frames and the clip {len(gt)}; cut it to the clip"
            )
        check_subject(gt, subject_mask)
        placement = find_placement(gt, list(external.background), subject_mask)
        plates = np.stack([warp_layer(frame, placement, gt.shape[1:3]) for frame in external.background])
        shown = placement.covered(external.background.shape[1:3], gt.shape[1:3])
        plates, notes = _convert_range(gt, plates, subject_mask)
        clear = far_from_subject(subject_mask) & shown
        plates, tone_change = match_tone(gt, plates, clear)
        plates, correlation = _shift_locally(gt, plates, subject_mask, placement.correlation)
        background, region, facts = put_back(gt, plates, subject_mask, other_subjects, shown)
        facts |= {"layer_correlation": correlation, "layer_tone": tone_change}
        alpha, foreground = self._foreground(gt, background, subject_mask, region, external, placement)
        return Layers(background=background, foreground=foreground, alpha=alpha, facts=facts, notes=notes)

    def _foreground(
        self,
        gt: Rgb,
        background: Rgb,
        subject_mask: Matte,
        region: Mask,
        external: ExternalLayers,
        placement: Placement,
    ) -> tuple[Matte, Rgb]:
        """Alpha and foreground of the tool where it gives them, else the least alpha that explains gt."""
        alpha, foreground = solve_matte(gt, background, subject_mask, region, dead_zone=self.threshold)
        if external.alpha is None:
            return alpha, foreground
        size = gt.shape[1:3]
        for index, matte in enumerate(external.alpha):
            own = _rescaled(placement, external.background.shape, external.alpha.shape)
            alpha[index] = np.maximum(np.where(region[index], warp_layer(matte, own, size), 0), subject_mask[index])
            if external.foreground is not None:
                own = _rescaled(placement, external.background.shape, external.foreground.shape)
                colour = warp_layer(external.foreground[index], own, size)
                inside = region[index] & (alpha[index] < 255)
                foreground[index] = np.where(inside[..., None], colour, foreground[index])
        opaque = (alpha == 255)[..., None]
        return alpha, np.where(opaque, gt, foreground)


def far_from_subject(subject_mask: Matte) -> Mask:
    """Pixels of each frame at least a quarter of the subject's size away from it: most show no effect either."""
    return np.stack([_far_from_subject(coverage) for coverage in subject_mask])


def match_tone(gt: Rgb, plates: Rgb, clear: Mask) -> tuple[Rgb, float]:
    """Bring plates to the clip's tone, as the clear pixels show it; return them and the largest change of a level."""
    tone = fit_tone(gt, plates, clear)
    return (apply_tone(plates, tone) if tone.largest_change > TONE_STEPS else plates), tone.largest_change


def put_back(
    gt: Rgb, plates: Rgb, subject_mask: Matte, other_subjects: Mask | None, shown: Region | None = None
) -> tuple[Rgb, Mask, dict[str, float]]:
    """Put gt back into a background that a model made, bit for bit away from subject and effect.

    The effect is found as stage 5 finds it. Other subjects stay as they are in gt.

    Args:
        gt: the clip.
        plates: the background, placed and toned.
        subject_mask: the subject alone.
        other_subjects: pixels of the clip's other subjects.
        shown: pixels that the background has in every frame; None where it has all.

    Returns:
        The background, the region that it replaces, and what `plates` showed before: `layer_psnr_db`, `layer_flicker`
        and the numbers of noise.
    """
    over = composite_over(gt, plates, subject_mask)
    seen = find_effect(gt, over, subject_mask, EffectMaskSettings())
    if seen.noise.invented:
        seen = find_effect(gt, over, subject_mask, MODEL_NOISE)
    scale = min(gt.shape[1:3]) / WORKING_PX
    region = np.stack([dilate(frame, max(REACH_PX * scale, 2.0)) for frame in seen.mask | (subject_mask > 0)])
    clear = far_from_subject(subject_mask) & ~region
    if shown is not None:
        clear, region = clear & shown, region & shown
    facts = {**_measure_error(gt, plates, clear), **seen.noise.to_facts()}
    others = np.zeros(subject_mask.shape, bool) if other_subjects is None else other_subjects
    region = region & ~others | (subject_mask > 0)
    background = blend_plates(gt, plates, region, others)
    for frame, own, inside in zip(gt, background, region, strict=True):
        # A model's noise differs from the clip's: where the two meet at a line, the line is seen.
        depth = cv2.distanceTransform(inside.view(np.uint8), cv2.DIST_L2, 5)
        weight = (depth / (RAMP_PX * scale + 1)).clip(0, 1)[..., None]
        own[:] = np.rint(frame + weight * (own - frame.astype(np.float32)))
    return background, region, facts


def _rescaled(placement: Placement, shape: tuple[int, ...], other_shape: tuple[int, ...]) -> Placement:
    """Placement of a layer of another size that the same tool made."""
    down, across = other_shape[1] / shape[1], other_shape[2] / shape[2]
    return replace(
        placement,
        scale_x=placement.scale_x * across,
        shift_x=placement.shift_x * across,
        scale_y=placement.scale_y * down,
        shift_y=placement.shift_y * down,
    )


def _far_from_subject(coverage: MatteImage) -> Region:
    """Pixels at least a quarter of the subject's size away from it: most of them show no effect either."""
    subject = coverage > 32
    return ~dilate(subject, max(8.0, 0.25 * float(np.sqrt(subject.sum()))))


def _shift_locally(gt: Rgb, plates: Rgb, subject_mask: Matte, correlation: float) -> tuple[Rgb, float]:
    """Plates shifted smoothly from place to place, if the detail then agrees better by LOCAL_GAIN."""
    shift = find_local_shift(gt, plates, subject_mask)
    shifted = np.stack([shift_frame(frame, shift) for frame in plates])
    improved = measure_correlation(gt, shifted, subject_mask)
    return (shifted, improved) if improved > correlation + LOCAL_GAIN else (plates, correlation)


def _measure_error(gt: Rgb, plates: Rgb, clear: Mask) -> dict[str, float]:
    """Difference of clip and layer off subject and effect: the error, and how much of it changes between frames."""
    squared = changes = 0.0
    count = change_count = 0
    previous: Float32[np.ndarray, "H W 3"] | None = None
    for frame, plate, region in zip(gt, plates, clear, strict=True):
        error = np.asarray(frame, np.float32) - plate
        squared += float((error[region] ** 2).sum())
        count += 3 * int(region.sum())
        if previous is not None:
            # Low-passed: grain flickers in every video, patches that come and go only in made ones.
            change = cv2.blur(error - previous, (9, 9))[region]
            changes += float(np.abs(change).sum())
            change_count += change.size
        previous = error
    psnr = 10 * float(np.log10(255**2 * count / squared)) if squared > 0 else 100.0
    return {"layer_psnr_db": min(psnr, 100.0), "layer_flicker": changes / max(change_count, 1)}


def _convert_range(gt: Rgb, plates: Rgb, subject_mask: Matte) -> tuple[Rgb, tuple[str, ...]]:
    """Plates in the clip's colour range, and a note where they came in the other one."""
    conversion = _range_conversion(*_fit_line(*_level_pairs(gt, plates, subject_mask)))
    if conversion is None:
        return plates, ()
    converted = np.arange(256) * conversion[0] + conversion[1]
    came, goes = ("limited", "full") if conversion[0] > 1 else ("full", "limited")
    note = f"The background came in {came} colour range, the clip is in {goes} range; it was converted."
    return np.clip(np.rint(converted), 0, 255).astype(np.uint8)[plates], (note,)


def _level_pairs(gt: Rgb, background: Rgb, subject_mask: Matte) -> tuple[Levels, Levels]:
    """Levels of background and clip away from the subject, thinned out over space and time."""
    background_levels, clip_levels = [], []
    for frame in range(0, len(gt), max(len(gt) // 12, 1)):
        far_pixels = _far_from_subject(subject_mask[frame])[::4, ::4]
        background_levels.append(background[frame, ::4, ::4][far_pixels].ravel())
        clip_levels.append(gt[frame, ::4, ::4][far_pixels].ravel())
    return np.concatenate(background_levels).astype(np.float64), np.concatenate(clip_levels).astype(np.float64)


def _fit_line(levels: Levels, clip_levels: Levels) -> tuple[ColourMap, float]:
    """Robust fit clip ≈ gain·background + offset, and the median error of it."""
    if len(levels) < 256 or np.ptp(levels) < 32:
        return (1.0, 0.0), 0.0
    weight = np.ones_like(levels)
    gain, offset = 1.0, 0.0
    for _ in range(12):
        mean_level, mean_clip_level = np.average(levels, weights=weight), np.average(clip_levels, weights=weight)
        gain = float(
            (weight * (levels - mean_level) * (clip_levels - mean_clip_level)).sum()
            / (weight * (levels - mean_level) ** 2).sum()
        )
        offset = float(mean_clip_level - gain * mean_level)
        error = np.abs(clip_levels - gain * levels - offset)
        weight = 1 / np.maximum(error, 0.5)
    return (gain, offset), float(np.median(error))


def _range_conversion(line: ColourMap, scatter: float) -> ColourMap | None:
    """The exact conversion that line stands for, if it is one: limited to full range, or full to limited."""
    to_full = (1 / LIMITED[0], -LIMITED[1] / LIMITED[0])
    for conversion in (to_full, LIMITED):
        # Compared where it matters, at dark grey and light grey; half way to the identity is the border.
        distance = max(abs((line[0] - conversion[0]) * level + line[1] - conversion[1]) for level in (48, 208))
        identity_distance = max(abs((line[0] - 1) * level + line[1]) for level in (48, 208))
        if distance < 4 and distance < identity_distance and scatter < 12:
            return conversion
    return None
