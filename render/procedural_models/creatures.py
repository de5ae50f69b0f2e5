"""Models on legs: people and dogs. Limbs swing with the distance travelled; the lowest foot is on the ground."""

import numpy as np
from jaxtyping import Float64

from ..scene.objects import Body, Material
from ..scene.transforms import Matrices, rotate_x, rotate_y, rotate_z, translate
from .parts import RUBBER, Gait, Part, block, limb, plain_material, scale_colour, stable_choice, stand_on_ground

Angles = Float64[np.ndarray, "T"]
SKIN_TONES = ((0.93, 0.76, 0.65), (0.85, 0.65, 0.50), (0.69, 0.48, 0.34), (0.48, 0.32, 0.22), (0.32, 0.21, 0.15))
HAIR_COLOURS = ((0.10, 0.08, 0.07), (0.25, 0.16, 0.10), (0.45, 0.30, 0.16), (0.72, 0.58, 0.36), (0.55, 0.53, 0.51))


def stride_length(speed: float) -> float:
    """Length of two steps, which grows with speed; lengths in heights of the body."""
    return float(np.clip(0.6 + 0.25 * speed, 0.7, 1.6))


def walker(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A person who walks, or runs from about one body height a second."""
    shirt, trousers = body.look, Material(kind="plain", colour=body.look.second, roughness=0.8)
    skin = plain_material(SKIN_TONES[stable_choice(body, len(SKIN_TONES), "skin")], 0.55)
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
    hair = plain_material(HAIR_COLOURS[stable_choice(body, len(HAIR_COLOURS), "hair")], 0.7)
    face = block("sphere", (0.112, 0.096, 0.135), skin, middle)
    nose = block("sphere", (0.022, 0.016, 0.025), skin, middle @ translate(0.056, 0, -0.005))
    crown = block("sphere", (0.118, 0.108, 0.118), hair, middle @ translate(-0.012, 0, 0.022))
    if stable_choice(body, 4, "hat") == 0:
        cap = Material(colour=scale_colour(body.look.colour, 0.7), roughness=0.8)
        rim = block("cylinder", (0.2, 0.19, 0.012), cap, middle @ translate(0.005, 0, 0.035))
        top = block("cylinder", (0.12, 0.11, 0.075), cap, middle @ translate(0, 0, 0.07), 0.015)
        return [face, nose, crown, rim, top]
    if stable_choice(body, 3, "hair length") == 0:
        fall = block("capsule", (0.07, 0.11, 0.17), hair, middle @ translate(-0.042, 0, -0.04))
        return [face, nose, crown, fall]
    return [face, nose, crown]


def _belongings(body: Body, trunk: Matrices) -> list[Part]:
    """A rucksack, a coat's skirts, or nothing."""
    kind = stable_choice(body, 3, "belongings")
    if kind == 0:
        cloth = Material(colour=scale_colour(body.look.second, 1.3), roughness=0.85)
        pack = trunk @ translate(-0.11, 0, 0.185)
        flap = trunk @ translate(-0.165, 0, 0.13)
        return [
            block("box", (0.11, 0.19, 0.25), cloth, pack, 0.03),
            block("box", (0.04, 0.14, 0.11), cloth, flap, 0.015),
        ]
    if kind == 1:
        return [block("cylinder", (0.19, 0.235, 0.17), body.look, trunk @ translate(0, 0, -0.04), 0.02)]
    return []


def dog(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A dog that trots; its size is the height of its head."""
    coat = body.look
    beat = 2 * np.pi * (gait.distance / (0.9 * stride_length(gait.speed)) + gait.phase)
    spine = translate(0.0, 0.0, 0.60) @ rotate_y(0.03 * _swing_share(gait) * np.sin(2 * beat))
    lying = rotate_y(np.pi / 2)
    parts = [
        block("capsule", (0.27, 0.25, 0.86), coat, spine @ lying),
        block("sphere", (0.38, 0.29, 0.36), coat, spine @ translate(0.25, 0, -0.03)),
        block("sphere", (0.30, 0.25, 0.28), coat, spine @ translate(-0.29, 0, 0.0)),
        block("capsule", (0.16, 0.15, 0.36), coat, spine @ translate(0.42, 0, 0.14) @ rotate_y(0.65)),
        *_snout(body, spine @ translate(0.55, 0, 0.27)),
    ]
    for front in (-1, 1):
        for side in (-1, 1):
            hip = spine @ translate(front * 0.29, side * 0.085, -0.08)
            parts += _paw(body, hip, beat + (0 if front * side > 0 else np.pi), gait, front > 0)
    wag = rotate_z(0.35 * np.sin(2 * np.pi * 2.2 * gait.time_s + gait.phase))
    tail, _ = limb(spine @ translate(-0.42, 0, 0.06) @ wag @ rotate_y(2.2), 0.30, 0.06, coat)
    return stand_on_ground([*parts, tail])


def _snout(body: Body, middle: Matrices) -> list[Part]:
    coat = body.look
    dark = Material(colour=scale_colour(body.look.second, 0.6), roughness=0.7)
    parts = [
        block("sphere", (0.24, 0.20, 0.21), coat, middle),
        block("capsule", (0.105, 0.10, 0.24), coat, middle @ translate(0.13, 0, -0.035) @ rotate_y(np.pi / 2 + 0.12)),
        block("sphere", (0.05, 0.055, 0.045), RUBBER, middle @ translate(0.245, 0, -0.035)),
    ]
    for side in (-1, 1):
        ear = middle @ translate(-0.03, side * 0.085, 0.05) @ rotate_x(side * 0.35)
        parts.append(block("sphere", (0.10, 0.035, 0.18), dark, ear))
        eye = middle @ translate(0.09, side * 0.06, 0.04)
        parts.append(block("sphere", (0.03, 0.025, 0.03), RUBBER, eye))
    return parts


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
