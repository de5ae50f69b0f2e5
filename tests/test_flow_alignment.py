"""Flow after the homography, in a scene that follows no single plane."""

import cv2
import numpy as np
from effectpairs.stages.plate import Plate
from effectpairs.stages.plates import temporal_samples
from effectpairs.stages.plates.flow_alignment import align_by_flow

HEIGHT, WIDTH, FRAMES = 96, 144, 13


def texture(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (HEIGHT, WIDTH + 120, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return (128 + 45 * smooth / smooth.std()).clip(0, 255)


def sheared(scene: np.ndarray, frame: int, fastest_px: float = 2.5) -> np.ndarray:
    """Rows slide at speeds of their own, as do grounds at many depths behind a moving camera."""
    rows, columns = np.indices((HEIGHT, WIDTH), np.float32)
    speed = fastest_px * np.sin(rows * 2 * np.pi / HEIGHT)
    return cv2.remap(scene, columns + 60 + speed * (frame - FRAMES // 2), rows, cv2.INTER_CUBIC)


def test_flow_brings_a_sample_where_the_homography_left_it_aside() -> None:
    scene = texture(1)
    target, sample = (np.rint(sheared(scene, frame)).clip(0, 255).astype(np.uint8) for frame in (6, 7))
    rank, clear = np.full((HEIGHT, WIDTH), 200, np.uint8), np.ones((HEIGHT, WIDTH), bool)
    clear[40:60, 60:80] = False
    moved, moved_rank = align_by_flow(sample, rank, target, clear)
    inner = np.s_[8:-8, 8:-8]
    before, after = (np.abs(image.astype(int) - target)[inner].mean() for image in (sample, moved))
    assert after < before / 3
    assert (moved_rank[inner] == 200).mean() > 0.9
    hidden = np.abs(moved.astype(int) - target)[40:60, 60:80].mean()
    assert hidden < np.abs(sample.astype(int) - target)[40:60, 60:80].mean() / 2


def test_what_the_sample_does_not_show_is_no_sample() -> None:
    scene = np.rint(texture(2)).astype(np.uint8)
    target, sample = scene[:, :WIDTH], scene[:, 8 : WIDTH + 8]
    rank, clear = np.full((HEIGHT, WIDTH), 200, np.uint8), np.ones((HEIGHT, WIDTH), bool)
    rank[40:60, 60:80] = 0
    _, moved_rank = align_by_flow(np.ascontiguousarray(sample), rank, np.ascontiguousarray(target), clear)
    assert (moved_rank[:, :6] == 0).mean() > 0.9
    assert (moved_rank[42:58, 72:84] == 0).all()
    assert (moved_rank[70:90, 12:-12] == 200).mean() > 0.95


def test_a_second_depth_is_filled_better_with_flow(monkeypatch) -> None:
    """The camera's map follows the ground below; the wall above, where the subject is, slides by 2 pixels a frame."""
    scene = texture(4)
    frames = []
    for frame in range(FRAMES):
        picture = scene[:, 60 : 60 + WIDTH].copy()
        picture[:40] = scene[:40, 60 + 2 * frame : 60 + 2 * frame + WIDTH]
        frames.append(np.rint(picture).astype(np.uint8))
    truth = np.stack(frames)
    gt, mask = truth.copy(), np.zeros(truth.shape[:3], np.uint8)
    for frame in range(FRAMES):
        mask[frame, 10:30, 10 + 9 * frame : 22 + 9 * frame] = 255
    gt[mask > 0] = (250, 250, 40)
    psnr_db = {}
    for share in (1.0, 0.0):  # always and never: so short a clip tells depth from motion badly
        monkeypatch.setattr(temporal_samples, "MAX_INLIER_SHARE", share)
        error = Plate().decompose(gt, mask, None, None).background.astype(float) - truth
        psnr_db[share] = 20 * np.log10(255 / np.sqrt(np.mean(error[mask > 0] ** 2)))
    assert psnr_db[1.0] > psnr_db[0.0] + 2


def test_flow_is_the_same_with_any_number_of_threads() -> None:
    scene = texture(5)
    target, sample = (np.rint(sheared(scene, frame)).clip(0, 255).astype(np.uint8) for frame in (6, 7))
    rank, clear = np.full((HEIGHT, WIDTH), 200, np.uint8), np.ones((HEIGHT, WIDTH), bool)
    before, results = cv2.getNumThreads(), []
    for threads in (1, 2, 4):
        cv2.setNumThreads(threads)
        results.append(align_by_flow(sample, rank, target, clear))
    cv2.setNumThreads(before)
    for moved, moved_rank in results[1:]:
        np.testing.assert_array_equal(results[0][0], moved)
        np.testing.assert_array_equal(results[0][1], moved_rank)
