"""Clips of bodies that move over textured ground and cast shadows, drawn with numpy in hundredths of a second.

For a model that is trained on a CPU in an hour: Blender takes ten seconds for a clip of this size. A body is a stack of
discs, seen from above at a slant; its shadow is the same stack, thrown onto the ground along the light. The layers are
what a renderer gives: `gt` and the clean plate come out of two passes, each with noise of its own, so that `over`
differs from `gt` a little where there is no effect, as in footage.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32

from ..arrays import Matte, Rgb
from ..settings import CheckedSettings, InRange
from ..stages.composite import over

VERSION = 1
"""Raise it when the same settings give other clips."""
SHAPES = {
    "ball": lambda heights: np.sqrt(np.maximum(1 - (2 * heights - 1) ** 2, 0.0)),
    "barrel": lambda heights: 0.75 + 0.25 * np.sin(np.pi * heights),
    "cone": lambda heights: 1.05 - heights,
    "pear": lambda heights: np.where(heights < 0.55, 1.0, 0.5) * np.sqrt(np.maximum(1 - (2 * heights - 1) ** 4, 0.0)),
}
"""Radius of each body by height from 0 at its foot to 1 at its top, as a share of its widest."""
SLANT = 0.5
"""Height of a disc on the ground as a share of its width."""
DISCS = 14
SCALE = 2
"""Pixels are drawn at this multiple of the size and averaged."""
Plane = Float32[np.ndarray, "H W"]
Picture = Float32[np.ndarray, "H W 3"]


@dataclass(frozen=True, kw_only=True)
class ShadowClips(CheckedSettings):
    """Number, format and noise of drawn clips; the table `drawing` of a run's settings."""

    table: ClassVar[str] = "drawing"
    clips: Annotated[int, InRange(1, 100_000)] = 240
    frames: Annotated[int, InRange(5, 197)] = 13
    size: tuple[int, int] = (48, 80)
    """Height and width in pixels."""
    seed: int = 0
    noise: Annotated[float, InRange(0, 32)] = 2.0
    """Standard deviation of each pass's noise, in 8-bit steps."""
    darkness: tuple[float, float] = (0.45, 0.6)
    """Least and greatest share of the light that the shadow's core takes away."""


class ClipLayers(NamedTuple):
    """Layers of a drawn clip by their names in a corpus."""

    gt: Rgb
    background: Rgb
    over: Rgb
    subject_mask: Matte
    shadow: Matte
    """Strength of the shadow: 255 in its core, 0 where there is none or the body is in front."""
    shape: str


class _Body(NamedTuple):
    radii: np.ndarray
    heights: np.ndarray
    """Height of each disc above the body's foot, in pixels drawn."""
    feet: np.ndarray
    """Place of the foot on the ground, and height above it, of each frame: [T, 3]."""
    colours: np.ndarray


def draw_clip(number: int, settings: ShadowClips) -> ClipLayers:
    """Draw clip `number`; it depends on the settings' seed and format, and on no other clip."""
    rng = np.random.default_rng([VERSION, settings.seed, number])
    height, width = (side * SCALE for side in settings.size)
    ground = _draw_ground(rng, (height, width))
    shape = list(SHAPES)[int(rng.integers(len(SHAPES)))]
    body = _draw_body(rng, shape, settings.frames, (height, width))
    light = np.array([rng.choice((-1, 1)) * rng.uniform(0.5, 1.1), rng.uniform(-0.3, 0.35)])
    softness, darkness = rng.uniform(0.8, 1.6) * SCALE / 2, rng.uniform(*settings.darkness)
    tint = np.array([1.04, 1.0, 0.93], np.float32)
    stacks: tuple[list[np.ndarray], ...] = ([], [], [], [])
    for foot in body.feet:
        strength = cv2.GaussianBlur(_cover(body, foot, light, (height, width)), (0, 0), softness)
        colour, matte = _paint(body, foot, (height, width))
        shaded = ground * (1 - darkness * tint * strength[..., None])
        whole = shaded + matte[..., None] * (colour - shaded)
        size = settings.size[::-1]
        small = [cv2.resize(layer, size, interpolation=cv2.INTER_AREA) for layer in (whole, ground, matte, strength)]
        for layers, layer in zip(stacks, small, strict=True):
            layers.append(layer)
    gt, background = (_develop(np.stack(layers), settings.noise, rng) for layers in stacks[:2])
    subject_mask, shadow = (np.rint(np.stack(layers) * 255).astype(np.uint8) for layers in stacks[2:])
    shadow[subject_mask >= 128] = 0
    return ClipLayers(gt, background, over(gt, background, subject_mask), subject_mask, shadow, shape)


def _draw_ground(rng: np.random.Generator, size: tuple[int, int]) -> Picture:
    """Two colours mixed by noise of several octaves, down to single pixels; every third ground is laid with tiles.

    Light and colour differ less from ground to ground than within one, so that detail is as strong as shade.
    """
    height, width = size
    relief = np.zeros(size, np.float32)
    for cells, weight in ((3, 0.6), (8, 0.6), (16, 0.6), (height // SCALE, 0.8)):
        grid = rng.standard_normal((cells, cells * 2)).astype(np.float32)
        relief += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    mix = 1 / (1 + np.exp(-2 * relief))[..., None]
    middle, spread = rng.uniform(125, 175, 3), rng.choice((-1, 1), 3) * rng.uniform(20, 50, 3)
    ground = middle + (mix - 0.5) * 2 * spread
    if rng.random() < 1 / 3:
        rows, columns = np.mgrid[:height, :width]
        side, slope = rng.integers(14, 26), rng.uniform(-0.4, 0.4)
        lines = (rows % side < SCALE) | ((columns + slope * rows) % (side * 1.6) < SCALE)
        ground = ground * np.where(lines, 0.8, 1.0)[..., None]
    return np.asarray(ground, np.float32)


def _draw_body(rng: np.random.Generator, shape: str, frames: int, size: tuple[int, int]) -> _Body:
    """Size, colours and way of a body: across the picture, up and down, hopping if it is a ball."""
    height, width = size
    radius = rng.uniform(0.12, 0.2) * height
    tall = radius * (2.0 if shape == "ball" else rng.uniform(1.8, 3.0))
    heights = np.linspace(0.02, 0.98, DISCS)
    times = np.linspace(0, 1, frames)
    start, stop = rng.uniform(0.15, 0.4), rng.uniform(0.6, 0.85)
    across = width * (start + (stop - start) * times)
    across = across if rng.random() < 0.5 else width - across
    base = height * rng.uniform(0.5, 0.85)
    down = base + height * rng.uniform(-0.1, 0.1) * np.sin(np.pi * times * rng.uniform(0.5, 1.5))
    hop = radius * rng.uniform(0.0, 1.2) * np.abs(np.sin(np.pi * times * 2)) if shape == "ball" else 0 * times
    first, second = rng.uniform(20, 250, 3), rng.uniform(20, 250, 3)
    bands = np.where(np.arange(DISCS) // rng.integers(2, 6) % 2, 1.0, 0.0)[:, None]
    colours = first + bands * (second - first)
    return _Body(radius * SHAPES[shape](heights), tall * heights, np.stack([across, down, hop], axis=1), colours)


def _cover(body: _Body, foot: np.ndarray, light: np.ndarray, size: tuple[int, int]) -> Plane:
    """Ground that the body keeps the light from: the hull of each two discs that follow each other."""
    covered = np.zeros(size, np.uint8)
    outlines = []
    for radius, height in zip(body.radii, body.heights, strict=True):
        centre = foot[:2] + (height + foot[2]) * light
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        outlines.append(centre + radius * np.stack([np.cos(angles), SLANT * np.sin(angles)], axis=1))
    for below, above in pairwise(outlines):
        hull = cv2.convexHull(np.concatenate([below, above]).astype(np.float32) * 16)
        cv2.fillConvexPoly(covered, hull.round().astype(np.int32), 1, shift=4)
    return covered.astype(np.float32)


def _paint(body: _Body, foot: np.ndarray, size: tuple[int, int]) -> tuple[Picture, Plane]:
    """Colour of the body and what it covers, drawn from its foot to its top, brighter above."""
    colour, matte = np.zeros((*size, 3), np.float32), np.zeros(size, np.float32)
    for index in range(DISCS * 2 - 1):  # one between each two, so that no gap shows
        disc, share = divmod(index, 2)
        radius, height = (
            float(values[disc] if not share else values[disc : disc + 2].mean())
            for values in (body.radii, body.heights)
        )
        centre = (foot[0], foot[1] - height - foot[2])
        brightness = 0.6 + 0.4 * disc / DISCS
        point = tuple(round(float(value) * 16) for value in centre)
        axes = (max(1, round(radius * 16)), max(1, round(radius * SLANT * 16)))
        cv2.ellipse(colour, point, axes, 0, 0, 360, (body.colours[disc] * brightness).tolist(), -1, shift=4)
        cv2.ellipse(matte, point, axes, 0, 0, 360, 1.0, -1, shift=4)
    return colour, matte


def _develop(light: np.ndarray, noise: float, rng: np.random.Generator) -> Rgb:
    """8-bit frames with their noise."""
    return np.rint(light + noise * rng.standard_normal(light.shape)).clip(0, 255).astype(np.uint8)
