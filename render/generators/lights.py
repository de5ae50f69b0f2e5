"""Times of day, indoors and out: skies and suns that go together, bright enough for a camera's usual exposure."""

from dataclasses import dataclass, replace

import numpy as np

from ..effects.render_data import Colour
from ..scene.environment import Sky, Sun

PANORAMAS = {
    "city": 0.40, "courtyard": 1.0, "forest": 0.55, "interior": 0.45, "studio": 1.2, "sunrise": 1.2, "sunset": 1.1,
}  # fmt: skip
"""Those that come with Blender, and the strength at which they light a scene about alike."""
SUNS = {"city": (324.0, 47.8), "forest": (324.5, 19.2), "sunrise": (324.2, 9.0), "sunset": (324.1, 9.0)}
"""Where their own sun stands, azimuth and elevation in degrees (the last two a little higher than it does): the scene's
sun stands there too, so that there are no two shadows."""


@dataclass(frozen=True, kw_only=True)
class Light:
    """What the sky and the sun are like. Pairs are ranges."""

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
    "golden": Light(
        horizon=(0.98, 0.84, 0.68), zenith=(0.46, 0.58, 0.80), sky=(0.8, 1.0), sun=(3.8, 5.0), elevation=(9.0, 28.0),
        colour=(1.0, 0.80, 0.58),
    ),
    "hazy": Light(
        horizon=(0.90, 0.91, 0.92), zenith=(0.64, 0.72, 0.82), sky=(1.0, 1.2), sun=(2.4, 3.4), softness=(4.0, 9.0)
    ),
    "overcast": Light(
        horizon=(0.88, 0.90, 0.92), zenith=(0.74, 0.78, 0.83), sky=(1.15, 1.4), sun=(0.9, 1.6), softness=(18.0, 35.0),
        elevation=(45.0, 70.0), colour=(1.0, 0.98, 0.96),
    ),
    "outdoor panorama": Light(
        skies=("city", "courtyard", "forest", "sunrise", "sunset"), sky=(0.8, 1.15), sun=(2.4, 3.8),
        elevation=(25.0, 55.0),
    ),
    "lake panorama": Light(
        skies=("forest", "sunrise", "sunset"), sky=(0.9, 1.2), sun=(2.4, 3.8), elevation=(20.0, 45.0)
    ),
    "indoor panorama": Light(
        skies=("interior", "studio", "courtyard"), sky=(0.8, 1.1), sun=(1.8, 3.0), elevation=(40.0, 70.0),
        softness=(6.0, 16.0), colour=(1.0, 0.95, 0.88),
    ),
    "hall": Light(
        horizon=(0.70, 0.70, 0.70), zenith=(0.88, 0.88, 0.88), sky=(0.9, 1.2), sun=(1.8, 3.2), elevation=(40.0, 70.0),
        softness=(5.0, 14.0), colour=(1.0, 0.95, 0.88),
    ),
    "dusk": Light(
        horizon=(0.66, 0.48, 0.46), zenith=(0.16, 0.22, 0.42), sky=(0.5, 0.8), sun=(0.2, 0.5), elevation=(12.0, 22.0),
        softness=(6.0, 14.0), colour=(1.0, 0.70, 0.50),
    ),
    "night": Light(
        horizon=(0.20, 0.24, 0.36), zenith=(0.06, 0.09, 0.18), sky=(2.2, 3.4), sun=(0.4, 0.8), elevation=(35.0, 60.0),
        softness=(1.0, 4.0), colour=(0.65, 0.75, 1.0),
    ),
}  # fmt: skip
DAY = ("clear", "clear", "golden", "hazy", "outdoor panorama")
LAKE = ("clear", "clear", "golden", "hazy", "lake panorama")
HALL = ("hall", "hall", "indoor panorama")
GREY = ("overcast", "hazy", "golden")


def light(rng: np.random.Generator, name: str, azimuth_deg: float, skies: tuple[str, ...] = ()) -> tuple[Sky, Sun]:
    """Sky and sun of that time of day; users' panoramas stand in for those that come with Blender."""
    chosen = LIGHTS[name]
    sun = Sun(
        elevation_deg=_between(rng, chosen.elevation), azimuth_deg=round(azimuth_deg, 2),
        strength=_between(rng, chosen.sun), softness_deg=_between(rng, chosen.softness), colour=chosen.colour,
    )  # fmt: skip
    strength, turned = _between(rng, chosen.sky), round(float(rng.uniform(0, 360)), 1)
    names = skies if skies and chosen.skies else chosen.skies
    if not names:
        return Sky(colour=chosen.horizon, zenith=chosen.zenith, strength=strength), sun
    hdri = names[int(rng.integers(len(names)))]
    if hdri in SUNS:
        turned = round((SUNS[hdri][0] - sun.azimuth_deg) % 360, 1)
        sun = replace(sun, elevation_deg=SUNS[hdri][1])
    return Sky(kind="hdri", hdri=hdri, strength=round(strength * PANORAMAS.get(hdri, 1.0), 3), turned_deg=turned), sun


def azimuth_deg(rng: np.random.Generator, away_deg: float) -> float:
    """Where the sun stands for a camera that looks that way: at its side or back, seldom before it."""
    return (away_deg + float(rng.choice([-1, 1])) * float(rng.uniform(45, 150))) % 360


def _between(rng: np.random.Generator, limits: tuple[float, float]) -> float:
    return round(float(rng.uniform(*limits)), 3)
