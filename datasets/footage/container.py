"""The file around a video stream: whether it is whole, how many frames it has, and when each is shown."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from ...heartbeat import beat
from .types import MAX_PIXELS, need_sane_size

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif"
"""Demuxers that read one file and nothing else: a playlist under the name of a video must not open other files."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Facts that the packets tell without decoding."""

    frames: int
    fps: float
    variable: bool
    duration_s: float


@contextmanager
def open_container(path: Path, **more: str) -> Iterator[InputContainer]:
    """Open a file for reading, whatever its name ends in; more are libavformat's own options.

    Raises:
        ValueError: when it is no video in a known container.
    """
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file", "max_pixels": str(MAX_PIXELS), **more}
    try:
        container = av.open(str(path), options=options)
    except (av.FFmpegError, ValueError) as wrong:
        raise ValueError(
            f"{path}: is not a video that can be read (mp4, mov, mkv, webm, avi or ts), or it is empty or cut off; "
            "copy it again, or convert it with ffmpeg"
        ) from wrong
    with container:
        yield container


def picture_stream(path: Path, container: InputContainer) -> VideoStream:
    """The first stream of moving pictures; cover art of a sound file is none."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            if stream.codec_context is None:
                raise ValueError(f"{path}: its codec is not known here; convert it to H.264 with ffmpeg")
            need_sane_size(path, stream.width, stream.height)
            return stream
    if container.streams.audio:
        raise ValueError(f"{path}: holds sound but no picture; give a video")
    raise ValueError(f"{path}: holds no picture; it is cut off or not a video, copy it again")


def measure(path: Path) -> Timing:
    """Walk over all packets without decoding: count the frames, collect their times, see that the file is whole.

    Raises:
        ValueError: when the header claims absurd frames, when there are none, or when the file is cut off.
    """
    # Without decoders the stream's size is what the header claims; with them it would be what the first frame is.
    with open_container(path, codec_whitelist="none") as container:
        stream = picture_stream(path, container)
        ticks, packets, end_s, damaged = _read_packets(container, stream)
        whole_s = (container.duration or 0) / av.time_base
        start_s = (container.start_time or 0) / av.time_base
        # Only this family's header counts packets; others count what they meant to show.
        claimed = stream.frames if container.format.name.startswith("mov") else 0
        expected_frames = claimed or round(whole_s * float(stream.average_rate or 0))
        if damaged or packets < claimed or (not packets and expected_frames):
            raise ValueError(
                f"{path}: is cut off after frame {max(packets - damaged, 0)} of {expected_frames}; "
                "copy or download it again"
            )
        if not ticks:
            raise ValueError(f"{path}: holds no frames; make it anew")
        # Matroska's duration is exact to the millisecond; what others say may be a guess from the bit rate.
        exact = container.format.name.startswith("matroska")
        slack_s = 1.5 / float(stream.average_rate or 24) + 0.01 if exact else max(0.5, 0.02 * whole_s)
        if whole_s - (end_s - start_s) > slack_s:
            raise ValueError(
                f"{path}: is cut off after {end_s - start_s:.2f} of {whole_s:.2f} s; copy or download it again"
            )
        return _timing(ticks, stream)


def _read_packets(container: InputContainer, stream: VideoStream) -> tuple[list[int | None], int, float, bool]:
    """Read all packets of a file.

    Returns:
        Times of the frames that are shown, in the stream's time base; the number of the picture's packets, with those
        that an edit list hides; the second in which the last packet of any stream ends; and whether one is damaged.
    """
    ticks: list[int | None] = []
    packets, end_s, damaged = 0, 0.0, False
    try:
        for packet in container.demux():
            beat()
            if not packet.size:
                continue
            if packet.pts is not None:
                end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream is stream:
                packets += 1
                damaged = damaged or packet.is_corrupt
                ticks += [] if packet.is_discard else [packet.pts]
    except av.FFmpegError:
        damaged = True
    return ticks, packets, end_s, damaged


def _timing(times: list[int | None], stream: VideoStream) -> Timing:
    known_times = sorted(time for time in times if time is not None)
    nominal = float(stream.average_rate or stream.guessed_rate or 1)
    if len(known_times) < len(times) or len(known_times) < 2 or known_times[0] == known_times[-1]:
        return Timing(frames=len(times), fps=nominal, variable=False, duration_s=len(times) / nominal)
    time_base = stream.time_base or Fraction(1, 1000)
    steps_s = np.diff(known_times) * float(time_base)
    fps = float((len(known_times) - 1) / ((known_times[-1] - known_times[0]) * time_base))
    # A container that rounds to milliseconds makes 41 and 42 of a steady 24 fps.
    variable = bool(np.ptp(steps_s) > 0.0021 + 0.1 * np.median(steps_s))
    return Timing(frames=len(times), fps=fps, variable=variable, duration_s=len(times) / fps)
