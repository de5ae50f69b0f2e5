"""The omnimatte optimisation recovers alpha over a true background, in bounded memory, and Eq. 2 drops the effect."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
from effectpairs.stages.composite import over  # noqa: E402
from effectpairs.tests.fixtures_scene import soft_shadow, soft_shadow_truth  # noqa: E402
from effectpairs.training.removal import omnimatte  # noqa: E402
from effectpairs.training.removal.omnimatte import OmnimatteSettings, optimise, transfer_detail  # noqa: E402
from effectpairs.training.removal.unet import OmnimatteUNet  # noqa: E402

torch.set_num_threads(1)
QUICK = OmnimatteSettings(steps=350, batch=4, mask_steps=100, milestones=(250, 310), learning_rate=2e-3)
"""A seventh of the default's steps, at four times its rate: 16 CPU seconds on 8 frames of 32x64."""


def psnr_db(first, second):
    return 10 * np.log10(255**2 / np.mean((first.astype(float) - second) ** 2))


@pytest.mark.slow
def test_alpha_is_recovered_and_eq_2_gives_the_composite_without_effects():
    scene = soft_shadow()
    matte = optimise(scene.gt, scene.background, scene.subject_mask, QUICK)
    alpha, truth = matte.alpha / 255, soft_shadow_truth()
    assert np.abs(alpha - truth).mean() < 0.05
    assert alpha[truth == 0].mean() < 0.03  # not everywhere a little
    assert alpha[(truth > 0.3) & (scene.subject_mask == 0)].mean() > 0.3  # nor the subject alone: 0.47 is true
    foreground = transfer_detail(scene.gt, matte, scene.subject_mask)
    composite = over(foreground, scene.background, scene.subject_mask)
    subject = scene.subject_mask[..., None] / 255
    assert psnr_db(composite, subject * (220, 60, 40) + (1 - subject) * scene.background) >= 35
    assert matte.reconstruction_psnr_db > 25


def test_equal_seeds_give_equal_mattes_and_memory_holds_one_batch(monkeypatch):
    scene, sizes = soft_shadow(frames=11), []
    forward = OmnimatteUNet.forward
    monkeypatch.setattr(OmnimatteUNet, "forward", lambda net, x: (sizes.append(tuple(x.shape)), forward(net, x))[1])
    state = torch.get_rng_state()
    settings = OmnimatteSettings(steps=2, batch=4)
    first, second = (optimise(scene.gt, scene.background, scene.subject_mask, settings) for _ in range(2))
    assert np.array_equal(first.alpha, second.alpha)
    assert np.array_equal(first.foreground, second.foreground)
    assert set(sizes) == {(4, 6, 32, 64), (3, 6, 32, 64)}  # the clip in fours, whatever its length
    assert torch.equal(torch.get_rng_state(), state)


def test_sizes_that_do_not_divide_by_32_come_back_as_they_were():
    scene = soft_shadow(frames=3, height=42, width=50)
    matte = optimise(scene.gt, scene.background, scene.subject_mask, OmnimatteSettings(steps=1))
    assert matte.alpha.shape == scene.subject_mask.shape
    assert matte.foreground.shape == scene.gt.shape


def test_the_losses_are_those_of_the_publication():
    """Against sums written out pixel by pixel."""
    rng = np.random.default_rng(0)
    layer, gt, background = rng.random((2, 4, 2, 3)), rng.random((2, 3, 2, 3)), rng.random((2, 3, 2, 3))
    mask = (rng.random((2, 1, 2, 3)) > 0.5).astype(float)
    rebuild, count, opacity, inside, outside = [], [], [], [], []
    for frame, y, x in np.ndindex(2, 2, 3):
        alpha = layer[frame, 3, y, x]
        for colour in range(3):
            mixed = alpha * layer[frame, colour, y, x] + (1 - alpha) * background[frame, colour, y, x]
            rebuild.append((mixed - gt[frame, colour, y, x]) ** 2)
        count.append(2 / (1 + np.exp(-5 * alpha)) - 1)
        opacity.append(alpha)
        (inside if mask[frame, 0, y, x] else outside).append((alpha - mask[frame, 0, y, x]) ** 2)
    sparse = 0.3 * (0.075 * np.mean(count) + 0.75 * np.mean(opacity))
    tensors = [torch.from_numpy(array) for array in (layer, gt, background, mask)]
    for supervised, guidance in (
        (True, 10 * (np.mean(inside) + np.mean(outside))),
        (False, 0.1 * np.mean(inside)),
    ):
        loss = omnimatte._loss(*tensors, OmnimatteSettings(), 0.3, supervised=supervised)
        assert float(loss) == pytest.approx(np.mean(rebuild) + sparse + guidance, rel=1e-6)


def test_the_schedule_is_that_of_the_publication(monkeypatch):
    rates, sgd = [], torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *a: (rates.append(self.param_groups[0]["lr"]), sgd(self, *a))[1]
    )
    scene = soft_shadow(frames=2, height=32, width=32)
    settings = OmnimatteSettings(steps=5, milestones=(2, 4), batch=2)
    optimise(scene.gt, scene.background, scene.subject_mask, settings)
    assert rates == pytest.approx([5e-4, 5e-4, 5e-5, 5e-5, 5e-6])
    assert OmnimatteSettings().milestones == (500, 1000, 2000)
    assert sum(weight.numel() for weight in OmnimatteUNet().parameters()) == 2_629_860


def test_detail_comes_from_the_clip_where_the_layer_is_opaque_or_the_subject():
    gt, colour = np.full((1, 2, 2, 3), 200, np.uint8), np.full((1, 2, 2, 3), 90, np.uint8)
    alpha = np.array([[[255, 251], [240, 0]]], np.uint8)
    subject = np.array([[[0, 0], [0, 255]]], np.uint8)
    matte = omnimatte.Omnimatte(alpha=alpha, foreground=colour, reconstruction_psnr_db=40.0)
    np.testing.assert_array_equal(transfer_detail(gt, matte, subject)[0, ..., 0], [[200, 200], [90, 200]])


def test_a_subject_that_erosion_would_take_away_stays():
    mask = np.zeros((2, 9, 9), bool)
    mask[0, 2:8, 2:8], mask[1, 4, 4] = True, True
    eroded = omnimatte._erode(mask, 1)
    assert eroded[0].sum() == 16
    assert eroded[1].sum() == 1
