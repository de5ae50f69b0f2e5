"""All makers, and how scenes are had of them."""

from collections.abc import Iterator
from pathlib import Path

from ..scene.scene import Scene
from . import blender_generator, kubric_generator
from .assets import Asset, skies_in
from .blender_generator import Procedural
from .clip_format import Film
from .kubric_generator import Tossed

AnyMaker = Procedural | Tossed
MAKERS = {"blender": Procedural, "kubric": Tossed}


def scene_at(maker: AnyMaker, index: int, seed: int, film: Film) -> Scene:
    """Scene number `index` of a maker; it depends on the maker, the seed, the film and the number alone.

    Raises:
        ValueError: the maker's assets are missing, or it cannot bring its subject into view.
        ImportError: the `kubric` maker, and Kubric is not installed.
    """
    if isinstance(maker, Procedural):
        return blender_generator.scene_at(maker, index, seed, film)
    return kubric_generator.scene_at(maker, index, seed, film)


def brought(maker: AnyMaker) -> tuple[Asset, ...]:
    """The users' models and skies that a maker chooses from, listed and not fetched.

    Raises:
        ValueError: a folder or a manifest cannot be read, or holds none.
    """
    models = kubric_generator.models(maker) if isinstance(maker, Tossed) else blender_generator.models(maker)
    return (*models, *(() if maker.skies is None else skies_in(Path(maker.skies).expanduser())))


def scenes(maker: AnyMaker, count: int, seed: int, film: Film) -> Iterator[Scene]:
    """The first `count` scenes of a maker."""
    return (scene_at(maker, index, seed, film) for index in range(count))
