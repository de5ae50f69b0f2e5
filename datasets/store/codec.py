"""Layers as encoded video: FFV1 in Matroska by default, which gives back every bit; decoded straight into one array.

Colour is stored as 8-bit BGR (no chroma loss), mattes and masks as 8-bit grey. Every frame is a key frame of four
slices, so any frame can be read alone and up to four threads share the work. Exact bytes depend on the pixels alone: no
dates, no random ids, whatever the number of threads. Compact ones (x264) may differ from run to run.

Fast storage holds the same bits: colour as MagicYUV in QuickTime. It takes a third more bytes than FFV1 and is read
eight times as fast (runs of 8 frames of 384x672: 728 against 90 frames a CPU second, `tests/benchmarks/windows.py`).
Where most of a picture is one colour it takes several times FFV1's bytes, which is why mattes and masks stay FFV1. Raw
storage holds them too: colour as plain RGB in QuickTime, three times the bytes of fast and nothing to decode.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange
from jaxtyping import Bool, UInt8

from ...arrays import Matte, Rgb
from ...heartbeat import beat

Storage = Literal["exact", "fast", "raw", "compact"]

BITEXACT = 0x00800000  # AV_CODEC_FLAG_BITEXACT: the encoder writes no version of itself
_FFV1 = {"level": "3", "slicecrc": "1", "slices": "4", "g": "1", "coder": "rice"}
# 4:4:4 keeps coloured edges; crf 10 measured 41 dB on real footage at a sixth of the size.
_X264 = {"crf": "10", "preset": "medium", "tune": "grain", "g": "16"}
_CODINGS: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "exact": ("matroska", "ffv1", "bgr0", _FFV1),
    "fast": ("mov", "magicyuv", "gbrp", {"pred": "left", "slices": "4"}),
    "raw": ("mov", "rawvideo", "rgb24", {}),
    "compact": ("matroska", "libx264", "yuv444p", _X264),
}
"""Container, encoder, pixel format and options of colour in each storage."""
_GREY = ("matroska", "ffv1", "gray", _FFV1)
_LOSSLESS = {"qp": "0", "preset": "veryfast"}
_H264_COLOUR = ("mp4", "libx264rgb", "rgb24", _LOSSLESS)
_H264_GREY = ("mp4", "libx264", "gray", _LOSSLESS)

Frames = UInt8[np.ndarray, "T H W 3"] | UInt8[np.ndarray, "T H W"] | Bool[np.ndarray, "T H W"]


@dataclass(frozen=True, kw_only=True)
class VideoShape:
    """Facts of a decode: all of a layer's video that can be checked without its pixels."""

    num_frames: int
    height: int
    width: int
    colour: bool

    def __str__(self) -> str:
        return f"{self.num_frames} {'colour' if self.colour else 'grey'} frames of {self.height}x{self.width}"


def encode(frames: Frames, *, fps: float, storage: Storage = "exact", threads: int = 1) -> bytes:
    """Encode colour, a matte or a mask (True becomes 255).

    Storages "fast" and "raw" are as exact. With "compact" colour is visually lossless (x264, 4:4:4) and no longer equal
    bit for bit; mattes and masks stay exact in either case.

    Raises:
        ValueError: no frames, no pixels to speak of, or no frame rate.
    """
    if storage == "raw" and frames.shape[2] % 2:  # QuickTime pads the rows of such frames, and readers forget it
        storage = "fast"
    return _encode(frames, _CODINGS[storage] if frames.ndim == 4 else _GREY, fps, threads)


def encode_h264(frames: Frames, *, fps: float) -> bytes:
    """Encode colour, a matte or a mask as lossless H.264 in MP4, which decoders made with ffmpeg give back bit for bit.

    Colour is stored as RGB, so no reader can guess the matrix wrong. Grey says in the file that it has the full range:
    without that, PyAV, OpenCV, imageio and decord all return 127 as 129 and cut what is above 235.

    Raises:
        ValueError: as `encode`.
    """
    return _encode(frames, _H264_COLOUR if frames.ndim == 4 else _H264_GREY, fps, 1)


def _encode(frames: Frames, coding: tuple[str, str, str, dict[str, str]], fps: float, threads: int) -> bytes:
    if len(frames) == 0:
        raise ValueError("a clip of 0 frames cannot be encoded; a clip has at least 5")
    height, width = frames.shape[1:3]
    if min(height, width) < 2:
        raise ValueError(f"frames of {height}x{width} cannot be encoded; a side has at least 2 pixels")
    if not 0 < fps < float("inf"):
        raise ValueError(f"fps={fps} is not a frame rate; give a positive number")
    buffer = io.BytesIO()
    colour = frames.ndim == 4
    form, coder, pixel_format, options = coding
    with av.open(buffer, "w", format=form, options={"fflags": "+bitexact"}) as container:
        stream: Any = container.add_stream(coder, options=options)
        stream.height, stream.width, stream.pix_fmt = height, width, pixel_format
        context = stream.codec_context
        context.flags |= BITEXACT
        context.thread_count, context.framerate = threads, Fraction(fps).limit_denominator(1001)
        context.time_base = 1 / context.framerate
        if coding is _H264_GREY:
            context.color_range = ColorRange.JPEG
        layers: Iterable[Any] = frames
        for index, frame in enumerate(layers):
            beat()
            pixels = frame.view(np.uint8) * np.uint8(255) if frame.dtype == bool else np.ascontiguousarray(frame)
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24" if colour else "gray")
            picture.pts, picture.time_base = index, context.time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def decode(video: bytes, *, threads: int = 1) -> Rgb | Matte:
    """Decode a layer into colour `[T, H, W, 3]` or, where it was stored as grey, `[T, H, W]`; both uint8."""
    with av.open(io.BytesIO(video)) as container:
        stream = _video_stream(container, threads)
        colour = stream.codec_context.pix_fmt != "gray"
        shape = (stream.codec_context.height, stream.codec_context.width) + ((3,) if colour else ())
        expected = _expected_frames(stream)
        frames = np.empty((expected or 1, *shape), np.uint8)
        count = 0
        for picture in container.decode(stream):
            if count == len(frames):
                # The container did not say how many frames there are: grow by doubling.
                frames = np.concatenate([frames, np.empty_like(frames)])
            _copy_pixels(picture, frames[count])
            count += 1
    return frames if count == len(frames) else frames[:count].copy()


class VideoReader:
    """An encoded layer that stays open, for runs of its frames; the rest of its bytes is not read.

    It reads the header, the index, and the frames from the key frame before a run to its end.
    """

    def __init__(self, file: io.IOBase, *, threads: int = 1) -> None:
        """Open a layer.

        Raises:
            ValueError: it is no video that can be read.
        """
        try:
            self._container = av.open(file)
            self._stream = _video_stream(self._container, threads)
        except (av.error.FFmpegError, IndexError) as broken:
            raise ValueError(f"is no video: {broken}") from broken

    def read(self, start: int, count: int) -> Rgb | Matte:
        """Decode the frames `[start, start + count)`, as `decode` gives them.

        Raises:
            ValueError: they are not all there, or do not decode.
        """
        stream = self._stream
        context, rate = stream.codec_context, stream.average_rate
        colour = context.pix_fmt != "gray"
        frames = np.empty((count, context.height, context.width) + ((3,) if colour else ()), np.uint8)
        filled = 0
        try:
            self._container.seek(round(start / rate / stream.time_base), stream=stream)
            for picture in self._container.decode(stream):
                # A container counts time in steps as long as a millisecond, so the nearest frame is meant.
                if round(picture.pts * stream.time_base * rate) == start + filled:
                    _copy_pixels(picture, frames[filled])
                    filled += 1
                    if filled == count:
                        return frames
        except av.error.FFmpegError as broken:
            raise ValueError(f"does not decode at frame {start + filled}: {broken}") from broken
        raise ValueError(f"ends before frame {start + filled}")


def probe(video: bytes) -> VideoShape:
    """Decode every frame and keep only what was found.

    A decoder conceals some damage; bytes are checked by their SHA-256, this checks that they are a video at all.

    Raises:
        ValueError: the video does not decode to its end.
    """
    count = 0
    try:
        with av.open(io.BytesIO(video)) as container:
            stream = _video_stream(container, 1)
            for _ in container.decode(stream):
                count += 1
            context = stream.codec_context
            colour = context.pix_fmt != "gray"
            return VideoShape(num_frames=count, height=context.height, width=context.width, colour=colour)
    except (av.error.FFmpegError, IndexError) as broken:
        raise ValueError(f"does not decode after frame {count}: {broken}") from broken


def _video_stream(container: Any, threads: int) -> Any:
    stream = container.streams.video[0]
    stream.thread_type = "SLICE"
    stream.codec_context.thread_count = threads
    return stream


def _expected_frames(stream: Any) -> int:
    """Frames by the container's word: its count, or its duration times its rate; 0 where it says neither."""
    if stream.frames:
        return int(stream.frames)
    tagged = stream.metadata.get("DURATION")
    if not tagged or not stream.average_rate:
        return 0
    hours, minutes, seconds = tagged.split(":")
    length_s = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return round(length_s * float(stream.average_rate))


def _copy_pixels(picture: Any, out: UInt8[np.ndarray, "..."]) -> None:
    """Copy a decoded picture's pixels; stored BGR and grey need no colour conversion."""
    name = picture.format.name
    if name == "bgr0":
        plane = picture.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1, 4)[:, : plane.width]
        cv2.cvtColor(rows, cv2.COLOR_BGRA2RGB, dst=out)
    elif name == "gbrp":
        green, blue, red = (
            np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
            for plane in picture.planes
        )
        cv2.merge([red, green, blue], dst=out)
    elif name in {"gray", "rgb24"}:
        plane = picture.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        out.reshape(plane.height, -1)[...] = rows[:, : out[0].size]
    else:
        out[...] = picture.to_ndarray(format="rgb24")
