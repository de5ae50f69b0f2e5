"""Things: plain solids, street furniture, drones and lanterns."""

from dataclasses import replace
from itertools import product

import numpy as np

from ..scene.objects import Body, Material, Vec3
from ..scene.transforms import rotate_x, rotate_y, rotate_z, translate
from .parts import LAMP, RUBBER, TRIM, Gait, Mesh, Part, block, limb, scale_colour, stable_choice, stand_on_ground

SOLIDS: dict[str, tuple[Mesh, Vec3]] = {
    "sphere": ("sphere", (1.0, 1.0, 1.0)), "ball": ("sphere", (1.0, 1.0, 1.0)), "cube": ("box", (1.0, 1.0, 1.0)),
    "cylinder": ("cylinder", (0.7, 0.7, 1.0)), "cone": ("cone", (0.8, 0.8, 1.0)), "torus": ("torus", (1.0, 1.0, 0.32)),
    "monkey": ("monkey", (0.87, 1.0, 0.99)), "rock": ("rock", (1.0, 0.82, 0.68)),
}  # fmt: skip
"""Shape to mesh and its proportions; the largest is 1."""
ROTOR_HZ = 5.3
"""Drawn without motion blur at 16 frames a second: faster blades would seem to stand or to run backwards."""


def solid(body: Body, gait: Gait) -> tuple[Part, ...]:
    """One mesh; balls roll without slipping."""
    mesh, size = SOLIDS[body.shape]
    rolls = body.shape in ("sphere", "ball") and gait.kind in ("drive", "drift", "bounce", "walk")
    rotation = rotate_y(gait.distance / 0.5) if rolls else np.eye(4)[None]
    bevel = 0.04 if mesh in ("box", "cylinder") else 0.015 if mesh == "cone" else 0.0
    return (block(mesh, size, body.look, translate(0.0, 0.0, size[2] / 2) @ rotation, bevel),)


def post(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A round post with a cap."""
    wide = 0.055
    cap = block("sphere", (wide * 1.25, wide * 1.25, wide * 0.9), body.look, (0, 0, 1 - wide * 0.45))
    return block("cylinder", (wide, wide, 0.96), body.look, (0, 0, 0.48)), cap


def crate(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A box in a frame of slats."""
    slat, look = 0.11, body.look
    frame = replace(look, colour=look.second, second=look.colour, emission=0.0)
    parts = [block("box", (0.95, 0.95, 0.95), look, (0, 0, 0.5))]
    ends = (slat / 2 - 0.5, 0.5 - slat / 2)
    for first, second, axis in product(ends, ends, range(3)):
        size = [1.0 if side == axis else slat for side in range(3)]
        x, y, z = np.insert(np.array([first, second]), axis, 0.0)
        parts.append(block("box", size, frame, translate(x, y, z + 0.5), slat * 0.15))
    return tuple(parts)


def arch(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A gateway: two pillars and a beam; bodies that come along x pass through."""
    pillars = [block("box", (0.16, 0.16, 0.84), body.look, (0, side * 0.47, 0.42), 0.012) for side in (-1, 1)]
    return (*pillars, block("box", (0.19, 1.19, 0.16), body.look, (0, 0, 0.92), 0.012))


def drone(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A quadcopter; its largest extent is its width over the rotors."""
    shell = body.look
    parts = [
        block("box", (0.36, 0.24, 0.1), shell, (0, 0, 0.16), 0.035),
        block("sphere", (0.26, 0.18, 0.1), shell, (0, 0, 0.205)),
        block("sphere", (0.09,) * 3, TRIM, (0.15, 0, 0.10)),
        block("sphere", (0.04,) * 3, LAMP, (0.185, 0, 0.10)),
    ]
    for side in (-1, 1):
        rail = translate(0, side * 0.16, 0.012) @ rotate_y(np.pi / 2)
        parts.append(block("capsule", (0.022, 0.022, 0.36), TRIM, rail))
        for front in (-1, 1):
            strut = translate(front * 0.1, side * 0.1, 0.125) @ rotate_x(side * 0.45)
            parts.append(limb(strut, 0.11, 0.02, TRIM)[0])
            parts += _rotor(body, front, side, gait)
    return stand_on_ground(parts)


def _rotor(body: Body, front: int, side: int, gait: Gait) -> list[Part]:
    across = rotate_z(np.arctan2(side, front))
    arm = translate(front * 0.17, side * 0.17, 0.18) @ across @ rotate_y(np.pi / 2)
    x, y = front * 0.3, side * 0.3
    spin = gait.time_s * ROTOR_HZ * 2 * np.pi * (1 if front * side > 0 else -1) + front + 2 * side
    if gait.kind != "fly":
        spin = spin * 0 + front
    top = translate(x, y, 0.255)
    parts = [
        block("capsule", (0.045, 0.05, 0.4), body.look, arm),
        block("cylinder", (0.07, 0.07, 0.08), TRIM, (x, y, 0.21), 0.01),
    ]
    for turn in (0.0, np.pi / 2):
        blade = top @ rotate_z(spin + turn) @ rotate_x(0.12)
        parts.append(block("box", (0.37, 0.03, 0.008), RUBBER, blade, 0.003))
    return parts


def lantern(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A lantern that shines: of paper, or of glass in a frame."""
    shine = Material(colour=body.look.colour, roughness=0.4, emission=body.look.emission or 3.0)
    frame = Material(kind="metal", colour=scale_colour(body.look.second, 0.5), roughness=0.45)
    if stable_choice(body, 2, "paper") == 0:
        ribs = [
            block("torus", (across, across, 0.018), frame, (0, 0, height))
            for height, across in ((0.22, 0.655), (0.36, 0.765), (0.5, 0.8), (0.64, 0.765), (0.78, 0.655))
        ]
        caps = [block("cylinder", (0.4, 0.4, 0.06), frame, (0, 0, z), 0.01) for z in (0.07, 0.93)]
        paper = block("sphere", (0.78, 0.78, 0.94), shine, (0, 0, 0.5))
        return stand_on_ground([paper, *ribs, *caps])
    parts = [
        block("cylinder", (0.5, 0.5, 0.07), frame, (0, 0, 0.035), 0.015),
        block("cylinder", (0.36, 0.36, 0.5), shine, (0, 0, 0.32), 0.04),
        block("cone", (0.58, 0.58, 0.22), frame, (0, 0, 0.69), 0.01),
        block("torus", (0.26, 0.26, 0.03), frame, translate(0, 0, 0.87) @ rotate_x(np.pi / 2)),
    ]
    for angle in np.arange(4) * np.pi / 2 + np.pi / 4:
        x, y = 0.22 * np.cos(angle), 0.22 * np.sin(angle)
        parts.append(block("cylinder", (0.03, 0.03, 0.54), frame, (x, y, 0.32)))
    return stand_on_ground(parts)
