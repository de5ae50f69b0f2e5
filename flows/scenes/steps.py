"""What a task does with a scene, without Prefect: description to frame files to layers, all of it in the store.

Frame files lie in `<workspace>/frames/<key>/`, under the key of the result that is made of them: a killed clip goes on
there, frame by frame, and they go when the result is whole.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...datasets.store.atomic_io import ABANDONED_AFTER_S, digest_of
from ...datasets.store.store import ResultWriter, StageKey, StageResult, Store
from ...render.blender import plan
from ...render.blender.exr_frames import CorruptFrame
from ...render.blender.process import render_frames
from ...render.compositing import effect_masks, linear_composite
from ...render.generators.assets import check_files, digest, sha256_of
from ...render.scene.scene import Scene, Variant, dump_scene
from ...stages import composite as display
from ...stages import effect_mask, quality
from ..engine.ids import plain_name
from .layers import compose
from .source import SceneSource

STAGE = "render"
VERSION = 1
"""Raise it when results change; stored results of older versions are then made again."""


@dataclass(frozen=True, kw_only=True)
class SceneJob:
    """One scene: what becomes a row for each of its variants."""

    name: str
    scene: Scene

    @property
    def content(self) -> dict[str, Any]:
        """All that decides its pixels: what it is called does not."""
        return {key: value for key, value in dump_scene(self.scene).items() if key != "name"}

    @property
    def group(self) -> str:
        """Shared by all variants, and by scenes that differ in nothing else."""
        return digest_of({key: value for key, value in self.content.items() if key != "variants"})[:16]

    def clip_id(self, source: SceneSource, variant: Variant) -> str:
        """Of a variant's row."""
        digest = digest_of([self.content, source.decisive])[:8]
        return f"{source.name}-{plain_name(self.name)}-{variant.name}-{digest}"


def scene_work(job: SceneJob, source: SceneSource, blender: str) -> StageKey:
    """What decides a scene's layers: with each asset count the textures beside it."""
    versions = {
        "plan": plan.VERSION,
        "composite": linear_composite.VERSION,
        "truth": effect_masks.VERSION,
        "over": display.VERSION,
        "prune": effect_mask.VERSION,
        "quality": quality.VERSION,
    }
    inputs = {"scene": digest_of(job.content), "code": digest_of(versions), "blender": blender}
    assets = {role: digest(path) if path.is_file() else "missing" for role, path in _assets_of(job.scene).items()}
    return StageKey(stage=STAGE, version=VERSION, settings=source.decisive, inputs=inputs | assets)


def inputs_of(scene: Scene) -> dict[str, str]:
    """SHA-256 of the scene's own files by their role."""
    return {role: sha256_of(path) for role, path in _assets_of(scene).items()}


def _assets_of(scene: Scene) -> dict[str, Path]:
    named = [(f"{body.name} ({body.asset})", body.asset) for body in (scene.subject, *scene.props) if body.asset]
    if scene.sky.hdri and "/" in scene.sky.hdri:
        named.append((f"sky ({scene.sky.hdri})", scene.sky.hdri))
    return {role: Path(name).expanduser() for role, name in named}


def rendered(job: SceneJob, source: SceneSource, store: Store, blender: str) -> StageResult:
    """A scene's layers, drawn if they are not there yet.

    Raises:
        BlenderNotFound, RenderFailed: nothing is kept, the next run tries again where this one stopped.
        CorruptFrame: frame files were damaged; they are gone, the next try draws them again.
    """
    work = scene_work(job, source, blender)
    frames = frames_folder(store.workspace, work.key)

    def make(draft: ResultWriter) -> None:
        check_files(job.scene)
        drawn = render_frames(
            plan.make_plan(job.scene, _made(frames), plan.passes_of(job.scene)), frames, source.blender
        )
        try:
            made = compose(job.scene, frames, range(job.scene.frames), source, draft.add)
        except CorruptFrame:
            shutil.rmtree(frames, ignore_errors=True)
            raise
        inputs = {"scene": digest_of(job.content), **inputs_of(job.scene)}
        draft.facts |= {"blender": drawn.version, "inputs": inputs, "variants": made}

    result = store.once(work, make, fps=job.scene.fps)
    shutil.rmtree(frames, ignore_errors=True)
    return result


def frames_folder(workspace: Path, key: str) -> Path:
    """Where the frame files of a result in the making lie."""
    return workspace / "frames" / key


def sweep_frames(store: Store) -> None:
    """Delete frame files whose result is whole (their run was killed in between), and those long given up."""
    for folder in store.workspace.glob("frames/*"):
        given_up = time.time() - folder.stat().st_mtime > ABANDONED_AFTER_S
        if given_up or store.get(STAGE, folder.name) is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
