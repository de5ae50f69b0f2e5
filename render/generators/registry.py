"""All makers, and how scenes are had of them."""

from collections.abc import Iterator
from pathlib import Path

from ..scene.scene import Scene
from . import blender_generator, kubric_generator
from .assets import Asset, skies_in
from .blender_generator import BlenderGenerator
from .clip_format import ClipFormat
from .kubric_generator import KubricGenerator

AnyGenerator = BlenderGenerator | KubricGenerator
GENERATORS = {"blender": BlenderGenerator, "kubric": KubricGenerator}


def scene_at(generator: AnyGenerator, index: int, seed: int, clip_format: ClipFormat) -> Scene:
    """Scene number `index` of a maker; it depends on the maker, the seed, the film and the number alone.

    Raises:
        ValueError: the maker's assets are missing, or it cannot bring its subject into view.
        ImportError: the `kubric` maker, and Kubric is not installed.
    """
    if isinstance(generator, BlenderGenerator):
        return blender_generator.scene_at(generator, index, seed, clip_format)
    return kubric_generator.scene_at(generator, index, seed, clip_format)


def assets_of(generator: AnyGenerator) -> tuple[Asset, ...]:
    """The users' models and skies that a maker chooses from, listed and not fetched.

    Raises:
        ValueError: a folder or a manifest cannot be read, or holds none.
    """
    models = (
        kubric_generator.models(generator)
        if isinstance(generator, KubricGenerator)
        else blender_generator.models(generator)
    )
    return (*models, *(() if generator.skies is None else skies_in(Path(generator.skies).expanduser())))


def scenes(generator: AnyGenerator, count: int, seed: int, clip_format: ClipFormat) -> Iterator[Scene]:
    """The first `count` scenes of a maker."""
    return (scene_at(generator, index, seed, clip_format) for index in range(count))
