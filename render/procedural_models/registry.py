"""Every figure by its shape: a body and its gait to parts."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float64

from ..scene.objects import Body, Still, Vec3
from .boats import boat, duck
from .creatures import dog, walker
from .flyers import bird, drone, lantern
from .part import Gait, Part, bounds, grown
from .props import SOLIDS, arch, asset, crate, post, solid
from .vehicles import car, truck

FIGURES: dict[str, Callable[[Body, Gait], tuple[Part, ...]]] = {
    **dict.fromkeys(SOLIDS, solid),
    **{figure.__name__: figure for figure in (post, crate, arch, asset, walker, dog, car, truck)},
    **{figure.__name__: figure for figure in (boat, duck, bird, drone, lantern)},
}


def parts_of(body: Body, gait: Gait) -> tuple[Part, ...]:
    """What a body is made of, given a gait in metres: a matrix per frame for what stirs, one for what does not."""
    size = body.size_m
    in_sizes = replace(gait, travelled=gait.travelled / size, speed=gait.speed / size)
    return grown(FIGURES[body.shape](body, in_sizes), size)


def extent_of(body: Body) -> Vec3:
    """Length along its front, width and height of a body at rest, metres."""
    low, high = bounds_of(body)
    length, width, height = (float(value) for value in high - low)
    return length, width, height


def bounds_of(body: Body) -> Float64[np.ndarray, "2 3"]:
    """Lowest and highest x, y, z of a body at rest; not to be written to."""
    if body.asset is not None:  # its file may change
        return bounds(parts_of(body, Gait.at_rest()))
    return _bounds(replace(body, motion=Still()))


@lru_cache(maxsize=512)
def _bounds(body: Body) -> Float64[np.ndarray, "2 3"]:
    found = bounds(parts_of(body, Gait.at_rest()))
    found.flags.writeable = False
    return found
