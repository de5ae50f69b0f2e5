import cv2
import numpy as np
import pytest
from effectpairs.stages.composite import over
from effectpairs.stages.plate import Plate
from effectpairs.stages.plates import survey
from effectpairs.stages.plates.blending import blend_rim, inpaint, match_brightness
from effectpairs.stages.plates.effect_region import (
    STEPS_PER_LEVEL,
    Attachment,
    attached_components,
    difference_strength,
    dilate,
)
from effectpairs.stages.plates.masked_median import masked_median, masked_spread
from effectpairs.stages.plates.registration import CameraPath
from effectpairs.stages.plates.shadows import find_persistent_shadow

FRAMES, HEIGHT, WIDTH = 11, 48, 96


def noise_texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    coarse = rng.integers(60, 200, (height // 4 + 2, width // 4 + 2, 3)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255)


@pytest.fixture(scope="module")
def walk() -> dict[str, np.ndarray]:
    """A square slides over a picture and drags a shadow; the camera pans by one pixel a frame."""
    scene = noise_texture(np.random.default_rng(5), HEIGHT, WIDTH + FRAMES)
    truth, gt, mask, shadow = [], [], [], []
    for frame in range(FRAMES):
        clean = np.rint(scene[:, frame : frame + WIDTH])
        x = 8 + 7 * frame
        subject = np.zeros((HEIGHT, WIDTH), bool)
        subject[12:24, x : x + 8] = True
        shade = np.zeros((HEIGHT, WIDTH), bool)
        shade[24:30, x : x + 10] = True
        seen = np.where(shade[..., None], np.rint(clean * 0.5), clean)
        seen[subject] = (230, 40, 40)
        truth.append(clean), gt.append(seen), mask.append(subject), shadow.append(shade)
    return {
        "truth": np.stack(truth).astype(np.uint8),
        "gt": np.stack(gt).astype(np.uint8),
        "mask": np.stack(mask).astype(np.uint8) * np.uint8(255),
        "shadow": np.stack(shadow),
    }


def test_plate_removes_subject_and_shadow_and_leaves_the_rest_alone(walk: dict[str, np.ndarray]) -> None:
    layers = Plate().decompose(walk["gt"], walk["mask"], None, None)
    touched = (layers.background != walk["gt"]).any(axis=3)
    near = np.stack([dilate((m > 0) | s, 12.0) for m, s in zip(walk["mask"], walk["shadow"], strict=True)])
    assert not (touched & ~near).any()
    removed = (walk["mask"] > 0) | walk["shadow"]
    error = layers.background[removed].astype(float) - walk["truth"][removed]
    assert np.sqrt(np.mean(error**2)) < 8
    shown = over(layers.foreground, layers.background, walk["mask"])
    assert (walk["mask"] == 255).any()
    np.testing.assert_array_equal(shown[walk["mask"] == 255], walk["gt"][walk["mask"] == 255])
    assert layers.facts["unseen_share"] == pytest.approx(0, abs=0.05)
    assert 3 < layers.facts["camera_motion_px"] < 8


def test_layers_mix_back_to_the_clip(walk: dict[str, np.ndarray]) -> None:
    layers = Plate().decompose(walk["gt"], walk["mask"], None, None)
    weight = layers.alpha[..., None] / 255
    mixed = weight * layers.foreground + (1 - weight) * layers.background
    assert np.abs(mixed - walk["gt"]).max() <= 1


def test_same_bytes_with_any_number_of_threads(walk: dict[str, np.ndarray]) -> None:
    before = cv2.getNumThreads()
    results = []
    for threads in (1, 2, 4):
        cv2.setNumThreads(threads)
        results.append(Plate().decompose(walk["gt"], walk["mask"], None, None))
    cv2.setNumThreads(before)
    for result in results[1:]:
        np.testing.assert_array_equal(results[0].background, result.background)
        np.testing.assert_array_equal(results[0].foreground, result.foreground)
        np.testing.assert_array_equal(results[0].alpha, result.alpha)


def test_other_subjects_stay_in_the_background(walk: dict[str, np.ndarray]) -> None:
    gt, others = walk["gt"].copy(), np.zeros(walk["mask"].shape, bool)
    others[:, 26:34, 40:48] = True
    gt[others] = (10, 250, 10)
    layers = Plate().decompose(gt, walk["mask"], others, None)
    np.testing.assert_array_equal(layers.background[others], gt[others])


def test_a_subject_that_never_moves_is_all_unseen(walk: dict[str, np.ndarray]) -> None:
    gt = np.repeat(walk["gt"][:1], 6, axis=0)
    mask = np.repeat(walk["mask"][:1], 6, axis=0)
    layers = Plate().decompose(gt, mask, None, None)
    assert layers.facts["unseen_share"] > 0.9
    assert layers.facts["registration_error_px"] == 0
    assert any("No frame ever saw" in note for note in layers.notes)


@pytest.mark.parametrize("frames", [1, 2])
def test_very_short_clips_work(walk: dict[str, np.ndarray], frames: int) -> None:
    layers = Plate().decompose(walk["gt"][:frames], walk["mask"][:frames], None, None)
    assert layers.background.shape == walk["gt"][:frames].shape


def test_frames_without_the_subject_are_left_alone(walk: dict[str, np.ndarray]) -> None:
    mask, gt = walk["mask"].copy(), walk["gt"].copy()
    mask[3], gt[3] = 0, walk["truth"][3]
    layers = Plate().decompose(gt, mask, None, None)
    np.testing.assert_array_equal(layers.background[3], gt[3])
    assert not layers.alpha[3].any()


@pytest.mark.parametrize(("value", "word"), [(0, "empty"), (255, "whole picture")])
def test_useless_masks_are_refused(walk: dict[str, np.ndarray], value: int, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Plate().decompose(walk["gt"], np.full_like(walk["mask"], value), None, None)


def test_settings_check_their_ranges() -> None:
    with pytest.raises(ValueError, match="sources=2"):
        Plate(sources=2)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 12, 16])
def test_masked_median_against_numpy(count: int) -> None:
    rng = np.random.default_rng(count)
    samples = rng.integers(0, 256, (count, 7, 9, 3), dtype=np.uint8)
    valid = rng.random((count, 7, 9)) < 0.7
    valid[0, 0] = True
    median, seen = masked_median(samples, valid)
    spread = masked_spread(samples, valid, median)
    for row, column in np.ndindex(7, 9):
        chosen = samples[valid[:, row, column], row, column].astype(float)
        assert seen[row, column] == len(chosen)
        expected = np.floor(np.median(chosen, axis=0) + 0.5) if len(chosen) else np.zeros(3)
        np.testing.assert_array_equal(median[row, column], expected)
        away = np.sort(np.abs(chosen - expected), axis=0)
        expected = away[(len(chosen) + 1) // 2 - 1] if len(chosen) >= 3 else np.zeros(3)
        np.testing.assert_array_equal(spread[row, column], expected)


def test_only_what_touches_the_subject_is_attached() -> None:
    subject = np.zeros((5, 40, 60), bool)
    subject[:, 10:25, 10:20] = True
    difference = np.zeros(subject.shape, np.uint8)
    difference[:, 25:30, 10:30] = 200
    difference[:, 10:20, 27:33] = 200  # 7 px away
    found = attached_components(difference, subject, np.zeros_like(subject), Attachment(contact_px=6.0))
    assert found[:, 25:30, 10:20].all()
    assert not found[:, 10:20, 27:33].any()


def test_fill_and_level_keep_what_is_known() -> None:
    rng = np.random.default_rng(1)
    plate = noise_texture(rng, 48, 64).astype(np.uint8)
    known = np.ones((48, 64), bool)
    known[20:30, 20:40] = False
    filled = inpaint(plate, known)
    np.testing.assert_array_equal(filled[known], plate[known])
    flat = inpaint(np.full_like(plate, 90) * known[..., None], known)
    np.testing.assert_array_equal(flat, np.full_like(plate, 90))
    np.testing.assert_array_equal(match_brightness(plate, plate, known), plate)
    brighter = np.full_like(plate, 100)
    np.testing.assert_allclose(match_brightness(brighter, brighter + 6, known), 106, atol=1)


def test_the_rim_is_blended_as_a_direct_solution_of_poissons_equation_says() -> None:
    plate = noise_texture(np.random.default_rng(3), 40, 56).astype(np.uint8) // 2 + 60
    tint = np.linspace(-5, 5, 56)[None, :, None] * np.ones((40, 1, 3))
    frame = np.rint(plate + tint).astype(np.uint8)
    region, usable = np.zeros((40, 56), bool), np.ones((40, 56), bool)
    region[8:30, 12:44] = True
    frame[6:8, 20:26] = 250  # something else that moves touches the rim
    usable[30:34, 12:20] = False
    blended = blend_rim(plate, frame, region, usable)
    np.testing.assert_array_equal(blended[~region], frame[~region])
    depth = cv2.distanceTransform(region.view(np.uint8), cv2.DIST_L2, 5)[..., None]
    expected = plate + solve_laplace(frame.astype(float) - plate, region, usable) * np.exp(-depth / 8)
    assert np.abs(blended - expected)[region].max() < 1.5
    rim = region & (depth[..., 0] < 2)
    assert np.abs(blended - (plate + tint))[rim].mean() < np.abs(tint * rim[..., None])[rim].mean() / 2


def solve_laplace(offset: np.ndarray, region: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Each unknown pixel is the mean of its neighbours in the domain: one dense linear system."""
    ring = cv2.dilate(region.view(np.uint8), np.ones((5, 5), np.uint8)) > 0
    fixed = ring & ~region & usable & (np.abs(cv2.blur(offset.astype(np.float32), (3, 3))).max(axis=2) <= 6)
    number = np.cumsum(region.ravel()).reshape(region.shape) - 1
    system, right = np.eye(region.sum()), np.zeros((region.sum(), 3))
    for row, column in np.argwhere(region):
        around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        around = [pixel for pixel in around if region[pixel] or fixed[pixel]]
        for pixel in around:
            if region[pixel]:
                system[number[row, column], number[pixel]] -= 1 / len(around)
            else:
                right[number[row, column]] += offset[pixel] / len(around)
    solution = np.zeros(offset.shape)
    solution[region] = np.linalg.solve(system, right)
    return solution


def test_shade_that_no_frame_saw_lit_is_found_in_the_gap_of_the_swept_ground() -> None:
    frames = np.full((12, 60, 120, 3), 180, np.uint8)
    plates = frames.copy()
    swept = np.zeros(frames.shape[:3], bool)
    plates[:, 25:35, 50:65] = 90  # dark in every frame, so the plate has it too
    plates[:, 5:10, 20:40] = 90  # dark ground that no shadow ever passed
    frames[:, 5:10, 20:40] = 90
    for number, frame in enumerate(frames):
        frame[25:35, 50:65] = 90
        for left in (20 + number, 66 + number):
            frame[25:35, left : min(left + 18, 50 if left < 50 else 120)] = 90
            swept[number, 25:35, left : min(left + 18, 50 if left < 50 else 120)] = True
    still = CameraPath(to_reference=np.stack([np.eye(3)] * 12), error_px=0.0, inlier_share=1.0, motion_px=0.0)
    shade = find_persistent_shadow(frames, plates, swept, np.zeros_like(swept), still)
    assert (shade[:, 26:34, 51:64] > 90).all()
    assert (shade[:, 26:34, 51:64] < 180).all()
    assert not shade[:, :20].any()
    assert not find_persistent_shadow(frames, plates, swept, np.ones_like(swept), still).any()


def test_lasting_shade_is_looked_for_unless_it_is_switched_off(walk, monkeypatch) -> None:
    everywhere = np.full(walk["mask"].shape, 254, np.uint8)
    monkeypatch.setattr(survey, "find_persistent_shadow", lambda *_: everywhere)
    looked_for = Plate().decompose(walk["gt"], walk["mask"], None, None)
    switched_off = Plate(persistent_shadow=False).decompose(walk["gt"], walk["mask"], None, None)
    assert looked_for.facts["replaced_share"] > 0.9
    assert switched_off.facts["replaced_share"] < 0.4


def test_lighter_lines_are_no_effect_and_darker_ones_are() -> None:
    plate = np.full((40, 40, 3), 100, np.uint8)
    lighter, darker, broad = plate.copy(), plate.copy(), plate.copy()
    lighter[18:21] += 60
    darker[18:21] -= 60
    broad[12:27] += 60
    usual, count = np.zeros_like(plate), np.full((40, 40), 9, np.uint8)
    assert difference_strength(lighter, plate, usual, count).max() < Attachment().peak_threshold * STEPS_PER_LEVEL
    assert difference_strength(darker, plate, usual, count)[19, 20] > 100
    assert difference_strength(broad, plate, usual, count)[19, 20] > 100
