import itertools
import tracemalloc

import av
import cv2
import numpy as np
import pytest
from effectpairs.stages import difference, effect_mask, morphology
from effectpairs.stages.difference import Noise
from effectpairs.stages.effect_mask import EffectMaskSettings, find_effect
from effectpairs.tests import fixtures_reference_masks
from effectpairs.tests.fixtures_videos import h264
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage


def at_working_size(monkeypatch, side):
    """Let settings in pixels hold for clips of this side, as they stand."""
    monkeypatch.setattr(effect_mask, "WORKING_PX", side)
    monkeypatch.setattr(difference, "WORKING_PX", side)


def textured(frames, height, width, seed=0):
    rng = np.random.default_rng(seed)
    plain = ndimage.gaussian_filter(rng.normal(0, 1, (height, width, 3)), (4, 4, 0))
    # Mostly grey: colours as strong as their own light leave the gamut of a codec.
    plain = 0.7 * plain.mean(axis=-1, keepdims=True) + 0.3 * plain
    image = np.clip(125 + 60 * plain / plain.std(), 30, 225)
    return np.repeat(image[None], frames, axis=0)


def with_noise(clip, sigma, seed=1):
    noise = np.random.default_rng(seed).normal(0, sigma, clip.shape)
    return np.clip(np.rint(clip + noise), 0, 255).astype(np.uint8)


def soft_shadow(frames, height, width):
    """0 to 1: an ellipse that slides to the right and has a soft border."""
    y, x = np.mgrid[:height, :width]
    return np.stack(
        [
            np.clip(3 - 3 * np.hypot((x - width / 3 - 2 * t) / (width / 6), (y - height / 2) / (height / 5)), 0, 1)
            for t in range(frames)
        ]
    )


@st.composite
def clips(draw):
    """Random scenes: patches of difference of every size and strength, grain, and a subject."""
    frames, height, width = draw(st.tuples(st.integers(1, 6), st.integers(12, 28), st.integers(12, 28)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    gt = rng.integers(0, 256, (frames, height, width, 3), np.uint8)
    change = rng.normal(0, draw(st.sampled_from([0, 0, 3, 8])), gt.shape)
    for _ in range(draw(st.integers(0, 6))):
        t, y, x = rng.integers(0, (frames, height, width))
        depth, rows, columns = rng.integers(1, (4, 12, 12))
        change[t : t + depth, y : y + rows, x : x + columns] += rng.integers(-60, 60)
    subject = np.zeros(gt.shape[:3], np.uint8)
    y, x = rng.integers(0, (height, width))
    subject[:, y : y + 6, x : x + 5] = rng.choice([0, 100, 128, 255])
    return gt, np.clip(gt + change, 0, 255).astype(np.uint8), subject


some_settings = st.builds(
    EffectMaskSettings,
    otsu_scope=st.sampled_from(["clip", "frame"]),
    threshold_min=st.integers(1, 10),
    border_percent=st.sampled_from([0, 75, 100]),
    noise_quantile=st.sampled_from([0.9, 0.999]),
    noise_block_quantile=st.sampled_from([0.5, 0.95]),
    erode_px=st.integers(0, 2),
    dilate_px=st.integers(0, 3),
    median_px=st.sampled_from([1, 3, 5]),
    temporal_median_frames=st.sampled_from([1, 3, 5]),
    subject_margin_px=st.integers(0, 2),
    min_speck_px=st.sampled_from([0, 1, 5, 20]),
    min_component_percent=st.sampled_from([0, 10, 50]),
)


def test_equals_the_reference():
    mismatches = []

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(clips(), some_settings)
    def compare(clip, chosen):
        with pytest.MonkeyPatch.context() as patch:
            at_working_size(patch, min(clip[0].shape[1:3]))
            patch.setattr(effect_mask, "equalize_tone", lambda pictures, _: pictures)  # tested for itself
            fast = find_effect(*clip, chosen).mask
        mismatches.append(np.mean(fast != fixtures_reference_masks.find_effect(*clip, chosen)))

    compare()
    # A value beside a threshold may fall on either side of it in single and double precision, with its component.
    assert np.mean(mismatches) < 0.01
    assert np.mean(np.array(mismatches) == 0) > 0.9


def test_equals_the_reference_on_a_shadow_in_grain(monkeypatch):
    at_working_size(monkeypatch, 96)
    plate = textured(13, 96, 160)
    gt = with_noise(plate * (1 - 0.4 * soft_shadow(13, 96, 160)[..., None]), 4)
    over, nobody = with_noise(plate, 2, seed=2), np.zeros(gt.shape[:3], np.uint8)
    for chosen in (
        EffectMaskSettings(),
        EffectMaskSettings(otsu_scope="frame", border_percent=100),
    ):
        fast = find_effect(gt, over, nobody, chosen)
        assert fast.mask.any()
        slow = fixtures_reference_masks.find_effect(gt, over, nobody, chosen)
        assert np.mean(fast.mask != slow) < 0.001


@settings(max_examples=30, deadline=None)
@given(clips())
def test_the_paper_preset_is_the_plain_recipe(clip):
    found = find_effect(*clip, EffectMaskSettings(preset="paper"))
    assert np.array_equal(found.mask, fixtures_reference_masks.find_plainly(*clip[:2]))


@settings(max_examples=30, deadline=None)
@given(clips(), some_settings)
def test_no_difference_no_mask(clip, chosen):
    found = find_effect(clip[0], clip[0], clip[2], chosen)
    assert not found.mask.any()
    assert found.noise.steps == 0


@pytest.mark.parametrize("sigma", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("scope", ["clip", "frame"])
def test_noise_is_no_effect(sigma, scope):
    plate = textured(8, 192, 256)
    nobody = np.zeros(plate.shape[:3], np.uint8)
    for over in (with_noise(plate, 0), with_noise(plate, sigma, seed=2)):
        found = find_effect(with_noise(plate, sigma), over, nobody, EffectMaskSettings(otsu_scope=scope))
        assert not found.mask.any(), (sigma, found.facts)


@pytest.mark.parametrize("quality", [15, 30, 50, 80])
def test_jpeg_is_no_effect(quality):
    gt = with_noise(textured(8, 192, 256), 6)
    over = np.stack([cv2.imdecode(cv2.imencode(".jpg", f, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1) for f in gt])
    found = find_effect(gt, over, np.zeros(gt.shape[:3], np.uint8), EffectMaskSettings())
    assert not found.mask.any(), found.facts


@pytest.mark.parametrize("grain", [1, 6])
@pytest.mark.parametrize("crf", [18, 28, 33])
def test_h264_is_no_effect(grain, crf):
    gt = with_noise(textured(8, 192, 256), grain)
    found = find_effect(gt, h264(gt, crf), np.zeros(gt.shape[:3], np.uint8), EffectMaskSettings())
    assert not found.mask.any(), found.facts


@pytest.mark.parametrize("sigma", [0, 1, 2, 3])
def test_a_faint_shadow_is_an_effect(sigma):
    plate = textured(8, 192, 256)
    shadow = soft_shadow(8, 192, 256)
    gt, over = with_noise(plate * (1 - 0.1 * shadow[..., None]), sigma), with_noise(plate, sigma / 2, seed=2)
    mask = find_effect(gt, over, np.zeros(gt.shape[:3], np.uint8), EffectMaskSettings()).mask
    core = shadow > 0.9
    assert mask[core].mean() > 0.5
    assert mask[shadow == 0].mean() < 0.02


def test_a_soft_shadow_is_covered_and_little_else():
    plate = textured(8, 192, 256)
    shadow = soft_shadow(8, 192, 256)
    gt = with_noise(plate * (1 - 0.5 * shadow[..., None]), 2)
    mask = find_effect(gt, with_noise(plate, 0), np.zeros(gt.shape[:3], np.uint8), EffectMaskSettings()).mask
    truth = 0.5 * shadow * plate.mean(axis=-1) > EffectMaskSettings().threshold_min
    assert (mask & truth).sum() / (mask | truth).sum() > 0.85


@pytest.mark.clips
@pytest.mark.parametrize(("strength", "softness"), [(0.5, 1.6), (0.2, 1.6), (0.4, 8.0), (0.5, 1.0)])
def test_a_painted_shadow_on_real_footage(clips_dir, strength, softness):
    with av.open(str(clips_dir / "gen_omnimatte" / "davis_camel" / "input_video.mp4")) as container:
        plate = np.stack([f.to_ndarray(format="rgb24") for f in itertools.islice(container.decode(video=0), 8)])
    y, x = np.mgrid[: plate.shape[1], : plate.shape[2]]
    shadow = np.stack(
        [softness * np.clip(1 - np.hypot((x - 220 - 5 * t) / 130, (y - 300) / 45), 0, 1 / softness) for t in range(8)]
    )
    gt = h264(with_noise(plate * (1 - strength * shadow[..., None]), 1.5), 20)
    # As a decomposition does it: another round of grain and codec near the shadow, gt itself elsewhere.
    near = ndimage.binary_dilation(shadow > 0, np.ones((1, 25, 25)))[..., None]
    over = np.where(near, h264(with_noise(plate, 1, seed=2), 20), gt)
    subject = np.uint8(255) * (np.hypot(x - 400, y - 150) < 60)[None].repeat(8, axis=0)
    mask = find_effect(gt, over, subject, EffectMaskSettings()).mask
    truth = strength * shadow * plate.mean(axis=-1) > EffectMaskSettings().threshold_min
    assert (mask & truth).sum() / (mask | truth).sum() > 0.75
    if strength == 0.4:
        assert np.mean(mask != fixtures_reference_masks.find_effect(gt, over, subject, EffectMaskSettings())) < 0.001


def test_neither_the_subject_nor_its_rim():
    over = np.full((5, 192, 192, 3), 120, np.uint8)
    gt, subject = over.copy(), np.zeros(over.shape[:3], np.uint8)
    subject[:, 60:100, 60:100] = 255
    gt[:, 58:102, 58:140] = 60
    mask = find_effect(gt, over, subject, EffectMaskSettings(subject_margin_px=4)).mask
    assert not mask[:, 60:100, 58:102].any()
    assert mask[:, 62:98, 106:136].all()


def test_noise_measured_before_gt_was_put_back_still_judges():
    """Where gt stands far from the effect, nothing there tells how noisy the rest is; the earlier measurement does."""
    plate = textured(8, 192, 256)
    gt = with_noise(plate * (1 - 0.4 * soft_shadow(8, 192, 256)[..., None]), 0)
    over, nobody = h264(with_noise(plate, 5, seed=2), 30), np.zeros(gt.shape[:3], np.uint8)
    noisy = find_effect(gt, over, nobody, EffectMaskSettings())
    around = ndimage.binary_dilation(noisy.mask, np.ones((1, 17, 17)))[..., None]
    put_back = np.where(around, over, gt)
    judged = find_effect(gt, put_back, nobody, EffectMaskSettings(), noisy.noise).mask
    unjudged = find_effect(gt, put_back, nobody, EffectMaskSettings()).mask
    overlap = [(mask & noisy.mask).sum() / (mask | noisy.mask).sum() for mask in (judged, unjudged)]
    assert overlap[0] > 0.95 > overlap[1]
    assert Noise.from_facts(noisy.facts) == noisy.noise
    assert Noise.from_facts({}) is None


@pytest.mark.parametrize("crf", [18, 28, 38])
def test_texture_made_anew_is_told_from_a_codec(crf):
    """A model errs in patches, a codec wherever there is detail."""
    plate = textured(8, 192, 256)
    gt = with_noise(plate * (1 - 0.4 * soft_shadow(8, 192, 256)[..., None]), 2)
    over, nobody = h264(with_noise(plate, 2), crf), np.zeros(gt.shape[:3], np.uint8)
    assert not find_effect(gt, over, nobody, EffectMaskSettings()).noise.invented
    texture = ndimage.gaussian_filter(np.random.default_rng(5).normal(0, 1, (192, 256)), 1)
    texture[40:140] = texture[:, 60:180] = 0
    anew = np.clip(np.rint(over + 60 * texture[None, ..., None]), 0, 255).astype(np.uint8)
    noise = find_effect(gt, anew, nobody, EffectMaskSettings()).noise
    assert noise.invented == (crf < 38)  # coarse quantisation errs as much everywhere
    assert Noise.from_facts(noise.to_facts()) == noise


def test_a_far_plume_is_no_invented_texture(monkeypatch):
    plate = textured(8, 192, 256)
    gt = plate * (1 - 0.6 * soft_shadow(8, 192, 256)[..., None])
    gt[:, 140:, 150:] += 16  # weaker than the shadow's threshold
    over, nobody = h264(with_noise(plate, 0), 18), np.zeros(gt.shape[:3], np.uint8)
    assert not find_effect(with_noise(gt, 0), over, nobody, EffectMaskSettings()).noise.invented
    monkeypatch.setattr(difference, "SMOOTH_SHARE", 9)
    assert find_effect(with_noise(gt, 0), over, nobody, EffectMaskSettings()).noise.invented


def test_another_tone_is_no_effect():
    plate, shadow = textured(8, 192, 256), soft_shadow(8, 192, 256)
    gt = with_noise(plate * (1 - 0.5 * shadow[..., None]), 1)
    over, nobody = with_noise(plate, 1, seed=2), np.zeros(gt.shape[:3], np.uint8)
    brighter = np.clip(np.rint(1.05 * over + 5.0), 0, 255).astype(np.uint8)
    masks = [find_effect(gt, layer, nobody, EffectMaskSettings()).mask for layer in (over, brighter)]
    assert (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum() > 0.9


def test_specks_in_space_and_time_go():
    clip = np.zeros((4, 20, 20), np.uint8)
    clip[:, 2:8, 2:8] = 1
    clip[:, 12, 12] = 1
    clip[2, 12:18, 2:8] = 1
    morphology.drop_specks(clip, 4)
    assert clip[:, 2:8, 2:8].all()
    assert clip.sum() == 4 * 36


def test_a_single_frame_has_no_neighbours_to_touch():
    clip = np.zeros((1, 20, 20), np.uint8)
    clip[0, 2:8, 2:8] = 1
    morphology.drop_specks(clip, 4)
    assert clip.sum() == 36


def test_memory_does_not_grow_with_the_clip():
    def beyond_the_mask(frames):
        gt = with_noise(textured(frames, 96, 128), 4)
        over, nobody = with_noise(gt, 4, seed=2), np.zeros(gt.shape[:3], np.uint8)
        tracemalloc.start()
        mask = find_effect(gt, over, nobody, EffectMaskSettings()).mask
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak - mask.nbytes

    # What may grow is a histogram of 256 numbers a frame and as much again while it is summed.
    assert beyond_the_mask(40) < beyond_the_mask(12) + 28 * 3 * 2048


def test_sizes_follow_the_picture():
    doubled = effect_mask._scaled(EffectMaskSettings(erode_px=1, dilate_px=0, median_px=5, min_speck_px=10), 768)
    assert (doubled.erode_px, doubled.dilate_px, doubled.median_px, doubled.min_speck_px) == (2, 0, 9, 40)
    tiny = effect_mask._scaled(EffectMaskSettings(erode_px=1, median_px=1), 32)
    assert (tiny.erode_px, tiny.median_px) == (1, 1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"threshold_min": 0}, "threshold_min=0"),
        ({"median_px": 4}, "median_px=4"),
        ({"erode_px": -1}, "erode_px=-1"),
        ({"border_percent": 200}, "border_percent=200"),
        ({"noise_quantile": 1.0}, "noise_quantile=1.0"),
        ({"noise_block_quantile": 1.5}, "noise_block_quantile=1.5"),
    ],
)
def test_wrong_settings_are_named(wrong, said):
    with pytest.raises(ValueError, match=said):
        EffectMaskSettings(**wrong)
