"""All makers, and how scenes are had of them."""

from collections.abc import Iterator

from ..scene import Scene
from . import blender
from .blender import Procedural
from .film import Film

AnyMaker = Procedural
MAKERS = {"blender": Procedural}


def scene_at(maker: AnyMaker, index: int, seed: int, film: Film) -> Scene:
    """Scene number `index` of a maker; it depends on the maker, the seed, the film and the number alone.

    Raises:
        ValueError: the maker's assets are missing, or it cannot bring its subject into view.
    """
    return blender.scene_at(maker, index, seed, film)


def scenes(maker: AnyMaker, count: int, seed: int, film: Film) -> Iterator[Scene]:
    """The first `count` scenes of a maker."""
    return (scene_at(maker, index, seed, film) for index in range(count))
