"""Everything that is measured of one clip before it is worded: what the effect does, where, when, and what moves."""

from dataclasses import dataclass

from .captioner import Seen
from .fitting import Fit, edge_width, fit, outside
from .placing import Extent, Movement, Side, extent, movement, pieces, side


@dataclass(frozen=True, kw_only=True)
class Measures:
    """None stands for what the clip does not show, or what was not handed in."""

    fit: Fit | None = None
    edge: float | None = None
    """Width of the effect's border, as a share of the picture's shorter side."""
    extent: Extent | None = None
    side: Side | None = None
    movement: Movement | None = None
    pieces: int = 1
    """How many separate pieces the subject has, in most frames."""
    shorter_px: int = 0
    """The picture's shorter side; on small pictures every edge is soft."""


def measure(seen: Seen) -> Measures:
    """Measure what the layers allow; an unpaired clip with frames alone gives nothing."""
    subject = None if seen.subject_mask is None else seen.subject_mask > 128
    if subject is not None and not subject.any():
        subject = None
    moving, parts = None, 1 if subject is None else pieces(subject)
    if seen.effect_mask is None:
        return Measures(pieces=parts, shorter_px=min(seen.gt.shape[1:3]))
    effect = outside(seen.effect_mask, seen.subject_mask)
    if subject is not None:
        moving = movement(seen.gt if seen.over is None else seen.over, subject, effect)
    size = extent(effect, subject)
    if size is None:
        return Measures(movement=moving, pieces=parts, shorter_px=min(seen.gt.shape[1:3]))
    return Measures(
        fit=None if seen.over is None else fit(seen.gt, seen.over, effect),
        edge=None if seen.over is None else edge_width(seen.gt, seen.over, effect),
        extent=size,
        side=None if subject is None else side(effect, subject),
        movement=moving,
        pieces=parts,
        shorter_px=min(seen.gt.shape[1:3]),
    )
