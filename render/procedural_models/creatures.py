"""Living models: people and dogs on the ground, ducks afloat, birds in the air.

Limbs swing with the distance travelled, and the lowest foot is on the ground. Ducks stand on z = 0; the motion sinks
them to their draught.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from ..scene.objects import Body, Material
from ..scene.transforms import Matrices, rotate_x, rotate_y, rotate_z, translate
from .parts import RUBBER, Gait, Part, block, limb, scale_colour, stable_choice, stand_on_ground

Angles = Float64[np.ndarray, "T"]
SKIN_TONES = ((0.93, 0.76, 0.65), (0.85, 0.65, 0.50), (0.69, 0.48, 0.34), (0.48, 0.32, 0.22), (0.32, 0.21, 0.15))
HAIR_COLOURS = ((0.10, 0.08, 0.07), (0.25, 0.16, 0.10), (0.45, 0.30, 0.16), (0.72, 0.58, 0.36), (0.55, 0.53, 0.51))
BIRD_TAIL = ((-0.13, -0.025), (0.1, -0.02), (0.1, 0.02), (-0.13, 0.025), (-0.17, 0.08), (-0.17, -0.08))


def stride_length(speed: float) -> float:
    """Length of two steps, which grows with speed; lengths in heights of the body."""
    return float(np.clip(0.6 + 0.25 * speed, 0.7, 1.6))


def walker(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A person who walks, or runs from about one body height a second."""
    shirt, trousers = body.look, Material(kind="plain", colour=body.look.second, roughness=0.8)
    skin = Material(colour=SKIN_TONES[stable_choice(body, len(SKIN_TONES), "skin")], roughness=0.55)
    trunk = translate(0.0, 0.0, 0.52) @ rotate_y(np.array([0.03 + 0.10 * _run_share(gait)]))
    parts = [
        block("sphere", (0.15, 0.20, 0.15), trousers, trunk @ translate(0, 0, 0.005)),
        block("capsule", (0.145, 0.20, 0.33), shirt, trunk @ translate(0, 0, 0.155)),
        block("capsule", (0.10, 0.11, 0.27), shirt, trunk @ translate(0, 0, 0.27) @ rotate_x(np.pi / 2)),
        block("cylinder", (0.055, 0.06, 0.09), skin, trunk @ translate(0.005, 0, 0.335)),
        *_head(body, trunk @ translate(0.015, 0, 0.415), skin),
    ]
    for side in (-1, 1):
        beat = 2 * np.pi * (gait.distance / stride_length(gait.speed) + gait.phase) + (np.pi if side > 0 else 0)
        parts += _leg(body, trunk @ translate(0, side * 0.052, 0), beat, gait, trousers)
        parts += _arm(body, trunk @ translate(0, side * 0.128, 0.275), beat + np.pi, gait, (shirt, skin))
    return stand_on_ground([*parts, *_belongings(body, trunk)])


def _run_share(gait: Gait) -> float:
    """0 for a walk, 1 for a run."""
    return float(np.clip((gait.speed - 0.8) / 1.2, 0, 1))


def _swing_share(gait: Gait) -> float:
    """Share of their full swing that limbs make: 0 when standing."""
    return float(np.clip(gait.speed / 0.45, 0, 1))


def _leg(body: Body, hip: Matrices, beat: Angles, gait: Gait, trousers: Material) -> list[Part]:
    swing_share = _swing_share(gait)
    run = _run_share(gait)
    swing = -swing_share * (0.44 + 0.2 * run) * np.sin(beat) - 0.12 * run
    bend = swing_share * (0.95 + 0.5 * run) * np.maximum(np.cos(beat - 0.3), 0) ** 1.5 + 0.08 + 0.25 * run
    thigh, knee = limb(hip @ rotate_y(swing), 0.245, 0.10, trousers)
    shin, ankle = limb(knee @ rotate_y(bend), 0.235, 0.072, trousers)
    shoe = Material(colour=scale_colour(body.look.second, 0.5), roughness=0.5)
    flat = ankle @ rotate_y(-(swing + bend) * 0.75)  # the sole stays nearly level
    foot = block("box", (0.15, 0.06, 0.045), shoe, flat @ translate(0.035, 0, -0.015), 0.02)
    return [thigh, shin, foot]


def _arm(body: Body, shoulder: Matrices, beat: Angles, gait: Gait, looks: tuple[Material, Material]) -> list[Part]:
    swing_share, run = _swing_share(gait), _run_share(gait)
    shirt, skin = looks
    swing = -swing_share * (0.36 + 0.3 * run) * np.sin(beat)
    upper, elbow = limb(shoulder @ rotate_y(swing), 0.165, 0.062, shirt)
    lower, wrist = limb(elbow @ rotate_y(-0.22 - 1.1 * run + 0 * beat), 0.15, 0.05, skin)
    hand = block("sphere", (0.045, 0.032, 0.07), skin, wrist @ translate(0, 0, -0.02))
    return [upper, lower, hand]


def _head(body: Body, middle: Matrices, skin: Material) -> list[Part]:
    hair = Material(colour=HAIR_COLOURS[stable_choice(body, len(HAIR_COLOURS), "hair")], roughness=0.7)
    parts = [
        block("sphere", (0.112, 0.096, 0.135), skin, middle),
        block("sphere", (0.022, 0.016, 0.025), skin, middle @ translate(0.056, 0, -0.005)),
        block("sphere", (0.118, 0.108, 0.118), hair, middle @ translate(-0.012, 0, 0.022)),
    ]
    if stable_choice(body, 4, "hat") == 0:
        cap = Material(colour=scale_colour(body.look.colour, 0.7), roughness=0.8)
        parts.append(block("cylinder", (0.2, 0.19, 0.012), cap, middle @ translate(0.005, 0, 0.035)))
        parts.append(block("cylinder", (0.12, 0.11, 0.075), cap, middle @ translate(0, 0, 0.07), 0.015))
    elif stable_choice(body, 3, "hair length") == 0:
        parts.append(block("capsule", (0.07, 0.11, 0.17), hair, middle @ translate(-0.042, 0, -0.04)))
    return parts


def _belongings(body: Body, trunk: Matrices) -> list[Part]:
    """A rucksack, a coat's skirts, or nothing."""
    kind = stable_choice(body, 3, "belongings")
    if kind == 0:
        cloth = Material(colour=scale_colour(body.look.second, 1.3), roughness=0.85)
        return [
            block("box", (0.11, 0.19, 0.25), cloth, trunk @ translate(-0.11, 0, 0.185), 0.03),
            block("box", (0.04, 0.14, 0.11), cloth, trunk @ translate(-0.165, 0, 0.13), 0.015),
        ]
    if kind == 1:
        return [block("cylinder", (0.19, 0.235, 0.17), body.look, trunk @ translate(0, 0, -0.04), 0.02)]
    return []


def dog(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A dog that trots; its size is the height of its head."""
    coat, dark = body.look, Material(colour=scale_colour(body.look.second, 0.6), roughness=0.7)
    beat = 2 * np.pi * (gait.distance / (0.9 * stride_length(gait.speed)) + gait.phase)
    spine = translate(0.0, 0.0, 0.60) @ rotate_y(0.03 * _swing_share(gait) * np.sin(2 * beat))
    head = spine @ translate(0.55, 0, 0.27)
    parts = [
        block("capsule", (0.27, 0.25, 0.86), coat, spine @ rotate_y(np.pi / 2)),
        block("sphere", (0.38, 0.29, 0.36), coat, spine @ translate(0.25, 0, -0.03)),
        block("sphere", (0.30, 0.25, 0.28), coat, spine @ translate(-0.29, 0, 0.0)),
        block("capsule", (0.16, 0.15, 0.36), coat, spine @ translate(0.42, 0, 0.14) @ rotate_y(0.65)),
        block("sphere", (0.24, 0.20, 0.21), coat, head),
        block("capsule", (0.105, 0.10, 0.24), coat, head @ translate(0.13, 0, -0.035) @ rotate_y(np.pi / 2 + 0.12)),
        block("sphere", (0.05, 0.055, 0.045), RUBBER, head @ translate(0.245, 0, -0.035)),
    ]
    for side in (-1, 1):
        ear = head @ translate(-0.03, side * 0.085, 0.05) @ rotate_x(side * 0.35)
        parts.append(block("sphere", (0.10, 0.035, 0.18), dark, ear))
        parts.append(block("sphere", (0.03, 0.025, 0.03), RUBBER, head @ translate(0.09, side * 0.06, 0.04)))
    for front in (-1, 1):
        for side in (-1, 1):
            hip = spine @ translate(front * 0.29, side * 0.085, -0.08)
            parts += _paw(body, hip, beat + (0 if front * side > 0 else np.pi), gait, front > 0)
    wag = rotate_z(0.35 * np.sin(2 * np.pi * 2.2 * gait.time_s + gait.phase))
    tail, _ = limb(spine @ translate(-0.42, 0, 0.06) @ wag @ rotate_y(2.2), 0.30, 0.06, coat)
    return stand_on_ground([*parts, tail])


def _paw(body: Body, hip: Matrices, beat: Angles, gait: Gait, front: bool) -> list[Part]:
    swing_share = _swing_share(gait)
    swing = -0.5 * swing_share * np.sin(beat) + (0.10 if front else 0.0)
    bend = 0.9 * swing_share * np.maximum(np.cos(beat - 0.3), 0) ** 1.5
    thick = 0.10 if front else 0.14
    upper, knee = limb(hip @ rotate_y(swing + (0 if front else -0.25)), 0.25, thick, body.look)
    lower, ankle = limb(knee @ rotate_y((-bend if front else 0.4 + bend) + 0 * beat), 0.24, 0.075, body.look)
    lean = swing + (-bend if front else 0.15 + bend)
    paw = block("sphere", (0.11, 0.085, 0.07), body.look, ankle @ rotate_y(-lean) @ translate(0.02, 0, -0.015))
    return [upper, lower, paw]


def duck(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A duck, its head nodding a little as it paddles."""
    coat = body.look
    wing = Material(kind=coat.kind, colour=coat.second, second=coat.colour, roughness=0.7, scale_m=coat.scale_m)
    bill = Material(colour=(0.93, 0.55, 0.12), roughness=0.45)
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
        parts.append(block("sphere", (0.045,) * 3, RUBBER, head @ translate(0.08, side * 0.115, 0.04)))
    return tuple(parts)


def bird(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A flapping bird; its largest extent is its span."""
    coat = body.look
    tips = Material(kind=coat.kind, colour=coat.second, second=coat.colour, roughness=0.7, scale_m=coat.scale_m)
    bill = Material(colour=(0.88, 0.62, 0.2), roughness=0.5)
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
    flat = joint @ translate(float(middle[0]), float(middle[1]), 0.0) @ rotate_x(-np.pi / 2)  # z of a side view is y
    shares = (plan - middle) / reach
    around = np.sum(shares[:, 0] * np.roll(shares[:, 1], -1) - np.roll(shares[:, 0], -1) * shares[:, 1])
    outline = tuple((float(x), float(z)) for x, z in (shares if around > 0 else shares[::-1]))
    size = (float(reach[0]), 0.014, float(reach[1]))
    return Part(mesh="prism", size=size, look=look, matrices=flat, outline=outline, bevel_m=0.003)
