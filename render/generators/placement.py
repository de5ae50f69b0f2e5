"""Placement of a scenario before the camera: the subject's way, the camera, the sun.

The middle of the way is the origin. All is laid out as the camera sees it (right, and away from it) and then turned by
a random angle, so that no direction of the world is special.
"""

from dataclasses import dataclass

import numpy as np

from ..animation.camera import SENSOR_MM
from ..procedural_models.registry import body_extent
from ..scene.objects import Camera, Travel
from .generator import CameraKind, ClipFormat
from .palettes import draw_sun_azimuth_deg
from .scenarios import Scenario

Rng = np.random.Generator
MAX_WAY = 0.80
"""Share of the picture's width that a way may take, the subject's own length included, if the camera stays."""


@dataclass(frozen=True, kw_only=True)
class CameraView:
    """Direction, distance and height of the camera, and its lens."""

    away_deg: float
    """Direction in which the camera looks, on the ground."""
    distance_m: float
    lift_deg: float
    focal_mm: float

    def at(self, right_m: float, away_m: float) -> tuple[float, float]:
        """World x and y of a position on the ground, relative to the camera's direction."""
        away = np.radians(self.away_deg)
        x = right_m * np.sin(away) + away_m * np.cos(away)
        y = -right_m * np.cos(away) + away_m * np.sin(away)
        return round(float(x), 4), round(float(y), 4)

    def width_m(self, away_m: float = 0.0) -> float:
        """Width of the world that the picture shows at that depth."""
        return SENSOR_MM / self.focal_mm * (self.distance_m + away_m)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The subject's motion, the camera, and where the sun stands."""

    motion: Travel
    camera: Camera
    view: CameraView
    sun_azimuth_deg: float


def draw_placement(
    rng: Rng, scenario: Scenario, clip_format: ClipFormat, kind: CameraKind, focal_mm: tuple[float, float]
) -> Placement:
    """Draw a placement whose speed keeps the subject in view of a camera that does not follow it."""
    long, wide, tall = body_extent(scenario.subject)
    tilt = np.radians(rng.uniform(-scenario.max_tilt_deg, scenario.max_tilt_deg))
    across = long * abs(np.cos(tilt)) + wide * abs(np.sin(tilt))
    share = float(np.exp(rng.uniform(np.log(0.014), np.log(0.16))))
    focal = round(float(np.exp(rng.uniform(*np.log(focal_mm)))), 1)
    height, width = clip_format.size
    field_of_view = (SENSOR_MM / focal) ** 2 * height / width
    view = CameraView(
        away_deg=float(rng.uniform(0, 360)), focal_mm=focal, lift_deg=float(rng.uniform(*scenario.lift_deg)),
        distance_m=max(float(np.sqrt(across * tall / (share * field_of_view))), 1.2 * long),
    )  # fmt: skip
    speed = float(rng.uniform(*scenario.speed_mps))
    room = (MAX_WAY * view.width_m() - across) / max(abs(np.cos(tilt)), 0.3)
    if kind in ("still", "handheld"):
        speed = min(speed, max(room, 0.0) / clip_format.duration_s)
    motion = _draw_motion(rng, scenario, clip_format.duration_s, (view.away_deg, tilt, speed))
    return Placement(
        motion=motion,
        camera=_draw_camera(rng, scenario, view, (kind, motion, tall)),
        view=view,
        sun_azimuth_deg=draw_sun_azimuth_deg(rng, view.away_deg),
    )


def _draw_motion(rng: Rng, scenario: Scenario, duration_s: float, course: tuple[float, float, float]) -> Travel:
    """Draw a motion from left to right or back, whose middle in time is the origin."""
    away_deg, tilt, speed = course
    limit = scenario.max_turn_deg_s
    turn = float(rng.uniform(-limit, limit)) * (rng.random() < 0.6 or scenario.motion_kind == "drift")
    if abs(turn) * duration_s > 100:
        turn = np.sign(turn) * 100 / duration_s
    middle = np.radians(away_deg - 90) + tilt + (np.pi if rng.random() < 0.5 else 0.0)
    begin = middle - np.radians(turn) * duration_s / 2
    half = duration_s / 2
    swing = np.radians(turn) * half / 2
    chord = speed * half * np.sinc(swing / np.pi)
    return Travel(
        kind=scenario.motion_kind,  # type: ignore[arg-type]
        start=(round(float(-chord * np.cos(begin + swing)), 4), round(float(-chord * np.sin(begin + swing)), 4)),
        heading_deg=round(float(np.degrees(begin)) % 360, 3),
        speed_mps=round(speed, 4),
        turn_deg_s=round(float(turn), 3),
        height_m=scenario.height_m,
        phase=round(float(rng.random()), 3),
    )


def _draw_camera(rng: Rng, scenario: Scenario, view: CameraView, subject: tuple[CameraKind, Travel, float]) -> Camera:
    kind, motion, tall = subject
    lift, away = np.radians(view.lift_deg), np.radians(view.away_deg)
    height = 0.45 * tall + {"fly": 1.0, "bounce": 0.5}.get(scenario.motion_kind, 0.0) * scenario.height_m
    back = view.distance_m * np.cos(lift)
    at = np.array(
        [-back * np.cos(away), -back * np.sin(away), max(height + view.distance_m * np.sin(lift), 0.25 * tall)]
    )
    right, up = rng.uniform(-0.06, 0.06), rng.uniform(-0.04, 0.07)
    aim = (*view.at(float(right) * view.width_m(), 0.0), height + float(up) * view.width_m())
    amount = {"still": 1.0, "handheld": float(rng.uniform(0.5, 1.8)), "follow": float(rng.uniform(0.75, 1.0))}
    if kind == "pan":
        course = np.arctan2(-motion.start[1], -motion.start[0])
        across = motion.speed_mps * np.sin(course - away)  # to the left as the camera sees it
        amount["pan"] = float(np.degrees(across / view.distance_m)) * float(rng.uniform(0.7, 1.05))
    back_to = amount["follow"] * np.array([*motion.start, 0.0]) if kind == "follow" else np.zeros(3)
    x, y, z = (round(float(value), 4) for value in at + back_to)  # it begins where the subject does
    u, v, w = (round(float(value), 4) for value in np.array(aim) + back_to)
    return Camera(kind=kind, at=(x, y, z), look_at=(u, v, w), focal_mm=view.focal_mm, amount=round(amount[kind], 4))
