"""What effects are made of, drawn: every medium shows, is hidden with its effect, and leaves no trace behind."""

import numpy as np
import pytest
from effectpairs.render.blender.plan import Pass, make_plan
from effectpairs.render.blender.process import render_frames
from effectpairs.render.effects.dust import Dust
from effectpairs.render.effects.light import CastLight, Glow
from effectpairs.render.effects.registry import AnyEffect
from effectpairs.render.effects.splash import Splash
from effectpairs.render.effects.waves import Ripple, Wake
from effectpairs.render.scene.objects import Body, Camera, Ground, Material, Sky, Sun, Travel
from effectpairs.render.scene.scene import Scene, Variant
from effectpairs.render.worker import noise
from effectpairs.tests.fixtures_plans import frames_of

SHOWN: tuple[AnyEffect, ...] = (Wake(height_m=0.2, turbulence=0.8), Ripple(height_m=0.1), Splash(amount=3.0))
DRY: tuple[AnyEffect, ...] = (Dust(density=5.0), Glow(strength=2.0), CastLight(power_w=300.0))


def a_scene(kind: str, effects: tuple[AnyEffect, ...]) -> Scene:
    """A boat-like block at dusk, five frames."""
    look = Material(colour=(0.1, 0.2, 0.25))
    return Scene(
        name="media",
        seed=3,
        frames=5,
        size=(36, 64),
        subject=Body(
            name="No. 5", shape="crate", size_m=1.0, motion=Travel(kind="drive", start=(0.5, 0.0), speed_mps=3.0)
        ),
        ground=Ground(kind=kind, look=look),
        sky=Sky(kind="plain", colour=(0.4, 0.4, 0.5)),
        sun=Sun(strength=0.3),
        camera=Camera(at=(0.0, -6.0, 2.0)),
        variants=(Variant(name="a", effects=effects), Variant(name="b", effects=effects[:1])),
    )


def passes(effects: tuple[AnyEffect, ...], frames: tuple[int, ...]) -> list[Pass]:
    """The variant, less each effect in turn, less all of them by way of the plate, and the variant again."""
    like = Pass(name="all", kind="whole", variant=0, samples=4, denoise=False, frames=frames)
    plate = Pass(name="plate", kind="plate", samples=4, denoise=False, frames=frames)
    again = Pass(name="again", kind="whole", variant=0, samples=4, denoise=False, frames=frames)
    one = Pass(name="one", kind="whole", variant=1, samples=4, denoise=False, frames=frames)
    offs = [
        Pass(name=effect.kind, kind="whole", variant=0, off=effect.kind, samples=4, denoise=False, frames=frames)
        for effect in effects
    ]
    return [like, *offs, plate, one, again]


@pytest.mark.blender
@pytest.mark.parametrize(("kind", "effects"), [("water", SHOWN), ("dry", DRY)])
def test_each_medium_shows_and_goes_with_its_effect(kind, effects, tmp_path):
    scene = a_scene(kind, effects)
    render_frames(make_plan(scene, tmp_path, passes(effects, (1, 4))), tmp_path)
    found = frames_of(tmp_path)
    for frame in ("0001.exr", "0004.exr"):
        everything = found[f"all/{frame}"]
        assert np.isfinite(everything).all()
        for effect in effects:
            change = np.abs(everything - found[f"{effect.kind}/{frame}"])[..., :3].max(axis=2)
            assert (change > 0.004).mean() > 0.005, f"{effect.kind} does not show in {frame}"
        assert np.array_equal(everything, found[f"again/{frame}"]), "what was drawn in between left its mark"


@pytest.mark.blender
def test_the_order_of_frames_changes_no_pixel(tmp_path):
    scene = a_scene("water", SHOWN)
    for name, frames in (("forth", (0, 2, 4)), ("back", (4, 2, 0))):
        folder = tmp_path / name
        folder.mkdir()
        render_frames(make_plan(scene, folder, passes(SHOWN, frames)[:2]), folder)
    forth, back = frames_of(tmp_path / "forth"), frames_of(tmp_path / "back")
    assert forth.keys() == back.keys()
    assert all(np.array_equal(forth[name], back[name]) for name in forth)


@pytest.mark.blender
def test_calm_water_is_the_same_with_and_without_its_sheet(tmp_path):
    """A wake without a moving subject: flat water on the grid of waves, and no seam where the grid ends."""
    scene = a_scene("water", (Wake(turbulence=0.0), Ripple()))
    still = Body(name="crate", shape="crate", size_m=1.0, motion=Travel(kind="drive", start=(0.5, 0.0), speed_mps=0.0))
    drawn = passes(scene.variants[0].effects, (0,))
    far = Camera(at=(0.0, -30.0, 12.0), look_at=(0.0, 0.0, 0.0))
    values = Scene(**{**vars(scene), "subject": still, "camera": far})
    none = Pass(name="none", kind="whole", variant=1, off="wake", samples=4, denoise=False, frames=(0,))
    render_frames(make_plan(values, tmp_path, [*drawn, none]), tmp_path)
    found = frames_of(tmp_path)
    assert np.abs(found["one/0000.exr"] - found["none/0000.exr"]).max() < 0.01


def test_noise_repeats_without_a_seam():
    wisps = noise.periodic_noise(5, 8.0)
    assert wisps.min() >= 0
    assert wisps.max() <= 1
    assert abs(float(wisps.mean()) - 0.5) < 0.05
    start = np.array([3.25, -7.5, 61.75])
    block = noise.noise_block(wisps, start, (9, 5, 7))
    assert block.shape == (9, 5, 7)
    assert np.allclose(block, noise.noise_block(wisps, start + noise.SIDE, (9, 5, 7)), atol=1e-6)
    assert np.array_equal(noise.noise_block(wisps, np.zeros(3), (4, 4, 4)), wisps[:4, :4, :4])
