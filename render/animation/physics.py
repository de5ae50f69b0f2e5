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
from ..effects.base import Contact
from ..procedural_models.registry import body_extent
from ..scene.environment import Wall
from ..scene.objects import Body, Still, Toss

STEPS_HZ = 240
SLOWEST_HIT_MPS = 0.35
"""What touches more gently raises nothing."""
APART_S = 0.15
"""A hit counts anew after so long without touch."""
BALLS = ("sphere", "ball")
HULLS = ("cylinder", "cone", "torus", "rock", "monkey")
"""Shapes that collide as the convex hull of their form; all others collide as their box."""


@dataclass(frozen=True, kw_only=True)
class FrameTimes:
    """When the frames are."""

    frames: int
    fps: float


@dataclass(frozen=True, kw_only=True, eq=False)
class RigidBodyMotion:
    """What becomes of one body."""

    at: Float64[np.ndarray, "T 3"]
    """Its middle, metres."""
    turn: Float64[np.ndarray, "T 4"]
    """Unit quaternions, w first."""
    contacts: tuple[Contact, ...] = ()


def simulate_rigid_bodies(
    bodies: tuple[Body, ...], walls: tuple[Wall, ...], clock: FrameTimes
) -> tuple[RigidBodyMotion | None, ...]:
    """The way of every body, in order; None for what travels on its own.

    Raises:
        ImportError: Kubric or PyBullet is not installed.
    """
    kubric, view = _kubric()
    rate = next(
        hertz for hertz in range(1, STEPS_HZ + 1) if STEPS_HZ % hertz == 0 and hertz >= min(clock.fps, STEPS_HZ)
    )
    last = int(np.ceil((clock.frames - 1) / clock.fps * rate))
    with tempfile.TemporaryDirectory() as scratch:
        world = kubric.Scene(frame_start=0, frame_end=last, frame_rate=rate, step_rate=STEPS_HZ, gravity=(0, 0, -9.81))
        simulator = view(world, scratch_dir=Path(scratch))
        floor = kubric.Cube(scale=(200, 200, 5), position=(0, 0, -5), static=True)
        _fix(world, floor)
        for wall in walls:
            _fix(world, _wall(kubric, wall))
        things = [_thing(kubric, body, Path(scratch)) for body in bodies]
        for body, thing in zip(bodies, things, strict=True):
            if thing is not None:
                _release(world, thing, body)
        ways, hits = simulator.run(frame_start=0, frame_end=last)
        _close(simulator)
    return tuple(_fall(clock, rate, ways, hits, thing) for thing in things)


def _close(simulator: Any) -> None:
    """End a world at once: PyBullet has room for 1024, and Kubric's sit in circles that are swept whenever it suits."""
    client = simulator._physics_client
    client.disconnect()
    client._client = -1  # when it is swept, another world may have its number


def _kubric() -> tuple[Any, Any]:
    """Kubric and its PyBullet view, without TensorFlow, of which they use two functions on local files."""
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
            del sys.modules["tensorflow"]  # no one else shall take it for the real one


def _thing(kubric: Any, body: Body, scratch: Path) -> Any:
    """A body as Kubric's object, or None if it makes its own way."""
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
    path = _urdf(body, (length, width, height), scratch)
    return kubric.FileBasedObject(asset_id=path.stem, simulation_filename=str(path), render_filename=None, **pose)


def _fix(world: Any, thing: Any) -> None:
    world.add(thing)
    thing.friction, thing.restitution = 0.6, 0.6


def _release(world: Any, thing: Any, body: Body) -> None:
    """Into the world; what is set before it is there would not reach PyBullet."""
    if not isinstance(body.motion, Toss):
        _fix(world, thing)
        return
    world.add(thing)
    thing.friction, thing.restitution = min(body.motion.friction, 1.0), body.motion.restitution
    thing.velocity, thing.angular_velocity = body.motion.velocity, body.motion.spin


def _wall(kubric: Any, wall: Wall) -> Any:
    return kubric.Cube(
        scale=(0.1, wall.width_m / 2, wall.height_m / 2),
        position=(*wall.at, wall.height_m / 2),
        euler=(0.0, 0.0, np.radians(wall.heading_deg)),
        static=True,
    )


def _urdf(body: Body, size: Sequence[float], scratch: Path) -> Path:
    """A convex shape in the words of PyBullet's loader."""
    motion = body.motion
    name = f"{body.shape}-{len(list(scratch.iterdir()))}"
    points = _outline(body.shape) * np.asarray(size) / 2
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


def _outline(shape: str) -> Float64[np.ndarray, "k 3"]:
    """Points on a form that fills the box from -1 to 1."""
    around = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    ring = np.stack([np.cos(around), np.sin(around), np.zeros(32)], axis=-1)
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


def _fall(clock: FrameTimes, rate: int, ways: Any, hits: Any, thing: Any) -> RigidBodyMotion | None:
    if thing is None:
        return None
    times = np.arange(clock.frames) / clock.fps * rate
    way = ways[thing]
    return RigidBodyMotion(
        at=_between(np.array(way["position"], np.float64), times),
        turn=_between(_unflipped(np.array(way["quaternion"], np.float64)), times),
        contacts=_contacts(clock, rate, ways, [hit for hit in hits if thing in hit["instances"]], thing),
    )


def _between(values: Float64[np.ndarray, "n c"], times: Float64[np.ndarray, "T"]) -> Float64[np.ndarray, "T c"]:
    steps = np.arange(len(values))
    return np.asarray(np.stack([np.interp(times, steps, column) for column in values.T], axis=-1))


def _unflipped(quaternions: Float64[np.ndarray, "n 4"]) -> Float64[np.ndarray, "n 4"]:
    """The same turns with signs such that neighbours are near: q and -q turn alike."""
    signs = np.where(np.einsum("nc,nc->n", quaternions[1:], quaternions[:-1]) < 0, -1.0, 1.0)
    return np.asarray(quaternions * np.concatenate([[1.0], np.cumprod(signs)])[:, None])


def _contacts(clock: FrameTimes, rate: int, ways: Any, hits: Sequence[Any], thing: Any) -> tuple[Contact, ...]:
    """Where the thing is hit, once for each hit."""
    found: list[Contact] = []
    last: dict[int, float] = {}
    for hit in hits:
        moment = hit["frame"] / rate
        other = next((one for one in hit["instances"] if one is not thing), None)
        since = moment - last.get(id(other), -np.inf)
        last[id(other)] = moment
        speed = _closing(ways, hit, thing, other)
        if since > APART_S and speed > SLOWEST_HIT_MPS:
            frame = min(int(np.ceil(moment * clock.fps - 1e-9)), clock.frames - 1)
            x, y, z = hit["position"]
            found.append(Contact(frame=frame, at=(float(x), float(y), max(float(z), 0.0)), speed=speed))
    return tuple(found)


def _closing(ways: Any, hit: Any, thing: Any, other: Any) -> float:
    """How fast two things meet along the normal, from their speeds in the frame before, m/s."""
    frame = int(hit["frame"])
    velocity = np.array(ways[thing]["velocity"][frame])
    if other in ways:
        velocity = velocity - np.array(ways[other]["velocity"][frame])
    return float(abs(velocity @ np.array(hit["contact_normal"])))
