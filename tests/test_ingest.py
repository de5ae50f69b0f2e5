import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from effectpairs.datasets.footage.listing import Footage, SubjectFiles, list_footage
from effectpairs.datasets.sources.source import FootageSource, load_source
from effectpairs.flows.footage.ingest import NormalizedClip, normalize_footage
from effectpairs.flows.footage.subject_prompts import match_key_frames
from effectpairs.stages.decompose import ExternalLayers
from effectpairs.stages.external import External
from effectpairs.stages.normalise import Normalise, UnusableShot, fit_frame
from effectpairs.tests.fixtures_videos import encode_video, sliding_clip, square_mask, write_images
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

SMALL = Normalise(size=(32, 48), fps=24.0, max_frames=13, min_remainder_frames=5)


def grey(path, masks):
    return encode_video(path, masks, codec="ffv1", pix_fmt="gray", level="3")


def footage(tmp_path, clip, **subjects):
    video = encode_video(tmp_path / "video.mp4", clip)
    known = tuple(SubjectFiles(**{role: path}) for role, path in subjects.items()) or (SubjectFiles(),)
    return Footage(name="clip", video=video, subjects=known)


def ingested(item, settings=SMALL):
    found = list(normalize_footage(item, settings))
    return [one for one in found if isinstance(one, NormalizedClip)], [
        one for one in found if isinstance(one, UnusableShot)
    ]


# ---------------------------------------------------------------- clips


def test_a_clip_that_needs_no_change_comes_through_bit_for_bit(tmp_path):
    clip, masks = sliding_clip(), square_mask()
    (one,), rejected = ingested(footage(tmp_path, clip, masks=grey(tmp_path / "mask.mkv", masks)))
    assert rejected == []
    assert np.array_equal(one.gt, clip)
    ((number, prompt),) = one.prompts
    assert number == 0
    assert np.array_equal(prompt.masks, masks)
    assert (prompt.frames, prompt.text, dict(one.external), one.notes) == ((), "", {}, ())
    assert (one.index, one.start_s, one.fps, one.source_frames) == (0, 0.0, 24.0, tuple(range(13)))


def test_frames_masks_and_source_frames_stay_together(tmp_path):
    """Another rate, size and shape: each frame and mask is its source frame, fitted."""
    clip, masks = sliding_clip(40, 48, 80), square_mask(40, 48, 80)
    settings = Normalise(size=(32, 32), fps=10.0, max_frames=5)
    clips, rejected = ingested(footage(tmp_path, clip, masks=grey(tmp_path / "mask.mkv", masks)), settings)
    assert len(clips) == 3
    for one in clips:
        for at, frame in enumerate(one.source_frames):
            assert np.array_equal(one.gt[at], fit_frame(clip[frame], (32, 32)))
            ((_, prompt),) = one.prompts
            assert np.array_equal(prompt.masks[at], fit_frame(masks[frame], (32, 32)))
    assert [one.index for one in clips] == [0, 1, 2]
    assert [one.start_s for one in clips] == pytest.approx([0, 0.5, 1.0])
    assert rejected == []


def test_cuts_part_clips(tmp_path):
    clip = np.concatenate([sliding_clip(14), 255 - sliding_clip(3), sliding_clip(30)[::-1]])
    clips, rejected = ingested(footage(tmp_path, clip))
    assert [one.source_frames[0] for one in clips] == [0, 17, 30]
    assert [len(one.gt) for one in clips] == [13, 13, 13]
    assert [one.where for one in rejected] == ["frames 14 to 16 (0.58 to 0.67 s)"]
    assert "a clip needs 5" in rejected[0].reason
    whole, none = ingested(
        footage(tmp_path, clip), Normalise(size=(32, 48), fps=24.0, max_frames=45, split_shots=False)
    )
    assert ([len(one.gt) for one in whole], none) == ([45], [])
    assert whole[0].notes == ("Frames left over at the end of the shot: 2; a clip has 8k+5 frames.",)


def test_the_same_again_is_the_same(tmp_path):
    item = footage(tmp_path, sliding_clip(20, 40, 64), masks=grey(tmp_path / "mask.mkv", square_mask(20, 40, 64)))
    one, two = list(normalize_footage(item, SMALL)), list(normalize_footage(item, SMALL))
    assert all(
        np.array_equal(a.gt, b.gt) and np.array_equal(a.prompts[0][1].masks, b.prompts[0][1].masks)
        for a, b in zip(one, two, strict=True)
    )


def test_image_folders_have_the_footages_rate(tmp_path):
    folder = write_images(tmp_path / "frames", sliding_clip(10))
    (one, _), _ = ingested(Footage(name="clip", video=folder, image_fps=12.0))
    assert one.source_frames[:6] == (0, 0, 1, 1, 2, 2)
    assert "repeat the one before" in one.notes[0]


# ---------------------------------------------------------------- subjects


def test_a_subject_that_a_clip_does_not_show(tmp_path):
    clip, masks = sliding_clip(26), square_mask(26)
    late = masks.copy()
    late[:13] = 0
    item = Footage(
        name="clip",
        video=encode_video(tmp_path / "video.mp4", clip),
        subjects=(
            SubjectFiles(masks=grey(tmp_path / "a.mkv", masks)),
            SubjectFiles(masks=grey(tmp_path / "b.mkv", late)),
        ),
    )
    clips, rejected = ingested(item)
    assert [[number for number, _ in one.prompts] for one in clips] == [[0], [0, 1]]
    assert [one.where for one in rejected] == ["clip 0, subject 1"]
    assert "in no frame of this clip" in rejected[0].reason
    alone = Footage(name="clip", video=item.video, subjects=item.subjects[1:])
    clips, rejected = ingested(alone)
    assert [(one.index, len(one.prompts)) for one in clips] == [(1, 1)], "a clip without any subject is not made"
    assert [one.where for one in rejected] == ["clip 0, subject 0"]


def test_keys_go_to_the_nearest_kept_frame(tmp_path):
    masks = square_mask(26)
    keys = tmp_path / "keys"
    keys.mkdir()
    write_images(keys, [masks[1]], start=1)
    write_images(keys, [masks[12]], start=12)
    settings = Normalise(size=(32, 48), fps=12.0, max_frames=5)
    clips, rejected = ingested(footage(tmp_path, sliding_clip(26), keys=keys), settings)
    assert [one.source_frames for one in clips] == [(0, 2, 4, 6, 8), (10, 12, 14, 16, 18)]
    assert [list(one.prompts[0][1].keys) for one in clips] == [[0], [1]]
    assert np.array_equal(clips[1].prompts[0][1].keys[1], masks[12])
    (keys / "00012.png").unlink()
    clips, rejected = ingested(footage(tmp_path, sliding_clip(26), keys=keys), settings)
    assert len(clips) == 1
    assert rejected == [
        UnusableShot(
            where="clip 1, subject 0", reason="no key mask lies in this clip; draw a key mask between frames 10 and 18"
        )
    ]


@given(st.lists(st.integers(0, 3), min_size=2, max_size=20), st.sets(st.integers(0, 60), max_size=8), st.integers(0, 5))
def test_matched_key_frames_equal_the_plain_search(steps, keys, start):
    frames = tuple(int(frame) for frame in start + np.cumsum([0, *steps]))
    placed = match_key_frames(keys, frames)
    spanned = [key for key in keys if frames[0] <= key <= frames[-1]]
    nearest = {key: min(range(len(frames)), key=lambda at: (abs(frames[at] - key), at)) for key in spanned}
    assert set(placed) == set(nearest.values())
    for at, key in placed.items():
        rivals = [other for other in spanned if nearest[other] == at]
        assert key in rivals
        assert abs(frames[at] - key) == min(abs(frames[at] - other) for other in rivals)


def test_polygons_are_in_pixels_of_the_video(tmp_path):
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"0": [[[16, 16], [47, 16], [47, 31], [16, 31]]]}))
    (one,), _ = ingested(footage(tmp_path, sliding_clip(13, 64, 96), keys=keys))
    mask = one.prompts[0][1].keys[0]
    assert np.argwhere(mask >= 128).min(0).tolist() == [8, 8]
    assert np.argwhere(mask >= 128).max(0).tolist() == [15, 23]


# ---------------------------------------------------------------- a background that another tool made


def panned(frames, height=64, width=96):
    """A camera that pans over a textured ground."""
    texture = ndimage.gaussian_filter(np.random.default_rng(3).normal(0, 1, (height, width + 2 * frames, 3)), (2, 2, 0))
    image = np.clip(128 + 50 * texture / texture.std(), 0, 255).astype(np.uint8)
    return np.stack([image[:, 2 * number : 2 * number + width] for number in range(frames)])


def external_footage(tmp_path, video, plate, **layers):
    return Footage(
        name="clip",
        video=encode_video(tmp_path / "video.mp4", video),
        background=encode_video(tmp_path / "plate.mp4", plate),
        **layers,
    )


def test_a_background_keeps_its_size_and_is_matched_frame_by_frame(tmp_path):
    """The tool left out the first two frames, frame 20 and the last one."""
    scene = panned(40)
    video = scene.copy()
    video[:, 20:40, 30:50] = (230, 60, 40)
    large = np.stack([cv2.resize(frame, (120, 80), interpolation=cv2.INTER_CUBIC) for frame in scene])
    clips, _ = ingested(external_footage(tmp_path, video, np.delete(large, [0, 1, 20, 39], axis=0)))
    assert [one.source_frames[-1] for one in clips] == [12, 25, 38], "frame 39 has no plate"
    for one in clips:
        assert one.external["given"].shape == (len(one.gt), 80, 120, 3)
        for frame, plate in zip(one.source_frames, one.external["given"], strict=True):
            expected = large[max(frame, 2) - (frame == 20)]
            assert np.abs(plate.astype(int) - expected).mean() < 3, frame
    assert [one.missing_share for one in clips] == pytest.approx([2 / 13, 1 / 13, 0])
    assert "plate.mp4 ends 1 frame before the video; clips end with it." in clips[0].notes
    assert "plate.mp4 lacks 3 more frames of the video; their neighbours stand for them." in clips[0].notes


def test_foreground_and_alpha_come_along(tmp_path):
    scene = panned(13)
    rgba = tmp_path / "rgba"
    write_images(
        rgba, np.concatenate([scene, np.repeat(np.arange(13, dtype=np.uint8), 64 * 96).reshape(13, 64, 96, 1)], -1)
    )
    (one,), _ = ingested(external_footage(tmp_path, scene, scene, foreground=rgba, alpha=rgba))
    np.testing.assert_array_equal(one.external["given_foreground"], scene)
    assert one.external["given_alpha"][:, 0, 0].tolist() == list(range(13))
    write_images(tmp_path / "short", scene[:9])
    with pytest.raises(ValueError, match=r"short: has 9 frames, but plate.mp4 has 13; give layers that one run"):
        ingested(external_footage(tmp_path, scene, scene, alpha=tmp_path / "short"))


def test_a_background_of_half_the_length(tmp_path):
    scene = panned(40)
    with pytest.raises(ValueError, match=r"plate\.mp4: lacks 20 of the video's 40 frames; give a background made from"):
        ingested(external_footage(tmp_path, scene, scene[:20]))


# ---------------------------------------------------------------- what is refused


def test_nothing_is_made_of_a_damaged_video(tmp_path):
    whole = encode_video(tmp_path / "whole.mp4", sliding_clip(60), container={"movflags": "faststart"}).read_bytes()
    (tmp_path / "video.mp4").write_bytes(whole[: len(whole) * 9 // 10])
    made = []
    with pytest.raises(ValueError, match=r"video\.mp4: is cut off after frame \d+ of 60; copy or download it again"):
        made.extend(normalize_footage(Footage(name="clip", video=tmp_path / "video.mp4"), SMALL))
    assert made == []


def test_masks_of_another_length(tmp_path):
    with pytest.raises(ValueError, match=r"mask\.mkv: has 9 masks, but the video has 13 frames"):
        ingested(footage(tmp_path, sliding_clip(), masks=grey(tmp_path / "mask.mkv", square_mask(9))))


# ---------------------------------------------------------------- house rules and real clips


def test_imports_no_heavy_package():
    code = "import sys, effectpairs.flows.footage.ingest; print([m for m in ('torch', 'prefect') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


MEMORY = """
from pathlib import Path
import resource, sys
from effectpairs.datasets.footage.listing import Footage
from effectpairs.flows.footage.ingest import normalize_footage
from effectpairs.stages.normalise import Normalise
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
clips = normalize_footage(Footage(name="long", video=Path(sys.argv[1])), Normalise(max_frames=13))
frames = sum(len(clip.gt) for clip in clips)
print(frames, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_does_not_grow_with_the_video(tmp_path):
    """600 frames of 384x672 would be 464 MB; a clip of 13 is 10."""
    small = sliding_clip(20, 48, 84)
    path = encode_video(tmp_path / "long.mp4", (small[number % 20] for number in range(600)), fps=16)
    run = subprocess.run([sys.executable, "-c", MEMORY, str(path)], capture_output=True, text=True, check=True)
    frames, grown_mb = map(int, run.stdout.split())
    assert frames >= 590
    assert grown_mb < 150


@pytest.mark.slow
@pytest.mark.clips
def test_real_clips(clips_dir):
    settings = Normalise(size=(96, 160))
    sources = {
        "davis": "davis",
        "gen-omnimatte": "gen_omnimatte",
        "omnimatte-zero": "omnimatte_zero",
    }
    made = {}
    for name, folder in sources.items():
        source = load_source(name, [f"root={clips_dir / folder}"])
        for item in list_footage(source):
            clips, rejected = ingested(item, settings)
            made[item.name] = [len(one.gt) for one in clips]
            assert rejected == []
            assert all(len(one.prompts) == len(item.subjects) for one in clips)
    assert made == {"bmx-trees": [53], "boys-beach": [85], "davis_camel": [85], "swan_lake": [85, 69]}


@pytest.mark.clips
def test_a_real_background_lines_up(clips_dir):
    """Another size and 7 frames shorter, but away from the swan it shows the same lake."""
    source = FootageSource(
        name="layers",
        root=str(clips_dir / "omnimatte_zero"),
        layout="videos",
        video="**/video.mp4",
        masks=("total_mask.mp4",),
        background="background.mp4",
    )
    (swan,) = list_footage(source)
    one = next(normalize_footage(swan, Normalise(size=(96, 160), max_frames=13)))
    assert one.external["given"].shape[1:] == (512, 768, 3)
    layers = External().decompose(
        one.gt, one.prompts[0][1].masks, None, ExternalLayers(background=one.external["given"])
    )
    assert layers.facts["layer_correlation"] > 0.7
    assert any("ends 7 frames before the video" in note for note in one.notes)
