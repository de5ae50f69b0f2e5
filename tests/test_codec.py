"""Layers survive encoding bit for bit; the bytes depend on the pixels alone."""

import io

import av
import numpy as np
import pytest
from effectpairs.datasets.store import codec
from effectpairs.tests.fixtures_workspaces import psnr_db
from hypothesis import given, settings
from hypothesis import strategies as st

sizes = st.tuples(st.integers(1, 7), st.integers(2, 40), st.integers(2, 40))


@given(sizes, st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_every_bit_comes_back(size, seed):
    rng = np.random.default_rng(seed)
    colour = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    matte = rng.integers(0, 256, size, dtype=np.uint8)
    for storage in ("exact", "fast", "raw"):
        assert np.array_equal(codec.decode(codec.encode(colour, fps=16.0, storage=storage)), colour)
    assert np.array_equal(codec.decode(codec.encode(matte, fps=16.0)), matte)
    assert np.array_equal(codec.decode(codec.encode(matte > 99, fps=16.0)) > 127, matte > 99)


def test_equal_pixels_stay_equal(scene):
    changed = scene.gt.copy()
    changed[scene.shadow] = 7
    gt, other = (codec.decode(codec.encode(video, fps=16.0)) for video in (scene.gt, changed))
    assert np.array_equal((gt == other).all(-1), (scene.gt == changed).all(-1))


def test_a_mask_is_stored_as_0_and_255(scene):
    assert set(np.unique(codec.decode(codec.encode(scene.shadow, fps=16.0)))) == {0, 255}


@pytest.mark.parametrize("storage", ["exact", "fast", "raw", "compact"])
def test_bytes_depend_on_the_pixels_alone(scene, storage):
    first = codec.encode(scene.gt, fps=16.0, storage=storage)
    assert codec.encode(scene.gt.copy(), fps=16.0, storage=storage) == first
    not_contiguous = np.ascontiguousarray(scene.gt[..., ::-1])[..., ::-1]
    assert codec.encode(not_contiguous, fps=16.0, storage=storage) == first


@pytest.mark.parametrize("storage", ["exact", "fast", "raw"])
def test_the_number_of_threads_changes_nothing(scene, storage):
    one = codec.encode(scene.gt, fps=16.0, storage=storage, threads=1)
    assert codec.encode(scene.gt, fps=16.0, storage=storage, threads=4) == one
    assert np.array_equal(codec.decode(one, threads=4), scene.gt)


def test_equals_plain_decoding(scene):
    for frames in (scene.gt, scene.subject_mask):
        video = codec.encode(frames, fps=16.0)
        form = "rgb24" if frames.ndim == 4 else "gray"
        with av.open(io.BytesIO(video)) as container:
            plain = np.stack([frame.to_ndarray(format=form) for frame in container.decode(video=0)])
        assert np.array_equal(codec.decode(video), plain)


@pytest.mark.parametrize("promised", [0, 1, 5, 13, 14, 500])
def test_what_the_container_promises_does_not_matter(scene, monkeypatch, promised):
    video = codec.encode(scene.gt, fps=16.0)
    monkeypatch.setattr(codec, "_expected_frames", lambda stream: promised)
    assert np.array_equal(codec.decode(video), scene.gt)


def test_a_player_sees_rate_and_length(scene):
    with av.open(io.BytesIO(codec.encode(scene.gt, fps=24000 / 1001))) as container:
        stream = container.streams.video[0]
        assert abs(float(stream.average_rate) - 24000 / 1001) < 1e-3
        times = [float(frame.time) for frame in container.decode(stream)]
    assert np.allclose(times, np.arange(len(scene.gt)) * 1001 / 24000, atol=1e-3)


@pytest.mark.parametrize("storage", ["exact", "fast", "raw"])
def test_every_frame_is_a_key_frame(scene, storage):
    with av.open(io.BytesIO(codec.encode(scene.gt, fps=16.0, storage=storage))) as container:
        assert all(packet.is_keyframe for packet in container.demux(video=0) if packet.size)


def test_compact_keeps_masks_exact_and_colour_above_38_db(scene):
    colour = codec.encode(scene.gt, fps=16.0, storage="compact")
    assert psnr_db(codec.decode(colour), scene.gt) > 38
    assert psnr_db(codec.decode(colour)[..., 0], scene.gt[..., 0]) > 36  # no channel is left behind
    for mask in (scene.subject_mask, scene.shadow):
        assert codec.encode(mask, fps=16.0, storage="compact") == codec.encode(mask, fps=16.0)


def test_probe_says_what_is_there(scene):
    colour = codec.probe(codec.encode(scene.gt, fps=16.0))
    assert colour == codec.VideoShape(num_frames=13, height=48, width=80, colour=True)
    assert str(codec.probe(codec.encode(scene.shadow, fps=16.0))) == "13 grey frames of 48x80"


def test_probe_names_what_does_not_decode(scene):
    video = codec.encode(scene.gt, fps=16.0)
    for broken in (b"", b"not a video at all" * 99, video[:200]):
        with pytest.raises(ValueError, match="does not decode after frame"):
            codec.probe(broken)
    assert codec.probe(video[: len(video) // 2]).num_frames < 13


def test_what_cannot_be_encoded_is_named(scene):
    with pytest.raises(ValueError, match="0 frames"):
        codec.encode(scene.gt[:0], fps=16.0)
    with pytest.raises(ValueError, match="frames of 1x80"):
        codec.encode(scene.gt[:, :1], fps=16.0)
    for fps in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="is not a frame rate"):
            codec.encode(scene.gt, fps=fps)
