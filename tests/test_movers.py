"""Second bodies without a mask, waves, and holes in calm and busy ground: small clips whose truth is known."""

import cv2
import numpy as np
import pytest
from effectpairs.stages.composite import over
from effectpairs.stages.effect_mask import EffectMaskSettings, find_effect
from effectpairs.stages.plate import Plate
from effectpairs.stages.plates.blending import local_detail
from effectpairs.stages.plates.effect_region import Attachment
from effectpairs.stages.plates.movers import explain_by_surroundings, find_movers
from effectpairs.stages.quality_gates import QualityThresholds, judge

FRAMES, HEIGHT, WIDTH = 21, 96, 160


def ground(seed: int, contrast: float = 1.0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (HEIGHT, WIDTH, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return 140 + contrast * 25 * smooth / smooth.std()


def walker(frame: int) -> tuple[np.ndarray, np.ndarray]:
    """The subject, a block that goes right, and the shadow at its feet."""
    x = 8 + 6 * frame
    body, shadow = np.zeros((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool)
    body[40:64, x : x + 12] = True
    shadow[64:70, x : x + 20] = True
    return body, shadow


def paint(clean: np.ndarray, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    body, shadow = walker(frame)
    picture = np.where(shadow[..., None], clean * 0.6, clean)
    picture[body] = (220, 60, 50)
    return picture, body, shadow


def passer(frame: int) -> np.ndarray:
    """Another block, that comes the other way, above the subject's head, and nobody gave a mask of."""
    x = 140 - 6 * frame
    body = np.zeros((HEIGHT, WIDTH), bool)
    body[22:39, max(x, 0) : max(x + 12, 0)] = True
    return body


@pytest.fixture(scope="module")
def two_bodies() -> dict[str, np.ndarray]:
    clean, rng = ground(1), np.random.default_rng(2)
    pictures, bodies, shadows, passers = [], [], [], []
    for frame in range(FRAMES):
        picture, body, shadow = paint(clean, frame)
        picture[passer(frame)] = (20, 30, 60)
        pictures.append(picture + rng.normal(0, 1, picture.shape)), bodies.append(body)
        shadows.append(shadow), passers.append(passer(frame))
    gt = np.rint(np.stack(pictures)).clip(0, 255).astype(np.uint8)
    return {"gt": gt, "body": np.stack(bodies), "shadow": np.stack(shadows), "passer": np.stack(passers)}


def test_a_second_body_without_a_mask_is_no_effect_and_stays_in_the_background(two_bodies) -> None:
    gt, mask = two_bodies["gt"], two_bodies["body"] * np.uint8(255)
    layers = Plate().decompose(gt, mask, None, None)
    shown = over(layers.foreground, layers.background, mask)
    found = find_effect(gt, shown, mask, EffectMaskSettings()).mask
    free = two_bodies["passer"] & ~two_bodies["body"]
    assert found[free].mean() < 0.05
    assert (layers.background == gt).all(axis=3)[free].mean() > 0.85
    middle = two_bodies["shadow"] & ~two_bodies["body"]
    assert found[3:-3][middle[3:-3]].mean() > 0.6
    assert layers.facts["mover_share"] > 0
    assert any("moves on its own" in note for note in layers.notes)


def test_a_detached_shadow_and_translucent_dust_are_no_bodies(two_bodies) -> None:
    clean = np.repeat(np.rint(ground(3))[None].astype(np.uint8), FRAMES, axis=0)
    subject, frames = two_bodies["body"], clean.copy()
    for frame in range(FRAMES):
        x = 8 + 6 * frame
        frames[frame, 74:84, x + 2 : x + 16] = np.rint(clean[frame, 74:84, x + 2 : x + 16] * 0.55)
        dust = clean[frame, 44:60, max(x - 30, 0) : max(x - 12, 0)]
        frames[frame, 44:60, max(x - 30, 0) : max(x - 12, 0)] = np.rint(dust * 0.9 + 18)
    steps = np.abs(frames.astype(int) - clean).max(axis=3) * 8
    none = np.zeros_like(subject)
    movers = find_movers(steps.clip(0, 255).astype(np.uint8), subject, none, frames, clean, Attachment(contact_px=3.0))
    assert not movers.any()


def shore(waves: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A clip of water above and sand below; the subject walks on the sand, with a shadow, and waves may come and go."""
    rng = np.random.default_rng(4)
    clean = ground(5, 0.3)
    clean[:40] += (-80, -20, 40)
    pictures, bodies, shadows = [], [], []
    for frame in range(FRAMES):
        moved = clean.copy()
        if waves:
            heave = cv2.GaussianBlur(rng.normal(0, 1, (40, WIDTH)).astype(np.float32), (0, 0), 3.0)
            moved[:40] += 30 * (heave / heave.std())[..., None]
        picture, body, shadow = paint(moved, frame)
        pictures.append(picture), bodies.append(body), shadows.append(shadow)
    gt = np.rint(np.stack(pictures)).clip(0, 255).astype(np.uint8)
    return gt, np.stack(bodies), np.stack(shadows)


def test_waves_explain_what_differs_on_water_and_nothing_of_a_shadow_on_sand() -> None:
    gt, body, shadow = shore(waves=True)
    plates = np.repeat(np.median(gt, axis=0)[None], FRAMES, axis=0).astype(np.uint8)
    water = np.zeros_like(body)
    water[:, 20:38, 60:100] = True
    none = np.zeros_like(body)
    explained = explain_by_surroundings(gt, plates, body, none, Attachment(contact_px=3.0))
    assert explained[shadow & ~body].mean() < 0.1
    assert explained[water & ~body].mean() > 0.6


def test_moving_surroundings_are_said_and_not_accepted() -> None:
    numbers = {"effect_area": 0.01, "moving_surroundings": 0.4}
    verdict = judge(numbers, QualityThresholds())
    assert verdict.verdict == "review"
    assert verdict.reasons[0].startswith("moving surroundings")
    assert judge(numbers | {"moving_surroundings": 0.05}, QualityThresholds()).verdict == "accept"


@pytest.mark.parametrize(("busy", "limits"), [(False, (0.0, 0.1)), (True, (0.8, 1.0))])
def test_a_hole_in_calm_ground_counts_little_and_one_in_busy_ground_fully(busy: bool, limits: tuple) -> None:
    fine = np.random.default_rng(6).normal(0, 14 if busy else 1, (HEIGHT, WIDTH, 3))
    plate = np.rint(140 + fine).clip(0, 255).astype(np.uint8)
    observed = np.ones((HEIGHT, WIDTH), bool)
    observed[30:60, 50:90] = False
    plate[~observed] = 140
    detail = local_detail(plate, observed)[~observed].mean()
    assert limits[0] <= detail <= limits[1]


def test_an_unseen_place_is_judged_by_its_detail() -> None:
    calm = {"effect_area": 0.01, "unseen_share": 0.39, "unseen_detail": 0.02}
    assert judge(calm, QualityThresholds()).verdict == "accept"
    assert judge(calm | {"unseen_detail": 0.39}, QualityThresholds()).verdict == "review"
    assert judge(calm | {"unseen_share": 0.9}, QualityThresholds()).verdict == "reject"
