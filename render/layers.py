"""A scene's frame files to its layers: those that all variants share, and what each variant adds, frame by frame."""

from dataclasses import dataclass

import numpy as np

from ..arrays import Matte, Rgb
from . import composite, truth
from .passes import Cover, FrameFiles
from .truth import Steps


@dataclass(frozen=True, kw_only=True)
class Shared:
    """The layers that every variant of a scene has."""

    background: Rgb
    foreground: Rgb
    """The subject alone, straight colour."""
    subject_mask: Matte
    over: Rgb
    """Composed in linear light."""


@dataclass(frozen=True, kw_only=True)
class Own:
    """What one variant adds."""

    gt: Rgb
    steps: dict[str, Steps]
    """By effect, the change that it makes."""
    subject_error: int
    """Largest difference of gt and over, in 8-bit steps, inside the subject where nothing lies before it."""
    fireflies: int
    """Pixels that shine alone, over all frames."""


def shared_layers(files: FrameFiles, frames: int) -> Shared:
    """Compose what the variants share.

    Raises:
        ValueError: a pass has a value that is not finite.
        BrokenFrame: a frame file is missing or damaged.
    """
    shape = (frames, *files.size)
    background, foreground, over = (np.empty((*shape, 3), np.uint8) for _ in range(3))
    subject_mask = np.empty(shape, np.uint8)
    for frame in range(frames):
        found = composite.base(files, frame)
        background[frame], foreground[frame], over[frame] = found.background, found.foreground, found.over
        subject_mask[frame] = found.subject_mask
    return Shared(background=background, foreground=foreground, subject_mask=subject_mask, over=over)


def own_layers(files: FrameFiles, number: int, effects: tuple[str, ...], over: Rgb, exact: Rgb) -> Own:
    """Compose one variant.

    Args:
        files: of the scene.
        number: of the variant, from 0.
        effects: their kinds, as in the scene.
        over: the scene without effects as it will be stored: what gt equals inside the subject.
        exact: the same composed in linear light: what an effect's change is measured against.
    """
    gt = np.empty_like(over)
    steps = {effect: np.empty(over.shape[:3], np.uint8) for effect in effects}
    error = lonely = 0
    name = f"v{number:02d}"
    for frame in range(len(over)):
        shared = composite.base(files, frame)
        before = _before(files, name, frame)
        plate = files.light(f"{name}-plate", frame) if files.has(f"{name}-plate") else None
        whole = files.light(name, frame)
        gt[frame] = composite.gt(shared, whole, plate, before, over[frame])
        ahead = composite.ahead(before)
        inside = (shared.subject_mask == composite.OPAQUE) & (ahead == 0)
        apart = np.abs(gt[frame][inside].astype(np.int16) - over[frame][inside])
        error = max(error, int(apart.max(initial=0)))
        lonely += composite.fireflies(whole)
        if len(effects) == 1:
            steps[effects[0]][frame] = truth.steps_of(gt[frame], exact[frame], shared.cover, ahead)
            continue
        every = files.light(f"{name}-truth", frame)
        for effect in effects:
            without = files.light(f"{name}-without-{effect}", frame)
            steps[effect][frame] = truth.steps_between(every, without, shared.cover, ahead)
    return Own(gt=gt, steps=steps, subject_error=error, fireflies=lonely)


def _before(files: FrameFiles, name: str, frame: int) -> Cover:
    if files.has(f"{name}-front"):
        return files.layer(f"{name}-front", frame)[1]
    return np.zeros(files.size, np.float32)
