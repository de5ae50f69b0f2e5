"""Motion, figures and cameras: what moves, moves by the laws that its kind promises."""

from dataclasses import replace

import numpy as np
import pytest
from effectpairs.render.animation import camera, motion
from effectpairs.render.effects.light import Shadow
from effectpairs.render.procedural_models.parts import Gait, part_corners
from effectpairs.render.procedural_models.registry import body_bounds, body_extent, build_parts
from effectpairs.render.scene.objects import SHAPES, Body, Camera, Still, Travel
from effectpairs.render.scene.scene import Scene, Variant
from effectpairs.render.scene.transforms import (
    from_quaternions,
    rotate_x,
    rotate_y,
    rotate_z,
    transform_points,
    translate,
)
from hypothesis import given, settings
from hypothesis import strategies as st

KINDS = ("walk", "drive", "drift", "boat", "bounce", "fly")
FITTING = {"walk": "walker", "drive": "car", "drift": "car", "boat": "boat", "bounce": "ball", "fly": "bird"}


def scene_with(shape: str, body_motion: Travel | Still, frames: int = 21, **more: object) -> Scene:
    size = 1.0 if shape != "asset" else 2.0
    body = Body(
        name="it", shape=shape, size_m=size, motion=body_motion, asset="a.glb" if shape == "asset" else None
    )  # fmt: skip
    return Scene(
        name="test",
        seed=7,
        frames=frames,
        subject=body,
        variants=(Variant(name="a", effects=(Shadow(),)),),
        **more,
    )


@given(st.sampled_from(KINDS), st.floats(0, 20), st.floats(-90, 90), st.floats(-360, 360))
@settings(max_examples=60, deadline=None)
def test_travellers_keep_their_speed_and_their_circle(kind, speed, turn, heading):
    scene = scene_with(FITTING[kind], Travel(kind=kind, speed_mps=speed, turn_deg_s=turn, heading_deg=heading))
    foot = motion.compute_poses(scene, scene.subject).foot
    steps = np.linalg.norm(np.diff(foot[:, :2], axis=0), axis=1) * scene.fps
    half = np.radians(turn) / scene.fps / 2
    assert np.allclose(steps, speed * np.sinc(half / np.pi), atol=1e-9 + 1e-9 * speed)
    assert np.allclose(foot[0, :2], 0)
    if speed > 0.1:
        first = np.arctan2(*(foot[1, :2] - foot[0, :2])[::-1])
        assert np.isclose(np.cos(first - np.radians(heading) - half), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_poses_are_rigid(kind):
    scene = scene_with(FITTING[kind], Travel(kind=kind, speed_mps=3.0, turn_deg_s=40.0, height_m=0.3))
    parts, way = motion.pose_body(scene, scene.subject)
    for matrices in (way.matrices, *(part.matrices for part in parts)):
        turns = matrices[:, :3, :3]
        assert np.allclose(turns @ np.swapaxes(turns, 1, 2), np.eye(3), atol=1e-9)
        assert np.allclose(np.linalg.det(turns), 1)
        assert len(matrices) in (1, scene.frames)


@pytest.mark.parametrize("shape", SHAPES)
def test_figures_stand_on_the_ground_and_have_their_size(shape):
    body = scene_with(shape, Still()).subject
    low, high = body_bounds(body)
    assert abs(low[2]) < 0.02 * body.size_m
    sizes = {"walker": high[2], "dog": high[2], "duck": high[2], "lantern": high[2]}
    largest = sizes.get(shape, max(body_extent(body)) if shape not in ("car", "truck", "boat") else high[0] - low[0])
    assert 0.85 * body.size_m <= largest <= 1.25 * body.size_m
    assert abs(low[1] + high[1]) < 0.08 * body.size_m  # as wide to the left as to the right


def test_figures_scale_as_a_whole():
    small, large = (replace(scene_with("duck", Still()).subject, size_m=size) for size in (1.0, 3.0))
    assert np.allclose(3 * body_bounds(small), body_bounds(large))
    for one, other in zip(build_parts(small, Gait.at_rest()), build_parts(large, Gait.at_rest()), strict=True):
        assert np.allclose(3 * np.array(one.size), other.size)
        assert np.allclose(one.matrices[:, :3, :3], other.matrices[:, :3, :3])


@pytest.mark.parametrize(("speed", "shape"), [(1.2, "walker"), (3.2, "walker"), (1.5, "dog")])
def test_the_lowest_foot_is_always_on_the_ground(speed, shape):
    scene = scene_with(shape, Travel(kind="walk", speed_mps=speed), frames=29)
    parts, _ = motion.pose_body(scene, scene.subject)
    shoes = [part for part in parts if part.mesh == "box" and part.size[2] < 0.06] or parts
    lowest = np.min([transform_points(part.matrices, part_corners(part))[..., 2].min(axis=1) for part in shoes], axis=0)
    assert (np.abs(lowest) < 0.03).all()
    swings = np.ptp([part.matrices[:, 0, 3] for part in parts if len(part.matrices) > 1], axis=1)
    assert swings.max() > 0.15  # somebody walks


def test_who_stands_does_not_swing():
    scene = scene_with("walker", Travel(kind="walk", speed_mps=0.0))
    parts, _ = motion.pose_body(scene, scene.subject)
    for part in parts:
        assert np.allclose(part.matrices, part.matrices[:1])


def test_a_ball_rolls_without_slipping():
    scene = scene_with("ball", Travel(kind="drive", speed_mps=2.0))
    parts, way = motion.pose_body(scene, scene.subject)
    turned = np.unwrap(np.arctan2(parts[0].matrices[:, 0, 2], parts[0].matrices[:, 0, 0]))
    assert np.allclose(turned - turned[0], way.foot[:, 0] / 0.5)


def test_wheels_turn_with_the_way():
    scene = scene_with("car", Travel(kind="drive", speed_mps=1.5))
    parts, way = motion.pose_body(scene, scene.subject)
    tyre = next(part for part in parts if part.mesh == "cylinder" and len(part.matrices) == scene.frames)
    angles = np.unwrap(np.arctan2(tyre.matrices[:, 0, 0], tyre.matrices[:, 2, 0]))
    assert abs(angles[-1] - angles[0]) == pytest.approx(way.foot[-1, 0] / (tyre.size[0] / 2))


def test_leaps_are_parabolas_that_land_where_they_say():
    scene = scene_with("ball", Travel(kind="bounce", speed_mps=1.0, height_m=0.5, phase=0.25), frames=37)
    way = motion.compute_poses(scene, scene.subject)
    assert way.foot[:, 2].max() == pytest.approx(0.5, abs=0.01)
    assert way.foot[:, 2].min() >= 0
    second = np.diff(way.foot[:, 2], 2) * scene.fps**2
    assert np.median(second) == pytest.approx(-9.81, abs=0.01)
    assert len(way.contacts) == 3
    leap = 2 * np.sqrt(2 * 0.5 / 9.81)
    for number, hit in enumerate(way.contacts, 1):
        moment = (number - 0.25) * leap
        assert moment <= hit.frame / scene.fps < moment + 1 / scene.fps
        assert hit.at == pytest.approx((moment * 1.0, 0, 0))
        assert hit.speed == pytest.approx(np.sqrt(2 * 9.81 * 0.5))


def test_boats_sink_in_and_birds_fly_where_they_should():
    boat = scene_with("boat", Travel(kind="boat", speed_mps=1.0, height_m=0.02))
    high = body_extent(boat.subject)[2]
    middle = motion.compute_poses(boat, boat.subject).matrices[:, 2, 3]
    assert np.allclose(middle, -motion.SUBMERGED_SHARE["boat"] * high, atol=0.03)
    bird = scene_with("bird", Travel(kind="fly", speed_mps=1.0, height_m=2.0))
    assert np.allclose(motion.compute_poses(bird, bird.subject).foot[:, 2], 2.0, atol=0.1)


def test_the_track_tells_speed_heading_and_extent():
    scene = scene_with("car", Travel(kind="drive", speed_mps=3.0, heading_deg=90.0))
    track = motion.compute_track(scene)
    assert np.allclose(track.velocity, [0, 3, 0])
    assert np.allclose(track.heading, np.pi / 2, atol=1e-6)
    assert track.extent == pytest.approx(body_extent(scene.subject))
    assert len(track) == scene.frames


def test_a_still_camera_needs_one_matrix_and_looks_where_it_should():
    scene = scene_with("ball", Still(), camera=Camera(at=(3.0, -4.0, 2.0), look_at=(0.5, 1.0, 0.2)))
    matrices = camera.camera_matrices(scene, np.zeros((scene.frames, 3)))
    assert len(matrices) == 1
    seen = camera.project_points(np.array([[[0.5, 1, 0.2]]]), matrices, 35.0, (100, 200))[0, 0]
    assert seen[:2] == pytest.approx((100, 50))
    above = camera.project_points(np.array([[[0.5, 1, 0.4]]]), matrices, 35.0, (100, 200))[0, 0]
    assert above[1] < 50


def test_a_pan_turns_evenly_and_passes_its_aim_in_the_middle():
    scene = scene_with(
        "ball", Still(), camera=Camera(kind="pan", amount=20.0, at=(0.0, -5.0, 1.0), look_at=(0.0, 0.0, 1.0))
    )
    matrices = camera.camera_matrices(scene, np.zeros((scene.frames, 3)))
    yaw = np.degrees(np.unwrap(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0])))
    assert np.allclose(np.diff(yaw), 20 / scene.fps)
    assert yaw[scene.frames // 2] == pytest.approx(0, abs=1e-9)


def test_a_hand_sways_smoothly_and_by_the_seed():
    scene = scene_with("ball", Still(), frames=85, camera=Camera(kind="handheld"))
    still = np.zeros((85, 3))
    first, same = camera.camera_matrices(scene, still), camera.camera_matrices(scene, still)
    other = camera.camera_matrices(replace(scene, seed=8), still)
    assert np.array_equal(first, same)
    assert not np.allclose(first, other)
    moves = np.linalg.norm(np.diff(first[:, :3, 3], axis=0), axis=1)
    assert 0 < moves.max() < 0.02
    assert np.linalg.norm(first[:, :3, 3] - np.array(scene.camera.at), axis=1).max() < 0.1


def test_a_following_camera_keeps_the_subject_in_the_middle():
    scene = scene_with(
        "car", Travel(kind="drive", speed_mps=6.0), camera=Camera(kind="follow", look_at=(0.0, 0.0, 0.0))
    )
    foot = motion.compute_poses(scene, scene.subject).foot
    matrices = camera.camera_matrices(scene, foot)
    seen = camera.project_points(foot[:, None], matrices, 35.0, (100, 200))[:, 0]
    assert np.allclose(seen[:, :2], (100, 50), atol=0.5)
    stays = camera.camera_matrices(replace(scene, camera=replace(scene.camera, amount=0.0)), foot)
    assert np.allclose(stays, stays[:1])


def test_quaternions_turn_as_matrices_do():
    half = 0.35
    assert np.allclose(from_quaternions(np.array([[np.cos(half), 0, 0, np.sin(half)]])), rotate_z(2 * half))
    assert np.allclose(from_quaternions(np.array([[np.cos(half), np.sin(half), 0, 0]])), rotate_x(2 * half))
    assert np.allclose(from_quaternions(np.array([[np.cos(half), 0, np.sin(half), 0]])), rotate_y(2 * half))
    assert np.allclose(translate(1, np.arange(3.0), 0)[:, :3, 3], [[1, 0, 0], [1, 1, 0], [1, 2, 0]])


@pytest.mark.parametrize("size", [(100, 200), (200, 100)])
def test_the_sensor_spans_the_width_of_any_picture(size):
    straight = camera.look_at_matrices(np.array([[0.0, 0.0, 0.0]]), np.array([[0.0, 1.0, 0.0]]))
    edge = np.array([[[10 * 18 / 35, 10.0, 0.0], [0.0, 10.0, 0.0]]])
    seen = camera.project_points(edge, straight, 35.0, size)[0]
    assert seen[0] == pytest.approx((size[1], size[0] / 2, 10))
    assert seen[1] == pytest.approx((size[1] / 2, size[0] / 2, 10))
