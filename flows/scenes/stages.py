"""Rendered scenes as items: a scene is drawn and composed to variants, each of which gets captions.

Frame files lie in `frames/<key>/` of the scratch folder (`Location.scratch_folder`), under the key of the result that
is made of them: a killed clip goes on there, frame by frame, and they are deleted when the result is whole.
"""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ...datasets.corpus.schema import TRUTH_LAYER
from ...datasets.store.atomic_io import ABANDONED_AFTER_S, digest_of, json_bytes
from ...datasets.store.ledger import ClipOutcome
from ...datasets.store.store import ResultWriter, Store
from ...digests import digest_of_file
from ...render.blender import plan
from ...render.blender.exr_frames import CorruptFrame
from ...render.blender.process import Blender, BlenderNotFound, blender_version, find_python, render_frames
from ...render.compositing import effect_masks, linear_composite
from ...render.compositing.effect_masks import MaskFromPasses
from ...render.compositing.layers import SHARED_LAYERS, VARIANT_LAYERS, compose_scene
from ...render.generators.assets import asset_digest, check_files, scene_files
from ...render.scene.scene import Scene, Variant, dump_scene
from ...settings import first_names
from ...stages import composite as display
from ...stages import effect_mask, quality
from ...stages.effect_mask import EffectMaskSettings
from ...stages.quality_gates import Verdict, judge
from ..captions.record import captioned_outcome
from ..captions.stages import CaptionedItem, caption_stages
from ..engine.batches import Failure
from ..engine.item import Item, ItemKind, ItemProgress, Stage, StageInput, UnusableItem, slugify
from ..engine.report import clip_row
from .listing import list_scenes
from .source import FIREFLY_SIZE, SceneSource

RENDER = "render"
VERSION = 4
"""Raise it when results change; stored results of older versions are then made again."""
FIRST_MASK_SETTINGS: dict[str, dict[str, Any]] = {
    "truth": {"level": 6, "grows": 4, "faint": 2, "sure": 12, "min_speck_px": 96, "white_percentile": 98.0},
    "prune": {
        **{"otsu_scope": "clip", "floor": 6, "ceiling": 10, "erode_px": 1, "dilate_px": 2, "median_px": 5},
        **{"median_frames": 3, "subject_margin_px": 2, "min_speck_px": 48, "coherence_px": 15},
        **{"coherence_percent": 50, "survivors_percent": 5},
    },
}
"""Mask settings that the ids of clips hold, by their first names: the defaults when ids came to hold them."""
DEFAULT_MASK_SETTINGS = {"truth": asdict(MaskFromPasses()), "effect_mask": asdict(EffectMaskSettings())}
BATCH_SCENES = 8
BATCH_PIXELS = 400_000
"""Frames times pixels of a batch: about half a minute of drawing on one core; a larger scene is a batch by itself."""


@dataclass(frozen=True, kw_only=True)
class SceneItem(Item):
    """One scene: it becomes a row for each of its variants."""

    name: str
    scene: Scene
    clip_ids: tuple[str, ...]
    """Ids of its variants' rows, in the order of the variants."""

    @property
    def outcome_names(self) -> tuple[str, ...]:
        """Ids of its variants: each of them is missing where the scene is."""
        return self.clip_ids


@dataclass(frozen=True, kw_only=True)
class VariantItem(CaptionedItem):
    """One drawn variant of a scene: what becomes a row."""

    name: str
    """Name of its scene and its own, as its origin says it."""
    variant: str
    scene: Scene
    variant_facts: Mapping[str, Any]
    """Facts measured when the variant was composed: numbers, white_steps by effect."""
    blender: str


def list_items(source: SceneSource, store: Store) -> Iterator[Item | UnusableItem]:
    """List the scenes of a source, and delete frame files that no unfinished scene needs.

    Raises:
        ValueError: there is no file of a scene, or what the generator is to use as a whole cannot be read.
    """
    sweep_frames(store)
    missing = blender = None
    try:
        blender = blender_version(find_python(source.blender)) or "unknown"
    except BlenderNotFound as problem:
        missing = str(problem)
    for name, scene in list_scenes(source, store):
        if isinstance(scene, str):
            yield UnusableItem(id=f"{source.name}-{name}", stage="list", reason=scene)
            continue
        clip_ids = tuple(clip_id(source, name, scene, variant) for variant in scene.variants)
        if blender is None:
            yield from (UnusableItem(id=name, stage=RENDER, reason=str(missing)) for name in clip_ids)
            continue
        inputs = render_inputs(scene, blender)
        yield SceneItem(
            id=f"{source.name}-{name}", name=name, scene=scene, clip_ids=clip_ids, inputs=inputs, fps=scene.fps
        )


def render_inputs(scene: Scene, blender: str) -> dict[str, str]:
    """Digests of all that decides a scene's layers; the textures beside a model count as part of it."""
    versions = {
        "plan": plan.VERSION,
        "composite": linear_composite.VERSION,
        "truth": effect_masks.VERSION,
        "over": display.VERSION,
        "effect_mask": effect_mask.VERSION,
        "quality": quality.VERSION,
    }
    assets = {role: asset_digest(path) if path.is_file() else "missing" for role, _, path in scene_files(scene)}
    return {"scene": digest_of(content_of(scene)), "code": digest_of(versions), "blender": blender, **assets}


def content_of(scene: Scene) -> dict[str, Any]:
    """All of a scene that decides its pixels: its name does not."""
    return {key: value for key, value in dump_scene(scene).items() if key != "name"}


def group_of(scene: Scene) -> str:
    """Group of a scene's variants: all that they share, under the first names of its settings."""
    return digest_of(first_names({key: value for key, value in content_of(scene).items() if key != "variants"}))[:16]


def clip_id(source: SceneSource, name: str, scene: Scene, variant: Variant) -> str:
    """Id of a variant's row; it holds setting names as they first were, so that renaming a setting renames no clip.

    Of the mask settings it holds the first defaults, and over them what differs from the present ones: a recipe that is
    improved renames no clip either.
    """
    settings, defaults = first_names(source.mask_settings), first_names(DEFAULT_MASK_SETTINGS)
    masks = {
        table: first | {key: value for key, value in settings[table].items() if value != defaults[table][key]}
        for table, first in FIRST_MASK_SETTINGS.items()
    }
    identity = digest_of([first_names(content_of(scene)), masks])
    return f"{source.name}-{slugify(name)}-{variant.name}-{identity[:8]}"


def stages(source: SceneSource) -> tuple[Stage, ...]:
    """Stages of a source of scenes, in order."""
    render = Stage(
        name=RENDER,
        version=VERSION,
        settings=source.mask_settings,
        reads_inputs=True,
        make=_render,
        cleanup=delete_frames,
        splits=_variants,
        batch_name="scenes",
        batch_items=max(1, min(BATCH_SCENES, BATCH_PIXELS * 3 // source.clip_bytes)),
        uses=("blender",),
    )
    return (render, *caption_stages(source))


def settings(source: SceneSource) -> dict[str, Any]:
    """Settings that hold for all scenes; each scene's own description stands in its rows."""
    thresholds = asdict(source.quality_thresholds)
    render_settings = {RENDER: {**source.mask_settings, "version": VERSION}, "quality_thresholds": thresholds}
    return render_settings | {"captions": source.caption_values}


def outcome(source: SceneSource, progress: ItemProgress, failure: Failure | None) -> ClipOutcome:
    """Judge a drawn variant and build its row."""
    item: VariantItem = progress.item  # type: ignore[assignment]
    scene = item.scene
    verdict = judge_variant(item.variant_facts, source, scene.size)
    scene_settings = {"scene": content_of(scene), "variant": item.variant}
    provenance = {
        "origin": f"{item.name}, {item.variant}",
        "inputs": item.inputs,
        "settings": json_bytes(settings(source) | scene_settings).decode(),
        "subject": 0,
        "seeds": [scene.seed],
        "models": [{"id": "blender", "revision": item.blender}],
        "composite": scene.rendering.composite,
        "facts": item.scene_facts,
    }
    shape = (scene.frames, *scene.size)
    row = clip_row(progress, group_of(scene), shape, item.variant_facts["numbers"], verdict, provenance)
    return captioned_outcome(progress, row, failure)


def judge_variant(variant_facts: Mapping[str, Any], source: SceneSource, size: tuple[int, int]) -> Verdict:
    """Verdict by the numbers; a row may name no effect that nobody can see."""
    scale = FIREFLY_SIZE[0] * FIREFLY_SIZE[1] / (size[0] * size[1])  # as many pixels may shine alone as at that size
    review, reject = source.quality_thresholds.firefly_share_max
    thresholds = replace(source.quality_thresholds, firefly_share_max=(review * scale, reject * scale))
    verdict = judge(variant_facts["numbers"], thresholds)
    unseen = [kind for kind, white in variant_facts["white_steps"].items() if not white]
    if not unseen:
        return verdict
    limit = source.truth.threshold
    reason = f"the {unseen[0]} shows in no pixel: it lies out of view, or changes less than {limit} steps"
    doubts = () if verdict.verdict == "accept" else verdict.reasons
    return Verdict(verdict="reject", reasons=(reason, *doubts))


def frames_folder(store: Store, key: str) -> Path:
    """Folder for the frame files of a result that is being made."""
    return store.workspace.scratch_folder / "frames" / key


def sweep_frames(store: Store) -> None:
    """Delete frame files whose result is whole (their run was killed in between), and those long abandoned."""
    for folder in store.workspace.scratch_folder.glob("frames/*"):
        abandoned = time.time() - folder.stat().st_mtime > ABANDONED_AFTER_S
        if abandoned or store.get(RENDER, folder.name) is not None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def drawn_frames(
    stage_input: StageInput, scene: Scene, passes: tuple[plan.Pass, ...], blender: Blender
) -> Iterator[tuple[Path, str]]:
    """Draw a scene's frame files, where they are not there yet; yields their folder and Blender's version.

    All are deleted where one proves damaged, so that the next try draws them anew.
    """
    frames = frames_folder(stage_input.store, stage_input.key)
    frames.mkdir(parents=True, exist_ok=True)
    version = render_frames(plan.make_plan(scene, frames, passes), frames, blender)
    try:
        yield frames, version
    except CorruptFrame:
        shutil.rmtree(frames, ignore_errors=True)
        raise


SCENES = ItemKind(
    item_classes=(SceneItem, VariantItem), list_items=list_items, stages=stages, outcome=outcome, settings=settings
)


def _render(stage_input: StageInput, writer: ResultWriter) -> None:
    """Draw a scene and compose its layers."""
    scene, source = stage_input.item.scene, stage_input.source
    check_files(scene)
    with drawn_frames(stage_input, scene, plan.passes_of(scene), source.blender) as (frames, version):
        variants = compose_scene(scene, frames, range(scene.frames), source.truth, source.effect_mask, writer.add)
    assets = {role: digest_of_file(path) for role, _, path in scene_files(scene)}
    inputs = {"scene": digest_of(content_of(scene)), **assets}
    writer.facts |= {"blender": version, "inputs": inputs, "variants": variants}


def delete_frames(stage_input: StageInput) -> None:
    """Delete the frame files of a result that is whole."""
    shutil.rmtree(frames_folder(stage_input.store, stage_input.key), ignore_errors=True)


def _variants(stage_input: StageInput) -> Sequence[Item | UnusableItem]:
    """A drawn scene's variants; those that cannot be used with the reason."""
    item: SceneItem = stage_input.item
    parts: list[Item | UnusableItem] = []
    for variant, variant_id in zip(item.scene.variants, item.clip_ids, strict=True):
        variant_facts = stage_input.facts[RENDER]["variants"][variant.name]
        if "refused" in variant_facts:
            parts.append(UnusableItem(id=variant_id, stage=RENDER, reason=variant_facts["refused"]))
        else:
            parts.append(_variant_item(stage_input, variant, variant_id, variant_facts))
    return parts


def _variant_item(
    stage_input: StageInput, variant: Variant, variant_id: str, variant_facts: Mapping[str, Any]
) -> VariantItem:
    item: SceneItem = stage_input.item
    layers = {name: stage_input.layers[name] for name in SHARED_LAYERS}
    layers |= {name: stage_input.layers[f"{variant.name}/{name}"] for name in VARIANT_LAYERS}
    layers |= {
        f"{TRUTH_LAYER}{effect.kind}": stage_input.layers[f"{variant.name}/truth_{effect.kind}"]
        for effect in variant.effects
    }
    facts = stage_input.facts[RENDER]
    return VariantItem(
        id=variant_id,
        fps=item.fps,
        inputs=facts["inputs"],
        layers=layers,
        name=item.name,
        variant=variant.name,
        scene=item.scene,
        variant_facts={name: variant_facts[name] for name in ("numbers", "white_steps")},
        blender=facts["blender"],
        effects=tuple(variant_facts["effects"]),
        scene_facts=variant_facts["facts"],
        subject_name=variant_facts["facts"]["subject"],
    )
