"""Draw the sheets of docs/effects.md: `python docs/draw_effects.py [NAME...]`, with the Blender environment in place.

Each row is one frame of one variant: gt, over, their difference three times, and the effect's own truth mask. The four
variants of one scene share the one `over` on top of theirs.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from effectpairs.flows.scenes import single_scene as render_one
from effectpairs.flows.scenes.source import SceneSource
from effectpairs.render.compositing.contact_sheet import contact_sheet, difference
from effectpairs.render.effects.dust import Dust
from effectpairs.render.effects.light import CastLight, Glow, Reflection, Shadow
from effectpairs.render.effects.registry import AnyEffect
from effectpairs.render.effects.smoke import Smoke
from effectpairs.render.effects.splash import Splash, Spray
from effectpairs.render.effects.waves import Ripple, Wake
from effectpairs.render.scene.objects import Body, Camera, Ground, Material, Sky, Sun, Travel
from effectpairs.render.scene.scene import RenderSettings, Scene, Variant

FOLDER = Path(__file__).parent / "effects"
SAND = Material(kind="noise", colour=(0.66, 0.56, 0.42), second=(0.54, 0.45, 0.34), roughness=0.95, scale_m=0.5)
PAVING = Material(kind="tiles", colour=(0.58, 0.55, 0.50), second=(0.36, 0.34, 0.31), roughness=0.8, scale_m=0.6)
ASPHALT = Material(kind="noise", colour=(0.30, 0.30, 0.31), second=(0.38, 0.38, 0.38), roughness=0.9, scale_m=0.1)
BOARDS = Material(kind="wood", colour=(0.50, 0.36, 0.24), second=(0.38, 0.26, 0.16), roughness=0.4, scale_m=0.4)
LAKE = Ground(kind="water", look=Material(colour=(0.10, 0.22, 0.26)), bumps_m=0.01)
DUSK = Sky(kind="gradient", colour=(0.42, 0.36, 0.40), zenith=(0.12, 0.15, 0.28), strength=0.6)
AFTERGLOW = Sun(elevation_deg=8.0, azimuth_deg=150.0, strength=0.2, softness_deg=10.0, colour=(1.0, 0.8, 0.65))
LAMPLIGHT = (1.0, 0.72, 0.36)

Shot = tuple[Scene, int]
"""A scene, and the frame of it that is shown."""


def base(subject: Body, ground: Ground, camera: Camera, *variants: tuple[AnyEffect, ...]) -> Scene:
    """A scene in the sun, as large as the paper's smallest training size allows."""
    return Scene(
        name="sheet",
        seed=11,
        size=(192, 336),
        subject=subject,
        ground=ground,
        camera=camera,
        sun=Sun(elevation_deg=34.0, azimuth_deg=215.0),
        variants=tuple(Variant(name=f"v{number}", effects=effects) for number, effects in enumerate(variants)),
        rendering=RenderSettings(samples=16, mask_samples=16),
    )


def car(*, speed: float = 6.0, start: float = -2.6) -> Body:
    """A red car that drives to the right."""
    way = Travel(kind="drive", start=(start, 0.0), heading_deg=6.0, speed_mps=speed)
    return Body(
        name="red car", shape="car", size_m=4.0, look=Material(colour=(0.62, 0.07, 0.06), roughness=0.3), motion=way
    )


def walker() -> Body:
    """A walker in turquoise who walks to the right."""
    way = Travel(kind="walk", start=(-1.2, 0.0), heading_deg=8.0, speed_mps=1.4)
    look = Material(colour=(0.12, 0.50, 0.52), second=(0.13, 0.16, 0.25), roughness=0.8)
    return Body(name="walker", shape="walker", size_m=1.75, look=look, motion=way)


def ball(*, size: float = 0.5, look: Material = Material(colour=(0.78, 0.16, 0.06), roughness=0.3)) -> Body:
    """A ball that bounces to the right."""
    way = Travel(kind="bounce", start=(-1.0, 0.0), heading_deg=4.0, speed_mps=1.4, height_m=0.75)
    return Body(name="orange ball", shape="ball", size_m=size, look=look, motion=way)


def boat(*, speed: float = 2.6) -> Body:
    """A motor boat that goes to the right."""
    way = Travel(kind="boat", start=(-0.6, -0.4), heading_deg=14.0, speed_mps=speed, height_m=0.02)
    look = Material(colour=(0.85, 0.85, 0.8), second=(0.42, 0.26, 0.16), roughness=0.4)
    return Body(name="white boat", shape="boat", size_m=2.4, look=look, motion=way)


def lantern() -> Body:
    """A paper lantern that drifts through the air."""
    way = Travel(kind="fly", start=(-0.8, 0.0), heading_deg=0.0, speed_mps=0.9, height_m=0.7)
    look = Material(colour=LAMPLIGHT, second=(0.2, 0.16, 0.12), roughness=0.4, emission=2.2)
    return Body(name="warm lantern", shape="lantern", size_m=0.55, look=look, motion=way)


def shadow() -> list[Shot]:
    """Under a clear and under a veiled sun."""
    camera = Camera(at=(0.4, -5.2, 1.9), look_at=(0.2, 0.0, 0.75))
    return [(base(walker(), Ground(look=PAVING), camera, (Shadow(),), (Shadow(softness_deg=14.0),)), 12)]


def reflection() -> list[Shot]:
    """In puddles and on a polished floor."""
    camera = Camera(at=(0.4, -5.2, 1.3), look_at=(0.2, 0.0, 0.55))
    grounds = Ground(kind="puddles", look=ASPHALT), Ground(kind="glossy", look=BOARDS)
    scenes = (base(walker(), ground, camera, (Shadow(), Reflection())) for ground in grounds)
    return [(replace(scene, seed=2), 12) for scene in scenes]  # with this seed a puddle lies where he walks


def dust() -> list[Shot]:
    """Thin and dense behind a car, a burst under a ball."""
    camera = Camera(at=(-0.6, -11.5, 2.4), look_at=(-0.6, 0.0, 0.8))
    thin, dense = (
        Dust(density=0.7, colour=(0.86, 0.80, 0.70)),
        Dust(density=4.0, spread_m=0.8, colour=(0.70, 0.45, 0.30)),
    )
    ground = Ground(look=SAND, bumps_m=0.02)
    burst = Dust(spread_m=0.3, density=5.0, lasts_s=1.2, colour=(0.70, 0.60, 0.46))
    near = Camera(at=(0.0, -4.2, 1.1), look_at=(0.0, 0.0, 0.4))
    return [
        (base(car(), ground, camera, (Shadow(), thin), (Shadow(), dense)), 10),
        (base(ball(), ground, near, (Shadow(), burst)), 16),
    ]


def smoke() -> list[Shot]:
    """Black and thick, white and thin, red."""
    way = Travel(kind="drive", start=(-1.6, 0.0), heading_deg=4.0, speed_mps=2.6)
    look = Material(colour=(0.20, 0.32, 0.46), roughness=0.4)
    truck = Body(name="blue truck", shape="truck", size_m=5.0, look=look, motion=way)
    camera = Camera(at=(-1.0, -12.0, 5.5), look_at=(-1.0, 0.0, 1.7))
    stack = (0.235, 0.36, 1.0)
    black = Smoke(density=7.0, spread_m=0.8, leaves=stack)
    white = Smoke(colour=(0.9, 0.9, 0.9), density=1.2, spread_m=0.8, leaves=stack)
    red = Smoke(colour=(0.72, 0.1, 0.08), density=4.0, spread_m=1.1, rise_mps=1.2, leaves=stack)
    return [(base(truck, Ground(look=ASPHALT), camera, *((Shadow(), each) for each in (black, white, red))), 12)]


def wake() -> list[Shot]:
    """Mild and turbulent."""
    camera = Camera(at=(-1.0, -6.6, 2.7), look_at=(-0.6, 0.0, 0.1))
    mild, wild = Wake(height_m=0.05, turbulence=0.1), Wake(height_m=0.08, turbulence=0.85)
    return [(base(boat(), LAKE, camera, (Reflection(), mild), (Reflection(), wild)), 12)]


def ripple() -> list[Shot]:
    """Round a duck, and where a ball has hit."""
    way = Travel(kind="boat", start=(-0.2, 0.0), heading_deg=12.0, speed_mps=0.35, height_m=0.02)
    look = Material(colour=(0.72, 0.51, 0.27), second=(0.3, 0.2, 0.12), roughness=0.7)
    duck = Body(name="golden duck", shape="duck", size_m=0.5, look=look, motion=way)
    near = Camera(at=(0.0, -3.2, 1.5), look_at=(0.0, 0.0, 0.05))
    rings = Ripple(height_m=0.03, length_m=0.35)
    ahead = Camera(at=(0.0, -4.4, 2.0), look_at=(0.0, 0.0, 0.25))
    return [
        (base(duck, LAKE, near, (Reflection(), Ripple(height_m=0.015))), 12),
        (base(ball(), LAKE, ahead, (Reflection(), rings)), 20),
    ]


def splash() -> list[Shot]:
    """A crown on a lake, mud, and a bow that cuts the water."""
    camera = Camera(at=(0.0, -4.4, 1.2), look_at=(0.0, 0.0, 0.4))
    water, mud = Splash(speed_mps=3.0), Splash(speed_mps=2.6, clear=0.0, colour=(0.32, 0.24, 0.16))
    bow = Camera(at=(0.2, -5.0, 1.5), look_at=(0.2, 0.0, 0.25))
    return [
        (base(ball(), LAKE, camera, (Reflection(), water)), 15),
        (base(ball(), Ground(kind="puddles", look=SAND), camera, (Shadow(), Reflection(), mud)), 15),
        (base(boat(speed=4.0), LAKE, bow, (Reflection(), Splash(speed_mps=3.0))), 7),
    ]


def spray() -> list[Shot]:
    """At the wheels of a car on a wet road, thin and dense."""
    camera = Camera(at=(-0.8, -10.0, 1.7), look_at=(-0.8, 0.0, 0.7))
    ground = Ground(kind="wet", look=ASPHALT)
    both = (Shadow(), Reflection())
    return [(base(car(speed=10.0, start=-6.0), ground, camera, (*both, Spray()), (*both, Spray(amount=3.0))), 9)]


def glow() -> list[Shot]:
    """Round a lantern at dusk, warm and cold."""
    camera = Camera(at=(0.0, -4.4, 1.1), look_at=(0.0, 0.0, 0.75))
    scene = base(lantern(), Ground(look=PAVING), camera, (Glow(colour=LAMPLIGHT, radius_m=0.7),))
    cold = Body(**{**vars(lantern()), "look": replace(lantern().look, colour=(0.45, 0.7, 1.0))})
    blue = replace(scene, subject=cold, variants=(Variant(name="v0", effects=(Glow(colour=(0.45, 0.7, 1.0)),)),))
    return [(replace(each, sky=DUSK, sun=AFTERGLOW), 12) for each in (scene, blue)]


def light() -> list[Shot]:
    """On dry paving and on a wet road at dusk."""
    camera = Camera(at=(0.0, -4.4, 1.4), look_at=(0.0, 0.0, 0.6))
    lit = CastLight(colour=LAMPLIGHT, power_w=40.0)
    dry, wet = Ground(look=PAVING), Ground(kind="wet", look=ASPHALT)
    scenes = base(lantern(), dry, camera, (lit,)), base(lantern(), wet, camera, (Reflection(), lit))
    return [(replace(scene, sky=DUSK, sun=AFTERGLOW), 12) for scene in scenes]


def variants() -> list[Shot]:
    """One scene, one `over`, four `gt`."""
    camera = Camera(at=(-0.6, -11.5, 2.4), look_at=(-0.6, 0.0, 0.8))
    kinds: tuple[AnyEffect, ...] = (
        Shadow(softness_deg=12.0),
        Dust(density=0.7, colour=(0.86, 0.80, 0.70)),
        Dust(density=3.5, spread_m=0.9, colour=(0.62, 0.25, 0.16)),
        Smoke(density=6.0, spread_m=0.9, rise_mps=1.4, leaves=(0.3, 0.0, 0.7)),
    )
    effects = tuple((each,) if each.kind == "shadow" else (Shadow(), each) for each in kinds)
    return [(base(car(), Ground(look=SAND, bumps_m=0.02), camera, *effects), 10)]


SHEETS = {
    each.__name__: each
    for each in (shadow, reflection, dust, smoke, wake, ripple, splash, spray, glow, light, variants)
}


def drawn(shots: list[Shot], kind: str) -> np.ndarray:
    """The sheet of some frames: a row for each variant, with the mask of that kind, or of its last effect."""
    rows = []
    for scene, frame in shots:
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch)
            settings = SceneSource(name="scene", scenes=str(out / "scene.json"))
            made = render_one.render_preview(scene, frame, out, settings, lambda what, done, total: None)
            for name, why in made.refused.items():
                print(f"{kind} {name}: {why}", file=sys.stderr)
            over = read(out / "over.png")
            for variant in scene.variants:
                shown = kind if kind != "variants" else variant.effects[-1].kind
                gt = read(out / variant.name / "gt.png")
                row = {f"gt ({told(variant, shown)})": gt, "over": over, "difference x3": difference(gt, over)}
                rows.append(row | {f"truth: {shown}": read(out / variant.name / f"truth_{shown}.png")})
    return contact_sheet(rows)


def told(variant: Variant, kind: str) -> str:
    """The facts of the effect, in a few words."""
    facts = next(effect for effect in variant.effects if effect.kind == kind).facts()
    words = [value for value in facts.values() if isinstance(value, str)]
    return " ".join([*words, kind])


def read(path: Path) -> np.ndarray:
    """A picture, RGB."""
    return cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1]


def main() -> None:
    """Draw the sheets that are named, or all."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("names", nargs="*", choices=[*SHEETS, []], metavar="NAME")
    FOLDER.mkdir(exist_ok=True)
    for name in asked.parse_args().names or SHEETS:
        picture = drawn(SHEETS[name](), name)
        cv2.imwrite(str(FOLDER / f"{name}.jpg"), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
        print(f"wrote {FOLDER / name}.jpg")


if __name__ == "__main__":
    main()
