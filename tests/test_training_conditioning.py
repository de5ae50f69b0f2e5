"""The truth table of the conditioning, and how masks shrink, are held and are hidden."""

import numpy as np
import pytest
from effectpairs.training.latents.sampler import TriMaskSettings, draw_visible_frames

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
from effectpairs.training.base import conditioning as cond  # noqa: E402
from effectpairs.training.base.cogvideox import CogVideoXFamily  # noqa: E402
from effectpairs.training.latents.data import jitter_mask  # noqa: E402

torch.set_num_threads(1)
COG = CogVideoXFamily()
GRID = COG.grid


def mask_channel(mask, **options):
    frames, height, width = GRID.latent_shape(*mask.shape[1:])
    layers = {"video": torch.zeros(len(mask), frames, 16, height, width)}
    visible = torch.ones(GRID.latent_frames(mask.shape[1]), dtype=torch.bool)
    return COG.condition(layers, mask, visible, **options)[:, :, :1]


@pytest.mark.parametrize(("meaning", "mask", "fed"), [("effect", 1, 0), ("unknown", 0.5, 0.35), ("none", 0, 0.7)])
@pytest.mark.parametrize("how", ["trilinear", "area", "max"])
def test_truth_table(meaning, mask, fed, how):
    told = mask_channel(torch.full((2, 13, 32, 48), float(mask)), downsample=how)
    assert told.shape == (2, 4, 1, 4, 6)
    torch.testing.assert_close(told, torch.full_like(told, fed), atol=1e-6, rtol=0)


def test_unpaired_is_seventeen_channels_of_exact_zero():
    empty = cond.empty_conditioning(torch.randn(2, 4, 16, 4, 6), COG.conditioning_channels)
    assert torch.equal(empty, torch.zeros(2, 4, 17, 4, 6))


def test_the_mask_comes_first():
    layers = {"video": torch.full((1, 4, 16, 4, 6), 2.0)}
    joined = COG.condition(layers, torch.full((1, 13, 32, 48), 0.5), torch.ones(4, dtype=torch.bool))
    assert joined.shape == (1, 4, 17, 4, 6)
    assert (joined[:, :, 0] == 0.35).all()
    assert (joined[:, :, 1:] == 2).all()


@pytest.mark.parametrize("frame", range(85))
def test_a_keyframe_anywhere_acts_with_full_force_on_its_latent_frame_alone(frame):
    held = cond.mask_from_keyframes({frame: np.ones((16, 16), np.float32)}, 85, GRID)
    fed = mask_channel(torch.from_numpy(held)[None])[0, :, 0, 0, 0]
    expected = torch.full((22,), 0.35)
    expected[GRID.latent_index(frame)] = 0
    torch.testing.assert_close(fed, expected, atol=1e-6, rtol=0)


def test_two_keyframes_in_one_latent_frame_are_united():
    left, right = np.zeros((16, 16), np.float32), np.zeros((16, 16), np.float32)
    left[:, :8], right[:, 8:] = 1, 1
    assert (cond.mask_from_keyframes({5: left, 7: right}, 13, GRID)[5:9] == 1).all()


def test_a_thin_stroke_survives_max_alone():
    mask = torch.zeros(1, 13, 32, 48)
    mask[:, :, 9] = 1  # trilinear looks at rows 3 and 4 of every 8
    assert torch.equal(mask_channel(mask, downsample="trilinear"), torch.full((1, 4, 1, 4, 6), 0.7))
    assert (mask_channel(mask, downsample="max")[:, :, :, 1] == 0).all()


def test_resize_equals_a_plain_twin():
    rng = np.random.default_rng(1)
    keep = rng.random((13, 16, 24)).astype(np.float32)
    expected = np.empty((4, 2, 3))
    for f in range(4):
        frames = [0] if f == 0 else [4 * f - 2, 4 * f - 1]
        for y in range(2):
            for x in range(3):
                expected[f, y, x] = keep[frames][:, 8 * y + 3 : 8 * y + 5, 8 * x + 3 : 8 * x + 5].mean()
    np.testing.assert_allclose(
        cond.resize_mask(torch.from_numpy(keep)[None], GRID)[0, :, 0].numpy(), expected, atol=1e-6
    )


def test_quantised_masks_have_three_values():
    found = cond.to_soft_mask(np.array([[[0.0, 0.2, 0.3, 0.5, 0.7, 0.8, 1.0]]], np.float32))
    assert found.tolist() == [[[0, 0, 0.5, 0.5, 0.5, 1, 1]]]


@pytest.mark.parametrize(("keys", "words"), [({}, "no keyframes"), ({85: 1}, "keyframe 85 is not in"), ({-1: 1}, "-1")])
def test_bad_keyframes_are_refused(keys, words):
    with pytest.raises(ValueError, match=words):
        cond.mask_from_keyframes({frame: np.ones((16, 16), np.float32) for frame in keys}, 85, GRID)


def test_keyframes_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="one size"):
        cond.mask_from_keyframes({0: np.ones((16, 16), np.float32), 1: np.ones((16, 32), np.float32)}, 13, GRID)


@pytest.mark.parametrize(("shape", "words"), [((12, 32, 48), "8k\\+5; take 5 or 13"), ((13, 33, 48), "divide by 16")])
def test_bad_shapes_are_refused(shape, words):
    with pytest.raises(ValueError, match=words):
        mask_channel(torch.zeros(1, *shape))


def test_lengths():
    assert [n for n in range(60) if GRID.padded_length(n) == n] == [5, 13, 21, 29, 37, 45, 53]
    assert [GRID.longest_length(n) for n in (4, 5, 12, 13, 80, 85)] == [0, 5, 5, 13, 77, 85]
    assert [GRID.padded_length(n) for n in (1, 5, 6, 13, 80, 86)] == [5, 5, 13, 13, 85, 93]
    for frames in (5, 13, 85, 197):
        assert 4 * (GRID.latent_frames(frames) - 1) + 1 == frames
        owners = [GRID.latent_index(frame) for frame in range(frames)]
        assert owners == [f for f in range(GRID.latent_frames(frames)) for _ in GRID.frame_range(f)]


def test_the_three_ways_come_as_often_as_asked():
    rng = np.random.default_rng(0)
    seen = [draw_visible_frames(22, TriMaskSettings(), rng).sum() for _ in range(4000)]
    assert np.mean([n == 22 for n in seen]) == pytest.approx(0.4, abs=0.03)
    assert np.mean([n == 0 for n in seen]) == pytest.approx(0.4, abs=0.03)
    some = [n for n in seen if 0 < n < 22]
    assert min(some) == 1
    assert max(some) <= 11


def test_jitter_grows_and_shrinks_a_mask_alike_in_all_frames():
    mask = np.zeros((5, 32, 48), bool)
    mask[:, 12:20, 12:30] = True
    areas = set()
    for seed in range(30):
        found = jitter_mask(mask, 3, np.random.default_rng(seed))
        assert (found == found[0]).all()
        areas.add(int(found[0].sum()))
    assert min(areas) < mask[0].sum() < max(areas)
    assert len(areas) == 7
    assert jitter_mask(mask, 0, np.random.default_rng(0)) is mask


@pytest.mark.parametrize("wrong", [{"full": 0.5}, {"kept_share": (0.5, 0.1)}, {"jitter_px": -1}])
def test_wrong_odds_are_refused(wrong):
    with pytest.raises(ValueError, match="trimask"):
        TriMaskSettings(**wrong)
