"""Motion of bodies, frame by frame: their positions, rotations and contacts."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64

from ..effects.base import GRAVITY, Contact, Track
from ..procedural_models.creatures import stride_length
from ..procedural_models.parts import Gait, Part
from ..procedural_models.registry import body_extent, build_parts
from ..scene.objects import Body, Still, Toss, Travel
from ..scene.scene import Scene
from ..scene.transforms import Matrices, from_quaternions, rotate_x, rotate_y, rotate_z, translate
from . import physics

SUBMERGED_SHARE = {"boat": 0.22, "duck": 0.3, "ball": 0.25, "sphere": 0.4}
"""Share of a body's height under water; 0.45 for other shapes."""
_simulate = lru_cache(maxsize=8)(physics.simulate_rigid_bodies)


@dataclass(frozen=True, kw_only=True, eq=False)
class BodyPoses:
    """Positions and rotations of a body in the clip."""

    matrices: Matrices
    """From the model (front +x, lowest point at z = 0) to the world; one for each frame, or one for all."""
    foot: Float64[np.ndarray, "T 3"]
    """Bottom of the body: x and y of its middle, z of its lowest point."""
    gait: Gait
    contacts: tuple[Contact, ...] = ()


def compute_poses(scene: Scene, body: Body) -> BodyPoses:
    """Compute the poses of a body of the scene, frame by frame."""
    motion = body.motion
    if isinstance(motion, Toss):
        return _tossed_poses(scene, body)
    time_s = np.arange(scene.frames) / scene.fps
    if isinstance(motion, Still):
        matrices = translate(*motion.at) @ rotate_z(np.radians(motion.heading_deg))
        return BodyPoses(matrices=matrices, foot=np.tile(motion.at, (scene.frames, 1)), gait=Gait.at_rest(scene.frames))
    turn_rad_s = np.radians(motion.turn_deg_s)
    gait = Gait(
        distance=motion.speed_mps * time_s,
        time_s=time_s,
        speed=motion.speed_mps,
        turn_rad_s=turn_rad_s,
        phase=motion.phase,
        kind=motion.kind,
    )
    offsets = POSE_OFFSETS_BY_MOTION[motion.kind](motion, gait, body)
    z, yaw, pitch, roll = np.broadcast_arrays(*offsets, time_s)[:4]
    x, y = _positions_on_arc(motion, time_s)
    headings = np.radians(motion.heading_deg) + turn_rad_s * time_s
    matrices = translate(x, y, z) @ rotate_z(headings + yaw) @ rotate_y(pitch) @ rotate_x(roll)
    foot = np.stack([x, y, np.maximum(z, 0.0)], axis=-1)
    contacts = _landings(motion, time_s) if motion.kind == "bounce" else ()
    return BodyPoses(matrices=matrices, foot=foot, gait=gait, contacts=contacts)


def pose_body(scene: Scene, body: Body) -> tuple[tuple[Part, ...], BodyPoses]:
    """Return a body's parts with limbs and wheels in motion, and its poses."""
    poses = compute_poses(scene, body)
    return build_parts(body, poses.gait), poses


def compute_track(scene: Scene) -> Track:
    """Compute the subject's motion as effects need it."""
    poses = compute_poses(scene, scene.subject)
    velocity = np.gradient(poses.foot, 1 / scene.fps, axis=0)
    front = np.broadcast_to(poses.matrices, (scene.frames, 4, 4))[:, :2, 0]
    heading = np.unwrap(np.arctan2(front[:, 1], front[:, 0]))
    if isinstance(scene.subject.motion, Toss):  # a tumbling body has no front: it faces where it goes, or went last
        moves = np.hypot(velocity[:, 0], velocity[:, 1]) > 0.05
        last_move = np.maximum.accumulate(np.where(moves, np.arange(scene.frames), -1))
        directions = np.arctan2(velocity[:, 1], velocity[:, 0])
        heading = np.unwrap(np.where(last_move >= 0, directions[last_move], 0.0))
    return Track(
        foot=poses.foot,
        velocity=velocity,
        heading=heading,
        extent=body_extent(scene.subject),
        fps=scene.fps,
        contacts=poses.contacts,
    )


def _positions_on_arc(
    motion: Travel, time_s: Float64[np.ndarray, "T"]
) -> tuple[Float64[np.ndarray, "T"], Float64[np.ndarray, "T"]]:
    """X and y on the ground at each time: along a circle, or a line."""
    heading, turn_rad_s = np.radians(motion.heading_deg), np.radians(motion.turn_deg_s)
    half_turn_rad = turn_rad_s * time_s / 2
    chord = motion.speed_mps * time_s * np.sinc(half_turn_rad / np.pi)  # from the start
    direction = heading + half_turn_rad
    return motion.start[0] + chord * np.cos(direction), motion.start[1] + chord * np.sin(direction)


PoseOffsets = tuple[np.ndarray | float, np.ndarray | float, np.ndarray | float, np.ndarray | float]
"""Height in metres, and yaw, pitch and roll in radians relative to the heading."""


def _walk_offsets(motion: Travel, gait: Gait, body: Body) -> PoseOffsets:
    stride_m = stride_length(motion.speed_mps / body.size_m) * body.size_m
    stride_angle = 2 * np.pi * (2 * gait.distance / stride_m + 2 * motion.phase)
    amplitude = min(1.0, motion.speed_mps / max(0.3 * body.size_m, 1e-6))
    yaw, roll = 0.015 * amplitude * np.sin(stride_angle / 2), 0.012 * amplitude * np.sin(stride_angle / 2 + 0.7)
    return 0.0, yaw, 0.02 * amplitude, roll


def _drive_offsets(motion: Travel, gait: Gait, body: Body) -> PoseOffsets:
    if body.shape in physics.BALLS:
        return 0.0, 0.0, 0.0, 0.0
    lateral_g = motion.speed_mps * gait.turn_rad_s / GRAVITY
    shake = 0.0025 * np.sin(2 * np.pi * (1.7 * gait.time_s + motion.phase)) * (motion.speed_mps > 0)
    return 0.0, 0.0, shake, float(np.clip(0.12 * lateral_g, -0.06, 0.06)) + 0.5 * shake  # leans out of the turn


def _drift_offsets(motion: Travel, gait: Gait, body: Body) -> PoseOffsets:
    """Slide with a slip angle, whose tangent is `height_m`: into the turn, or to both sides on a straight course."""
    slip = np.arctan(motion.height_m)
    swing = np.sin(2 * np.pi * (0.35 * gait.time_s + motion.phase))
    yaw = np.sign(gait.turn_rad_s) * slip * (0.85 + 0.15 * swing) if gait.turn_rad_s else slip * swing
    lateral_g = motion.speed_mps * gait.turn_rad_s / GRAVITY
    return 0.0, yaw, 0.0, float(np.clip(0.16 * lateral_g, -0.09, 0.09))


def _boat_offsets(motion: Travel, gait: Gait, body: Body) -> PoseOffsets:
    """Bob, pitch and roll on waves of `height_m`; the bow rises with speed."""
    length, width, height = body_extent(body)
    draught_m = SUBMERGED_SHARE.get(body.shape, 0.45) * height
    wave_angle = 2 * np.pi * (gait.time_s * min(1.2, 0.55 / max(length, 0.1) ** 0.5 + 0.25) + motion.phase)
    bow_rise = 0.05 * min(1.0, motion.speed_mps**2 / (GRAVITY * length))
    turn_roll = float(np.clip(-0.25 * motion.speed_mps * gait.turn_rad_s / GRAVITY, -0.2, 0.2))
    bob = motion.height_m * (0.5 * np.sin(wave_angle) + 0.2 * np.sin(1.7 * wave_angle + 1))
    pitch = np.arctan(motion.height_m / length) * np.sin(wave_angle + 1.2) - bow_rise
    roll = np.arctan(0.6 * motion.height_m / width) * np.sin(1.3 * wave_angle + 0.4) + turn_roll
    return bob - draught_m, 0.03 * np.sin(0.5 * wave_angle), pitch, roll


def _bounce_offsets(motion: Travel, gait: Gait, body: Body) -> PoseOffsets:
    leap_progress = np.mod(gait.time_s / _leap_s(motion) + motion.phase, 1.0)
    height = 4 * motion.height_m * leap_progress * (1 - leap_progress)
    leap_pitch = 0.0 if body.shape in physics.BALLS else 0.25 * (leap_progress - 0.5) * min(1.0, motion.speed_mps)
    return height, 0.0, leap_pitch, 0.0


def _fly_offsets(motion: Travel, gait: Gait, body: Body) -> PoseOffsets:
    hover_angle = 2 * np.pi * (0.6 * gait.time_s + motion.phase)
    bank = float(np.arctan(motion.speed_mps * gait.turn_rad_s / GRAVITY))
    height = np.maximum(motion.height_m + 0.08 * body.size_m * np.sin(hover_angle), 0.0)
    yaw, roll = 0.02 * np.sin(0.7 * hover_angle), 0.03 * np.sin(hover_angle) - bank
    pitch = 0.03 * motion.speed_mps if body.shape == "drone" else -0.05 * np.cos(hover_angle)
    return height, yaw, np.clip(pitch, -0.3, 0.3), roll


POSE_OFFSETS_BY_MOTION = {
    "walk": _walk_offsets, "drive": _drive_offsets, "drift": _drift_offsets,
    "boat": _boat_offsets, "bounce": _bounce_offsets, "fly": _fly_offsets,
}  # fmt: skip


def _leap_s(motion: Travel) -> float:
    """Duration of a leap of height_m."""
    return 2 * float(np.sqrt(2 * max(motion.height_m, 1e-4) / GRAVITY))


def _landings(motion: Travel, time_s: Float64[np.ndarray, "T"]) -> tuple[Contact, ...]:
    """Contacts of a bounce with the ground, each at the first frame at or after the landing."""
    leap_s = _leap_s(motion)
    num_landings = int(np.floor(time_s[-1] / leap_s + motion.phase)) if motion.height_m > 0.005 else 0
    speed = float(np.sqrt(2 * GRAVITY * motion.height_m))
    landing_s = (np.arange(1, num_landings + 1) - motion.phase) * leap_s
    frames = np.minimum(np.ceil(landing_s / time_s[1] - 1e-9), len(time_s) - 1)
    landings = zip(frames, *_positions_on_arc(motion, landing_s), strict=True)
    return tuple(Contact(frame=int(frame), at=(float(x), float(y), 0.0), speed=speed) for frame, x, y in landings)


def _tossed_poses(scene: Scene, body: Body) -> BodyPoses:
    """Poses of a body that gravity and collisions move."""
    bodies = (scene.subject, *scene.props)
    index = next(number for number, member in enumerate(bodies) if member is body or member == body)
    simulated = _simulate(bodies, scene.walls, scene.frames, scene.fps)[index]
    assert simulated is not None  # tossed bodies are simulated
    half_height = body_extent(body)[2] / 2
    rotation = from_quaternions(simulated.rotation / np.linalg.norm(simulated.rotation, axis=1, keepdims=True))
    x, y, z = simulated.position.T
    return BodyPoses(
        matrices=translate(x, y, z) @ rotation @ translate(0.0, 0.0, -half_height),
        foot=np.stack([x, y, np.maximum(z - half_height, 0.0)], axis=-1),
        gait=Gait(distance=np.zeros(scene.frames), time_s=np.arange(scene.frames) / scene.fps, kind="toss"),
        contacts=simulated.contacts,
    )
