"""What goes on legs: people and dogs. Limbs swing with the distance made; the lowest foot is always on the ground."""

import numpy as np
from jaxtyping import Float64

from ..scene.objects import Body, Look
from ..scene.transforms import Matrices, shift, turn_x, turn_y, turn_z
from .part import Gait, Part, standing
from .primitives import HAIRS, RUBBER, SKINS, block, darker, fate, limb, plain

Angles = Float64[np.ndarray, "T"]


def stride(speed: float) -> float:
    """How far two steps go: further the faster one is. Both in heights."""
    return float(np.clip(0.6 + 0.25 * speed, 0.7, 1.6))


def walker(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A person who walks, or runs from about one body height a second."""
    shirt, trousers = body.look, Look(kind="plain", colour=body.look.second, roughness=0.8)
    skin = plain(SKINS[fate(body, len(SKINS), "skin")], 0.55)
    trunk = shift(0.0, 0.0, 0.52) @ turn_y(np.array([0.03 + 0.10 * _haste(gait)]))
    parts = [
        block("sphere", (0.15, 0.20, 0.15), trousers, trunk @ shift(0, 0, 0.005)),
        block("capsule", (0.145, 0.20, 0.33), shirt, trunk @ shift(0, 0, 0.155)),
        block("capsule", (0.10, 0.11, 0.27), shirt, trunk @ shift(0, 0, 0.27) @ turn_x(np.pi / 2)),
        block("cylinder", (0.055, 0.06, 0.09), skin, trunk @ shift(0.005, 0, 0.335)),
        *_head(body, trunk @ shift(0.015, 0, 0.415), skin),
    ]
    for side in (-1, 1):
        beat = 2 * np.pi * (gait.travelled / stride(gait.speed) + gait.phase) + (np.pi if side > 0 else 0)
        parts += _leg(body, trunk @ shift(0, side * 0.052, 0), beat, gait, trousers)
        parts += _arm(body, trunk @ shift(0, side * 0.128, 0.275), beat + np.pi, gait, (shirt, skin))
    return standing([*parts, *_belongings(body, trunk)])


def _haste(gait: Gait) -> float:
    """0 for a walk, 1 for a run."""
    return float(np.clip((gait.speed - 0.8) / 1.2, 0, 1))


def _stir(gait: Gait) -> float:
    """How far limbs swing: not at all when standing."""
    return float(np.clip(gait.speed / 0.45, 0, 1))


def _leg(body: Body, hip: Matrices, beat: Angles, gait: Gait, trousers: Look) -> list[Part]:
    stir = _stir(gait)
    haste = _haste(gait)
    swing = -stir * (0.44 + 0.2 * haste) * np.sin(beat) - 0.12 * haste
    bend = stir * (0.95 + 0.5 * haste) * np.maximum(np.cos(beat - 0.3), 0) ** 1.5 + 0.08 + 0.25 * haste
    thigh, knee = limb(hip @ turn_y(swing), 0.245, 0.10, trousers)
    shin, ankle = limb(knee @ turn_y(bend), 0.235, 0.072, trousers)
    shoe = Look(colour=darker(body.look.second, 0.5), roughness=0.5)
    flat = ankle @ turn_y(-(swing + bend) * 0.75)  # the sole stays nearly level
    foot = block("box", (0.15, 0.06, 0.045), shoe, flat @ shift(0.035, 0, -0.015), 0.02)
    return [thigh, shin, foot]


def _arm(body: Body, shoulder: Matrices, beat: Angles, gait: Gait, looks: tuple[Look, Look]) -> list[Part]:
    stir, haste = _stir(gait), _haste(gait)
    shirt, skin = looks
    swing = -stir * (0.36 + 0.3 * haste) * np.sin(beat)
    upper, elbow = limb(shoulder @ turn_y(swing), 0.165, 0.062, shirt)
    lower, wrist = limb(elbow @ turn_y(-0.22 - 1.1 * haste + 0 * beat), 0.15, 0.05, skin)
    hand = block("sphere", (0.045, 0.032, 0.07), skin, wrist @ shift(0, 0, -0.02))
    return [upper, lower, hand]


def _head(body: Body, middle: Matrices, skin: Look) -> list[Part]:
    hair = plain(HAIRS[fate(body, len(HAIRS), "hair")], 0.7)
    face = block("sphere", (0.112, 0.096, 0.135), skin, middle)
    nose = block("sphere", (0.022, 0.016, 0.025), skin, middle @ shift(0.056, 0, -0.005))
    crown = block("sphere", (0.118, 0.108, 0.118), hair, middle @ shift(-0.012, 0, 0.022))
    if fate(body, 4, "hat") == 0:
        cap = Look(colour=darker(body.look.colour, 0.7), roughness=0.8)
        rim = block("cylinder", (0.2, 0.19, 0.012), cap, middle @ shift(0.005, 0, 0.035))
        top = block("cylinder", (0.12, 0.11, 0.075), cap, middle @ shift(0, 0, 0.07), 0.015)
        return [face, nose, crown, rim, top]
    if fate(body, 3, "hair length") == 0:
        fall = block("capsule", (0.07, 0.11, 0.17), hair, middle @ shift(-0.042, 0, -0.04))
        return [face, nose, crown, fall]
    return [face, nose, crown]


def _belongings(body: Body, trunk: Matrices) -> list[Part]:
    """A rucksack, a coat's skirts, or nothing."""
    kind = fate(body, 3, "belongings")
    if kind == 0:
        cloth = Look(colour=darker(body.look.second, 1.3), roughness=0.85)
        place = trunk @ shift(-0.11, 0, 0.185)
        flap = trunk @ shift(-0.165, 0, 0.13)
        return [
            block("box", (0.11, 0.19, 0.25), cloth, place, 0.03),
            block("box", (0.04, 0.14, 0.11), cloth, flap, 0.015),
        ]
    if kind == 1:
        skirt = block(
            "cylinder",
            (0.19, 0.235, 0.17),
            body.look,
            trunk @ shift(0, 0, -0.04),
            0.02,
        )
        return [skirt]
    return []


def dog(body: Body, gait: Gait) -> tuple[Part, ...]:
    """A dog that trots; its height is that of its head."""
    coat = body.look
    beat = 2 * np.pi * (gait.travelled / (0.9 * stride(gait.speed)) + gait.phase)
    spine = shift(0.0, 0.0, 0.60) @ turn_y(0.03 * _stir(gait) * np.sin(2 * beat))
    lying = turn_y(np.pi / 2)
    parts = [
        block("capsule", (0.27, 0.25, 0.86), coat, spine @ lying),
        block("sphere", (0.38, 0.29, 0.36), coat, spine @ shift(0.25, 0, -0.03)),
        block("sphere", (0.30, 0.25, 0.28), coat, spine @ shift(-0.29, 0, 0.0)),
        block("capsule", (0.16, 0.15, 0.36), coat, spine @ shift(0.42, 0, 0.14) @ turn_y(0.65)),
        *_snout(body, spine @ shift(0.55, 0, 0.27)),
    ]
    for front in (-1, 1):
        for side in (-1, 1):
            hip = spine @ shift(front * 0.29, side * 0.085, -0.08)
            parts += _paw(body, hip, beat + (0 if front * side > 0 else np.pi), gait, front > 0)
    wag = turn_z(0.35 * np.sin(2 * np.pi * 2.2 * gait.time_s + gait.phase))
    tail, _ = limb(spine @ shift(-0.42, 0, 0.06) @ wag @ turn_y(2.2), 0.30, 0.06, coat)
    return standing([*parts, tail])


def _snout(body: Body, middle: Matrices) -> list[Part]:
    coat = body.look
    dark = Look(colour=darker(body.look.second, 0.6), roughness=0.7)
    parts = [
        block("sphere", (0.24, 0.20, 0.21), coat, middle),
        block("capsule", (0.105, 0.10, 0.24), coat, middle @ shift(0.13, 0, -0.035) @ turn_y(np.pi / 2 + 0.12)),
        block("sphere", (0.05, 0.055, 0.045), RUBBER, middle @ shift(0.245, 0, -0.035)),
    ]
    for side in (-1, 1):
        ear = middle @ shift(-0.03, side * 0.085, 0.05) @ turn_x(side * 0.35)
        parts.append(block("sphere", (0.10, 0.035, 0.18), dark, ear))
        eye = middle @ shift(0.09, side * 0.06, 0.04)
        parts.append(block("sphere", (0.03, 0.025, 0.03), RUBBER, eye))
    return parts


def _paw(body: Body, hip: Matrices, beat: Angles, gait: Gait, front: bool) -> list[Part]:
    stir = _stir(gait)
    swing = -0.5 * stir * np.sin(beat) + (0.10 if front else 0.0)
    bend = 0.9 * stir * np.maximum(np.cos(beat - 0.3), 0) ** 1.5
    thick = 0.10 if front else 0.14
    upper, knee = limb(hip @ turn_y(swing + (0 if front else -0.25)), 0.25, thick, body.look)
    lower, ankle = limb(knee @ turn_y((-bend if front else 0.4 + bend) + 0 * beat), 0.24, 0.075, body.look)
    lean = swing + (-bend if front else 0.15 + bend)
    paw = block(
        "sphere",
        (0.11, 0.085, 0.07),
        body.look,
        ankle @ turn_y(-lean) @ shift(0.02, 0, -0.015),
    )
    return [upper, lower, paw]
