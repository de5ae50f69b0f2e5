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
from .part import Gait, Part, parts_bounds, scale_parts
from .props import SOLIDS, arch, asset, crate, post, solid
from .vehicles import car, truck

MODEL_BUILDERS: dict[str, Callable[[Body, Gait], tuple[Part, ...]]] = {
    **dict.fromkeys(SOLIDS, solid),
    **{figure.__name__: figure for figure in (post, crate, arch, asset, walker, dog, car, truck)},
    **{figure.__name__: figure for figure in (boat, duck, bird, drone, lantern)},
}


def build_parts(body: Body, gait: Gait) -> tuple[Part, ...]:
    """What a body is made of, given a gait in metres: a matrix per frame for what stirs, one for what does not."""
    size = body.size_m
    in_sizes = replace(gait, distance=gait.distance / size, speed=gait.speed / size)
    return scale_parts(MODEL_BUILDERS[body.shape](body, in_sizes), size)


def body_extent(body: Body) -> Vec3:
    """Length along its front, width and height of a body at rest, metres."""
    low, high = body_bounds(body)
    length, width, height = (float(value) for value in high - low)
    return length, width, height


def body_bounds(body: Body) -> Float64[np.ndarray, "2 3"]:
    """Lowest and highest x, y, z of a body at rest; not to be written to."""
    if body.asset is not None:  # its file may change
        return parts_bounds(build_parts(body, Gait.at_rest()))
    return _bounds(replace(body, motion=Still()))


@lru_cache(maxsize=512)
def _bounds(body: Body) -> Float64[np.ndarray, "2 3"]:
    found = parts_bounds(build_parts(body, Gait.at_rest()))
    found.flags.writeable = False
    return found
