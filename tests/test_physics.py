"""Tossed bodies fall, hit and come to rest as bodies do, and do so again in any other process."""

import hashlib
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from effectpairs.render.animation import motion, physics
from effectpairs.render.effects.light import Shadow
from effectpairs.render.scene.objects import Body, Still, Toss, Wall
from effectpairs.render.scene.scene import Scene, Variant

pytest.importorskip("pybullet", reason="Kubric's core is not installed; run `make`")

FRAMES, FPS = 29, 16.0
SHAPES = ("sphere", "ball", "cube", "cylinder", "cone", "torus", "monkey", "rock", "crate", "duck")
DIGEST = """
import hashlib
from effectpairs.tests.test_physics import FPS, FRAMES, SHAPES, heap
from effectpairs.render.animation import physics
falls = physics.simulate_rigid_bodies(heap(), (), FRAMES, FPS)
print(hashlib.sha256(b"".join(fall.position.tobytes() + fall.rotation.tobytes() for fall in falls)).hexdigest())
"""


def body(shape: str = "cube", size: float = 0.5, **tossed: object) -> Body:
    return Body(name=f"{shape}", shape=shape, size_m=size, motion=Toss(**tossed))


def heap() -> tuple[Body, ...]:
    return tuple(
        body(shape, 0.4, at=(0.3 * number - 1.2, 0.05 * number, 1.0 + 0.3 * number), spin=(1.0, 2.0, float(number)))
        for number, shape in enumerate(SHAPES)
    )


def test_a_fall_is_a_parabola_until_it_ends():
    (fall,) = physics.simulate_rigid_bodies((body(at=(0.0, 0.0, 20.0), velocity=(1.0, 0.0, 2.0)),), (), FRAMES, FPS)
    time = np.arange(FRAMES) / FPS
    free = fall.position[:, 2] > 0.5
    assert free.sum() == FRAMES
    assert np.allclose(fall.position[:, 2], 20 + 2 * time - 9.81 * time**2 / 2, atol=0.15)
    assert np.allclose(fall.position[:, 0], time, atol=0.08)  # a little is lost to the air
    assert fall.contacts == ()


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_comes_to_rest_on_the_ground(shape):
    (fall,) = physics.simulate_rigid_bodies((body(shape, at=(0.0, 0.0, 0.7), restitution=0.1),), (), 85, 16.0)
    assert np.linalg.norm(fall.position[-1] - fall.position[-5]) < 0.05
    assert 0.05 < fall.position[-1, 2] < 0.5
    assert np.allclose(np.linalg.norm(fall.rotation, axis=1), 1, atol=0.02)
    assert np.isfinite(fall.position).all()


def test_a_hit_says_when_where_and_how_fast():
    (fall,) = physics.simulate_rigid_bodies((body("ball", at=(0.5, 0.25, 2.25), restitution=0.0),), (), FRAMES, FPS)
    assert len(fall.contacts) == 1
    hit = fall.contacts[0]
    assert hit.frame / FPS == pytest.approx(np.sqrt(2 * 2.0 / 9.81), abs=1.5 / FPS)
    assert hit.at == pytest.approx((0.5, 0.25, 0.0), abs=0.05)
    assert hit.speed == pytest.approx(np.sqrt(2 * 9.81 * 2.0), rel=0.15)


def test_still_bodies_and_walls_stand_in_the_way():
    flying = body("ball", at=(0.0, 0.0, 0.5), velocity=(6.0, 0.0, 1.0), restitution=0.8)
    crate = Body(name="crate", shape="crate", size_m=1.0, motion=Still(at=(2.0, 0.0, 0.0)))
    wall = Wall(at=(2.0, 0.0), heading_deg=180.0, width_m=4.0, height_m=4.0)
    free, stopped = (
        physics.simulate_rigid_bodies((flying,), (), FRAMES, FPS)[0],
        physics.simulate_rigid_bodies((flying, crate), (), FRAMES, FPS)[0],
    )
    walled = physics.simulate_rigid_bodies((flying,), (wall,), FRAMES, FPS)[0]
    assert free.position[:, 0].max() > 4
    assert stopped.position[:, 0].max() < 1.4
    assert 1.4 < walled.position[:, 0].max() < 2.0
    assert any(hit.at[2] > 0.1 for hit in stopped.contacts)


def test_bodies_that_collide_both_move():
    first = body("ball", at=(-1.0, 0.0, 0.25), velocity=(4.0, 0.0, 0.0))
    second = replace(body("ball", at=(0.0, 0.0, 0.25)), name="other")
    one, other = physics.simulate_rigid_bodies((first, second), (), FRAMES, FPS)
    assert other.position[-1, 0] > 0.5
    assert one.position[-1, 0] < other.position[-1, 0]


@pytest.mark.parametrize("fps", [7.0, 16.0, 23.976, 25.0, 30.0, 60.0, 240.0])
def test_any_frame_rate_has_the_same_speed(fps):
    (fall,) = physics.simulate_rigid_bodies((body(at=(0.0, 0.0, 50.0), velocity=(3.0, 0.0, 0.0)),), (), 13, fps)
    assert np.allclose(np.diff(fall.position[:, 0]) * fps, 3.0, rtol=0.06)


def test_another_process_sees_the_same_bytes():
    falls = physics.simulate_rigid_bodies(heap(), (), FRAMES, FPS)
    here = hashlib.sha256(b"".join(fall.position.tobytes() + fall.rotation.tobytes() for fall in falls)).hexdigest()
    there = subprocess.run([sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True, timeout=120)
    assert there.stdout.split() == [here]


def test_no_one_else_finds_the_stand_in_for_tensorflow():
    physics.simulate_rigid_bodies((body(),), (), 5, 16.0)
    assert "tensorflow" not in sys.modules


def test_many_worlds_one_after_another():
    for number in range(40):
        physics.simulate_rigid_bodies((body(at=(0.0, 0.0, 1.0 + number)),), (), 5, 16.0)


def test_the_subject_of_a_scene_follows_its_fall():
    scene = Scene(
        name="fall", seed=1, frames=29, subject=body("cube", at=(0.0, 0.0, 1.25)),
        variants=(Variant(name="a", effects=(Shadow(),)),),
    )  # fmt: skip
    way, track = motion.compute_poses(scene, scene.subject), motion.compute_track(scene)
    assert way.foot[0, 2] == pytest.approx(1.0, abs=0.01)
    assert way.foot[-1, 2] == pytest.approx(0.0, abs=0.02)
    assert len(track.contacts) >= 1
    assert np.isfinite(track.heading).all()
    middle = way.matrices @ np.array([0, 0, 0.25, 1])
    assert np.allclose(middle[0, :3], (0, 0, 1.25))


def test_without_kubric_the_two_lines_that_bring_it_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "kubric", None)
    with pytest.raises(ImportError, match=r"effectpairs\[render\]'.*--no-deps kubric-nightly"):
        physics.simulate_rigid_bodies((body(),), (), FRAMES, FPS)
