"""Diversity is measured as the plot says it is."""

from dataclasses import replace

import numpy as np
import pytest
from effectpairs.docs import diversity
from effectpairs.render.compositing.layers import SharedLayers, VariantLayers
from effectpairs.render.effects.dust import Dust
from effectpairs.render.effects.light import Shadow
from effectpairs.render.scene.objects import Body, Camera, Still, Sun
from effectpairs.render.scene.scene import Scene, Variant

SCENE = Scene(
    name="test", seed=1, frames=13, size=(60, 100), subject=Body(name="cube", shape="cube", size_m=1.0),
    props=(Body(name="post", shape="post", motion=Still(at=(3.0, 0.0, 0.0))), Body(name="hill", shape="rock")),
    camera=Camera(at=(0.0, -10.0, 0.5), look_at=(0.0, 0.0, 0.5), focal_mm=36.0), sun=Sun(elevation_deg=33.0),
    variants=(Variant(name="a", effects=(Shadow(),)), Variant(name="b", effects=(Shadow(), Dust()))),
)  # fmt: skip


def test_what_a_description_tells():
    told = diversity.measure_scene(SCENE)
    side = 36 / 36 * 100 / 9.5 / 100  # the cube's front, as a share of the width
    assert told.subject_share == pytest.approx(side * side * 100 / 60, rel=1e-6)
    assert told.drift == 0
    assert told.sun_elevation_deg == 33
    assert told.effects == ("dust", "shadow")
    assert (told.bodies, told.variants, told.camera) == (2, 2, "still")
    assert diversity.count_effects([told, told]) == {"dust": 2, "shadow": 2}


def test_a_pan_drifts_as_it_turns():
    told = diversity.measure_scene(replace(SCENE, camera=replace(SCENE.camera, kind="pan", amount=16.0)))
    assert told.drift == pytest.approx(np.radians(1.0) * 36 / 36, rel=0.02)


def test_what_a_drawn_frame_tells():
    over = np.full((1, 10, 10, 3), 100, np.uint8)
    gt = over.copy()
    gt[:, :5, :4] = 80
    mask = np.zeros((1, 10, 10), np.uint8)
    mask[:, :5, :2] = 255
    shared = SharedLayers(frames=(0,), background=over, foreground=over, subject_mask=mask, over=over)
    seen = diversity.measure_frames(SCENE, 1, shared, VariantLayers(gt=gt, steps={}, subject_error=0, fireflies=0))
    assert seen.effect_area == pytest.approx(0.1)
    assert seen.darkening == pytest.approx(20)
    assert seen.variant == "b"


def test_draws_of_the_generator_stay_within_its_ranges():
    draws = diversity.draw_from_generator(2000, np.random.default_rng(1))
    assert draws["sun_elevation_deg"].min() >= 0
    assert draws["sun_elevation_deg"].max() <= 90
    assert np.median(draws["sun_elevation_deg"]) < 25  # half of the lamps are very low
    assert ((draws["subject_share"] > 0) & (draws["subject_share"] <= 1)).all()
    assert (draws["drift"] >= 0).all()
