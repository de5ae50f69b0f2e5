"""The scenes of a source: those of its files, or those of its generator, whose descriptions the store keeps.

To describe a scene is to try cameras and to let things fall, which takes tenths of a second; to read it again, none.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from ...datasets.sources.source import SOURCES
from ...datasets.store.atomic_io import digest_of, digest_of_file, json_bytes
from ...datasets.store.store import StageKey, Store
from ...render.generators.registry import AnyGenerator, assets_of, scene_at
from ...render.scene.scene import Scene, dump_scene, parse_scene, read_scene
from .account import SceneRefusal
from .source import SceneSource
from .steps import SceneJob

STAGE = "describe"
VERSION = 2
RENDER = Path(__file__).parents[2] / "render"


def list_scenes(source: SceneSource, store: Store | None = None) -> Iterator[SceneJob | SceneRefusal]:
    """The scenes of a source in order; with a store, what its generator described before is read from there.

    Raises:
        ValueError: there is no file of a scene, or what the generator is to use as a whole cannot be read.
    """
    if source.scenes is not None:
        yield from _read(_files(source.scenes))
        return
    assert source.generator is not None, "a source has a generator or files"
    made_of = _made_of(source.generator, source)
    for index in range(source.count):
        name = f"{index:05d}"
        try:
            yield SceneJob(name=name, scene=_described(source.generator, index, source, made_of, store))
        except ValueError as wrong:
            yield SceneRefusal(name=name, reason=str(wrong))


def _made_of(generator: AnyGenerator, source: SceneSource) -> dict[str, str]:
    """Digests of all that decides a generator's scenes beside their number."""
    decisive = {"generator": asdict(generator), "seed": source.seed, "clip_format": asdict(source.clip_format)}
    assets = [asdict(asset) for asset in assets_of(generator)]
    return {"settings": digest_of(decisive), "assets": digest_of(assets), "code": _code()}


@cache
def _code() -> str:
    """Of the files that describe scenes; the worker, which draws them, is none of these."""
    files = (path for path in sorted(RENDER.rglob("*.py")) if path.parent.name != "worker")
    return digest_of([[str(path.relative_to(RENDER)), digest_of_file(path)] for path in files])


def _described(
    generator: AnyGenerator, index: int, source: SceneSource, made_of: dict[str, str], store: Store | None
) -> Scene:
    """What the store has, as long as the files that it names are there; else what the generator makes."""
    if store is None:
        return scene_at(generator, index, source.seed, source.clip_format)
    work = StageKey(stage=STAGE, version=VERSION, settings={"index": index}, inputs=made_of)
    found = store.find(work)
    if found is not None and found.refused is None:
        scene = parse_scene(json_bytes(found.facts["scene"]))
        if all(Path(file).expanduser().is_file() for file in _assets(scene)):
            return scene
    scene = scene_at(generator, index, source.seed, source.clip_format)

    def keep(draft: Any) -> None:
        draft.facts["scene"] = dump_scene(scene)

    store.once(work, keep)
    return scene


def _assets(scene: Scene) -> list[str]:
    """Paths of the files that a scene names."""
    sky = scene.sky.hdri
    models = [body.asset for body in (scene.subject, *scene.props) if body.asset]
    return [*models, sky] if sky and "/" in sky else models


def _read(files: list[Path]) -> Iterator[SceneJob | SceneRefusal]:
    """The scenes of files; those of several folders are told apart by their paths."""
    together = len({file.parent for file in files}) == 1
    for path in files:
        name = path.stem if together else str(path.with_suffix("")).strip("/")
        try:
            yield SceneJob(name=name, scene=read_scene(path))
        except ValueError as wrong:
            yield SceneRefusal(name=name, reason=str(wrong))


def _files(pattern: str) -> list[Path]:
    text = os.path.expandvars(pattern)
    if unset := re.search(r"\$\{(\w+)\}", text):
        raise ValueError(f"scenes={pattern!r} needs the environment variable {unset[1]}; export {unset[1]}=FOLDER")
    path = Path(text).expanduser()
    # What is not here may be among the scenes that come with the package.
    places = (Path(path.anchor),) if path.anchor else (Path(), SOURCES)
    found = next((files for place in places if (files := sorted(place.glob(str(path.relative_to(path.anchor)))))), [])
    if not found:
        raise ValueError(f"scenes={pattern!r}: no file is there; give a pattern of scenes' JSON, as 'scenes/*.json'")
    return found
