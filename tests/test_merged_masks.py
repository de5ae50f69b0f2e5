"""A subject mask that holds the effect too leaves no effect, or a rim of it; the verdict says so."""

import numpy as np
import pytest
from effectpairs.datasets.sources.source import load_source
from effectpairs.flows.footage.single_pair import PairRequest, make_pair
from effectpairs.flows.footage.source import RealSource
from effectpairs.stages.quality_gates import QualityThresholds, judge
from effectpairs.tests.fixtures_videos import encode_video, write_images

SIZE = (64, 112)


def clip_and_masks(frames=21):
    """A square that slides over a textured ground, with its shadow below; masks of the square, and of both."""
    ground = np.random.default_rng(0).integers(70, 190, (SIZE[0] // 4, SIZE[1] // 4, 3)).astype(np.uint8)
    clip = np.repeat(ground.repeat(4, 0).repeat(4, 1)[None], frames, 0)
    body, both = np.zeros((2, frames, *SIZE), np.uint8)
    for frame in range(frames):
        x = 6 + 4 * frame
        clip[frame, 40:50, x : x + 20] //= 2
        clip[frame, 20:40, x : x + 14] = (230, 60, 40)
        body[frame, 20:40, x : x + 14] = 255
        both[frame, 17:53, x - 3 : x + 23] = 255
    return clip, body, both


def test_the_verdict_names_a_mask_that_holds_subject_and_effect(tmp_path):
    clip, body, both = clip_and_masks()
    video = encode_video(tmp_path / "video.mkv", clip)
    source = load_source(
        "videos", ["root=.", f"normalise.size={SIZE[0]}x{SIZE[1]}", "normalise.fps=24"], into=RealSource
    )
    areas = {}
    for name, masks in (("body", body), ("both", both)):
        request = PairRequest(video=video, masks=write_images(tmp_path / name, masks))
        verdict, _ = make_pair(request, source, tmp_path / f"pair-{name}")
        areas[name] = "no effect found" in verdict.reasons[0]
    assert areas == {"body": False, "both": True}
    assert verdict.verdict == "reject"
    assert "the subject mask holds it too (give a mask of the subject alone)" in verdict.reasons[0]


def test_a_rim_that_is_left_of_an_effect_goes_to_review():
    numbers = {"effect_area": 0.0163, "subject_area": 0.0875, "effect_strength": 38.0}
    assert judge(numbers | {"edge_effect": 0.4}, QualityThresholds()).verdict == "accept"
    verdict = judge(numbers | {"edge_effect": 0.53}, QualityThresholds())
    assert verdict.verdict == "review"
    assert "held the effect too: give a mask of the subject alone" in verdict.reasons[0]


@pytest.mark.clips
def test_a_swan_whose_mask_holds_its_reflection(clips_dir, tmp_path):
    swan = clips_dir / "omnimatte_zero" / "swan_lake"
    if not swan.is_dir():
        pytest.skip(f"no {swan}")
    changes = ["root=.", "normalise.size=384x672", "normalise.max_frames=13", "decompose.kind=external"]
    source = load_source("videos", changes, into=RealSource)
    verdicts = {}
    for name in ("object_mask", "total_mask"):
        request = PairRequest(video=swan / "video.mp4", masks=swan / f"{name}.mp4", background=swan / "background.mp4")
        verdicts[name], _ = make_pair(request, source, tmp_path / name)
    assert verdicts["object_mask"].verdict == "accept"
    assert verdicts["total_mask"].verdict == "review"
    assert "held the effect too" in verdicts["total_mask"].reasons[0]
