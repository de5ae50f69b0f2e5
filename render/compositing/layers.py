"""A scene's frame files to its layers: those that all variants share, and what each variant adds, frame by frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...arrays import Matte, Rgb
from ..blender.exr_frames import FrameFiles
from ..compositing import linear_composite
from . import effect_masks
from .effect_masks import Steps


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
        if files.has(f"{name}-front"):
            front = files.layer(f"{name}-front", frame)[1]
        plate = None
        if files.has(f"{name}-plate"):
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
