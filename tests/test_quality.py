import math

import numpy as np
import pytest
from effectpairs.stages import composite
from effectpairs.stages.quality import QUALITY_NUMBERS, Pair, measure
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

FRAMES, HEIGHT, WIDTH = 8, 96, 128


def texture(seed, coarse=2):
    noise = np.random.default_rng(seed).normal(0, 1, (HEIGHT, WIDTH, 3))
    smooth = ndimage.gaussian_filter(noise, (coarse, coarse, 0))
    return np.clip(128 + 40 * smooth / smooth.std(), 0, 250).astype(np.uint8)


def scene(background=None, **changes):
    """A square of its own texture slides over a plate and drags a shadow of a third of the light."""
    plate = np.repeat(texture(1)[None], FRAMES, axis=0)
    subject, shadow = np.zeros(plate.shape[:3], np.uint8), np.zeros(plate.shape[:3], np.uint8)
    foreground = np.zeros_like(plate)
    for t in range(FRAMES):
        left = 10 + 4 * t
        subject[t, 30:60, left : left + 30] = 255
        shadow[t, 60:80, left : left + 40] = 85
        foreground[t, 30:60, left : left + 30] = texture(2)[30:60, :30]
    alpha = np.maximum(subject, shadow)
    gt = composite.over(foreground, plate, alpha)
    background = plate if background is None else background(plate, gt)
    parts = {
        "gt": gt,
        "over": composite.over(foreground, background, subject),
        "background": background,
        "foreground": foreground,
        "alpha": alpha,
        "subject_mask": subject,
        "effect_mask": shadow > 0,
        "confidence": np.linspace(0.5, 1, FRAMES, dtype=np.float32),
        "facts": {"registration_error_px": 0.3, "unseen_share": 0.02},
    }
    return Pair(**(parts | changes))


def test_the_truth_is_measured():
    numbers = measure(scene())
    assert list(numbers) == list(QUALITY_NUMBERS)
    assert numbers["reconstruction_psnr_db"] is None
    assert numbers["preservation_psnr_db"] is None
    assert numbers["effect_area"] == pytest.approx(20 * 40 / (HEIGHT * WIDTH))
    assert numbers["effect_peak_area"] == pytest.approx(20 * 40 / (HEIGHT * WIDTH))
    assert numbers["subject_area"] == pytest.approx(900 / (HEIGHT * WIDTH))
    assert numbers["effect_flicker"] < 0.05
    assert 35 < numbers["effect_strength"] < 50
    assert numbers["registration_error_px"] == 0.3
    assert numbers["unseen_share"] == 0.02
    assert numbers["subject_leak"] < 0.15
    assert numbers["mask_confidence_min"] == 0.5
    assert numbers["mask_confidence_mean"] == pytest.approx(0.75)
    assert numbers["edge_effect"] < 0.1


def test_psnr_is_the_formula():
    pair = scene(background=lambda plate, gt: plate + np.uint8(3))
    error = composite.over(pair.foreground, pair.background, pair.alpha).astype(float) - pair.gt
    numbers = measure(pair)
    assert numbers["reconstruction_psnr_db"] == pytest.approx(10 * math.log10(255**2 / (error**2).mean()))
    assert numbers["preservation_psnr_db"] == pytest.approx(20 * math.log10(255 / 3), abs=0.01)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 1.0])
def test_leak_is_the_share_of_the_subject_left_behind(share):
    def ghost(plate, gt):
        return np.rint(share * gt.astype(float) + (1 - share) * ndimage.gaussian_filter(plate, (0, 9, 9, 0))).astype(
            np.uint8
        )

    assert measure(scene(background=ghost))["subject_leak"] == pytest.approx(share, abs=0.1)


def test_a_static_subject_leaks_whole():
    assert measure(scene(background=lambda plate, gt: gt))["subject_leak"] == 1


def test_flicker_counts_what_comes_and_goes():
    steady = scene().effect_mask
    blinking = steady.copy()
    blinking[::2] = False
    popping = steady.copy()
    popping[2:4, 5:25, 100:120] = True
    assert measure(scene(effect_mask=blinking))["effect_flicker"] > 0.8
    assert 0.05 < measure(scene(effect_mask=popping))["effect_flicker"] < 0.5
    racing = np.stack([np.roll(steady[0], 11 * t, axis=1) for t in range(FRAMES)])
    assert measure(scene(effect_mask=racing))["effect_flicker"] < 0.1


def test_a_rim_is_told_from_an_effect():
    subject = scene().subject_mask > 0
    rim = ndimage.binary_dilation(subject, np.ones((1, 3, 3))) & ~subject
    assert measure(scene(effect_mask=rim))["edge_effect"] == 1


def test_without_effect_subject_or_facts():
    nothing = np.zeros((FRAMES, HEIGHT, WIDTH), bool)
    numbers = measure(scene(effect_mask=nothing, subject_mask=nothing.view(np.uint8), facts={"unseen_share": math.nan}))
    for name in (
        "effect_flicker",
        "effect_strength",
        "registration_error_px",
        "unseen_share",
        "subject_leak",
        "edge_effect",
    ):
        assert numbers[name] is None
    assert numbers["effect_area"] == numbers["subject_area"] == 0


def test_a_doubt_that_cannot_be_counted_is_a_doubt():
    confidence = np.full(FRAMES, np.nan, np.float32)
    assert measure(scene(confidence=confidence))["mask_confidence_min"] == 0


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_always_finite(data):
    frames, height, width = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(1, 20)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))

    def clip(*channels):
        top = data.draw(st.sampled_from([1, 2, 256]))
        return rng.integers(0, top, (frames, height, width, *channels)).astype(np.uint8)

    matte = np.uint8(data.draw(st.sampled_from([0, 1, 255])))
    numbers = measure(
        Pair(
            gt=clip(3),
            over=clip(3),
            background=clip(3),
            foreground=clip(3),
            alpha=clip(),
            subject_mask=(clip() & np.uint8(1)) * matte,
            effect_mask=clip() == 1,
            confidence=rng.random(frames).astype(np.float32),
        )
    )
    assert all(value is None or math.isfinite(value) for value in numbers.values())
    for name, unit in QUALITY_NUMBERS.items():
        if unit == "share" and numbers[name] is not None:
            assert 0 <= numbers[name] <= 1


def test_units():
    assert set(QUALITY_NUMBERS.values()) == {"dB", "px", "steps", "share"}
