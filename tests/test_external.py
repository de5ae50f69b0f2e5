import numpy as np
import pytest
from effectpairs.stages.external import External

SHAPE = (5, 64, 80)


@pytest.fixture
def pair() -> dict[str, np.ndarray]:
    """A red square with a shadow over a wide-ranging background."""
    rng = np.random.default_rng(6)
    background = np.repeat(rng.integers(0, 256, (1, *SHAPE[1:], 3)), SHAPE[0], axis=0).astype(np.uint8)
    gt, mask = background.copy(), np.zeros(SHAPE, np.uint8)
    mask[:, 20:30, 30:40] = 255
    gt[:, 30:36, 30:44] //= 2
    gt[mask > 0] = (200, 20, 20)
    return {"gt": gt, "background": background, "mask": mask}


def test_keeps_the_given_background_and_mixes_back(pair: dict[str, np.ndarray]) -> None:
    layers = External().decompose(pair["gt"], pair["mask"], None, pair["background"])
    np.testing.assert_array_equal(layers.background, pair["background"])
    weight = layers.alpha[..., None] / 255
    assert np.abs(weight * layers.foreground + (1 - weight) * layers.background - pair["gt"]).max() <= 1
    assert layers.facts["external_offset_psnr_db"] == 100
    assert layers.notes == ()
    assert not layers.alpha[:, 50:].any()


def test_limited_range_is_widened_and_said(pair: dict[str, np.ndarray]) -> None:
    narrow = np.rint(pair["background"] * (219 / 255) + 16).astype(np.uint8)
    layers = External().decompose(pair["gt"], pair["mask"], None, narrow)
    assert np.abs(layers.background.astype(int) - pair["background"]).max() <= 1
    assert "limited colour range" in layers.notes[0]


def test_full_range_is_narrowed_for_a_limited_clip(pair: dict[str, np.ndarray]) -> None:
    narrow = np.rint(pair["gt"] * (219 / 255) + 16).astype(np.uint8)
    layers = External().decompose(narrow, pair["mask"], None, pair["background"])
    assert layers.background.min() >= 16
    assert "full colour range" in layers.notes[0]


def test_a_slightly_brighter_background_is_left_alone(pair: dict[str, np.ndarray]) -> None:
    brighter = np.clip(pair["background"] * 1.03, 0, 255).astype(np.uint8)
    layers = External().decompose(pair["gt"], pair["mask"], None, brighter)
    np.testing.assert_array_equal(layers.background, brighter)
    assert layers.notes == ()
    assert 25 < layers.facts["external_offset_psnr_db"] < 45


def test_other_subjects_get_no_alpha(pair: dict[str, np.ndarray]) -> None:
    gt, others = pair["gt"].copy(), np.zeros(SHAPE, bool)
    others[:, 50:60, 5:20] = True
    gt[others] = (0, 255, 0)
    layers = External().decompose(gt, pair["mask"], others, pair["background"])
    assert not layers.alpha[others].any()


def test_a_missing_or_misfit_background_is_refused(pair: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="background that another tool made"):
        External().decompose(pair["gt"], pair["mask"], None, None)
    with pytest.raises(ValueError, match="4x64x80 and the clip 5x64x80"):
        External().decompose(pair["gt"], pair["mask"], None, pair["background"][:4])
    with pytest.raises(ValueError, match="threshold=200"):
        External(threshold=200.0)
