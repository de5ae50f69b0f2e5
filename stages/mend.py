"""A subject's mask that a person corrected in some frames: the frames between those are tracked anew from them."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..arrays import Matte, PerFrame, Rgb
from . import propagate
from .propagate import Propagate
from .subject import SubjectTrack
from .tracking.prompts import SubjectPrompt

VERSION = 1
"""Raise it when results change; stored results of older versions are then made again."""
SETTINGS = {"propagate": propagate.VERSION}


def track_between(gt: Rgb, mask: Matte, confidence: PerFrame, corrected: Sequence[int], *, carry: bool) -> SubjectTrack:
    """Trust the corrected frames fully, and with carry track those between two of them; all others stay as they are.

    Args:
        gt: the clip.
        mask: its subject, with the corrections.
        confidence: that of the mask before it was corrected.
        corrected: numbers of the corrected frames, rising.
        carry: whether to track the frames between; not where one of the two shows no subject, or nothing else.
    """
    mask, confidence = mask.copy(), confidence.copy()
    confidence[list(corrected)] = 1.0
    for first, last in pairwise(corrected) if carry else ():
        keys = {0: mask[first], last - first: mask[last]}
        if last - first > 1 and all((key > 127).any() and not (key > 127).all() for key in keys.values()):
            track = Propagate().track(gt[first : last + 1], SubjectPrompt(keys=keys))
            mask[first + 1 : last] = track.mask[1:-1]
            confidence[first + 1 : last] = track.confidence[1:-1]
    return SubjectTrack(mask=mask, confidence=np.asarray(confidence, np.float32))
