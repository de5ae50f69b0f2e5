"""Vehicles: cars and trucks on wheels, and boats.

Wheels turn with the distance travelled, front wheels steer into the turn. Boats stand on z = 0; the motion sinks them
to their draught.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..scene.objects import Body, Material
from ..scene.transforms import Matrices, rotate_x, rotate_y, rotate_z, translate
from .parts import LAMP, RUBBER, TRIM, Gait, Part, block, profile, scale_colour, stable_choice

Points = tuple[tuple[float, float], ...]
CHROME = Material(kind="metal", colour=(0.78, 0.79, 0.80), roughness=0.22)
GLASS = Material(colour=(0.07, 0.10, 0.13), roughness=0.04)
SAILCLOTH = Material(colour=(0.93, 0.92, 0.87), roughness=0.8)
TAIL_LAMP = Material(colour=(0.62, 0.03, 0.03), roughness=0.2)
TIMBER = Material(kind="wood", colour=(0.55, 0.36, 0.20), second=(0.40, 0.25, 0.13), roughness=0.55, scale_m=0.25)


@dataclass(frozen=True, kw_only=True)
class CarStyle:
    """Side views in shares of the length, from the middle of the car: counter-clockwise seen from its right."""

    lower: Points
    glass: Points
    roof: Points
    pillars: tuple[float, ...]
    width: float
    wheel: float
    axles: tuple[float, float]


SALOON = CarStyle(
    lower=((-0.48, 0.05), (0.48, 0.05), (0.5, 0.09), (0.49, 0.145), (0.44, 0.17), (0.2, 0.195), (-0.36, 0.2),
           (-0.48, 0.19), (-0.5, 0.12)),
    glass=((-0.35, 0.19), (0.205, 0.188), (0.06, 0.305), (-0.2, 0.305)),
    roof=((-0.24, 0.295), (0.08, 0.295), (0.03, 0.318), (-0.18, 0.318)),
    pillars=(-0.075,), width=0.4, wheel=0.145, axles=(-0.3, 0.31),
)  # fmt: skip
HATCHBACK = CarStyle(
    lower=((-0.48, 0.06), (0.48, 0.06), (0.5, 0.1), (0.485, 0.17), (0.43, 0.2), (0.22, 0.225), (-0.46, 0.235),
           (-0.5, 0.19), (-0.5, 0.1)),
    glass=((-0.46, 0.225), (0.23, 0.218), (0.07, 0.36), (-0.36, 0.355)),
    roof=((-0.41, 0.345), (0.09, 0.35), (0.03, 0.375), (-0.38, 0.37)),
    pillars=(-0.1, -0.37), width=0.44, wheel=0.16, axles=(-0.31, 0.32),
)  # fmt: skip
JEEP = CarStyle(
    lower=((-0.48, 0.09), (0.48, 0.09), (0.5, 0.13), (0.495, 0.23), (0.46, 0.245), (0.2, 0.265), (-0.48, 0.265),
           (-0.5, 0.2)),
    glass=((-0.47, 0.26), (0.2, 0.26), (0.11, 0.39), (-0.45, 0.39)),
    roof=((-0.48, 0.382), (0.13, 0.382), (0.11, 0.41), (-0.46, 0.41)),
    pillars=(-0.12, -0.44), width=0.44, wheel=0.19, axles=(-0.3, 0.31),
)  # fmt: skip
ROADSTER = CarStyle(
    lower=((-0.47, 0.05), (0.47, 0.05), (0.5, 0.08), (0.48, 0.13), (0.38, 0.165), (0.16, 0.19), (-0.34, 0.205),
           (-0.47, 0.19), (-0.5, 0.12)),
    glass=((-0.3, 0.18), (0.2, 0.18), (0.0, 0.275), (-0.14, 0.275)),
    roof=((-0.17, 0.268), (0.02, 0.268), (-0.02, 0.285), (-0.14, 0.285)),
    pillars=(-0.13,), width=0.43, wheel=0.15, axles=(-0.29, 0.31),
)  # fmt: skip
CARS = (SALOON, HATCHBACK, JEEP, ROADSTER)


def car(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A saloon, a hatchback, a jeep or a roadster."""
    style = CARS[stable_choice(body, len(CARS), "cut")]
    wide = style.width
    paint = body.look
    parts = [
        profile(style.lower, wide, paint, (0, 0, 0), 0.06),
        profile(style.glass, wide * 0.9, GLASS, (0, 0, 0), 0.2),
        profile(style.roof, wide * 0.735, paint, (0, 0, 0), 0.06),
        block("box", (0.9, wide * 0.9, 0.05), TRIM, (0, 0, 0.07), 0.01),
    ]
    low, high = min(z for _, z in style.glass), max(z for _, z in style.glass)
    for x in style.pillars:  # strips of paint between the windows, as the cabin leans in
        points = ((x - 0.014, low), (x + 0.014, low), (x + 0.014, high), (x - 0.014, high))
        parts.append(profile(points, wide * 0.915, paint, (0, 0, 0), 0.2))
    parts += _lights(style)
    for axle in style.axles:
        for side in (-1, 1):
            hub = translate(axle, side * (wide / 2 - 0.022), style.wheel / 2)
            parts += wheel(hub @ _steered(gait, axle > 0), style.wheel, 0.05, gait, side)
            arch = translate(axle, side * (wide / 2 - 0.012), style.wheel * 0.53)
            size = (style.wheel * 1.2, style.wheel * 1.2, 0.03)
            parts.append(block("cylinder", size, RUBBER, arch @ rotate_x(np.pi / 2)))
    return tuple(parts)


def wheel(hub: Matrices, across_m: float, thick_m: float, gait: Gait, side: int) -> list[Part]:
    """A tyre, a rim and spokes that show it turning; side is +1 on the left."""
    turned = hub @ rotate_y(gait.distance / (across_m / 2) + gait.phase)
    flat = turned @ rotate_x(np.pi / 2)
    tyre = block("cylinder", (across_m, across_m, thick_m), RUBBER, flat, 0.12 * thick_m)
    rim = block("cylinder", (across_m * 0.64, across_m * 0.64, thick_m * 1.06), CHROME, flat, 0.03 * thick_m)
    size, at = (across_m * 0.13, thick_m * 0.2, across_m * 0.2), translate(0, side * thick_m * 0.46, across_m * 0.18)
    angles = np.arange(5) * (2 * np.pi / 5)
    return [tyre, rim, *(block("box", size, TRIM, turned @ rotate_y(angle) @ at) for angle in angles)]


def _steered(gait: Gait, front: bool) -> Matrices:
    if not front or gait.kind == "still" or gait.speed < 0.02:
        return np.eye(4)[None]
    return rotate_z(float(np.clip(0.62 * gait.turn_rad_s / max(gait.speed, 0.1), -0.5, 0.5)))


def _lights(style: CarStyle) -> list[Part]:
    wide, parts = style.width, []
    high, top = style.lower[3][1] * 0.9, max(z for _, z in style.lower)
    for side in (-1, 1):
        at = side * wide * 0.36
        parts.append(block("sphere", (0.05, 0.07, 0.035), LAMP, (0.476, at, high)))
        parts.append(block("box", (0.02, 0.07, 0.03), TAIL_LAMP, (-0.487, at, 0.165), 0.006))
        parts.append(block("sphere", (0.025, 0.04, 0.025), TRIM, (0.13, side * wide * 0.5, top + 0.015)))
    grille = block("box", (0.02, wide * 0.6, 0.035), TRIM, (0.483, 0, 0.095), 0.005)
    number_plate = block("box", (0.012, wide * 0.28, 0.025), LAMP, (-0.494, 0, 0.11))
    return [*parts, grille, number_plate]


def truck(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A truck with a box, a tank or a tipper behind its cab, and an exhaust stack."""
    wide, across = 0.3, 0.125
    cab = ((0.26, 0.1), (0.495, 0.1), (0.5, 0.2), (0.465, 0.36), (0.44, 0.385), (0.26, 0.385))
    screen = ((0.4, 0.23), (0.5, 0.225), (0.472, 0.345), (0.4, 0.345))
    window = ((0.31, 0.235), (0.43, 0.235), (0.42, 0.34), (0.31, 0.34))
    parts = [
        profile(cab, wide * 0.95, body.look, (0, 0, 0), 0.05),
        profile(screen, wide * 0.82, GLASS, (0.002, 0, 0), 0.05),
        profile(window, wide * 0.958, GLASS, (0, 0, 0), 0.05),
        block("box", (0.93, wide * 0.5, 0.05), TRIM, (-0.02, 0, 0.1)),
        block("box", (0.03, wide * 0.98, 0.06), TRIM, (0.487, 0, 0.085), 0.01),
        block("cylinder", (0.022, 0.022, 0.36), CHROME, (0.235, wide * 0.36, 0.3)),
        *_load(body, wide),
    ]
    for side in (-1, 1):
        parts.append(block("sphere", (0.02, 0.05, 0.03), LAMP, (0.5, side * wide * 0.36, 0.125)))
        for axle in (-0.38, -0.24, 0.36):
            hub = translate(axle, side * (wide / 2 - 0.03), across / 2)
            parts += wheel(hub @ _steered(gait, axle > 0), across, 0.055, gait, side)
    return tuple(parts)


def _load(body: Body, wide: float) -> list[Part]:
    kind = stable_choice(body, 3, "load")
    if kind == 0:
        colour = body.look.second
        cloth = replace(body.look, colour=colour, second=scale_colour(colour, 0.8), roughness=0.7, emission=0.0)
        return [block("box", (0.7, wide, 0.31), cloth, (-0.14, 0, 0.285), 0.008)]
    if kind == 1:
        tank = translate(-0.14, 0, 0.265) @ rotate_y(np.pi / 2)
        return [
            block("capsule", (0.25, wide * 0.98, 0.7), CHROME, tank),
            block("box", (0.68, wide * 0.7, 0.05), TRIM, (-0.14, 0, 0.145)),
        ]
    tub = ((-0.5, 0.26), (-0.44, 0.13), (0.2, 0.13), (0.215, 0.31), (-0.46, 0.29))
    earth = Material(colour=(0.36, 0.28, 0.2), roughness=0.95)
    heap = block("sphere", (0.58, wide * 0.86, 0.16), earth, (-0.13, 0, 0.285))
    return [profile(tub, wide, Material(colour=body.look.second, roughness=0.6), (0, 0, 0)), heap]


def boat(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A boat: a cutter under sail, a launch with a cabin, or an open motor boat."""
    wide, deep = 0.34, 0.17
    stripe = Material(colour=body.look.second, roughness=0.35)
    parts = [
        block("hull", (1.0, wide, deep), body.look, (0, 0, deep / 2)),
        block("hull", (1.012, wide * 1.04, deep * 0.2), stripe, (0, 0, deep * 0.83)),
        block("hull", (0.94, wide * 0.9, deep * 0.1), TIMBER, (-0.005, 0, deep * 0.93)),
    ]
    fittings = (_sails, _cabin, _cockpit)[stable_choice(body, 3, "rig")]
    return (*parts, *fittings(body, deep))


def _sails(body: Body, deep: float) -> list[Part]:
    deck = deep * 0.9
    mast = block("cylinder", (0.022, 0.022, 0.95), TIMBER, (0.08, 0, deck + 0.46))
    boom = translate(-0.13, 0, deck + 0.13) @ rotate_y(np.pi / 2)
    swung = translate(0.08, 0, 0) @ rotate_z(0.25) @ translate(-0.08, 0, 0)
    main = ((-0.36, 0.15), (0.065, 0.15), (0.065, 0.9), (0.03, 0.9))
    jib = ((0.11, 0.12), (0.47, 0.1), (0.1, 0.8))
    return [
        mast,
        block("cylinder", (0.018, 0.018, 0.44), TIMBER, swung @ boom),
        profile([(x, deck + z) for x, z in main], 0.012, SAILCLOTH, swung),
        profile([(x, deck + z) for x, z in jib], 0.01, SAILCLOTH, translate(0, 0, 0)),
        block("box", (0.3, 0.17, 0.06), SAILCLOTH, (-0.05, 0, deck + 0.04), 0.015),
    ]


def _cabin(body: Body, deep: float) -> list[Part]:
    deck, white = deep * 0.9, Material(colour=(0.92, 0.92, 0.90), roughness=0.3)
    house = ((-0.16, 0.0), (0.2, 0.0), (0.14, 0.1), (0.05, 0.12), (0.0, 0.22), (-0.14, 0.22))
    glass = ((-0.1, 0.13), (0.055, 0.13), (0.018, 0.2), (-0.1, 0.2))
    roof = ((-0.19, 0.215), (0.03, 0.215), (0.01, 0.24), (-0.17, 0.24))
    return [
        profile([(x, deck + z) for x, z in house], 0.22, white, (0, 0, 0), 0.15),
        profile([(x, deck + z) for x, z in glass], 0.207, GLASS, (0, 0, 0), 0.06),
        profile([(x, deck + z) for x, z in roof], 0.22, body.look, (0, 0, 0)),
        block("cylinder", (0.014, 0.014, 0.2), CHROME, (-0.12, 0, deck + 0.33)),
    ]


def _cockpit(body: Body, deep: float) -> list[Part]:
    deck, seat = deep * 0.92, Material(colour=scale_colour(body.look.second, 0.8), roughness=0.6)
    skin = Material(colour=(0.8, 0.6, 0.47), roughness=0.6)
    coat = Material(colour=scale_colour(body.look.second, 1.2), roughness=0.8)
    screen = ((0.06, 0.0), (0.1, 0.0), (0.05, 0.09), (0.035, 0.09))
    return [
        profile([(x, deck + z) for x, z in screen], 0.24, GLASS, (0, 0, 0), 0.2),
        block("box", (0.1, 0.24, 0.07), seat, (-0.2, 0, deck + 0.035), 0.02),
        block("box", (0.1, 0.12, 0.2), RUBBER, (-0.505, 0, deck - 0.03), 0.03),
        block("capsule", (0.08, 0.11, 0.2), coat, (-0.11, 0.02, deck + 0.09)),
        block("sphere", (0.065, 0.06, 0.075), skin, (-0.1, 0.02, deck + 0.215)),
    ]
