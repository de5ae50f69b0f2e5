import os
import struct
import tempfile
import time
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from effectpairs.datasets.footage.reader import count_frames, open_frames
from effectpairs.tests.fixtures_videos import encode_video, sliding_clip, write_images
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image


def frames_of(path, **more):
    return np.stack([frame for _, frame in open_frames(path, **more)])


def times_of(path):
    return [time_s for time_s, _ in open_frames(path)]


# ---------------------------------------------------------------- what is shown


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_lossless_rgb_comes_back_bit_for_bit(tmp_path, name):
    clip = sliding_clip()
    path = encode_video(tmp_path / name, clip)
    reader = open_frames(path)
    assert np.array_equal(frames_of(path), clip)
    assert (reader.info.size, reader.info.frames, reader.info.fps) == ((32, 48), 13, pytest.approx(24, rel=2e-3))
    assert reader.info.duration_s == pytest.approx(13 / 24, rel=2e-3)
    assert not reader.info.variable
    assert np.array_equal(frames_of(path), clip), "a second loop reads anew"


def test_webm(tmp_path):
    clip = sliding_clip()
    path = encode_video(tmp_path / "a.webm", clip, codec="libvpx-vp9", pix_fmt="yuv420p", crf="20", b="0")
    back = frames_of(path)
    assert back.shape == clip.shape
    assert np.abs(back.astype(int) - clip).mean() < 8


def by_formula(planes, kr, kb, full, bits):
    """BT.601/709 as the standards write it: Y', Cb, Cr to R'G'B'."""
    unit = 2.0 ** (bits - 8)
    y, u, v = (plane / unit for plane in planes)
    low, luma, chroma = (0, 255, 255) if full else (16, 219, 224)
    if full and bits > 8:
        luma = chroma = (2**bits - 1) / unit
    y, u, v = (y - low) / luma, (u - 128) / chroma, (v - 128) / chroma
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.stack([red, green, blue], -1) * 255, 0, 255)


def painted(fmt, values, bits):
    """A frame of 3x4 flat fields of 16 pixels."""
    frame = av.VideoFrame(64, 48, fmt)
    for plane, fields in zip(frame.planes, values, strict=True):
        flat = np.kron(fields, np.ones((plane.height // 3, plane.width // 4))).astype(
            np.uint16 if bits > 8 else np.uint8
        )
        held = np.frombuffer(plane, flat.dtype).reshape(plane.height, -1).copy()
        held[:, : plane.width] = flat
        plane.update(held.tobytes())
    return frame


@pytest.mark.parametrize("matrix", ["601", "709"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(
    ("fmt", "bits"), [("yuv420p", 8), ("yuv422p", 8), ("yuv444p", 8), ("yuv420p10le", 10), ("yuv444p10le", 10)]
)
def test_colour_is_converted_by_the_standards_formula(tmp_path, fmt, bits, full, matrix):
    rng = np.random.default_rng(3)
    unit = 2 ** (bits - 8)
    y = rng.integers(40 * unit, 200 * unit, (3, 4))
    u, v = rng.integers(100 * unit, 156 * unit, (2, 3, 4))
    tags = {"colorspace": 1 if matrix == "709" else 5, "color_range": 2 if full else 1}
    frames = [painted(fmt, (y, u, v), bits) for _ in range(3)]
    for frame in frames:
        frame.colorspace, frame.color_range = tags["colorspace"], tags["color_range"]
    path = encode_video(tmp_path / "a.mp4", frames, codec="libx264", pix_fmt=fmt, tags=tags)
    reader = open_frames(path)
    assert (reader.info.bit_depth, reader.info.full_range) == (bits, full)
    weights = (0.2126, 0.0722) if matrix == "709" else (0.299, 0.114)
    wrong = np.abs(frames_of(path)[1, 8::16, 8::16] - by_formula((y, u, v), *weights, full, bits))
    assert wrong.max() < (0.51 if bits == 8 or not full else 1.3)


@pytest.mark.parametrize(("height", "weights"), [(48, (0.299, 0.114)), (720, (0.2126, 0.0722))])
def test_an_untold_matrix_is_guessed_as_players_do(tmp_path, height, weights):
    frame = av.VideoFrame(64, height, "yuv444p")
    for plane, value in zip(frame.planes, (120, 90, 170), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    path = encode_video(tmp_path / "a.mkv", [frame], codec="ffv1", pix_fmt="yuv444p", level="3")
    want = by_formula(np.array([[120.0], [90.0], [170.0]]), *weights, False, 8)
    assert np.abs(frames_of(path)[0, 5, 5] - want).max() < 0.51


@pytest.mark.parametrize(("pix_fmt", "bits"), [("gray", 8), ("gray10le", 10), ("bgra", 8)])
def test_grey_and_alpha(tmp_path, pix_fmt, bits):
    clip = sliding_clip()
    grey = clip[..., 0]
    path = encode_video(
        tmp_path / "a.mkv", grey if pix_fmt.startswith("gray") else clip, codec="ffv1", pix_fmt=pix_fmt, level="3"
    )
    want = np.repeat(grey[..., None], 3, -1) if pix_fmt.startswith("gray") else clip
    assert open_frames(path).info.bit_depth == bits
    assert np.abs(frames_of(path).astype(int) - want).max() <= (1 if bits == 10 else 0)


@pytest.mark.parametrize("size", [(33, 47), (17, 49)])
def test_odd_sizes(tmp_path, size):
    clip = sliding_clip(5, *size)
    path = encode_video(tmp_path / "a.mp4", clip, codec="libx264", pix_fmt="yuv444p")
    assert np.abs(frames_of(path).astype(int) - clip).max() <= 3
    lossy = encode_video(
        tmp_path / "b.mp4", [frame[:-1, :-1] for frame in clip], codec="libx264", pix_fmt="yuv420p", crf="5"
    )
    assert frames_of(lossy).shape[1:3] == (size[0] - 1, size[1] - 1)


TURNS = {
    (0.0, False, False): lambda frame: frame,
    (90.0, False, False): lambda frame: np.rot90(frame, 1),
    (-90.0, False, False): lambda frame: np.rot90(frame, -1),
    (180.0, False, False): lambda frame: np.rot90(frame, 2),
    (0.0, True, False): lambda frame: frame[:, ::-1],
    (0.0, False, True): lambda frame: frame[::-1],
}


@pytest.mark.parametrize("turn", TURNS)
def test_rotation_is_honoured(tmp_path, turn):
    clip = sliding_clip(3)
    path = encode_video(tmp_path / "a.mp4", clip, turn=turn)
    want = TURNS[turn](clip[1])
    info = open_frames(path).info
    assert (info.height, info.width) == want.shape[:2]
    assert np.array_equal(frames_of(path)[1], want)
    (_, small), *_ = open_frames(path).thumbnails(24)
    assert small.shape[0] == 24
    assert small.shape[1] == round(24 * want.shape[1] / want.shape[0])


def test_a_flip_and_a_turn_together(tmp_path):
    """Flipped left to right, then turned: the display matrix [0 -1; -1 0] maps (x, y) to (-y, -x)."""
    clip = sliding_clip(3)
    path = encode_video(tmp_path / "a.mp4", clip, turn=(90.0, True, False))
    want = clip[1].transpose(1, 0, 2)[::-1, ::-1]
    assert np.array_equal(frames_of(path)[1], want)


def test_a_crooked_rotation_is_said(tmp_path):
    path = encode_video(tmp_path / "a.mp4", sliding_clip(3), turn=(30.0, False, False))
    assert frames_of(path).shape[1:3] == (32, 48)
    assert "no whole quarter turn" in open_frames(path).info.notes[0]


@pytest.mark.parametrize("sar", [Fraction(2, 1), Fraction(1, 2), Fraction(16, 11)])
def test_pixels_become_square(tmp_path, sar):
    clip = sliding_clip(3)
    path = encode_video(tmp_path / "a.mp4", clip, codec="libx264", pix_fmt="yuv444p", sar=sar, crf="1")
    info = open_frames(path).info
    assert (info.height, info.width) == (32, round(48 * sar))
    shown = frames_of(path)[0]
    red = (shown[12, :, 0] > 180).nonzero()[0]  # the square is 8 stored pixels wide, from the 2nd
    assert red[0] == pytest.approx(2 * sar, abs=1)
    assert len(red) == pytest.approx(8 * sar, abs=1.1)


def test_variable_rate_keeps_real_times(tmp_path):
    ticks = [0, 1, 2, 5, 6, 10, 11]
    path = encode_video(tmp_path / "a.mp4", sliding_clip(7), ticks=ticks)
    assert times_of(path) == pytest.approx([tick / 24 for tick in ticks])
    info = open_frames(path).info
    assert info.variable
    assert info.fps == pytest.approx(6 / (11 / 24))
    assert any("rate varies" in note for note in info.notes)


def test_times_begin_at_nought(tmp_path):
    path = encode_video(tmp_path / "a.mkv", sliding_clip(5), ticks=[48, 49, 50, 51, 52])
    assert times_of(path) == pytest.approx([0, 1 / 24, 2 / 24, 3 / 24, 4 / 24], abs=1.1e-3)
    assert not open_frames(path).info.variable, "a container's rounding to milliseconds is no variable rate"


def test_interlaced_is_said(tmp_path):
    options = {"qp": "0", "x264-params": "tff=1:interlaced=1"}
    path = encode_video(tmp_path / "a.mp4", sliding_clip(5, 64, 64), codec="libx264", pix_fmt="yuv420p", **options)
    assert any("interlaced" in note for note in open_frames(path).info.notes)
    assert count_frames(open_frames(path)) == 5


def test_hdr_is_said(tmp_path):
    path = encode_video(
        tmp_path / "a.mp4", sliding_clip(3), codec="libx264", pix_fmt="yuv420p10le", tags={"color_trc": 16}
    )
    assert any("PQ" in note for note in open_frames(path).info.notes)


def test_thumbnails_are_the_frames_made_small(tmp_path):
    clip = sliding_clip(4, 64, 96)
    path = encode_video(tmp_path / "a.mp4", clip)
    small = [frame for _, frame in open_frames(path).thumbnails(16)]
    want = clip.reshape(4, 16, 4, 24, 4, 3).mean((2, 4))
    assert np.abs(np.stack(small) - want).max() < 3
    folder = write_images(tmp_path / "images", clip)
    assert np.abs(np.stack([frame for _, frame in open_frames(folder).thumbnails(16)]) - want).max() <= 1


# ---------------------------------------------------------------- folders of images


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".jpg"])
def test_image_folders(tmp_path, suffix):
    clip = sliding_clip(4)
    folder = write_images(tmp_path / "images", clip, suffix=suffix, start=7)
    (folder / "notes.txt").write_text("not a frame")
    reader = open_frames(folder, image_fps=12.0)
    assert [time_s for time_s, _ in reader] == pytest.approx([0, 1 / 12, 2 / 12, 3 / 12])
    assert (reader.info.frames, reader.info.fps, reader.info.size) == (4, 12.0, (32, 48))
    off = np.abs(frames_of(folder).astype(int) - clip)
    assert off.mean() < 9 if suffix in {".jpg", ".webp"} else off.max() == 0


def test_images_are_ordered_by_number(tmp_path):
    clip = sliding_clip(12)
    for number, frame in enumerate(clip):
        Image.fromarray(frame).save(tmp_path / f"shot2_{number}.png")
    assert np.array_equal(frames_of(tmp_path), clip), "10 comes after 9, not after 1"


@given(deep=st.integers(0, 65535))
@settings(max_examples=15, deadline=None)
def test_sixteen_bit_grey_is_scaled(tmp_path_factory, deep):
    folder = tmp_path_factory.mktemp("deep")
    Image.fromarray(np.full((4, 6), deep, np.uint16)).save(folder / "0.png")
    assert frames_of(folder)[0, 0, 0].tolist() == [int(deep / 257 + 0.5)] * 3


def test_a_camera_that_lay_on_its_side(tmp_path):
    upright = sliding_clip(1)[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(tmp_path / "0.png", exif=exif)
    assert np.array_equal(frames_of(tmp_path)[0], upright)
    assert open_frames(tmp_path).info.size == upright.shape[:2]


def test_palette_and_alpha_images(tmp_path):
    clip = sliding_clip(1)
    alpha = np.dstack([clip[0], np.full(clip[0].shape[:2], 7, np.uint8)])
    Image.fromarray(alpha).save(tmp_path / "0.png")
    assert np.array_equal(frames_of(tmp_path), clip)


# ---------------------------------------------------------------- bad input: one sentence, file and remedy


def refusal(path, **more):
    with pytest.raises(ValueError) as caught:
        for _ in open_frames(path, **more):
            pass
    sentence = str(caught.value)
    assert str(path) in sentence or path.name in sentence
    assert "\n" not in sentence
    assert ";" in sentence, "what is wrong; what to do"
    return sentence


def test_missing_and_empty(tmp_path):
    assert "is not there" in refusal(tmp_path / "gone.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    assert "empty file" in refusal(tmp_path / "empty.mp4")
    (tmp_path / "folder").mkdir()
    assert "holds no images" in refusal(tmp_path / "folder")


@pytest.mark.parametrize(
    "text",
    ["hello\n" * 100, "#EXTM3U\n#EXTINF:9,\na.mp4\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile a.mp4\n"],
    ids=["text", "playlist", "concat"],
)
def test_wrong_extension(tmp_path, text):
    encode_video(tmp_path / "a.mp4", sliding_clip())
    (tmp_path / "b.mp4").write_text(text)
    assert "is not a video" in refusal(tmp_path / "b.mp4")


def test_a_video_under_another_name_just_works(tmp_path):
    clip = sliding_clip()
    encode_video(tmp_path / "a.mkv", clip).rename(tmp_path / "a.mp4")
    assert np.array_equal(frames_of(tmp_path / "a.mp4"), clip)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.webm", "fragments.mp4"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_cut_off(tmp_path, name, share):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (48, 64, 96, 3), np.uint8)
    codec = {"codec": "libvpx-vp9", "pix_fmt": "yuv420p", "cpu-used": "8"} if name == "a.webm" else {}
    container = {"movflags": "faststart" if name == "a.mp4" else "frag_keyframe+empty_moov"} if "mp4" in name else {}
    whole = encode_video(tmp_path / f"whole-{name}", noise, container=container, **codec).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
    assert "cut off" in refusal(tmp_path / name)


def test_cut_off_before_its_index(tmp_path):
    whole = encode_video(tmp_path / "whole.mp4", sliding_clip()).read_bytes()
    (tmp_path / "a.mp4").write_bytes(whole[: len(whole) // 2])
    assert "cut off" in refusal(tmp_path / "a.mp4")


def test_where_it_is_cut_off(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (20, 32, 48, 3), np.uint8)
    whole = encode_video(tmp_path / "whole.mp4", noise, container={"movflags": "faststart"}, qp="0", g="1").read_bytes()
    (tmp_path / "a.mp4").write_bytes(whole[: len(whole) // 2])
    assert "after frame 9 of 20" in refusal(tmp_path / "a.mp4") or "after frame 10 of 20" in refusal(tmp_path / "a.mp4")


def test_damaged_inside(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (20, 32, 48, 3), np.uint8)
    path = encode_video(tmp_path / "a.mp4", noise, codec="libx264", pix_fmt="yuv420p", crf="20", bf="0")
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][10]
        at = path.read_bytes().find(bytes(packet))
    data = bytearray(path.read_bytes())
    data[at + 300 : at + 340] = bytes(40)
    path.write_bytes(data)
    assert "frame 10" in refusal(path)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_no_frames(tmp_path, name):
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        container.start_encoding()
    refusal(path)


def test_sound_only(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 4096), np.float32), "fltp", layout="stereo")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    assert "sound but no picture" in refusal(path)


def test_a_video_with_sound(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264rgb", rate=24, options={"qp": "0"})
        video.width, video.height, video.pix_fmt = 48, 32, "rgb24"
        audio = container.add_stream("aac", rate=44100)
        for frame in sliding_clip():
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 44100), np.float32), "fltp", layout="stereo")
        sound.sample_rate = 44100
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    assert np.array_equal(frames_of(path), sliding_clip()), "sound may well last longer than the picture"


@pytest.mark.parametrize(
    ("codec", "name", "side"), [("ffv1", "a.mkv", 100_000), ("mjpeg", "a.mkv", 100_000), ("png", "a.mov", 20_000)]
)
def test_absurd_headers(tmp_path, codec, name, side):
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_mux_stream(codec, rate=24, width=side, height=side)
        packet = av.Packet(b"x" * 1000)
        packet.stream, packet.pts, packet.dts, packet.time_base = stream, 0, 0, Fraction(1, 24)
        container.mux(packet)
    assert f"claims frames of {side}x{side}" in refusal(path)


def test_an_absurd_mp4_header(tmp_path):
    path = encode_video(tmp_path / "a.mp4", sliding_clip())
    data = bytearray(path.read_bytes())
    at = data.find(b"avc1", data.find(b"stsd")) + 28
    data[at : at + 4] = struct.pack(">HH", 65535, 65535)
    path.write_bytes(data)
    assert "claims frames of 65535x65535" in refusal(path)


@pytest.mark.parametrize("side", [16_400, 100_000])
def test_an_absurd_image(tmp_path, side):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    (tmp_path / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    assert "above the limit" in refusal(tmp_path)


def test_a_program_of_postscript_is_no_image(tmp_path):
    (tmp_path / "0.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 48 32\n%%EndComments\nshowpage\n")
    assert "is not an image, whatever its name says" in refusal(tmp_path)


def test_exr_is_said_to_be_none_of_the_formats(tmp_path):
    (tmp_path / "0.exr").write_bytes(b"\x76\x2f\x31\x01\x02\x00\x00\x00" + bytes(100))
    assert "holds no images; put the sequence there as 00000.png" in refusal(tmp_path)
    assert "is not a video" in refusal(tmp_path / "0.exr")


@pytest.mark.parametrize(("suffix", "how"), [(".png", "PNG"), (".webp", "WEBP"), (".png", "GIF"), (".tif", "TIFF")])
def test_of_an_animated_image_the_first_picture_is_taken(tmp_path, suffix, how):
    """However many pictures it holds: they are not decoded."""
    pictures = [Image.fromarray(frame) for frame in sliding_clip(200)]
    pictures[0].save(tmp_path / f"0{suffix}", format=how, save_all=True, append_images=pictures[1:], lossless=True)
    begun = time.process_time()
    frames = frames_of(tmp_path)
    assert time.process_time() - begun < 1
    assert frames.shape == (1, 32, 48, 3)
    assert np.abs(frames[0].astype(int) - sliding_clip(1)[0]).mean() < (9 if how == "GIF" else 0.5)


def test_bad_sequences(tmp_path):
    gap = write_images(tmp_path / "gap", sliding_clip(5))
    (gap / "00002.png").unlink()
    assert "image 2 is missing between 00001.png and 00003.png" in refusal(gap)
    odd = write_images(tmp_path / "odd", sliding_clip(5))
    Image.fromarray(sliding_clip(1, 16, 16)[0]).save(odd / "00003.png")
    assert "00003.png: is 16x16 pixels, but 00000.png is 48x32" in refusal(odd)
    twice = write_images(tmp_path / "twice", sliding_clip(3))
    Image.fromarray(sliding_clip(1)[0]).save(twice / "1.jpg")
    assert "same number" in refusal(twice)
    (twice / "1.jpg").rename(twice / "cover.jpg")
    assert "no number in its name" in refusal(twice)
    broken = write_images(tmp_path / "broken", sliding_clip(3))
    (broken / "00001.png").write_bytes((broken / "00001.png").read_bytes()[:120])
    assert "00001.png: is damaged" in refusal(broken)
    (broken / "00001.png").write_text("hello")
    assert "00001.png: is not an image" in refusal(broken)


@pytest.fixture
def open_air():
    """A folder that anyone may look into, where root steps down, because root may read anything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        if os.getuid() == 0:
            os.seteuid(0)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_unreadable(open_air, kind):
    path = (
        encode_video(open_air / "a.mp4", sliding_clip())
        if kind == "file"
        else write_images(open_air / "images", sliding_clip(2))
    )
    path.chmod(0)
    if os.getuid() == 0:
        os.seteuid(65534)
    sentence = refusal(path)
    assert "may not be read" in sentence
    assert "chmod" in sentence


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_flipped_bytes_never_surprise(tmp_path_factory, seed):
    """Whatever a file holds: frames of one size come out, or one sentence with its name does."""
    rng = np.random.default_rng(seed)
    base = tmp_path_factory.getbasetemp() / "flips"
    if not base.exists():
        base.mkdir()
        encode_video(base / "a.mp4", sliding_clip(), container={"movflags": "faststart"})
        encode_video(base / "a.mkv", sliding_clip())
        encode_video(base / "a.avi", sliding_clip(), codec="mpeg4", pix_fmt="yuv420p")
        for suffix in (".png", ".jpg", ".tif", ".webp"):
            write_images(base / suffix[1:], sliding_clip(1), suffix=suffix)
    sound = sorted(path for path in base.rglob("*") if path.is_file())
    chosen = sound[rng.integers(len(sound))]
    folder = tmp_path_factory.mktemp("flip")
    data = bytearray(chosen.read_bytes())
    for _ in range(rng.integers(1, 6)):
        data[rng.integers(min(len(data), 900))] = rng.integers(256)
    (folder / chosen.name).write_bytes(data[: rng.integers(1, len(data))] if rng.random() < 0.2 else data)
    path = folder if chosen.parent != base else folder / chosen.name
    sizes, said = set(), None
    try:
        sizes = {frame.shape for _, frame in open_frames(path)}
    except ValueError as wrong:
        said = str(wrong)
    assert len(sizes) == 1 if said is None else str(folder) in said and "\n" not in said
