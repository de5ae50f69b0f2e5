"""Subjects: people, animals, vehicles, balls and lanterns, each in colours that suit them."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from ..effects.render_data import Colour
from ..scene.objects import Body, Material, Pattern, Shape
from .palettes import CLOTHS, COATS, LAMPLIGHT, PAINTS, TROUSERS, draw_between, scale_colour

T = TypeVar("T")
Rng = np.random.Generator
Speeds = tuple[float, float]
"""Slowest and fastest, m/s."""
CLOTH_PATTERNS: tuple[Pattern, ...] = ("plain", "plain", "plain", "stripes", "checker")
SOLID_PATTERNS: tuple[Pattern, ...] = ("plain", "plain", "plain", "metal", "checker", "stripes", "wood", "marble")
BALL_PATTERNS: dict[Pattern, str] = {"plain": "", "stripes": "striped ", "checker": "chequered "}
NATURAL: dict[Shape, tuple[Material, ...]] = {
    "rock": (
        Material(kind="noise", colour=(0.50, 0.48, 0.45), second=(0.36, 0.35, 0.33), roughness=0.95, scale_m=0.1),
        Material(kind="noise", colour=(0.60, 0.47, 0.36), second=(0.45, 0.34, 0.26), roughness=0.95, scale_m=0.1),
        Material(kind="marble", colour=(0.76, 0.74, 0.70), second=(0.42, 0.40, 0.38), roughness=0.6, scale_m=0.3),
    ),
    "crate": (
        Material(kind="wood", colour=(0.62, 0.45, 0.28), second=(0.46, 0.31, 0.18), roughness=0.7, scale_m=0.2),
        Material(kind="wood", colour=(0.40, 0.48, 0.50), second=(0.30, 0.37, 0.39), roughness=0.6, scale_m=0.2),
        Material(kind="wood", colour=(0.68, 0.60, 0.48), second=(0.56, 0.48, 0.37), roughness=0.7, scale_m=0.2),
    ),
}


def person(rng: Rng) -> tuple[Body, Speeds]:
    """Someone who walks or, one time in four, runs."""
    paint, colour = draw_paint(rng, CLOTHS)
    runs = rng.random() < 0.25
    kind = choose(rng, CLOTH_PATTERNS)
    look = Material(kind=kind, colour=colour, second=choose(rng, TROUSERS), roughness=0.85, scale_m=0.14)
    name = f"{'runner' if runs else 'walker'} in {paint}"
    body = Body(name=name, shape="walker", size_m=draw_between(rng, 1.5, 1.9), look=look)
    return body, (2.4, 3.6) if runs else (0.8, 1.6)


def dog(rng: Rng) -> tuple[Body, Speeds]:
    """A dog that trots."""
    name, colour = choose(rng, list(COATS.items()))
    look = Material(colour=colour, second=scale_colour(colour, 0.6), roughness=0.9)
    return Body(name=f"{name} dog", shape="dog", size_m=draw_between(rng, 0.45, 0.85), look=look), (0.8, 2.2)


def car(rng: Rng) -> Body:
    """A car in any paint."""
    name, colour = draw_paint(rng, tuple(PAINTS))
    look = Material(colour=colour, second=PAINTS["white"], roughness=0.22)
    return Body(name=f"{name} car", shape="car", size_m=draw_between(rng, 3.8, 4.8), look=look)


def truck(rng: Rng) -> Body:
    """A truck; its load has the second colour."""
    name, colour = draw_paint(rng, tuple(PAINTS))
    second = PAINTS[choose(rng, ("white", "silver", "beige", "dark blue", "red", "dark green"))]
    look = Material(colour=colour, second=second, roughness=0.3)
    return Body(name=f"{name} truck", shape="truck", size_m=draw_between(rng, 5.5, 8.0), look=look)


def boat(rng: Rng) -> Body:
    """A boat with a stripe."""
    name, colour = draw_paint(rng, ("white", "red", "blue", "dark blue", "green", "yellow", "black", "turquoise"))
    second = PAINTS[choose(rng, ("white", "red", "dark blue", "yellow"))]
    look = Material(colour=colour, second=second, roughness=0.25)
    return Body(name=f"{name} boat", shape="boat", size_m=draw_between(rng, 3.0, 8.0), look=look)


def duck(rng: Rng) -> Body:
    """A duck with wings of another coat."""
    coat, colour = choose(rng, list(COATS.items()))
    look = Material(colour=colour, second=COATS[choose(rng, list(COATS))], roughness=0.7)
    return Body(name=f"{coat} duck", shape="duck", size_m=draw_between(rng, 0.35, 0.5), look=look)


def bird(rng: Rng) -> Body:
    """A bird with dark tips."""
    coat, colour = choose(rng, list(COATS.items()))
    look = Material(colour=colour, second=scale_colour(colour, 0.5), roughness=0.8)
    return Body(name=f"{coat} bird", shape="bird", size_m=draw_between(rng, 0.6, 1.4), look=look)


def drone(rng: Rng) -> Body:
    """A quadcopter."""
    name, colour = draw_paint(rng, ("white", "black", "grey", "red", "orange", "yellow", "blue"))
    look = Material(colour=colour, roughness=0.3)
    return Body(name=f"{name} drone", shape="drone", size_m=draw_between(rng, 0.5, 1.0), look=look)


def lantern(rng: Rng) -> Body:
    """A lantern that shines in a colour."""
    word = choose(rng, ("warm", "warm", "golden", "golden", "white", "red", "blue", "green"))
    colour = LAMPLIGHT[word]
    shine = draw_between(rng, 2.0, 5.0, 2)
    look = Material(colour=colour, second=(0.2, 0.16, 0.12), roughness=0.4, emission=shine)
    return Body(name=f"{word} lantern", shape="lantern", size_m=draw_between(rng, 0.35, 0.7), look=look)


def ball(rng: Rng, low: float, high: float) -> Body:
    """A ball, plain or patterned, so that one sees it roll."""
    name, colour = draw_paint(rng, ("red", "orange", "yellow", "green", "blue", "pink", "turquoise", "purple", "white"))
    pattern = choose(rng, tuple(BALL_PATTERNS))
    second = PAINTS["white" if name != "white" else "blue"]
    look = Material(kind=pattern, colour=colour, second=second, roughness=0.35, scale_m=draw_between(rng, 0.1, 0.25))
    return Body(
        name=f"{BALL_PATTERNS[pattern]}{name} ball", shape="ball", size_m=draw_between(rng, low, high), look=look
    )


def solid(rng: Rng, shapes: Sequence[Shape], low: float, high: float) -> Body:
    """A solid of paint, metal, wood or stone; rocks are of stone, and crates of wood."""
    shape = choose(rng, shapes)
    if shape in NATURAL:
        return Body(name=shape, shape=shape, size_m=draw_between(rng, low, high), look=choose(rng, NATURAL[shape]))
    name, colour = draw_paint(rng, tuple(PAINTS))
    kind = choose(rng, SOLID_PATTERNS)
    roughness = draw_between(rng, 0.1, 0.6, 2)
    look = Material(kind=kind, colour=colour, second=scale_colour(colour, 0.45), roughness=roughness, scale_m=0.12)
    noun = {"torus": "ring", "monkey": "monkey head"}.get(shape, shape)
    return Body(name=f"{name} {noun}", shape=shape, size_m=draw_between(rng, low, high), look=look)


def draw_paint(rng: Rng, names: Sequence[str]) -> tuple[str, Colour]:
    """Draw a paint's name, and its colour a shade off."""
    name = choose(rng, names)
    return name, scale_colour(PAINTS[name], float(rng.uniform(0.88, 1.08)))


def choose(rng: Rng, choices: Sequence[T]) -> T:
    """Draw one of the choices, each as likely as the others."""
    return choices[int(rng.integers(len(choices)))]
