import numpy as np
import pytest
from effectpairs.stages.decompose import Decomposer, solve_matte
from effectpairs.stages.external import External
from effectpairs.stages.plate import Plate
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

SHAPE = (2, 12, 16)
clips = hnp.arrays(np.uint8, (*SHAPE, 3))
mattes = hnp.arrays(np.uint8, SHAPE)


def mixed(alpha: np.ndarray, foreground: np.ndarray, background: np.ndarray) -> np.ndarray:
    weight = alpha[..., None] / 255
    return weight * foreground + (1 - weight) * background


@settings(max_examples=40, deadline=None)
@given(clips, clips, mattes, hnp.arrays(np.bool_, SHAPE))
def test_the_mixture_gives_the_clip_back(
    gt: np.ndarray, background: np.ndarray, subject_mask: np.ndarray, region: np.ndarray
) -> None:
    alpha, foreground = solve_matte(gt, background, subject_mask, region)
    error = np.abs(mixed(alpha, foreground, background) - gt)
    assert error[region].max(initial=0) <= 1
    assert (alpha[region] >= subject_mask[region]).all()
    assert not alpha[~region].any()
    np.testing.assert_array_equal(foreground[~region], background[~region])
    np.testing.assert_array_equal(foreground[alpha == 255], gt[alpha == 255])


@given(st.integers(20, 235))
def test_equal_clip_and_background_need_no_alpha(value: int) -> None:
    gt = np.full((*SHAPE, 3), value, np.uint8)
    alpha, _ = solve_matte(gt, gt, np.zeros(SHAPE, np.uint8), np.ones(SHAPE, bool))
    assert not alpha.any()


@pytest.mark.parametrize(("colour", "opacity"), [(0, 0.4), (255, 0.3)])
def test_shadow_is_black_and_spray_is_white(colour: int, opacity: float) -> None:
    background = np.random.default_rng(2).integers(40, 210, (*SHAPE, 3)).astype(np.uint8)
    gt = np.rint(background * (1 - opacity) + colour * opacity).astype(np.uint8)
    alpha, foreground = solve_matte(gt, background, np.zeros(SHAPE, np.uint8), np.ones(SHAPE, bool))
    assert abs(float(alpha.mean()) / 255 - opacity) < 0.05
    assert abs(float(foreground.mean()) - colour) < 12


def test_a_coloured_veil_is_told_from_the_contrast_that_is_left() -> None:
    background = np.random.default_rng(4).integers(0, 255, (1, 60, 60, 3)).astype(np.uint8)
    veil = np.float32((180, 120, 90))
    gt = np.rint(0.5 * background + 0.5 * veil).astype(np.uint8)
    alpha, foreground = solve_matte(gt, background, np.zeros((1, 60, 60), np.uint8), np.ones((1, 60, 60), bool))
    assert abs(float(np.median(alpha)) / 255 - 0.5) < 0.04
    np.testing.assert_allclose(np.median(foreground[0], axis=(0, 1)), veil, atol=8)


def test_backends_are_decomposers():
    assert isinstance(Plate(), Decomposer)
    assert isinstance(External(), Decomposer)
