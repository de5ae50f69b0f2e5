"""Procedural models by shape: from a body and its gait to parts."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float64

from ..scene.objects import Body, Still, Vec3
from .creatures import bird, dog, duck, walker
from .parts import Gait, Part, parts_bounds
from .props import SOLIDS, arch, crate, drone, lantern, post, solid
from .user_models import asset
from .vehicles import boat, car, truck

MODEL_BUILDERS: dict[str, Callable[[Body, Gait], tuple[Part, ...]]] = {
    **dict.fromkeys(SOLIDS, solid),
    **{build.__name__: build for build in (post, crate, arch, asset, walker, dog, car, truck)},
    **{build.__name__: build for build in (boat, duck, bird, drone, lantern)},
}


def build_parts(body: Body, gait: Gait) -> tuple[Part, ...]:
    """Parts of a body, given a gait in metres: a matrix per frame for parts that move, one for the others."""
    size = body.size_m
    gait_in_sizes = replace(gait, distance=gait.distance / size, speed=gait.speed / size)
    scaled = []
    for part in MODEL_BUILDERS[body.shape](body, gait_in_sizes):
        matrices = part.matrices.copy()
        matrices[:, :3, 3] *= size
        x, y, z = (side * size for side in part.size)
        scaled.append(replace(part, matrices=matrices, size=(x, y, z), bevel_m=part.bevel_m * size))
    return tuple(scaled)


def body_extent(body: Body) -> Vec3:
    """Length along its front, width and height of a body at rest, metres."""
    low, high = body_bounds(body)
    length, width, height = (float(value) for value in high - low)
    return length, width, height


def body_bounds(body: Body) -> Float64[np.ndarray, "2 3"]:
    """Lowest and highest x, y, z of a body at rest; read-only."""
    if body.asset is not None:  # its file may change
        return parts_bounds(build_parts(body, Gait.at_rest()))
    return _bounds(replace(body, motion=Still()))


@lru_cache(maxsize=512)
def _bounds(body: Body) -> Float64[np.ndarray, "2 3"]:
    bounds = parts_bounds(build_parts(body, Gait.at_rest()))
    bounds.flags.writeable = False
    return bounds
