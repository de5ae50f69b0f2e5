"""Runs of frames decoded from a key frame equal those of a decode from the start, on files where seeking misleads."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from effectpairs.datasets.footage import reader as footage_reader
from effectpairs.datasets.footage.reader import VideoFile, describe, open_frames, reopen
from effectpairs.datasets.footage.run_reader import RunReader
from effectpairs.datasets.footage.runs import FrameLog, FrameRun, checksum
from effectpairs.tests.fixtures_videos import encode_video, sliding_clip

FRAMES = 90
CLIP = sliding_clip(FRAMES, 48, 80)
H264 = {"codec": "libx264", "pix_fmt": "yuv420p"}


def muxed(path: Path, source: Path, **options: str) -> Path:
    """The packets of a file in another container."""
    with av.open(str(source)) as whole, av.open(str(path), "w", options=options) as output:
        stream = output.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return path


def open_groups(path: Path) -> Path:
    params = "keyint=15:min-keyint=15:open-gop=1:bframes=3:b-adapt=0:scenecut=0"
    return encode_video(path, CLIP, **H264, crf="20", **{"x264-params": params})


def gradual_refresh(path: Path) -> Path:
    return encode_video(path, CLIP, **H264, **{"x264-params": "intra-refresh=1:keyint=20:bframes=0"})


def edit_list(path: Path) -> Path:
    """An edit list that begins in the middle of a group of pictures."""
    encode_video(path.with_suffix(".whole.mp4"), CLIP, **H264, g="20", bf="2")
    with av.open(str(path.with_suffix(".whole.mp4"))) as whole, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                packet.pts, packet.dts = packet.pts - 7 * 512, packet.dts - 7 * 512  # frames before 0 are hidden
                output.mux(packet)
    return path


def transport_stream(path: Path) -> Path:
    return muxed(path, encode_video(path.with_suffix(".mp4"), CLIP, **H264, g="12", bf="2"))


def fragments_without_index(path: Path) -> Path:
    return encode_video(
        path, CLIP, **H264, g="12", container={"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    )


def matroska_without_cues(path: Path) -> Path:
    source = encode_video(path.with_suffix(".mp4"), CLIP, **H264, g="12", bf="2")
    return muxed(path, source, live="1")


def old_avi(path: Path) -> Path:
    return encode_video(path, CLIP, codec="mpeg4", pix_fmt="yuv420p", g="12", bf="2")


def broken_index(path: Path) -> Path:
    """An AVI whose index says that other frames are the key frames."""
    encode_video(path, CLIP, codec="mpeg4", pix_fmt="yuv420p", g="12", bf="0")
    data = bytearray(path.read_bytes())
    at = data.rfind(b"idx1") + 8
    flags = [data[at + 16 * number + 4] for number in range(FRAMES)]
    for number in range(FRAMES):
        data[at + 16 * number + 4] = flags[(number + 5) % FRAMES]
    path.write_bytes(data)
    return path


def steady(**more: object) -> Callable[[Path], Path]:
    return lambda path: encode_video(path, CLIP, **{**H264, "g": "12", **more})


FILES: dict[str, Callable[[Path], Path]] = {
    "b-frames.mp4": steady(bf="3"),
    "b-frames.mkv": steady(bf="3"),
    "variable.mp4": steady(ticks=np.cumsum(np.tile([1, 3, 2], FRAMES))[:FRAMES].tolist()),
    "turned.mp4": steady(turn=(90.0, False, False)),
    "one-group.mp4": steady(g="1000"),
    "deep.mkv": steady(pix_fmt="yuv420p10le"),
    "lossless.mkv": lambda path: encode_video(path, CLIP, codec="ffv1", pix_fmt="bgr0", level="3"),
    "a.webm": steady(codec="libvpx-vp9", b="0", crf="30"),
    "hidden.webm": steady(codec="libvpx", **{"auto-alt-ref": "1", "lag-in-frames": "8"}),
    "still.mov": lambda path: encode_video(path, CLIP, codec="mjpeg", pix_fmt="yuvj420p"),
    "pictures.gif": lambda path: encode_video(path, CLIP, codec="gif", pix_fmt="rgb8"),
    "open.mp4": open_groups,
    "open.mkv": open_groups,
    "refresh.mp4": gradual_refresh,
    "edited.mp4": edit_list,
    "a.ts": transport_stream,
    "fragments.mp4": fragments_without_index,
    "no-cues.mkv": matroska_without_cues,
    "a.avi": old_avi,
    "index.avi": broken_index,
    "a.mpg": lambda path: encode_video(path, CLIP, codec="mpeg2video", pix_fmt="yuv420p", g="12", bf="2"),
}


def scanned(path: Path) -> tuple[VideoFile, list[np.ndarray], FrameLog]:
    video, log = open_frames(path), FrameLog()
    assert isinstance(video, VideoFile)
    return video, [frame for _, frame in video.frames(log)], log


@pytest.mark.parametrize("name", FILES)
def test_a_run_is_that_of_a_decode_from_the_start(tmp_path, name):
    """In any order, alone and one after another, with gaps and repeats, by the reader and by one opened from JSON."""
    video, whole, log = scanned(FILES[name](tmp_path / name))
    assert len(whole) >= FRAMES - 12
    last = len(whole) - 1
    runs = [[60, 60, 61, 63, 63], [20, 21, 22], [22, 23, 29], [0, 1], [last - 1, last], [30, 31, 32]]
    one = RunReader(video, lambda frame: frame)
    for indices in runs:
        again = reopen(video.path, describe(video))
        for reader in (one, RunReader(again, lambda frame: frame)):
            assert np.array_equal(reader.stack(indices, log.run(indices)), np.stack([whole[i] for i in indices]))


@pytest.mark.parametrize(
    "name", ["b-frames.mp4", "b-frames.mkv", "variable.mp4", "deep.mkv", "a.webm", "open.mp4", "a.ts", "fragments.mp4"]
)
def test_a_run_is_sought(tmp_path, name, monkeypatch):
    """Few frames are decoded for one: those since the key frame."""
    video, whole, log = scanned(FILES[name](tmp_path / name))
    decoded = []

    def count(self: VideoFile, key_pts: int | None) -> object:
        for frame in original(self, key_pts):
            decoded.append(frame.pts)
            yield frame

    original = VideoFile.decode_from
    monkeypatch.setattr(VideoFile, "decode_from", count)
    assert np.array_equal(RunReader(video, lambda frame: frame).stack([75], log.run([75]))[0], whole[75])
    assert len(decoded) <= 20


def test_runs_that_follow_each_other_decode_a_video_once(tmp_path, monkeypatch):
    video, whole, log = scanned(steady(g="1000")(tmp_path / "a.mp4"))
    starts = []
    original = VideoFile.decode_from
    monkeypatch.setattr(
        VideoFile, "decode_from", lambda self, key_pts: starts.append(key_pts) or original(self, key_pts)
    )
    reader = RunReader(video, lambda frame: frame)
    for start in range(0, 80, 8):
        indices = list(range(start, start + 9))  # a slow source: the last frame of a clip is the first of the next
        assert np.array_equal(reader.stack(indices, log.run(indices)), np.stack(whole[start : start + 9]))
    assert starts == [None]


def test_other_pixels_than_those_of_the_first_pass_are_never_given_out(tmp_path):
    """A wrong key frame, a wrong frame count, a checksum that no decode gives."""
    video, whole, log = scanned(steady()(tmp_path / "a.mp4"))
    right = log.run([40, 41])
    assert right.key_frame == 36
    reader = RunReader(video, lambda frame: frame)
    misled = FrameRun(key_frame=right.key_frame, key_pts=log.key_pts[1], checksum=right.checksum)
    assert np.array_equal(reader.stack([40, 41], misled), np.stack(whole[40:42]))
    with pytest.raises(ValueError, match=r"a\.mp4: decodes to other frames each time; it is damaged, copy it again or"):
        reader.stack([40, 41], FrameRun(key_frame=right.key_frame, key_pts=right.key_pts, checksum=1))
    with pytest.raises(ValueError, match="decodes to other frames"):
        reader.stack([FRAMES + 5], right)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "gbrp", "gray", "rgb24", "bgr0", "rgba", "yuv422p10le"])
def test_a_checksum_depends_on_every_pixel_and_on_no_padding(pix_fmt):
    sums = []
    for change in (None, 0, 1, 2):
        frame = av.VideoFrame(50, 34, pix_fmt)
        for number, plane in enumerate(frame.planes):
            rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
            rows[:] = np.random.default_rng(0 if change is None else change).integers(0, 256, rows.shape)
            width = (
                rows.shape[1]
                if len(frame.planes) == 1 and pix_fmt != "gray"
                else plane.width * (2 if "10" in pix_fmt else 1)
            )
            width = 50 * {"rgb24": 3, "bgr0": 4, "rgba": 4}.get(pix_fmt, 1) if len(frame.planes) == 1 else width
            rows[:, :width] = 7
            if change is not None and number == min(change, len(frame.planes) - 1):
                rows[-1, width - 1] = 8 + change
        sums.append(checksum(frame))
    assert len(set(sums)) == 4
    assert min(sums) >= 0


def test_formats_of_bits_have_no_checksum_and_are_decoded_from_the_start(tmp_path):
    assert checksum(av.VideoFrame(50, 34, "monow")) == -1
    log = FrameLog()
    for number in range(3):
        log.add(number / 24, av.VideoFrame(50, 34, "monow"))
    assert log.run([1, 2]) == FrameRun()


def test_frames_between_those_that_are_asked_for_are_logged_and_not_converted(tmp_path, monkeypatch):
    encode_video(tmp_path / "v.mp4", sliding_clip())
    video, frames, whole = scanned(tmp_path / "v.mp4")
    converted, log = [], FrameLog()
    real = footage_reader._to_rgb
    monkeypatch.setattr(footage_reader, "_to_rgb", lambda frame, size: converted.append(frame.pts) or real(frame, size))
    sampled = [frame for _, frame in video.frames(log, step=4)]
    assert np.array_equal(sampled, frames[::4])
    assert len(converted) == len(sampled)
    assert log.times_s == whole.times_s
    assert log.run(range(3)) == whole.run(range(3))
