"""Video files as footage: PyAV decodes, and what the container says of colour, shape and time is honoured."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation

from ..arrays import Image
from .probe import MAX_PIXELS, FootageInfo, need_sane_size

CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,gif"
"""Demuxers that read one file and nothing else: a playlist under the name of a video must not open other files."""

EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT
"""Half a level of error in 8-bit RGB where swscale's default is 2.5 off, and the same bytes on every processor."""

MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""AVColorSpace (how the file words it) to SWS_CS (how the converter does); others are guessed by size."""
UNSPECIFIED, BT709, BT601 = 2, 1, 5
HDR = {16: "PQ", 18: "HLG"}


@dataclass(frozen=True, kw_only=True)
class Turn:
    """How stored frames become upright ones."""

    quarters: int = 0
    """Quarter turns counter-clockwise, done after the flip."""
    flip: bool = False
    """Whether left and right are exchanged first."""

    def apply(self, frame: Image) -> Image:
        """Turn one frame."""
        if not self.quarters and not self.flip:
            return frame
        return np.ascontiguousarray(np.rot90(frame[:, ::-1] if self.flip else frame, self.quarters))


@dataclass(frozen=True, kw_only=True)
class VideoFile:
    """One video stream."""

    path: Path
    info: FootageInfo
    turn: Turn
    stored: tuple[int, int]
    """Height and width before the turn, with square pixels."""

    def __iter__(self) -> Iterator[tuple[float, Image]]:
        for time_s, frame in self._decoded():
            yield time_s, self.turn.apply(_to_rgb(frame, self.stored))

    def thumbnails(self, rows: int) -> Iterator[tuple[float, Image]]:
        """The same at so many rows."""
        height, width = self.stored
        if self.turn.quarters % 2:
            small = (max(16, round(rows * height / width)), rows)
        else:
            small = (rows, max(16, round(rows * width / height)))
        for time_s, frame in self._decoded():
            yield time_s, self.turn.apply(_to_rgb(frame, small))

    def _decoded(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """Yield every frame and its seconds; a frame that is missing or damaged is an error, never a gap."""
        count, first_s, time_s = 0, None, 0.0
        with open_container(self.path) as container:
            stream = picture_stream(self.path, container)
            stream.thread_type = "AUTO"
            try:
                for frame in container.decode(stream):
                    if (frame.height, frame.width) != self.stored_raw:
                        raise ValueError(_resized(self.path, count, frame))
                    shown = frame.time if frame.time is not None else count / self.info.fps
                    first_s = shown if first_s is None else first_s
                    time_s = max(time_s, shown - first_s)
                    yield time_s, frame
                    count += 1
            except av.FFmpegError as wrong:
                raise ValueError(
                    f"{self.path}: frame {count} does not decode; copy the file again or re-encode it"
                ) from wrong
