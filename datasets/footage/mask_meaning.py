"""Meaning of a mask's values: the subject in white, or one of the forms in which other tools write their masks.

quadmask (VOID): 0 the subject, 63 the subject over what it affects, 127 what it affects, 255 the rest.
trimask (Generative Omnimatte): 0 the subject, 128 the rest, 255 other subjects, which stay.
inverted: the subject in black on white.

A form is recognised by flat areas at its values, and by what the border of the picture holds. Flat means that 3x3
pixels differ by at most 12: an antialiased edge has hardly any such, and a soft matte has them at every value, not at
two alone. Six real masks were written in each form and damaged (H.264 at crf 18 to 40, JPEG at quality 30 to 90, half
the size, the studio range): every form was recognised in each, but for an effect 3 pixels thin at crf 40; up to crf 28
the subject came back with an IoU of 0.97 and more. Those masks themselves, sharp, blurred by 8 and 25 pixels or at half
of their coverage, and 386 soft mattes of renders and of real pairs were taken for none of the forms.
"""

from collections.abc import Iterable
from typing import Literal

import cv2
import numpy as np
from jaxtyping import UInt8

from ...arrays import MatteImage

MaskMeaning = Literal["subject", "quadmask", "trimask", "inverted"]
DESCRIPTIONS: dict[MaskMeaning, str] = {
    "quadmask": "a quadmask (0 the subject, 63 and 127 what it affects, 255 the rest)",
    "trimask": "a trimask (0 the subject, 128 the rest, 255 other subjects)",
    "inverted": "an inverted mask (the subject in black on white)",
}
QUADMASK_SUBJECT, TRIMASK_SUBJECT = 95, 64
"""Values below which a pixel is the subject's: halfway between 63 and 127, and between 0 and 128."""
FLAT_SIDE_PX, FLAT_RANGE = 3, 12
BANDS = np.zeros(256, np.intp)
"""Band of each value: 0 black, 1 around 63, 2 around 127, 3 white, 4 between these."""
BANDS[40:216] = 4
BANDS[52:75], BANDS[114:142], BANDS[216:] = 1, 2, 3
LEAST_AREA = 0.0005
"""Share of the picture below which an area counts for nothing: 129 pixels of 384x672."""
NAMED_SHARE = 0.9
"""Share of the flat pixels between black and white that lie at 63 or 127; of a ramp of all values it is a fifth."""
COMPATIBLE: dict[MaskMeaning, tuple[MaskMeaning, ...]] = {
    "quadmask": ("quadmask", "trimask", "inverted"),
    "trimask": ("trimask", "inverted"),
    "inverted": ("inverted",),
}
"""Forms that masks of a meaning may look like: a quadmask without effects is black on white, as is a trimask of a
single subject; one whose effect reaches along the border has no white there."""


def subject_matte(values: UInt8[np.ndarray, "h w"], meaning: MaskMeaning | None) -> UInt8[np.ndarray, "h w"]:
    """Convert a mask's values to the subject in white: 0 or 255, or soft where the mask has but the subject."""
    if meaning == "quadmask":
        return np.where(values < QUADMASK_SUBJECT, np.uint8(255), np.uint8(0))
    if meaning == "trimask":
        return np.where(values < TRIMASK_SUBJECT, np.uint8(255), np.uint8(0))
    return np.uint8(255) - values if meaning == "inverted" else values


def recognise_meaning(masks: Iterable[MatteImage]) -> MaskMeaning | None:
    """Recognise the form of some frames' masks, or None where nothing speaks against the subject in white."""
    flat, border, pixels, dark = np.zeros(5), np.zeros(5), 0, 0
    kernel = np.ones((FLAT_SIDE_PX, FLAT_SIDE_PX), np.uint8)
    for mask in masks:
        bands = BANDS[mask]
        is_flat = cv2.subtract(cv2.dilate(mask, kernel), cv2.erode(mask, kernel)) <= FLAT_RANGE
        flat += np.bincount(bands[is_flat], minlength=5)
        border += np.bincount(np.concatenate([bands[0], bands[-1], bands[1:-1, 0], bands[1:-1, -1]]), minlength=5)
        pixels += mask.size
        dark += int(np.count_nonzero(mask < 128))
    if not dark:
        return None
    border /= border.sum()
    between, named = flat[1] + flat[2] + flat[4], flat[1] + flat[2]
    has_subject = flat[0] >= LEAST_AREA * pixels
    if has_subject and named >= NAMED_SHARE * between and flat[2] >= LEAST_AREA * pixels and border[0] < 0.5:
        has_overlap = flat[1] >= max(LEAST_AREA / 5 * pixels, 0.01 * named)
        return "trimask" if border[2] > border[3] and not has_overlap else "quadmask"
    return "inverted" if border[3] >= NAMED_SHARE and flat[3] >= 0.5 * pixels else None


def check_meaning(name: str, masks: list[MatteImage], meaning: MaskMeaning | None) -> None:
    """Refuse masks that look like another form than they are read as; "subject" is taken at its word.

    Args:
        name: beginning of the sentence, the masks' path.
        masks: values of some frames' masks, as stored.
        meaning: setting `mask_meaning`; None where nobody gave it.

    Raises:
        ValueError: naming the form that they look like, and the setting that takes it.
    """
    if meaning == "subject":
        return
    looks = recognise_meaning(masks)
    if looks is not None and looks not in COMPATIBLE.get(meaning or "subject", ()):
        instead = f"not like {DESCRIPTIONS[meaning]}" if meaning else "not like the subject in white"
        raise ValueError(
            f"{name}: looks like {DESCRIPTIONS[looks]}, {instead}; take it as such by mask_meaning='{looks}' "
            f"(pair: --mask-meaning {looks}), or as it is by mask_meaning='subject'"
        )
    if meaning and recognise_meaning(subject_matte(mask, meaning) for mask in masks) == "inverted":
        raise ValueError(
            f"{name}: read as {DESCRIPTIONS[meaning]}, its subject covers the border and most of the picture; "
            "leave mask_meaning out if the subject is white"
        )
