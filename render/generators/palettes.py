"""Colours, grounds, skies and suns that go together; the numbers are taste, not measurements."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..effects.render_data import Colour
from ..scene.objects import Ground, Material, Pattern, Sky, Sun
from .assets import Asset

GroundKind = Literal["dry", "wet", "puddles", "glossy", "water"]
PAINTS: dict[str, Colour] = {
    "red": (0.68, 0.06, 0.05), "dark red": (0.38, 0.04, 0.06), "orange": (0.86, 0.36, 0.06),
    "yellow": (0.90, 0.70, 0.12), "green": (0.14, 0.45, 0.18), "dark green": (0.07, 0.24, 0.15),
    "turquoise": (0.12, 0.55, 0.56), "light blue": (0.42, 0.63, 0.82), "blue": (0.08, 0.24, 0.62),
    "dark blue": (0.05, 0.10, 0.28), "purple": (0.36, 0.16, 0.48), "pink": (0.86, 0.48, 0.56),
    "white": (0.88, 0.88, 0.86), "silver": (0.62, 0.64, 0.66), "grey": (0.36, 0.37, 0.38),
    "black": (0.05, 0.05, 0.06), "beige": (0.76, 0.68, 0.54), "brown": (0.33, 0.21, 0.13),
}  # fmt: skip
CLOTHS = ("red", "orange", "yellow", "green", "turquoise", "light blue", "blue", "purple", "white", "grey", "beige")
TROUSERS: tuple[Colour, ...] = (
    (0.13, 0.16, 0.25), (0.20, 0.22, 0.27), (0.08, 0.08, 0.09), (0.42, 0.36, 0.27), (0.30, 0.22, 0.16),
)  # fmt: skip
COATS: dict[str, Colour] = {
    "brown": (0.36, 0.22, 0.12), "black": (0.07, 0.06, 0.06), "white": (0.86, 0.84, 0.80),
    "golden": (0.72, 0.51, 0.27), "grey": (0.40, 0.39, 0.38),
}  # fmt: skip
LAMPLIGHT: dict[str, Colour] = {
    "warm": (1.0, 0.70, 0.35), "golden": (1.0, 0.80, 0.40), "red": (1.0, 0.42, 0.28), "blue": (0.50, 0.72, 1.0),
    "green": (0.62, 1.0, 0.62), "white": (1.0, 0.94, 0.84),
}  # fmt: skip


@dataclass(frozen=True)
class Surface:
    """Material of a ground by its usual name."""

    kind: Pattern
    colour: Colour
    second: Colour
    scale_m: float
    roughness: float = 0.9
    bumps_m: float = 0.0
    dust: Colour = (0.62, 0.56, 0.48)
    """Colour of its dust."""


SURFACES: dict[str, Surface] = {
    "asphalt": Surface("noise", (0.35, 0.35, 0.36), (0.45, 0.45, 0.45), 0.10, bumps_m=0.003),
    "concrete": Surface("noise", (0.60, 0.59, 0.57), (0.52, 0.51, 0.49), 0.5),
    "paving": Surface("tiles", (0.60, 0.57, 0.52), (0.38, 0.36, 0.33), 0.6),
    "cobbles": Surface("bricks", (0.47, 0.45, 0.44), (0.27, 0.26, 0.25), 0.24),
    "brick paving": Surface("bricks", (0.52, 0.30, 0.24), (0.42, 0.38, 0.34), 0.25),
    "boards": Surface("wood", (0.56, 0.40, 0.26), (0.42, 0.28, 0.17), 0.35, roughness=0.6),
    "grass": Surface("noise", (0.28, 0.38, 0.14), (0.18, 0.28, 0.09), 0.08, bumps_m=0.03),
    "sand": Surface("noise", (0.80, 0.69, 0.52), (0.72, 0.60, 0.43), 0.35, bumps_m=0.025, dust=(0.78, 0.68, 0.52)),
    "dirt": Surface("noise", (0.45, 0.34, 0.24), (0.35, 0.26, 0.18), 0.2, bumps_m=0.02, dust=(0.56, 0.45, 0.33)),
    "red earth": Surface("noise", (0.58, 0.31, 0.19), (0.48, 0.24, 0.14), 0.25, bumps_m=0.02, dust=(0.66, 0.40, 0.27)),
    "gravel": Surface("noise", (0.55, 0.53, 0.50), (0.34, 0.33, 0.31), 0.05, bumps_m=0.015, dust=(0.64, 0.61, 0.57)),
    "snow": Surface("noise", (0.88, 0.91, 0.95), (0.82, 0.86, 0.92), 0.6, bumps_m=0.03, roughness=0.7,
                    dust=(0.93, 0.95, 0.98)),
    "marble": Surface("marble", (0.86, 0.84, 0.80), (0.45, 0.43, 0.42), 1.3, roughness=0.1),
    "dark marble": Surface("marble", (0.10, 0.11, 0.12), (0.50, 0.50, 0.48), 1.1, roughness=0.1),
    "chequered tiles": Surface("checker", (0.84, 0.82, 0.78), (0.12, 0.12, 0.13), 1.0, roughness=0.1),
    "parquet": Surface("wood", (0.60, 0.40, 0.23), (0.45, 0.28, 0.15), 0.3, roughness=0.2),
    "white tiles": Surface("tiles", (0.80, 0.81, 0.80), (0.55, 0.55, 0.54), 0.5, roughness=0.1),
    "epoxy": Surface("plain", (0.40, 0.44, 0.47), (0.40, 0.44, 0.47), 1.0, roughness=0.1),
}  # fmt: skip
"""Kind, the two colours and the scale of each."""
LOOSE_SURFACES = ("sand", "dirt", "red earth", "gravel", "snow")
PAVED_SURFACES = ("asphalt", "concrete", "paving", "cobbles", "brick paving", "boards")
OPEN_SURFACES = (*PAVED_SURFACES, "grass", "sand", "dirt", "gravel", "snow")
POLISHED_SURFACES = ("marble", "dark marble", "chequered tiles", "parquet", "white tiles", "epoxy")
LAKES: tuple[Colour, ...] = ((0.07, 0.20, 0.22), (0.05, 0.13, 0.20), (0.10, 0.17, 0.10), (0.10, 0.26, 0.30))


def draw_ground(rng: np.random.Generator, name: str, kind: GroundKind) -> Ground:
    """Draw a ground of that surface, a shade lighter or darker than usual."""
    surface = SURFACES[name]
    shade = float(rng.uniform(0.85, 1.12))
    look = Material(
        kind=surface.kind, colour=scale_colour(surface.colour, shade), second=scale_colour(surface.second, shade),
        roughness=surface.roughness, scale_m=round(surface.scale_m * float(rng.uniform(0.8, 1.25)), 3),
    )  # fmt: skip
    return Ground(kind=kind, look=look, bumps_m=surface.bumps_m)


def draw_lake(rng: np.random.Generator) -> Ground:
    """Draw calm water, a little ruffled."""
    colour = LAKES[int(rng.integers(len(LAKES)))]
    return Ground(
        kind="water", look=Material(colour=scale_colour(colour, float(rng.uniform(0.8, 1.3))), roughness=0.05),
        bumps_m=round(float(rng.choice([0.0, 0.006, 0.012, 0.02])), 4),
    )  # fmt: skip


def draw_between(rng: np.random.Generator, low: float, high: float, digits: int = 3) -> float:
    """Draw a number between low and high, rounded to that many digits."""
    return round(float(rng.uniform(low, high)), digits)


def scale_colour(colour: Colour, share: float) -> Colour:
    """Make a colour lighter or darker; channels stay at most 1."""
    red, green, blue = (round(min(1.0, channel * share), 4) for channel in colour)
    return red, green, blue


PANORAMAS = {
    "city": 0.40, "courtyard": 1.0, "forest": 0.55, "interior": 0.45, "studio": 1.2, "sunrise": 1.2, "sunset": 1.1,
}  # fmt: skip
"""Panoramas that come with Blender, and the strength at which they light a scene about alike."""
PANORAMA_SUNS = {"city": (324.0, 47.8), "forest": (324.5, 19.2), "sunrise": (324.2, 9.0), "sunset": (324.1, 9.0)}
"""Azimuth and elevation of their own sun in degrees (of the last two a little higher than in the picture): the
scene's sun stands there too, so that there are no two shadows."""


@dataclass(frozen=True)
class Light:
    """Sky and sun at a time of day. Pairs are ranges."""

    horizon: Colour = (0.80, 0.87, 0.95)
    zenith: Colour = (0.30, 0.50, 0.86)
    sky: tuple[float, float] = (0.9, 1.15)
    skies: tuple[str, ...] = ()
    """Panoramas instead of a gradient."""
    sun: tuple[float, float] = (3.6, 5.0)
    elevation: tuple[float, float] = (30.0, 60.0)
    softness: tuple[float, float] = (0.5, 1.5)
    colour: Colour = (1.0, 0.96, 0.90)


LIGHTS: dict[str, Light] = {
    "clear": Light(),
    "golden": Light((0.98, 0.84, 0.68), (0.46, 0.58, 0.80), sky=(0.8, 1.0), sun=(3.8, 5.0), elevation=(9.0, 28.0),
                    colour=(1.0, 0.80, 0.58)),
    "hazy": Light((0.90, 0.91, 0.92), (0.64, 0.72, 0.82), sky=(1.0, 1.2), sun=(2.4, 3.4), softness=(4.0, 9.0)),
    "overcast": Light((0.88, 0.90, 0.92), (0.74, 0.78, 0.83), sky=(1.15, 1.4), sun=(0.9, 1.6), softness=(18.0, 35.0),
                      elevation=(45.0, 70.0), colour=(1.0, 0.98, 0.96)),
    "outdoor panorama": Light(skies=("city", "courtyard", "forest", "sunrise", "sunset"), sky=(0.8, 1.15),
                              sun=(2.4, 3.8), elevation=(25.0, 55.0)),
    "lake panorama": Light(skies=("forest", "sunrise", "sunset"), sky=(0.9, 1.2), sun=(2.4, 3.8),
                           elevation=(20.0, 45.0)),
    "indoor panorama": Light(skies=("interior", "studio", "courtyard"), sky=(0.8, 1.1), sun=(1.8, 3.0),
                             elevation=(40.0, 70.0), softness=(6.0, 16.0), colour=(1.0, 0.95, 0.88)),
    "hall": Light((0.70, 0.70, 0.70), (0.88, 0.88, 0.88), sky=(0.9, 1.2), sun=(1.8, 3.2), elevation=(40.0, 70.0),
                  softness=(5.0, 14.0), colour=(1.0, 0.95, 0.88)),
    "dusk": Light((0.66, 0.48, 0.46), (0.16, 0.22, 0.42), sky=(0.5, 0.8), sun=(0.2, 0.5), elevation=(12.0, 22.0),
                  softness=(6.0, 14.0), colour=(1.0, 0.70, 0.50)),
    "night": Light((0.20, 0.24, 0.36), (0.06, 0.09, 0.18), sky=(2.2, 3.4), sun=(0.4, 0.8), elevation=(35.0, 60.0),
                   softness=(1.0, 4.0), colour=(0.65, 0.75, 1.0)),
}  # fmt: skip
DAY_LIGHTS = ("clear", "clear", "golden", "hazy", "outdoor panorama")
LAKE_LIGHTS = ("clear", "clear", "golden", "hazy", "lake panorama")
HALL_LIGHTS = ("hall", "hall", "indoor panorama")
GREY_LIGHTS = ("overcast", "hazy", "golden")


def draw_light(rng: np.random.Generator, name: str, away_deg: float, skies: Sequence[Asset]) -> tuple[Sky, Sun]:
    """Draw sky and sun of that time of day; users' panoramas stand in for those that come with Blender.

    The sun stands at the side or the back of a camera that looks that way, seldom before it.
    """
    light = LIGHTS[name]
    azimuth_deg = (away_deg + float(rng.choice([-1, 1])) * float(rng.uniform(45, 150))) % 360
    sun = Sun(
        elevation_deg=draw_between(rng, *light.elevation), azimuth_deg=round(azimuth_deg, 2),
        strength=draw_between(rng, *light.sun), softness_deg=draw_between(rng, *light.softness), colour=light.colour,
    )  # fmt: skip
    strength, turned = draw_between(rng, *light.sky), draw_between(rng, 0.0, 360.0, 1)
    names = tuple(sky.uri for sky in skies) if skies and light.skies else light.skies
    if not names:
        return Sky(colour=light.horizon, zenith=light.zenith, strength=strength), sun
    hdri = names[int(rng.integers(len(names)))]
    if hdri in PANORAMA_SUNS:
        turned = round((PANORAMA_SUNS[hdri][0] - sun.azimuth_deg) % 360, 1)
        sun = replace(sun, elevation_deg=PANORAMA_SUNS[hdri][1])
    return Sky(kind="hdri", hdri=hdri, strength=round(strength * PANORAMAS.get(hdri, 1.0), 3), turned_deg=turned), sun
