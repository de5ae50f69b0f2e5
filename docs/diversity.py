"""Diversity of scenes, measured on their descriptions, and draws from the ranges of Generative Omnimatte's generator.

Nothing is rendered here: the subject is projected as its box, the camera's motion as that of the ground it first looks
at. The share of the picture that an effect changes, and whether it darkens, are measured on rendered frames.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from effectpairs.render.animation.camera import camera_matrices, project_points
from effectpairs.render.animation.motion import compute_poses
from effectpairs.render.compositing.layers import SharedLayers, VariantLayers
from effectpairs.render.compositing.linear_composite import OPAQUE
from effectpairs.render.generators.framing import measure_framing
from effectpairs.render.scene.scene import Scene
from jaxtyping import Float64

CHANGED_STEPS = 8
"""Steps of 255 from which a change counts; smaller ones are noise at few samples, and hardly visible."""
GENERATOR = {
    "frames": "80", "picture": "256 x 256", "frame rate": "8, 12, 16, 20 or 24", "objects": "1 to 5",
    "object size": "1 to 3", "sensor": "32 mm", "focal length": "35 to 45 mm", "camera from the middle": "5 to 15",
    "camera's way in a clip": "0 to 4, straight", "sun": "one lamp, within 4 of the middle, half of the time below 0.2",
    "wall": "1 of 4 scenes", "mirror on the ground": "1 of 2 scenes", "effects": "shadow, reflection",
}  # fmt: skip
"""Defaults of the published script of Generative Omnimatte (datasets/effect_removal_synthesis.py); lengths have no
unit there."""


@dataclass(frozen=True, kw_only=True)
class SceneStatistics:
    """Numbers of a scene's description."""

    subject_share: float
    """Share of the picture that the subject's box covers, averaged over frames in which it shows."""
    drift: float
    """Mean motion of the ground from frame to frame, as a share of the picture's width."""
    sun_elevation_deg: float
    effects: tuple[str, ...]
    """Effects of all variants."""
    bodies: int
    variants: int
    camera: str
    ground: str
    subject: str


@dataclass(frozen=True, kw_only=True)
class FrameStatistics:
    """Numbers of one rendered frame of one variant."""

    effect_area: float
    """Share of the picture that effects change by more than CHANGED_STEPS."""
    darkening: float
    """Steps of 255 by which they darken it there; below 0 they lighten it."""
    variant: str


def measure_scene(scene: Scene) -> SceneStatistics:
    """Measure a description."""
    framing = measure_framing(scene)
    shows = framing.area[framing.area > 0]
    return SceneStatistics(
        subject_share=float(shows.mean()) if len(shows) else 0.0,
        drift=float(ground_motion_px(scene).mean()) / scene.size[1],
        sun_elevation_deg=scene.sun.elevation_deg,
        effects=tuple(sorted({effect.kind for variant in scene.variants for effect in variant.effects})),
        bodies=1 + sum(prop.name != "hill" for prop in scene.props),
        variants=len(scene.variants),
        camera=scene.camera.kind,
        ground=scene.ground.kind,
        subject=scene.subject.shape,
    )


def ground_motion_px(scene: Scene) -> Float64[np.ndarray, "steps"]:
    """Motion in the picture, from frame to frame, of the ground at which the camera looked first."""
    path = compute_poses(scene, scene.subject).foot
    cameras = np.broadcast_to(camera_matrices(scene, path), (scene.frames, 4, 4))
    at, aim = np.array(scene.camera.at), np.array(scene.camera.look_at)
    fall = aim - at
    spot = at + fall * (at[2] / -fall[2] if fall[2] < -1e-3 * np.linalg.norm(fall) else 1.0)
    pixels = project_points(np.tile(spot, (scene.frames, 1, 1)), cameras, scene.camera.focal_mm, scene.size)[:, 0, :2]
    return np.asarray(np.linalg.norm(np.diff(pixels, axis=0), axis=1))


def measure_frames(scene: Scene, number: int, shared: SharedLayers, variant: VariantLayers) -> FrameStatistics:
    """Measure the rendered frames of a variant, beside the subject."""
    outside = shared.subject_mask < OPAQUE // 2
    change = variant.gt.astype(np.float64).mean(axis=-1) - shared.over.mean(axis=-1)
    strong = (np.abs(variant.gt.astype(np.int16) - shared.over).max(axis=-1) > CHANGED_STEPS) & outside
    darkening = -float(change[strong].mean()) if strong.any() else 0.0
    return FrameStatistics(effect_area=float(strong.mean()), darkening=darkening, variant=scene.variants[number].name)


def count_effects(scenes: Iterable[SceneStatistics]) -> dict[str, int]:
    """Count the scenes of each effect."""
    counts = Counter(effect for scene in scenes for effect in scene.effects)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def draw_from_generator(count: int, rng: np.random.Generator) -> dict[str, Float64[np.ndarray, "count"]]:
    """Draw from the generator's published ranges: subject's share, camera's drift, the sun's height.

    A sketch of it, not it: an object is a ball of its size somewhere up to 3 from the middle, points of a half shell
    are even in volume, and all that its own retries refuse is kept.
    """
    focal = rng.uniform(35, 45, count) / 32
    first = _half_shell(rng, count, (5.0, 15.0))
    way = rng.normal(size=(count, 3)) - 0.5
    last = first + way / np.linalg.norm(way, axis=1, keepdims=True) * rng.uniform(0, 4, (count, 1))
    aims = _half_shell(rng, count, (0.0, 2.5)), _half_shell(rng, count, (0.0, 2.5))
    position = rng.uniform([-3, -3, 0.5], [3, 3, 2], (count, 3))
    distance = np.linalg.norm(position - (first + last) / 2, axis=1)
    share = np.pi / 4 * (rng.uniform(1, 3, count) * focal / distance) ** 2
    lamp, aim = _half_shell(rng, count, (0.0, 4.0)), _half_shell(rng, count, (0.0, 1.0))
    low = rng.random(count) < 0.5
    lamp[low, 2] = rng.uniform(0, 0.2, low.sum())
    beam = lamp - aim
    elevation = np.degrees(np.arcsin(np.abs(beam[:, 2]) / np.linalg.norm(beam, axis=1)))
    return {"subject_share": np.clip(share, 0, 1), "drift": _turning(last, aims, focal), "sun_elevation_deg": elevation}


def _turning(
    last: Float64[np.ndarray, "n 3"],
    aims: tuple[Float64[np.ndarray, "n 3"], Float64[np.ndarray, "n 3"]],
    focal: Float64[np.ndarray, "n"],
) -> Float64[np.ndarray, "n"]:
    """Motion in the picture of the point first looked at, per frame of 80, as a share of its width."""
    to_last, now = aims[1] - last, aims[0] - last
    now, to_last = (vector / np.linalg.norm(vector, axis=1, keepdims=True) for vector in (now, to_last))
    angle = np.arccos(np.clip(np.sum(now * to_last, axis=1), -1, 1))
    return np.asarray(np.tan(np.minimum(angle, 1.4)) * focal / 79)


def _half_shell(rng: np.random.Generator, count: int, radius: tuple[float, float]) -> Float64[np.ndarray, "count 3"]:
    """Points between two half spheres above the ground."""
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    direction[:, 2] = np.abs(direction[:, 2])
    reach = rng.uniform(radius[0] ** 3, radius[1] ** 3, (count, 1)) ** (1 / 3)
    return np.asarray(direction * reach)
