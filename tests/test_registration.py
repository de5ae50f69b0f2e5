import cv2
import numpy as np
import pytest
from effectpairs.stages.plates.registration import apply_homography, register_camera

FRAMES, HEIGHT, WIDTH = 21, 96, 160


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    coarse = np.random.default_rng(3).integers(20, 235, (60, 90, 3)).astype(np.float32)
    return cv2.resize(coarse, (360, 240), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def view(frame: int) -> np.ndarray:
    """Scene to frame: a pan with a slow turn, zoom and tilt."""
    angle, zoom = 0.002 * frame, 1 + 0.004 * frame
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    step = np.eye(3)
    step[:2, :2] = turn
    step[:2, 2] = (-40 - 4 * frame, -50 - 0.5 * frame)
    step[2, :2] = (1e-5 * frame, 0)
    return step


def filmed(scene: np.ndarray) -> np.ndarray:
    return np.stack([cv2.warpPerspective(scene, view(frame), (WIDTH, HEIGHT)) for frame in range(FRAMES)])


def test_registers_a_long_camera_move_without_drift(scene: np.ndarray) -> None:
    gt = filmed(scene)
    camera = register_camera(gt, np.zeros(gt.shape[:3], bool))
    points = np.array([[40.0, 30], [120, 30], [40, 70], [120, 70]])
    for source, target in [(0, FRAMES - 1), (3, 10), (20, 5)]:
        truth = apply_homography(view(target) @ np.linalg.inv(view(source)), points)
        found = apply_homography(camera.between(source, target), points)
        assert np.linalg.norm(truth - found, axis=1).max() < 0.6
    assert camera.error_px < 0.5
    assert camera.inlier_share > 0.9
    assert 30 < camera.motion_px < 80


def test_a_moving_subject_does_not_pull_the_camera(scene: np.ndarray) -> None:
    gt = np.repeat(scene[None, 50 : 50 + HEIGHT, 40 : 40 + WIDTH], FRAMES, axis=0).copy()
    subject = np.zeros(gt.shape[:3], bool)
    for frame in range(FRAMES):
        subject[frame, 20:60, 10 + 5 * frame : 40 + 5 * frame] = True
        gt[frame][20:60, 10 + 5 * frame : 40 + 5 * frame] = scene[100:140, 200:230]
    camera = register_camera(gt, subject)
    np.testing.assert_array_equal(camera.to_reference, np.stack([np.eye(3)] * FRAMES))
    assert camera.error_px == 0


def test_a_still_camera_with_grain_is_exactly_still(scene: np.ndarray) -> None:
    rng = np.random.default_rng(8)
    grain = rng.normal(0, 2, (9, HEIGHT, WIDTH, 3))
    gt = np.rint(scene[None, 50 : 50 + HEIGHT, 40 : 40 + WIDTH] + grain).clip(0, 255).astype(np.uint8)
    camera = register_camera(gt, np.zeros(gt.shape[:3], bool))
    np.testing.assert_array_equal(camera.between(0, 8), np.eye(3))


def test_a_picture_without_texture_counts_as_still() -> None:
    gt = np.full((7, 48, 64, 3), 120, np.uint8)
    camera = register_camera(gt, np.zeros(gt.shape[:3], bool))
    np.testing.assert_array_equal(camera.between(0, 6), np.eye(3))


def test_scaling_the_path_scales_the_maps(scene: np.ndarray) -> None:
    gt = filmed(scene)[:9]
    camera = register_camera(gt, np.zeros(gt.shape[:3], bool))
    points = np.array([[40.0, 30], [120, 70]])
    half = apply_homography(camera.scaled(0.5).between(0, 8), points / 2)
    np.testing.assert_allclose(2 * half, apply_homography(camera.between(0, 8), points), atol=1e-6)
