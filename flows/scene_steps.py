"""What a task does with a scene, without Prefect: description to frame files to layers, all of it in the store.

Frame files lie in `<workspace>/frames/<key>/`, under the key of the result that is made of them: a killed clip goes on
there, frame by frame, and they go when the result is whole.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..arrays import Rgb
from ..datasets.durable import ABANDONED_AFTER_S, digest_of, digest_of_file
from ..datasets.store import Draft, Result, Store, Work
from ..render import composite, layers, plan, truth
from ..render.blender import draw
from ..render.layers import Own, Shared
from ..render.passes import BrokenFrame, open_frames
from ..render.scene import Scene, Variant, as_values
from ..render.telling import facts_of, words_of
from ..stages import composite as display
from ..stages import prune, quality
from ..stages.quality import Pair
from .scene_source import SceneSource
from .steps import plain_name

STAGE = "render"
VERSION = 1
"""Raise it when results change; stored results of older versions are then made again."""
SHARED = ("background", "foreground", "over", "subject_mask")
OWN = ("gt", "effect_mask")


@dataclass(frozen=True, kw_only=True)
class SceneJob:
    """One scene: what becomes a row for each of its variants."""

    name: str
    scene: Scene

    @property
    def content(self) -> dict[str, Any]:
        """All that decides its pixels: what it is called does not."""
        return {key: value for key, value in as_values(self.scene).items() if key != "name"}

    @property
    def group(self) -> str:
        """Shared by all variants, and by scenes that differ in nothing else."""
        return digest_of({key: value for key, value in self.content.items() if key != "variants"})[:16]

    def clip_id(self, source: SceneSource, variant: Variant) -> str:
        """Of a variant's row."""
        digest = digest_of([self.content, source.decisive])[:8]
        return f"{source.name}-{plain_name(self.name)}-{variant.name}-{digest}"


def scene_work(job: SceneJob, source: SceneSource, blender: str) -> Work:
    """What decides a scene's layers; reads every asset once for its digest."""
    versions = {
        "plan": plan.VERSION,
        "composite": composite.VERSION,
        "truth": truth.VERSION,
        "over": display.VERSION,
        "prune": prune.VERSION,
        "quality": quality.VERSION,
    }
    inputs = {"scene": digest_of(job.content), "code": digest_of(versions), "blender": blender}
    return Work(stage=STAGE, version=VERSION, settings=source.decisive, inputs=inputs | assets_of(job.scene))


def assets_of(scene: Scene) -> dict[str, str]:
    """SHA-256 of the scene's files by their role; "missing" for one that is not there, which Blender will refuse."""
    named = [(f"{body.name} ({body.asset})", body.asset) for body in (scene.subject, *scene.props) if body.asset]
    if scene.sky.hdri and "/" in scene.sky.hdri:
        named.append((f"sky ({scene.sky.hdri})", scene.sky.hdri))
    paths = {role: Path(name).expanduser() for role, name in named}
    return {role: digest_of_file(path) if path.is_file() else "missing" for role, path in paths.items()}


def rendered(job: SceneJob, source: SceneSource, store: Store, blender: str) -> Result:
    """A scene's layers, drawn if they are not there yet.

    Raises:
        NoBlender, RenderFailed: nothing is kept, the next run tries again where this one stopped.
        BrokenFrame: frame files were damaged; they are gone, the next try draws them again.
    """
    work = scene_work(job, source, blender)
    frames = frames_folder(store.workspace, work.key)

    def make(draft: Draft) -> None:
        drawn = draw(plan.plan(job.scene, _made(frames), plan.passes_of(job.scene)), frames, source.blender)
        draft.facts |= {"blender": drawn.version, "inputs": {"scene": digest_of(job.content), **assets_of(job.scene)}}
        try:
            _add_layers(job.scene, frames, source, draft)
        except BrokenFrame:
            shutil.rmtree(frames, ignore_errors=True)
            raise

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


def _add_layers(scene: Scene, folder: Path, source: SceneSource, draft: Draft) -> None:
    files = open_frames(folder)
    shared = layers.shared_layers(files, scene.frames)
    if not shared.subject_mask.any():
        raise ValueError(f"{scene.subject.name}: is in no frame of the picture; move it, or point the camera at it")
    exact = shared.over
    over = exact if scene.rendering.composite == "exact" else _eq2(shared)
    for name, layer in zip(SHARED, (shared.background, shared.foreground, over, shared.subject_mask), strict=True):
        draft.add(name, layer)
    draft.facts["variants"] = {}
    for number, variant in enumerate(scene.variants):
        try:
            kinds = tuple(effect.kind for effect in variant.effects)
            own = layers.own_layers(files, number, kinds, over, exact)
            facts = _add_variant(variant, own, shared, over, source, draft)
        except ValueError as unusable:
            facts = {"refused": str(unusable)}
        said = {"facts": facts_of(scene, variant), "effects": words_of(variant)}
        draft.facts["variants"][variant.name] = facts | said


def _eq2(shared: Shared) -> Rgb:
    return display.over(shared.foreground, shared.background, shared.subject_mask)


def _add_variant(
    variant: Variant, own: Own, shared: Shared, over: Rgb, source: SceneSource, draft: Draft
) -> dict[str, Any]:
    mask = truth.effect_mask(own.steps.values(), source.truth)
    otsu = prune.effect_mask(own.gt, over, shared.subject_mask, source.prune).mask
    draft.add(f"{variant.name}/gt", own.gt)
    draft.add(f"{variant.name}/effect_mask", mask)
    draft.add(f"{variant.name}/otsu_mask", otsu)
    white = {}
    for kind, steps in own.steps.items():
        soft, white[kind] = truth.soft_mask(steps, source.truth)
        draft.add(f"{variant.name}/truth_{kind}", soft)
    pair = Pair(
        gt=own.gt,
        over=over,
        background=shared.background,
        foreground=shared.foreground,
        alpha=None,
        subject_mask=shared.subject_mask,
        effect_mask=mask,
        confidence=None,
        facts={
            "otsu_iou": truth.agreement(otsu, mask),
            "subject_error": float(own.subject_error),
            "firefly_share": own.fireflies / mask.size,
        },
    )
    return {"numbers": quality.measure(pair), "white_steps": white}
