"""Models in the air: birds, drones, lanterns."""

from dataclasses import replace

import numpy as np

from ..scene.objects import Body, Material
from ..scene.transforms import Matrices, rotate_x, rotate_y, rotate_z, translate
from .parts import (
    LAMP,
    RUBBER,
    TRIM,
    Gait,
    Part,
    block,
    limb,
    plain_material,
    scale_colour,
    stable_choice,
    stand_on_ground,
)

BIRD_TAIL = ((-0.13, -0.025), (0.1, -0.02), (0.1, 0.02), (-0.13, 0.025), (-0.17, 0.08), (-0.17, -0.08))
ROTOR_HZ = 5.3
"""Drawn without motion blur at 16 frames a second: faster blades would seem to stand or to run backwards."""


def bird(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A flapping bird; its largest extent is its span."""
    coat = body.look
    tips = Material(kind=coat.kind, colour=coat.second, second=coat.colour, roughness=0.7, scale_m=coat.scale_m)
    bill = plain_material((0.88, 0.62, 0.2), 0.5)
    parts = [
        block("sphere", (0.42, 0.13, 0.125), coat, (0, 0, 0)),
        block("sphere", (0.115, 0.1, 0.1), coat, (0.215, 0, 0.025)),
        block("cone", (0.03, 0.03, 0.08), bill, translate(0.29, 0, 0.018) @ rotate_y(np.pi / 2 + 0.15)),
        _blade(BIRD_TAIL, tips, translate(-0.24, 0, 0)),
    ]
    beat = 2 * np.pi * (2.6 / np.sqrt(max(body.size_m, 0.1)) * gait.time_s + gait.phase)
    strength = 0.55 if gait.kind == "fly" else 0.0
    for side in (-1, 1):
        flap = strength * np.sin(beat) + 0.12
        shoulder = translate(0.04, side * 0.035, 0.03) @ rotate_x(side * flap)
        inner = ((-0.1, 0.0), (0.1, 0.0), (0.11, side * 0.22), (-0.075, side * 0.22))
        parts.append(_blade(inner, coat, shoulder))
        wrist = shoulder @ translate(0, side * 0.215, 0) @ rotate_x(side * (0.75 * strength * np.sin(beat - 0.9) - 0.1))
        outer = ((-0.075, 0.0), (0.11, 0.0), (0.03, side * 0.2), (-0.09, side * 0.25))
        parts.append(_blade(outer, tips, wrist))
        parts.append(block("sphere", (0.016,) * 3, RUBBER, (0.245, side * 0.042, 0.04)))
    # Lifted alike in all frames, so that wings beat and the body stays.
    low = min(float(part.matrices[0, 2, 3]) - part.size[2] / 2 for part in parts[:2])
    return tuple(replace(part, matrices=translate(0.0, 0.0, -low) @ part.matrices) for part in parts)


def _blade(points: tuple[tuple[float, float], ...], look: Material, joint: Matrices) -> Part:
    """A thin plate seen from above: points are x and y."""
    plan = np.asarray(points)
    low, high = plan.min(axis=0), plan.max(axis=0)
    middle, reach = (low + high) / 2, high - low
    flat = (
        joint @ translate(float(middle[0]), float(middle[1]), 0.0) @ rotate_x(-np.pi / 2)
    )  # z of the side view goes to y
    shares = (plan - middle) / reach
    around = np.sum(shares[:, 0] * np.roll(shares[:, 1], -1) - np.roll(shares[:, 0], -1) * shares[:, 1])
    outline = tuple((float(x), float(z)) for x, z in (shares if around > 0 else shares[::-1]))
    size = (float(reach[0]), 0.014, float(reach[1]))
    return Part(mesh="prism", size=size, look=look, matrices=flat, outline=outline, bevel_m=0.003)


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
