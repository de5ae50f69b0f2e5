"""The file around a video stream: whether it is whole, how many frames it has, and when each is shown."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from .probe import MAX_PIXELS, need_sane_size

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif"
"""Demuxers that read one file and nothing else: a playlist under the name of a video must not open other files."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What the packets say, without decoding."""

    frames: int
    fps: float
    variable: bool
    duration_s: float


@dataclass(frozen=True, kw_only=True)
class FirstFrame:
    """The first decoded frame and how it wants to be shown."""

    frame: av.VideoFrame
    pixel_aspect: Fraction
    """Width of a stored pixel by its height."""
    display_matrix: tuple[int, ...] | None

    @classmethod
    def of(cls, path: Path, container: InputContainer) -> Self:
        """Decode one frame."""
        stream = picture_stream(path, container)
        try:
            frame = next(iter(container.decode(stream)))
        except (av.FFmpegError, StopIteration) as wrong:
            raise ValueError(f"{path}: its first frame does not decode; copy it again or re-encode it") from wrong
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
        return cls(
            frame=frame,
            pixel_aspect=stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1),
            display_matrix=None if matrix is None else tuple(int(v) for v in np.frombuffer(matrix, np.int32)),
        )


@contextmanager
def open_container(path: Path) -> Iterator[InputContainer]:
    """Open a file for reading, whatever its name ends in.

    Raises:
        ValueError: when it is no video in a known container.
    """
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file", "max_pixels": str(MAX_PIXELS)}
    try:
        container = av.open(str(path), options=options)
    except (av.FFmpegError, ValueError) as wrong:
        raise ValueError(
            f"{path}: is not a video that can be read (mp4, mov, mkv, webm, avi or ts), or its index is cut off; "
            "copy it again, or convert it with ffmpeg"
        ) from wrong
    with container:
        yield container


def picture_stream(path: Path, container: InputContainer) -> VideoStream:
    """The first stream of moving pictures; cover art of a sound file is none."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            need_sane_size(path, stream.width, stream.height)
            return stream
    if container.streams.audio:
        raise ValueError(f"{path}: holds sound but no picture; give a video")
    raise ValueError(f"{path}: holds no picture; it is cut off or not a video, copy it again")


def measure(path: Path, container: InputContainer) -> Timing:
    """Walk over all packets: count the frames, collect their times, and make sure that the file is whole."""
    stream = picture_stream(path, container)
    times, end_s, damaged = [], 0.0, False
    try:
        for packet in container.demux():
            if packet.size and packet.stream is stream and not packet.is_discard:
                damaged = damaged or packet.is_corrupt
                times.append(packet.pts)
            if packet.size and packet.pts is not None:
                end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    except av.FFmpegError:
        damaged = True
    claimed = stream.frames
    whole_s = (container.duration or 0) / av.time_base
    if damaged or len(times) < claimed or (not times and whole_s):
        of = f" of {claimed}" if claimed else f" of about {round(whole_s * float(stream.average_rate or 0))}"
        raise ValueError(
            f"{path}: is cut off after frame {max(len(times) - damaged, 0)}{of}; copy or download it again"
        )
    if not times:
        raise ValueError(f"{path}: holds no frames; make it anew")
    start_s = float((container.start_time or 0) / av.time_base)
    if whole_s - (end_s - start_s) > max(0.5, 0.02 * whole_s):
        raise ValueError(
            f"{path}: is cut off after {end_s - start_s:.1f} of {whole_s:.1f} s; copy or download it again"
        )
    return _timing(times, stream)


def _timing(times: list[int | None], stream: VideoStream) -> Timing:
    known = sorted(time for time in times if time is not None)
    nominal = float(stream.average_rate or stream.guessed_rate or 1)
    if len(known) < len(times) or len(known) < 2 or known[0] == known[-1]:
        return Timing(frames=len(times), fps=nominal, variable=False, duration_s=len(times) / nominal)
    time_base = stream.time_base or Fraction(1, 1000)
    steps_s = np.diff(known) * float(time_base)
    fps = float((len(known) - 1) / ((known[-1] - known[0]) * time_base))
    # A container that rounds to milliseconds makes 41 and 42 of a steady 24 fps.
    variable = bool(np.ptp(steps_s) > 0.0021 + 0.1 * np.median(steps_s))
    return Timing(frames=len(times), fps=fps, variable=variable, duration_s=len(times) / fps)
