"""All makers, and how scenes are had of them."""

from collections.abc import Iterator
from pathlib import Path

from ..assets import Asset, skies_in
from ..scene import Scene
from . import blender, kubric
from .blender import Procedural
from .film import Film
from .kubric import Tossed

AnyMaker = Procedural | Tossed
MAKERS = {"blender": Procedural, "kubric": Tossed}


def scene_at(maker: AnyMaker, index: int, seed: int, film: Film) -> Scene:
    """Scene number `index` of a maker; it depends on the maker, the seed, the film and the number alone.

    Raises:
        ValueError: the maker's assets are missing, or it cannot bring its subject into view.
        ImportError: the `kubric` maker, and Kubric is not installed.
    """
    if isinstance(maker, Procedural):
        return blender.scene_at(maker, index, seed, film)
    return kubric.scene_at(maker, index, seed, film)


def brought(maker: AnyMaker) -> tuple[Asset, ...]:
    """The users' models and skies that a maker chooses from, listed and not fetched.

    Raises:
        ValueError: a folder or a manifest cannot be read, or holds none.
    """
    models = kubric.models(maker) if isinstance(maker, Tossed) else blender.models(maker)
    return (*models, *(() if maker.skies is None else skies_in(Path(maker.skies).expanduser())))


def scenes(maker: AnyMaker, count: int, seed: int, film: Film) -> Iterator[Scene]:
    """The first `count` scenes of a maker."""
    return (scene_at(maker, index, seed, film) for index in range(count))
