"""The scenes of a source: those of its files, or those of its generator, whose descriptions the store keeps.

To describe a scene is to try cameras and to let things fall, which takes tenths of a second; to read it again, none.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from ...datasets.sources.source import SOURCES
from ...datasets.store.atomic_io import digest_of, json_bytes
from ...datasets.store.store import ResultWriter, StageKey, Store
from ...render.generators.assets import scene_files
from ...render.scene.scene import Scene, dump_scene, parse_scene, read_scene
from ...untrusted_input import expand_variables
from .source import SceneSource

DESCRIBE = "describe"
VERSION = 3
"""Raise it when a generator describes other scenes; scenes of older versions are then described again."""


def list_scenes(source: SceneSource, store: Store) -> Iterator[tuple[str, Scene | str]]:
    """List the scenes of a source by name, in order; where one cannot be used, the reason.

    Raises:
        ValueError: there is no file of a scene, or what the generator is to use as a whole cannot be read.
    """
    if source.scenes is not None:
        files = _scene_files(source.scenes)
        in_one_folder = len({file.parent for file in files}) == 1
        for path in files:  # those of several folders are told apart by their paths
            name = path.stem if in_one_folder else str(path.with_suffix("")).strip("/")
            try:
                yield name, read_scene(path)
            except ValueError as problem:
                yield name, str(problem)
        return
    assert source.generator is not None, "a source has a generator or files"
    settings = {"generator": asdict(source.generator), "seed": source.seed, "clip_format": asdict(source.clip_format)}
    assets = [asdict(asset) for asset in source.generator.assets()]
    inputs = {"settings": digest_of(settings), "assets": digest_of(assets)}
    for index in range(source.count):
        name = f"{index:05d}"
        try:
            yield name, _describe(index, source, inputs, store)
        except ValueError as problem:
            yield name, str(problem)


def _describe(index: int, source: SceneSource, inputs: dict[str, str], store: Store) -> Scene:
    """Read a description from the store, as long as the files that it names are there; else make it."""
    key = StageKey(stage=DESCRIBE, version=VERSION, settings={"index": index}, inputs=inputs)
    result = store.find(key)
    if result is not None and result.refused is None:
        scene = parse_scene(json_bytes(result.facts["scene"]))
        if all(path.is_file() for _, _, path in scene_files(scene)):
            return scene
    assert source.generator is not None, "scenes of files are not described"
    scene = source.generator.scene_at(index, source.seed, source.clip_format)

    def write(writer: ResultWriter) -> None:
        writer.facts["scene"] = dump_scene(scene)

    store.once(key, write)
    return scene


def _scene_files(pattern: str) -> list[Path]:
    """Files that a pattern matches; where none is in the working folder, those that come with the package."""
    try:
        path = Path(expand_variables(pattern))
    except ValueError as problem:
        raise ValueError(f"scenes={pattern!r} {problem}") from problem
    roots = (Path(path.anchor),) if path.anchor else (Path(), SOURCES)
    matches = (sorted(root.glob(str(path.relative_to(path.anchor)))) for root in roots)
    files = next((files for files in matches if files), [])
    if not files:
        raise ValueError(f"scenes={pattern!r}: no file is there; give a pattern of scenes' JSON, as 'scenes/*.json'")
    return files
