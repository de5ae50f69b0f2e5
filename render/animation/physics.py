"""Rigid bodies that fall, slide and collide: the one file that talks to Kubric (and through it to PyBullet).

Kubric always steps at 240 Hz, so its frame rate must divide that: the next higher divisor is simulated, and what lies
between its frames is interpolated. Everything still, walls and ground included, stands as a fixed obstacle; bodies that
make their own way are passed through.
"""

import importlib.machinery
import importlib.util
import io
import shutil
import sys
import tempfile
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.spatial import ConvexHull

from ...extras import require
from ..effects.base import GRAVITY, Contact
from ..procedural_models.registry import body_extent
from ..scene.objects import Body, Motion, Still, Toss, Wall
from .kubric_packages import find_kubric

STEPS_HZ = 240
MIN_HIT_MPS = 0.35
"""Gentler touches raise nothing."""
NEW_HIT_S = 0.15
"""Time without touch after which a hit counts as a new one."""
BALLS = ("sphere", "ball")
HULLS = ("cylinder", "cone", "torus", "rock", "monkey")
"""Shapes that collide as the convex hull of their form; all others collide as their box."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RigidBodyMotion:
    """Simulated motion of one body."""

    position: Float64[np.ndarray, "T 3"]
    """Its middle, metres."""
    rotation: Float64[np.ndarray, "T 4"]
    """Quaternions, w first; about of unit length."""
    contacts: tuple[Contact, ...] = ()


def simulate_rigid_bodies(
    bodies: tuple[Body, ...], walls: tuple[Wall, ...], frames: int, fps: float
) -> tuple[RigidBodyMotion | None, ...]:
    """Simulate every body, in order; None for bodies that travel by themselves.

    Raises:
        ImportError: Kubric or PyBullet is not installed.
    """
    kubric, simulator_class = _require_kubric()
    rates = (hertz for hertz in range(1, STEPS_HZ + 1) if STEPS_HZ % hertz == 0)
    rate = next(hertz for hertz in rates if hertz >= min(fps, STEPS_HZ))
    last = int(np.ceil((frames - 1) / fps * rate))
    with tempfile.TemporaryDirectory() as scratch:
        world = kubric.Scene(
            frame_start=0, frame_end=last, frame_rate=rate, step_rate=STEPS_HZ, gravity=(0, 0, -GRAVITY)
        )
        simulator = simulator_class(world, scratch_dir=Path(scratch))
        floor = kubric.Cube(scale=(200, 200, 5), position=(0, 0, -5), static=True)
        _add_body(world, floor, None)
        for wall in walls:
            scale, position = (0.1, wall.width_m / 2, wall.height_m / 2), (*wall.at, wall.height_m / 2)
            euler = (0.0, 0.0, np.radians(wall.heading_deg))
            _add_body(world, kubric.Cube(scale=scale, position=position, euler=euler, static=True), None)
        assets = [_build_asset(kubric, body, Path(scratch)) for body in bodies]
        for body, asset in zip(bodies, assets, strict=True):
            if asset is not None:
                _add_body(world, asset, body.motion)
        animation, collisions = simulator.run(frame_start=0, frame_end=last)
        # PyBullet has room for 1024 worlds, and Kubric's sit in cycles that are collected late: end this one now.
        client = simulator._physics_client
        client.disconnect()
        client._client = -1  # when it is collected, another world may have its number
    return tuple(
        None if asset is None else _body_motion(asset, animation, collisions, rate, frames, fps) for asset in assets
    )


def _require_kubric() -> tuple[Any, Any]:
    """Kubric and its PyBullet view, without TensorFlow, of which they use two functions on local files."""
    find_kubric()
    stand_in: Any = None
    if "tensorflow" not in sys.modules and importlib.util.find_spec("tensorflow") is None:
        stand_in = types.ModuleType("tensorflow")
        stand_in.__spec__ = importlib.machinery.ModuleSpec("tensorflow", None)
        stand_in.io = types.SimpleNamespace(gfile=types.SimpleNamespace(GFile=io.open, copy=shutil.copyfile))
        sys.modules["tensorflow"] = stand_in
    try:
        return require("kubric", extra="render"), require("kubric.simulator.pybullet", extra="render").PyBullet
    except ImportError as missing:
        raise ImportError(f"{missing}, then: pip install --no-deps kubric-nightly==2023.12.27") from missing
    finally:
        if stand_in is not None:
            del sys.modules["tensorflow"]  # nobody else shall take it for the real one


def _build_asset(kubric: Any, body: Body, scratch: Path) -> Any:
    """Kubric's object for a body, or None if it travels by itself."""
    motion = body.motion
    length, width, height = body_extent(body)
    if isinstance(motion, Still):
        at = (motion.at[0], motion.at[1], motion.at[2] + height / 2)
        pose = {"position": at, "euler": (0.0, 0.0, np.radians(motion.heading_deg)), "static": True}
    elif isinstance(motion, Toss):
        pose = {"position": motion.at, "euler": tuple(np.radians(motion.turned)), "mass": motion.mass_kg}
    else:
        return None
    if body.shape in BALLS:
        return kubric.Sphere(scale=height / 2, **pose)
    if body.shape not in HULLS:
        return kubric.Cube(scale=(length / 2, width / 2, height / 2), **pose)
    path = _write_urdf(body, (length, width, height), scratch)
    return kubric.FileBasedObject(asset_id=path.stem, simulation_filename=str(path), render_filename=None, **pose)


def _add_body(world: Any, asset: Any, motion: Motion | None) -> None:
    """Add a body to the world; values that are set before would not reach PyBullet."""
    world.add(asset)
    if isinstance(motion, Toss):
        asset.friction, asset.restitution = min(motion.friction, 1.0), motion.restitution
        asset.velocity, asset.angular_velocity = motion.velocity, motion.spin
    else:
        asset.friction, asset.restitution = 0.6, 0.6


def _write_urdf(body: Body, size: Sequence[float], scratch: Path) -> Path:
    """Write a convex shape in the format of PyBullet's loader."""
    motion = body.motion
    name = f"{body.shape}-{len(list(scratch.iterdir()))}"
    points = _surface_points(body.shape) * np.asarray(size) / 2
    faces = ConvexHull(points).simplices + 1
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points] + [f"f {a} {b} {c}" for a, b, c in faces]
    (scratch / f"{name}.obj").write_text("\n".join(lines) + "\n")
    mass = motion.mass_kg if isinstance(motion, Toss) else 0.0
    path = scratch / f"{name}.urdf"
    path.write_text(
        f'<robot name="{name}"><link name="base"><inertial><origin xyz="0 0 0"/><mass value="{mass}"/>'
        '<inertia ixx="1" ixy="0" ixz="0" iyy="1" iyz="0" izz="1"/></inertial>'
        f'<collision><geometry><mesh filename="{name}.obj"/></geometry></collision></link></robot>'
    )
    return path


def _surface_points(shape: str) -> Float64[np.ndarray, "k 3"]:
    """Points on a shape that fills the box from -1 to 1."""
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(32)], axis=-1)
    up = np.array([0.0, 0.0, 1.0])
    if shape == "cylinder":
        return np.concatenate([ring - up, ring + up])
    if shape == "cone":
        return np.concatenate([ring - up, up[None]])
    if shape == "torus":  # its tube is a third of its height-to-width
        tilts = np.linspace(-np.pi / 2, np.pi / 2, 7)
        return np.concatenate([ring * (0.68 + 0.32 * np.cos(tilt)) + up * np.sin(tilt) for tilt in tilts])
    tilts = np.linspace(-np.pi / 2, np.pi / 2, 11)
    return np.concatenate([ring[::2] * np.cos(tilt) + up * np.sin(tilt) for tilt in tilts])


def _body_motion(asset: Any, animation: Any, collisions: Any, rate: int, frames: int, fps: float) -> RigidBodyMotion:
    """Motion of a body at every frame, out of Kubric's animation of all bodies at its own rate and all collisions."""
    steps = np.arange(frames) / fps * rate
    quaternions = np.array(animation[asset]["quaternion"], np.float64)
    # q and -q are the same rotation: with such signs that neighbours are near, they can be interpolated.
    signs = np.where(np.einsum("nc,nc->n", quaternions[1:], quaternions[:-1]) < 0, -1.0, 1.0)
    quaternions = quaternions * np.concatenate([[1.0], np.cumprod(signs)])[:, None]
    contacts: list[Contact] = []
    last_touch_s: dict[int, float] = {}
    for collision in collisions:
        if asset not in collision["instances"]:
            continue
        touch_s = collision["frame"] / rate
        partner = next((instance for instance in collision["instances"] if instance is not asset), None)
        pause_s = touch_s - last_touch_s.get(id(partner), -np.inf)
        last_touch_s[id(partner)] = touch_s
        velocity = np.array(animation[asset]["velocity"][int(collision["frame"])])  # in the frame before the hit
        if partner in animation:
            velocity = velocity - np.array(animation[partner]["velocity"][int(collision["frame"])])
        speed = float(abs(velocity @ np.array(collision["contact_normal"])))
        if pause_s > NEW_HIT_S and speed > MIN_HIT_MPS:
            frame = min(int(np.ceil(touch_s * fps - 1e-9)), frames - 1)
            x, y, z = collision["position"]
            contacts.append(Contact(frame=frame, at=(float(x), float(y), max(float(z), 0.0)), speed=speed))
    return RigidBodyMotion(
        position=_interpolate(np.array(animation[asset]["position"], np.float64), steps),
        rotation=_interpolate(quaternions, steps),
        contacts=tuple(contacts),
    )


def _interpolate(values: Float64[np.ndarray, "n c"], steps: Float64[np.ndarray, "T"]) -> Float64[np.ndarray, "T c"]:
    rows = np.arange(len(values))
    return np.asarray(np.stack([np.interp(steps, rows, column) for column in values.T], axis=-1))
