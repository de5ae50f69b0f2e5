"""Every figure by its shape: a body and its gait to parts."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from ..scene import Body, Vec3
from .part import Gait, Part, bounds
from .things import SOLIDS, arch, asset, crate, post, solid

FIGURES: dict[str, Callable[[Body, Gait], tuple[Part, ...]]] = {
    **dict.fromkeys(SOLIDS, solid),
    "post": post,
    "crate": crate,
    "arch": arch,
    "asset": asset,
}


def parts_of(body: Body, gait: Gait) -> tuple[Part, ...]:
    """What a body is made of: one matrix for each frame of the gait for what stirs, one for all for what does not."""
    return FIGURES.get(body.shape, solid_stand_in)(body, gait)


def solid_stand_in(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A box, until the figure is drawn."""
    return (Part(mesh="box", size=(body.size_m,) * 3, look=body.look),)


def extent_of(body: Body) -> Vec3:
    """Length along its front, width and height of a body at rest, metres."""
    low, high = bounds_of(body)
    length, width, height = (float(value) for value in high - low)
    return length, width, height


def bounds_of(body: Body) -> Float64[np.ndarray, "2 3"]:
    """Lowest and highest x, y, z of a body at rest."""
    return bounds(parts_of(body, Gait.at_rest()))
