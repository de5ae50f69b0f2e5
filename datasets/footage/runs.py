"""Runs of frames out of the middle of a video, decoded from the key frame before them and proved to be the right ones.

Seeking alone is not to be trusted: open groups of pictures, gradual refreshes, edit lists and files without an index
all give other frames, or other pixels, than a decode from the start. So the first pass over a video notes the key
frames and a checksum of every frame (0.8 ms a frame of 1080p, a quarter of its decoding), and a run whose pixels differ
is decoded again from the start.
"""

import zlib
from array import array
from bisect import bisect_right
from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass, field

import av
import numpy as np

PACKED_BYTES = {"rgb24": 3, "bgr24": 3, "rgba": 4, "bgra": 4, "argb": 4, "abgr": 4, "rgb0": 4, "bgr0": 4}
"""Bytes of a pixel by the formats that keep all of it in one plane."""


class OtherFrames(Exception):
    """Frames of a run are not those of the first pass."""


@dataclass(frozen=True, kw_only=True)
class FrameRun:
    """A run of frames: from which key frame it may be decoded alone, and the checksum of those that it needs."""

    key_frame: int = 0
    """Index of that frame."""
    key_pts: int | None = None
    """Its time in the stream's unit; None decodes from the start."""
    checksum: int | None = None
    """None where the format's pixels cannot be summed; such a run is decoded from the start."""


@dataclass(frozen=True, kw_only=True)
class FrameLog:
    """Log of the first pass over a video, 32 bytes a frame."""

    times_s: MutableSequence[float] = field(default_factory=lambda: array("d"))
    checksums: MutableSequence[int] = field(default_factory=lambda: array("q"))
    """CRC-32 of each frame; -1 where it has none."""
    key_frames: MutableSequence[int] = field(default_factory=lambda: array("q"))
    key_pts: MutableSequence[int] = field(default_factory=lambda: array("q"))

    def add(self, time_s: float, frame: av.VideoFrame) -> None:
        """Note one more frame."""
        if frame.key_frame and frame.pts is not None:
            self.key_frames.append(len(self.times_s))
            self.key_pts.append(frame.pts)
        self.times_s.append(time_s)
        self.checksums.append(checksum(frame))

    def run(self, indices: Sequence[int]) -> FrameRun:
        """Run of the frames at these indices, which do not fall and may repeat."""
        checksums = [self.checksums[index] for index in sorted(set(indices))]
        if min(checksums) < 0:
            return FrameRun()
        proof = combine(checksums)
        position = bisect_right(self.key_frames, indices[0]) - 1
        if position < 0 or self.key_frames[position] == 0:
            return FrameRun(checksum=proof)
        return FrameRun(key_frame=self.key_frames[position], key_pts=self.key_pts[position], checksum=proof)


def combine(checksums: Sequence[int]) -> int:
    """Checksum of checksums, in order."""
    return zlib.crc32(np.array(checksums, np.int64).tobytes())


def checksum(frame: av.VideoFrame) -> int:
    """CRC-32 of a decoded frame's pixels, without the padding of its rows; -1 for formats of broken bytes."""
    components, planes = frame.format.components, frame.planes
    packed = PACKED_BYTES.get(frame.format.name)
    if packed is None and (
        len(planes) != len(components) or any(part.bits % 8 and part.bits < 8 for part in components)
    ):
        return -1
    total = 0
    for plane, part in zip(planes, components, strict=False):
        row_bytes = plane.width * (packed or -(-part.bits // 8))
        rows = np.frombuffer(plane, np.uint8)[: plane.height * plane.line_size].reshape(plane.height, plane.line_size)
        total = zlib.crc32(np.ascontiguousarray(rows[:, :row_bytes]).data, total)
    return total
