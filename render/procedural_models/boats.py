"""Models afloat: boats and ducks. They stand on z = 0; the motion sinks them to their draught."""

import numpy as np

from ..scene.objects import Body, Material
from ..scene.transforms import rotate_x, rotate_y, rotate_z, translate
from .parts import (
    CHROME,
    GLASS,
    RUBBER,
    TIMBER,
    Gait,
    Part,
    block,
    plain_material,
    profile,
    scale_colour,
    stable_choice,
)

SAILCLOTH = plain_material((0.93, 0.92, 0.87), 0.8)


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
    deck, white = deep * 0.9, plain_material((0.92, 0.92, 0.90), 0.3)
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
    deck, seat = deep * 0.92, plain_material(scale_colour(body.look.second, 0.8), 0.6)
    screen = ((0.06, 0.0), (0.1, 0.0), (0.05, 0.09), (0.035, 0.09))
    parts = [
        profile([(x, deck + z) for x, z in screen], 0.24, GLASS, (0, 0, 0), 0.2),
        block("box", (0.1, 0.24, 0.07), seat, (-0.2, 0, deck + 0.035), 0.02),
        block("box", (0.1, 0.12, 0.2), RUBBER, (-0.505, 0, deck - 0.03), 0.03),
    ]
    skin, coat = plain_material((0.8, 0.6, 0.47), 0.6), plain_material(scale_colour(body.look.second, 1.2), 0.8)
    head = (-0.1, 0.02, deck + 0.215)
    parts.append(block("capsule", (0.08, 0.11, 0.2), coat, (-0.11, 0.02, deck + 0.09)))
    parts.append(block("sphere", (0.065, 0.06, 0.075), skin, head))
    return parts


def duck(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A duck, its head nodding a little as it paddles."""
    coat = body.look
    wing = Material(kind=coat.kind, colour=coat.second, second=coat.colour, roughness=0.7, scale_m=coat.scale_m)
    bill = plain_material((0.93, 0.55, 0.12), 0.45)
    nod = 0.06 * np.sin(2 * np.pi * (1.3 * gait.time_s + gait.phase))
    neck = translate(0.34, 0, 0.42) @ rotate_y(nod)
    head = neck @ translate(0.10, 0, 0.40)
    parts = [
        block("sphere", (1.15, 0.66, 0.56), coat, (0, 0, 0.28)),
        block("sphere", (0.46, 0.4, 0.5), coat, (0.33, 0, 0.36)),
        block("cone", (0.28, 0.36, 0.42), coat, translate(-0.52, 0, 0.4) @ rotate_y(-1.15)),
        block("capsule", (0.22, 0.21, 0.52), coat, neck @ translate(0.03, 0, 0.2) @ rotate_y(0.15)),
        block("sphere", (0.31, 0.27, 0.28), coat, head),
        block("sphere", (0.26, 0.16, 0.07), bill, head @ translate(0.2, 0, -0.04) @ rotate_y(0.1)),
    ]
    for side in (-1, 1):
        side_wing = translate(-0.07, side * 0.27, 0.36) @ rotate_x(side * 0.3) @ rotate_y(-0.1)
        parts.append(block("sphere", (0.8, 0.17, 0.36), wing, side_wing))
        eye = head @ translate(0.08, side * 0.115, 0.04)
        parts.append(block("sphere", (0.045,) * 3, RUBBER, eye))
    return tuple(parts)
