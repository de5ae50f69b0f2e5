import math
import re
from dataclasses import fields

import pytest
from effectpairs.stages.quality import QUALITY_NUMBERS
from effectpairs.stages.quality_gates import MEANING, QualityThresholds, Verdict, judge, unremoved_effect
from hypothesis import given
from hypothesis import strategies as st

GOOD = {
    "reconstruction_psnr_db": 48.1,
    "preservation_psnr_db": None,
    "effect_area": 0.062,
    "effect_peak_area": 0.09,
    "effect_flicker": 0.03,
    "effect_strength": 41.0,
    "registration_error_px": 0.4,
    "unseen_share": 0.01,
    "subject_leak": 0.05,
    "mask_confidence_min": 0.9,
    "mask_confidence_mean": 0.95,
    "subject_area": 0.12,
    "edge_effect": 0.1,
}
RANK = {"accept": 0, "review": 1, "reject": 2}


def rank(numbers):
    return RANK[judge(numbers, QualityThresholds()).verdict]


def test_a_good_pair_is_accepted_in_words():
    verdict = judge(GOOD, QualityThresholds(), ["The box was drawn by hand."])
    assert verdict.verdict == "accept"
    assert "rebuild gt at 48.1 dB" in verdict.reasons[0]
    assert "covers 6.2 %" in verdict.reasons[0]
    assert "exactly" in verdict.reasons[0]
    assert verdict.reasons[1] == "The box was drawn by hand."


@pytest.mark.parametrize(
    ("name", "review", "reject"),
    [
        ("reconstruction_psnr_db", 30.0, 20.0),
        ("preservation_psnr_db", 33.0, 20.0),
        ("effect_area", 0.0002, 0.00001),
        ("effect_area", 0.0002, 0.0),
        ("effect_peak_area", 0.7, 0.95),
        ("effect_flicker", 0.4, 0.9),
        ("effect_strength", 5.0, 1.0),
        ("registration_error_px", 2.0, 9.0),
        ("unseen_share", 0.65, 0.9),
        ("unseen_detail", 0.5, 0.9),
        ("moving_surroundings", 0.4, 0.9),
        ("subject_leak", 0.5, 0.9),
        ("subject_area", 0.0005, 0.0),
        ("subject_area", 0.7, 0.95),
        ("edge_effect", 0.8, 1.0),
    ],
)
def test_each_number_can_lead_to_review_and_rejection(name, review, reject):
    for value, expected in ((review, "review"), (reject, "reject")):
        verdict = judge(GOOD | {name: value}, QualityThresholds())
        assert verdict.verdict == expected
        assert len(verdict.reasons) == 1


def test_a_doubtful_mask_goes_to_review_never_further():
    for name in ("mask_confidence_min", "mask_confidence_mean"):
        for value in (0.45, 0.0):
            assert judge(GOOD | {name: value}, QualityThresholds()).verdict == "review"


def test_reasons_carry_value_limit_and_meaning():
    (reason,) = judge(GOOD | {"subject_leak": 0.35}, QualityThresholds()).reasons
    assert "35 %" in reason
    assert "30 %" in reason
    assert "subject is still visible" in reason


def test_no_effect_says_so_once():
    verdict = judge(GOOD | {"effect_area": 0.0, "effect_strength": None, "edge_effect": None}, QualityThresholds())
    assert verdict.verdict == "reject"
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith("no effect found")


def test_rejections_come_before_doubts():
    verdict = judge(GOOD | {"effect_strength": 5.0, "subject_leak": 0.9}, QualityThresholds())
    assert "subject_leak" in verdict.reasons[0]
    assert "effect_strength" in verdict.reasons[1]


@given(st.data())
def test_worse_is_never_better(data):
    numbers = {
        name: data.draw(st.one_of(st.none(), st.floats(0, 60 if unit in ("dB", "steps") else 1)))
        for name, unit in QUALITY_NUMBERS.items()
    }
    # The subject's area is bad at both ends; the others have one bad side.
    gate = data.draw(
        st.sampled_from([field.name for field in fields(QualityThresholds) if "subject_area" not in field.name])
    )
    name, step = gate[:-4], data.draw(st.floats(0, 5))
    before = numbers[name] if numbers[name] is not None else (60.0 if gate.endswith("_min") else 0.0)
    after = max(before - step, 0.0) if gate.endswith("_min") else before + step
    assert rank(numbers | {name: after}) >= rank(numbers)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_are_finite(value):
    with pytest.raises(ValueError, match="effect_area"):
        judge(GOOD | {"effect_area": value}, QualityThresholds())


def test_nothing_measured_is_still_explained():
    assert judge({}, QualityThresholds()) == Verdict(verdict="accept", reasons=("no number breaks a limit",))


def test_gates_name_numbers_and_are_explained():
    names = set(QUALITY_NUMBERS)
    # How well the difference recipe does is told, and no reason to refuse a pair whose truth is known.
    assert {field.name[:-4] for field in fields(QualityThresholds)} == names - {"otsu_iou"}
    assert set(MEANING) == {field.name for field in fields(QualityThresholds)}


@pytest.mark.parametrize("limits", [{"subject_leak_max": (0.5, 0.2)}, {"effect_area_min": (0.1, 0.5)}])
def test_wrong_gates_are_named(limits):
    with pytest.raises(ValueError, match=next(iter(limits))):
        QualityThresholds(**limits)


@pytest.mark.parametrize(
    ("area", "subject", "edge", "is_doubted"),
    [
        (0.0041, 0.174, 0.828, True),  # a camel, a swan and a boy whose effect stayed in the background
        (0.0012, 0.045, 0.865, True),
        (0.0006, 0.0114, 0.868, True),
        (0.0004, 0.0515, None, True),
        (0.00135, 0.0106, 0.11, False),  # the boy's contact shadow, found
        (0.0124, 0.131, 0.18, False),
        (0.0025, 0.6, 0.0, False),  # little beside a subject that fills the picture, and still an effect to see
        (0.0, 0.1, None, False),  # an empty mask is rejected anyway
        (None, 0.1, None, False),
    ],
)
def test_an_effect_that_is_spoken_of_and_hardly_masked_may_not_have_been_removed(area, subject, edge, is_doubted):
    numbers = {**GOOD, "effect_area": area, "subject_area": subject, "edge_effect": edge}
    reason = unremoved_effect(numbers, ["shadow", "dust"])
    assert (reason is not None) == is_doubted
    assert reason is None or re.match(
        r"shadow and dust may not have been removed: .* [\d.]+ % of the picture and [\d.]+ % of the subject; look",
        reason,
    )
    assert unremoved_effect(numbers, []) is None, "nobody speaks of one"
