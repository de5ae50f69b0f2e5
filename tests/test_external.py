import cv2
import numpy as np
import pytest
from effectpairs.stages import composite
from effectpairs.stages.decompose import ExternalLayers
from effectpairs.stages.difference import Noise
from effectpairs.stages.effect_mask import EffectMaskSettings, find_effect
from effectpairs.stages.external import External
from scipy import ndimage

FRAMES, HEIGHT, WIDTH = 5, 96, 160


@pytest.fixture(scope="module")
def pair() -> dict[str, np.ndarray]:
    """A red square with a shadow that walk over a textured background."""
    rng = np.random.default_rng(6)
    texture = ndimage.gaussian_filter(rng.normal(0, 1, (HEIGHT, WIDTH, 3)), (2, 2, 0))
    image = np.clip(128 + 50 * texture / texture.std(), 0, 255)
    background = np.repeat(image[None], FRAMES, axis=0).astype(np.uint8)
    gt, mask, shadow = background.copy(), *np.zeros((2, FRAMES, HEIGHT, WIDTH), np.uint8)
    for frame in range(FRAMES):
        mask[frame, 30:50, 40 + 4 * frame : 56 + 4 * frame] = 255
        shadow[frame, 50:62, 40 + 4 * frame : 76 + 4 * frame] = 255
    gt[shadow > 0] //= 2
    gt[mask > 0] = (200, 20, 20)
    return {"gt": gt, "background": background, "mask": mask, "shadow": shadow > 0}


def decomposed(pair, background, **layers):
    others = layers.pop("others", None)
    external = ExternalLayers(background=background, **layers)
    return External().decompose(pair["gt"], pair["mask"], others, external)


def effect_iou(pair, layers):
    over = composite.over(layers.foreground, layers.background, pair["mask"])
    noise = Noise.from_facts(layers.facts)
    mask = find_effect(pair["gt"], over, pair["mask"], EffectMaskSettings(), noise).mask
    return (mask & pair["shadow"]).sum() / (mask | pair["shadow"]).sum()


def test_an_exact_background_is_taken_as_it_is(pair):
    layers = decomposed(pair, pair["background"])
    core = ndimage.binary_erosion(pair["shadow"], np.ones((1, 9, 9)))
    np.testing.assert_array_equal(layers.background[core], pair["background"][core])
    weight = layers.alpha[..., None] / 255
    rebuilt = weight * layers.foreground + (1 - weight) * layers.background
    assert np.abs(rebuilt - pair["gt"]).max() <= External().threshold
    assert np.median(layers.alpha[core]) == pytest.approx(128, abs=3), "half as light over black"
    assert layers.facts["layer_psnr_db"] == 100
    assert layers.facts["layer_correlation"] > 0.95
    assert layers.notes == ()
    assert not layers.alpha[:, 80:].any()
    assert effect_iou(pair, layers) > 0.75  # a pixel of rim on a shadow of 12 rows costs a fifth


@pytest.mark.parametrize("damage", ["larger", "cropped", "shifted", "darker", "noisy"])
def test_a_background_of_another_make_is_brought_onto_the_clip(pair, damage):
    plates = pair["background"]
    if damage == "larger":
        plates = np.stack([cv2.resize(frame, (208, 128), interpolation=cv2.INTER_CUBIC) for frame in plates])
    elif damage == "cropped":  # the clip is the upper part of what the tool returned
        taller = np.concatenate([plates, plates[:, ::-1][:, :8]], axis=1)
        plates = np.stack([cv2.resize(frame, (160, 96), interpolation=cv2.INTER_AREA) for frame in taller])
    elif damage == "shifted":
        plates = np.roll(plates, (1, 2), axis=(1, 2))
    elif damage == "darker":
        plates = np.rint(plates * 0.9 + 3).astype(np.uint8)
    else:
        noise = np.random.default_rng(1).normal(0, 3, plates.shape)
        plates = np.clip(np.rint(plates + noise), 0, 255).astype(np.uint8)
    layers = decomposed(pair, plates)
    away = ~ndimage.binary_dilation(pair["shadow"] | (pair["mask"] > 0), np.ones((1, 21, 21)))
    np.testing.assert_array_equal(layers.background[away], pair["gt"][away])
    assert layers.facts["layer_correlation"] > 0.9
    assert effect_iou(pair, layers) > 0.6
    inside = ndimage.binary_erosion(pair["shadow"], np.ones((1, 7, 7)))
    assert np.abs(layers.background[inside].astype(int) - pair["background"][inside]).mean() < 8


def test_numbers_tell_another_video_from_noise(pair):
    mirrored = decomposed(pair, pair["background"][:, :, ::-1].copy()).facts
    assert mirrored["layer_correlation"] < 0.45
    assert mirrored["layer_psnr_db"] < 22
    jumping = pair["background"].astype(int) + np.array([-12, 12, -12, 12, -12])[:, None, None, None]
    assert decomposed(pair, np.clip(jumping, 0, 255).astype(np.uint8)).facts["layer_flicker"] > 5
    darker = np.rint(pair["background"] * 0.8).astype(np.uint8)
    assert decomposed(pair, darker).facts["layer_tone"] > 20


def test_limited_range_is_widened_and_said(pair):
    layers = decomposed(pair, np.rint(pair["background"] * (219 / 255) + 16).astype(np.uint8))
    assert "limited colour range" in layers.notes[0]
    assert effect_iou(pair, layers) > 0.75


def test_full_range_is_narrowed_for_a_limited_clip(pair):
    narrow = {**pair, "gt": np.rint(pair["gt"] * (219 / 255) + 16).astype(np.uint8)}
    layers = decomposed(narrow, pair["background"])
    assert layers.background.min() >= 16
    assert "full colour range" in layers.notes[0]


def test_foreground_and_alpha_of_the_tool_are_taken(pair):
    small = (WIDTH // 2, HEIGHT // 2)
    matte = np.where(pair["mask"] > 0, 255, np.where(pair["shadow"], 100, 0)).astype(np.uint8)
    colour = np.full_like(pair["gt"], 40)
    layers = decomposed(
        pair,
        pair["background"],
        alpha=np.stack([cv2.resize(frame, small, interpolation=cv2.INTER_AREA) for frame in matte]),
        foreground=np.stack([cv2.resize(frame, small) for frame in colour]),
    )
    inside = ndimage.binary_erosion(pair["shadow"], np.ones((1, 9, 9)))
    assert np.median(layers.alpha[inside]) == 100
    assert np.median(layers.foreground[inside]) == 40
    np.testing.assert_array_equal(layers.foreground[pair["mask"] > 0], pair["gt"][pair["mask"] > 0])


def test_other_subjects_get_no_alpha(pair):
    gt, others = pair["gt"].copy(), np.zeros(pair["mask"].shape, bool)
    others[:, 70:86, 5:25] = True
    gt[others] = (0, 255, 0)
    layers = decomposed({**pair, "gt": gt}, pair["background"], others=others)
    assert not layers.alpha[others].any()
    np.testing.assert_array_equal(layers.background[others], gt[others])


def test_a_missing_or_misfit_background_is_refused(pair):
    with pytest.raises(ValueError, match="background that another tool made"):
        External().decompose(pair["gt"], pair["mask"], None, None)
    with pytest.raises(ValueError, match="has 4 frames and the clip 5"):
        decomposed(pair, pair["background"][:4])
    with pytest.raises(ValueError, match="threshold=200"):
        External(threshold=200.0)
