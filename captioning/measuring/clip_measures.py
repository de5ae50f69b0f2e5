"""Everything that is measured of one clip before it is worded: what the effect does, where, when, and what moves."""

from dataclasses import dataclass, replace

import numpy as np

from ...arrays import Mask
from ..interface.captioner import ClipContext
from .extent_and_motion import Extent, Movement, Side, count_pieces, find_side, measure_extent, measure_movement
from .opacity_fit import OpacityFit, fit_opacity, measure_edge_width, outside_subject


@dataclass(frozen=True, kw_only=True)
class ClipMeasures:
    """None stands for what the clip does not show, or what was not handed in."""

    fit: OpacityFit | None = None
    edge: float | None = None
    """Width of the effect's border, as a share of the picture's shorter side."""
    extent: Extent | None = None
    side: Side | None = None
    movement: Movement | None = None
    pieces: int = 1
    """How many separate pieces the subject has, in most frames."""
    shorter_px: int = 0
    """The picture's shorter side; on small pictures every edge is soft."""


def measure_clip(seen: ClipContext) -> ClipMeasures:
    """Measure what the layers allow; an unpaired clip with frames alone gives nothing."""
    subject = _subject(seen)
    found = ClipMeasures(pieces=1 if subject is None else count_pieces(subject), shorter_px=min(seen.gt.shape[1:3]))
    if seen.effect_mask is None:
        return found
    effect = outside_subject(seen.effect_mask, seen.subject_mask)
    if subject is not None:
        found = replace(found, movement=measure_movement(seen.gt if seen.over is None else seen.over, subject, effect))
    return _with_effect(seen, effect, effect, found)


def measure_single_effect(seen: ClipContext, word: str, whole: ClipMeasures) -> ClipMeasures:
    """What one of several effects is like, where its own mask is known; its pixels where it is alone."""
    mask = seen.effect_masks.get(word)
    if mask is None:
        return ClipMeasures()
    others = [other for name, other in seen.effect_masks.items() if name != word]
    own = outside_subject(mask, seen.subject_mask)
    alone = own & ~np.logical_or.reduce(others) if others else own
    return _with_effect(seen, own, alone, replace(whole, fit=None, edge=None, extent=None, side=None))


def _with_effect(seen: ClipContext, effect: Mask, alone: Mask, known: ClipMeasures) -> ClipMeasures:
    subject = _subject(seen)
    size = measure_extent(effect, subject)
    if size is None:
        return known
    return replace(
        known,
        fit=None if seen.over is None else fit_opacity(seen.gt, seen.over, alone),
        edge=None if seen.over is None or alone is not effect else measure_edge_width(seen.gt, seen.over, effect),
        extent=size,
        side=None if subject is None else find_side(effect, subject),
    )


def _subject(seen: ClipContext) -> Mask | None:
    if seen.subject_mask is None:
        return None
    subject: Mask = seen.subject_mask > 128
    return subject if subject.any() else None
