"""A long shadow: followed to its end along the darkening near the subject, in a clip whose truth is known."""

import cv2
import numpy as np
import pytest
from effectpairs.stages.plate import Plate
from effectpairs.stages.plates.effect_region import Attachment, attached_components
from effectpairs.stages.plates.shadows import follow_shadows

FRAMES, HEIGHT, WIDTH = 21, 96, 200


@pytest.fixture(scope="module")
def evening() -> dict[str, np.ndarray]:
    """A small figure in low sun: its shadow is three times as long as itself."""
    rng = np.random.default_rng(8)
    noise = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), 1.5)
    clean = 150 + 20 * noise / noise.std()
    pictures, bodies, shadows = [], [], []
    for frame in range(FRAMES):
        x = 8 + 5 * frame
        body, shadow = np.zeros((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), np.uint8)
        body[40:64, x : x + 10] = True
        cv2.line(shadow, (x + 4, 66), (x + 72, 78), 1, 6)
        shade = cv2.GaussianBlur(shadow.astype(np.float32), (0, 0), 0.8)
        picture = clean * (1 - 0.4 * shade[..., None])
        picture[body] = (50, 60, 180)
        pictures.append(picture + rng.normal(0, 1, picture.shape)), bodies.append(body), shadows.append(shadow > 0)
    gt = np.rint(np.stack(pictures)).clip(0, 255).astype(np.uint8)
    return {"gt": gt, "truth": clean, "body": np.stack(bodies), "shadow": np.stack(shadows)}


def test_a_long_shadow_is_removed_to_its_end_and_is_not_cut_at_one_length(evening) -> None:
    layers = Plate().decompose(evening["gt"], evening["body"] * np.uint8(255), None, None)
    shadow = evening["shadow"] & ~evening["body"]
    far = shadow & (np.arange(WIDTH)[None, None] > (8 + 5 * np.arange(FRAMES))[:, None, None] + 45)
    assert far.any()
    replaced = (layers.background != evening["gt"]).any(axis=3)
    inner = np.s_[2:-2]
    assert replaced[inner][far[inner]].mean() > 0.8
    before, after = (
        np.abs(clip[inner] - evening["truth"])[far[inner]].mean() for clip in (evening["gt"], layers.background)
    )
    assert after < before / 4


def test_with_no_reach_for_shadows_it_ends_at_one_length(evening) -> None:
    short = Plate(attachment=Attachment(max_shadow_distance=1.0))
    layers = short.decompose(evening["gt"], evening["body"] * np.uint8(255), None, None)
    replaced = (layers.background != evening["gt"]).any(axis=3)
    far = evening["shadow"] & (np.arange(WIDTH)[None, None] > (8 + 5 * np.arange(FRAMES))[:, None, None] + 50)
    assert replaced[far].mean() < 0.1


def scene_of_two_darks() -> tuple[np.ndarray, ...]:
    frames, plates = (np.full((3, 60, 160, 3), 180, np.uint8) for _ in range(2))
    subject, effects = np.zeros((3, 60, 160), bool), np.zeros((3, 60, 160), bool)
    subject[:, 20:40, 10:20] = True
    effects[:, 36:42, 20:38] = True
    frames[:, 36:42, 20:90] = 120
    return frames, plates, subject, effects


def test_what_goes_on_as_dark_is_followed_and_what_is_darker_or_larger_is_not() -> None:
    frames, plates, subject, effects = scene_of_two_darks()
    none, rule = np.zeros_like(subject), Attachment()
    followed = follow_shadows(frames, plates, effects, none, subject, rule)
    assert followed[:, 37:41, 42:86].all()
    assert not followed[:, :34].any()
    deeper = frames.copy()
    deeper[:, 36:42, 40:90] = 40
    assert not follow_shadows(deeper, plates, effects, none, subject, rule)[:, :, 45:].any()
    cloud = frames.copy()
    cloud[:, 10:, 38:] = 120
    assert not follow_shadows(cloud, plates, effects, none, subject, rule).any()
    blocked = none.copy()
    blocked[:, :, 60:] = True
    assert not follow_shadows(frames, plates, effects, blocked, subject, rule)[:, :, 60:].any()


def test_a_patch_mostly_out_of_reach_counts_if_it_is_a_shadow() -> None:
    subject = scene_of_two_darks()[2]
    difference, depth = np.zeros(subject.shape, np.uint8), np.zeros(subject.shape, np.uint8)
    difference[:, 36:42, 20:90], depth[:, 36:42, 20:90] = 200, 85
    none = np.zeros_like(subject)
    assert not attached_components(difference, subject, none, Attachment()).any()
    assert attached_components(difference, subject, none, Attachment(), depth)[:, 37:41, 21:38].all()
    depth[:, :, 45:] = 0  # lighter out there: a crest with a trough
    assert not attached_components(difference, subject, none, Attachment(), depth).any()
