"""Layers of a scene from its frame files: those that all variants share, and each variant's own with its numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import Matte, Rgb
from ...datasets.store.codec import Frames
from ...stages import composite, effect_mask, quality
from ...stages.difference import Noise
from ...stages.effect_mask import EffectMaskSettings
from ...stages.quality import Pair
from ..blender.exr_frames import FrameFiles, open_render_frames
from ..scene.scene import Scene, scene_facts
from . import effect_masks, linear_composite
from .effect_masks import MaskFromPasses, Steps

AddLayer = Callable[[str, Frames], None]
"""Stores a layer under its name; the layers of a variant are called VARIANT/NAME."""
SHARED_LAYERS = ("background", "foreground", "over", "subject_mask")
VARIANT_LAYERS = ("gt", "effect_mask")
"""Layers of a row that a variant has for itself; beside them it keeps truth_KIND, the true mask of each effect."""


@dataclass(frozen=True, kw_only=True)
class SharedLayers:
    """The layers that every variant of a scene has."""

    frames: tuple[int, ...]
    """Numbers of the scene's frames."""
    background: Rgb
    foreground: Rgb
    """The subject alone, straight colour."""
    subject_mask: Matte
    over: Rgb
    """Composed in linear light."""


@dataclass(frozen=True, kw_only=True)
class VariantLayers:
    """Layers that one variant adds."""

    gt: Rgb
    steps: dict[str, Steps]
    """Change that each effect makes."""
    subject_error: int
    """Largest difference of gt and over, in 8-bit steps, inside the subject where nothing lies before it."""
    fireflies: int
    """Pixels that shine alone, over all frames."""


def compose_shared(files: FrameFiles, frames: Sequence[int]) -> SharedLayers:
    """Compose the layers that the variants share.

    Raises:
        ValueError: a pass has a value that is not finite.
        CorruptFrame: a frame file is missing or damaged.
    """
    shape = (len(frames), *files.size)
    background, foreground, over = (np.empty((*shape, 3), np.uint8) for _ in range(3))
    subject_mask = np.empty(shape, np.uint8)
    for index, frame in enumerate(frames):
        layers = linear_composite.compose_shared_frame(files, frame)
        background[index], foreground[index], over[index] = layers.background, layers.foreground, layers.over
        subject_mask[index] = layers.subject_mask
    return SharedLayers(
        frames=tuple(frames), background=background, foreground=foreground, subject_mask=subject_mask, over=over
    )


def compose_variant(
    files: FrameFiles, number: int, effects: tuple[str, ...], shared: SharedLayers, over: Rgb
) -> VariantLayers:
    """Compose one variant.

    Args:
        files: the scene's frame files.
        number: number of the variant, from 0.
        effects: kinds of its effects, as in the scene.
        shared: layers that the variants share; an effect's change is measured against its `over`.
        over: the scene without effects as it will be stored: gt equals it inside the subject.
    """
    gt = np.empty_like(over)
    steps = {effect: np.empty(over.shape[:3], np.uint8) for effect in effects}
    subject_error = fireflies = 0
    name = f"v{number:02d}"
    for index, frame in enumerate(shared.frames):
        base = linear_composite.compose_shared_frame(files, frame)
        front = np.zeros(files.size, np.float32)
        if f"{name}-front" in files.frames:
            front = files.layer(f"{name}-front", frame)[1]
        plate = None
        if f"{name}-plate" in files.frames:
            plate = linear_composite.enlarge_plate(base, files.light(f"{name}-plate", frame, base.plate))
        light = files.light(name, frame, base.plate if plate is None else plate)
        gt[index] = linear_composite.compose_gt(base, light, plate, front, over[index])
        front_share = linear_composite.front_share(front)
        exact = (base.subject_mask == linear_composite.OPAQUE) & (front_share == 0)
        error = np.abs(gt[index][exact].astype(np.int16) - over[index][exact]).max(initial=0)
        subject_error = max(subject_error, int(error))
        fireflies += linear_composite.count_fireflies(light)
        if len(effects) == 1:
            steps[effects[0]][index] = effect_masks.steps_between_frames(
                gt[index], shared.over[index], base.cover, front_share
            )
            continue
        all_effects = files.light(f"{name}-truth", frame, base.plate)
        for effect in effects:
            without = files.light(f"{name}-without-{effect}", frame, base.plate)
            steps[effect][index] = effect_masks.steps_between_passes(all_effects, without, base.cover, front_share)
    return VariantLayers(gt=gt, steps=steps, subject_error=subject_error, fireflies=fireflies)


def compose_scene(
    scene: Scene,
    folder: Path,
    frames: Sequence[int],
    truth: MaskFromPasses,
    difference: EffectMaskSettings,
    add: AddLayer,
) -> dict[str, Any]:
    """Compose every layer of these frames; one variant is in memory at a time.

    Args:
        scene: what was rendered.
        folder: its frame files.
        frames: numbers of the frames to compose.
        truth: thresholds of the effects' true masks.
        difference: recipe of the effect mask, that of real pairs.
        add: stores each layer.

    Returns:
        By variant: `numbers`, `white_steps` by effect, `facts`, `effects`; or `refused`, why it cannot be used.

    Raises:
        ValueError: the scene as a whole cannot be used.
        CorruptFrame: a frame file is missing or damaged.
    """
    files = open_render_frames(folder)
    shared = compose_shared(files, frames)
    if not shared.subject_mask.any():
        raise ValueError(f"{scene.subject.name}: is in no frame of the picture; move it, or point the camera at it")
    over = shared.over
    if scene.rendering.composite == "eq2":
        over = composite.over(shared.foreground, shared.background, shared.subject_mask)
    for name, layer in zip(
        SHARED_LAYERS, (shared.background, shared.foreground, over, shared.subject_mask), strict=True
    ):
        add(name, layer)
    variants = {}
    for number, variant in enumerate(scene.variants):
        kinds = tuple(effect.kind for effect in variant.effects)
        try:
            layers = compose_variant(files, number, kinds, shared, over)
            numbers = _add_variant(variant.name, layers, shared, over, (truth, difference), add)
        except ValueError as unusable:
            numbers = {"refused": str(unusable)}
        variants[variant.name] = numbers | {"facts": scene_facts(scene, variant), "effects": list(kinds)}
    return variants


def _add_variant(
    name: str,
    layers: VariantLayers,
    shared: SharedLayers,
    over: Rgb,
    recipes: tuple[MaskFromPasses, EffectMaskSettings],
    add: AddLayer,
) -> dict[str, Any]:
    """Add a variant's layers and masks; return its numbers."""
    truth, difference = recipes
    visible = effect_masks.visible_change(layers.gt, shared.over)
    true_mask = effect_masks.true_mask(layers.steps.values(), truth) & (visible >= truth.grow_threshold)
    # Layers are equal where no effect is: there is no noise, and what lies far from the subject is a plume or a wake.
    mask = effect_mask.find_effect(layers.gt, over, shared.subject_mask, difference, Noise()).mask
    add(f"{name}/gt", layers.gt)
    add(f"{name}/effect_mask", mask)
    white_steps = {}
    for kind, steps in layers.steps.items():
        strength, white_steps[kind] = effect_masks.soft_mask(steps, truth)
        add(f"{name}/truth_{kind}", strength * (visible >= truth.soft_threshold))
    pair = Pair(
        gt=layers.gt,
        over=over,
        background=shared.background,
        foreground=shared.foreground,
        alpha=None,
        subject_mask=shared.subject_mask,
        effect_mask=mask,
        confidence=None,
        facts={
            "otsu_iou": effect_masks.mask_iou(mask, true_mask),
            "subject_error": float(layers.subject_error),
            "firefly_share": layers.fireflies / mask.size,
        },
    )
    # Off the true mask the layers must be equal; how much of a faint effect stage 5 misses is preservation_psnr_db.
    off_truth = quality.measure(replace(pair, effect_mask=true_mask))["preservation_psnr_db"]
    numbers = quality.measure(pair) | {"truth_preservation_psnr_db": off_truth}
    return {"numbers": numbers, "white_steps": white_steps}
