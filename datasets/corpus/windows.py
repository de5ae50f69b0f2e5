"""Runs of frames out of a shard: a clip's layer is a part of the shard's file, and of that part only what is needed.

A cold run takes three or four reads of a layer: where its video begins, its header, its index, and the frames.
"""

import io
from collections import deque
from collections.abc import Callable
from functools import partial

import pyarrow.parquet as pq

from ...arrays import Matte, Rgb
from ..store import codec
from . import shards

ReadRange = Callable[[int, int], bytes]
"""Gives the bytes from one position of a file to another."""


class FilePart(io.RawIOBase):
    """Part of a file as a file of its own. A read brings `ahead_bytes` at least, kept for the next ones."""

    def __init__(self, read_range: ReadRange, start: int, size: int, *, ahead_bytes: int) -> None:
        self.size, self.ahead_bytes = size, ahead_bytes
        self._read_range, self._start, self._position = read_range, start, 0
        self._pieces: deque[tuple[int, bytes]] = deque(maxlen=3)  # header, index and frames

    def forget(self) -> None:
        """Let go of what was read ahead."""
        self._pieces.clear()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in the part."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position of the part; return it."""
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read as many bytes, or fewer at the end of a piece or of the part."""
        at = self._position
        wanted = self.size - at if size < 0 else min(size, self.size - at)
        if wanted <= 0:
            return b""
        for begin, piece in self._pieces:
            if begin <= at < begin + len(piece):
                break
        else:
            end = min(at + max(wanted, self.ahead_bytes), self.size)
            begin, piece = at, self._read_range(self._start + at, self._start + end)
            self._pieces.append((begin, piece))
        found = piece[at - begin : at - begin + wanted]
        self._position += len(found)
        return found


class OpenLayer:
    """A layer that stays open for runs of its frames."""

    def __init__(
        self, shard: pq.ParquetFile, row: int, layer: str, read_range: ReadRange, *, num_frames: int, threads: int
    ) -> None:
        """Find the layer of one clip in a shard.

        Raises:
            KeyError: the clip has no such layer.
            ValueError: it is no video that can be read.
        """
        span = shards.find_layer(shard, row, layer, read_range)
        if span is None:
            video = shards.read_layer(shard, row, layer)
            if video is None:
                raise KeyError(layer)
            span, read_range = (0, len(video)), partial(_slice, video)
        self._frame_bytes = span[1] // num_frames
        self._part = FilePart(read_range, *span, ahead_bytes=2 * self._frame_bytes)
        self._video = codec.VideoReader(self._part, threads=threads)

    def read(self, start: int, count: int) -> Rgb | Matte:
        """Decode the frames `[start, start + count)`.

        Raises:
            ValueError: they are not all there, or do not decode.
        """
        self._part.ahead_bytes = self._frame_bytes * (count + 1)
        try:
            return self._video.read(start, count)
        finally:
            self._part.forget()


def _slice(content: bytes, start: int, stop: int) -> bytes:
    return content[start:stop]
