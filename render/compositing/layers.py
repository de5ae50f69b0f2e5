"""A scene's frame files to its layers: those that all variants share, and what each variant adds, frame by frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from ...arrays import Image, Matte, Rgb
from ..blender.exr_frames import Cover, FrameFiles
from . import composite, effect_masks
from .effect_masks import Steps


@dataclass(frozen=True, kw_only=True)
class SharedLayers:
    """The layers that every variant of a scene has."""

    frames: tuple[int, ...]
    """Which of the scene's."""
    background: Rgb
    foreground: Rgb
    """The subject alone, straight colour."""
    subject_mask: Matte
    over: Rgb
    """Composed in linear light."""


@dataclass(frozen=True, kw_only=True)
class VariantLayers:
    """What one variant adds."""

    gt: Rgb
    steps: dict[str, Steps]
    """By effect, the change that it makes."""
    subject_error: int
    """Largest difference of gt and over, in 8-bit steps, inside the subject where nothing lies before it."""
    fireflies: int
    """Pixels that shine alone, over all frames."""


def compose_shared(files: FrameFiles, frames: Sequence[int]) -> SharedLayers:
    """Compose what the variants share.

    Raises:
        ValueError: a pass has a value that is not finite.
        CorruptFrame: a frame file is missing or damaged.
    """
    shape = (len(frames), *files.size)
    background, foreground, over = (np.empty((*shape, 3), np.uint8) for _ in range(3))
    subject_mask = np.empty(shape, np.uint8)
    for place, frame in enumerate(frames):
        found = composite.base(files, frame)
        background[place], foreground[place], over[place] = found.background, found.foreground, found.over
        subject_mask[place] = found.subject_mask
    return SharedLayers(
        frames=tuple(frames), background=background, foreground=foreground, subject_mask=subject_mask, over=over
    )


def compose_variant(
    files: FrameFiles, number: int, effects: tuple[str, ...], shared: SharedLayers, over: Rgb
) -> VariantLayers:
    """Compose one variant.

    Args:
        files: of the scene.
        number: of the variant, from 0.
        effects: their kinds, as in the scene.
        shared: what the variants share; an effect's change is measured against its `over`.
        over: the scene without effects as it will be stored: what gt equals inside the subject.
    """
    gt = np.empty_like(over)
    steps = {effect: np.empty(over.shape[:3], np.uint8) for effect in effects}
    error = lonely = 0
    name = f"v{number:02d}"
    for place, frame in enumerate(shared.frames):
        base = composite.base(files, frame)
        before = _before(files, name, frame)
        plate = None
        if files.has(f"{name}-plate"):
            plate = composite.own_plate(base, files.light(f"{name}-plate", frame, base.plate))
        whole = files.light(name, frame, base.plate if plate is None else plate)
        gt[place] = composite.gt(base, whole, plate, before, over[place])
        ahead = composite.ahead(before)
        error = max(error, _apart(gt[place], over[place], (base.subject_mask == composite.OPAQUE) & (ahead == 0)))
        lonely += composite.fireflies(whole)
        if len(effects) == 1:
            steps[effects[0]][place] = effect_masks.steps_of(gt[place], shared.over[place], base.cover, ahead)
            continue
        every = files.light(f"{name}-truth", frame, base.plate)
        for effect in effects:
            without = files.light(f"{name}-without-{effect}", frame, base.plate)
            steps[effect][place] = effect_masks.steps_between(every, without, base.cover, ahead)
    return VariantLayers(gt=gt, steps=steps, subject_error=error, fireflies=lonely)


def _apart(one: Image, other: Image, where: Bool[np.ndarray, "H W"]) -> int:
    return int(np.abs(one[where].astype(np.int16) - other[where]).max(initial=0))


def _before(files: FrameFiles, name: str, frame: int) -> Cover:
    if files.has(f"{name}-front"):
        return files.layer(f"{name}-front", frame)[1]
    return np.zeros(files.size, np.float32)
