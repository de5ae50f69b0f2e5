"""Frames at given indices of a video or a folder, run by run, as a decode from the start would give them."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace

import av
import numpy as np
from jaxtyping import UInt8

from .images import load_rgb
from .reader import FrameReader, VideoFile
from .runs import FrameRun, OtherFrames, checksum, combine

AnyImage = UInt8[np.ndarray, "h w *c"]


class RunDecoder:
    """Decoder of one video that goes on where the run before ended, if that is nearer than a key frame."""

    def __init__(self, decode: Callable[[int | None], Iterator[av.VideoFrame]]) -> None:
        """Take a function that decodes from the start, or from the key frame of a time in the stream's unit."""
        self._decode = decode
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._last: tuple[int, av.VideoFrame] | None = None
        """Index of the frame that was decoded last, and it; None where no decoding is under way."""

    def read(self, indices: Sequence[int], run: FrameRun) -> Iterator[av.VideoFrame]:
        """Yield the frames at indices, which rise.

        Raises:
            OtherFrames: before the last is given out, where they are not those of the first pass.
        """
        key_frame = run.key_frame if run.checksum is not None else 0
        if self._last is None or not key_frame <= self._last[0] <= indices[0]:
            self.close()
            self._frames = self._decode(run.key_pts if key_frame else None)
            self._step(key_frame)
        checksums = []
        for index in indices:
            while self._last is None or self._last[0] < index:
                self._step(None)
            frame = self._last[1]
            checksums.append(checksum(frame) if run.checksum is not None else -1)
            if index == indices[-1] and run.checksum is not None and combine(checksums) != run.checksum:
                self.close()
                raise OtherFrames
            yield frame

    def close(self) -> None:
        """Give the decoder's memory back."""
        if isinstance(self._frames, Generator):
            self._frames.close()
        self._frames, self._last = iter(()), None

    def _step(self, index: int | None) -> None:
        """Decode one more frame: the one of that index, or the next."""
        index = index if self._last is None else self._last[0] + 1
        self._last = None  # whatever fails now, the next run begins anew
        frame = next(self._frames, None)
        if frame is None or index is None:
            raise OtherFrames
        self._last = index, frame


class RunReader:
    """Frames at given indices of a video, or of anything that is loaded one by one, each converted as it comes."""

    def __init__(self, source: VideoFile | Callable[[int], AnyImage], convert: Callable[[AnyImage], AnyImage]) -> None:
        self._source = source
        self._convert = convert
        self._decoder = RunDecoder(source.decode_from) if isinstance(source, VideoFile) else None

    def stack(self, indices: Sequence[int], run: FrameRun) -> UInt8[np.ndarray, "T h w *c"]:
        """Read the frames at indices, which do not fall and may repeat, into one array.

        Raises:
            ValueError: a frame cannot be read, or is another one than the first pass over the video gave.
        """
        try:
            return self._stack(indices, run)
        except OtherFrames:
            pass
        try:
            return self._stack(indices, replace(run, key_frame=0, key_pts=None))
        except OtherFrames as wrong:
            path = getattr(self._source, "path", "")
            raise ValueError(
                f"{path}: decodes to other frames each time; it is damaged, copy it again or re-encode it"
            ) from wrong

    def close(self) -> None:
        """Close the file."""
        if self._decoder is not None:
            self._decoder.close()

    def _stack(self, indices: Sequence[int], run: FrameRun) -> UInt8[np.ndarray, "T h w *c"]:
        """Fill the array frame by frame, so that no second copy of it is ever in memory."""
        images = self._read(sorted(set(indices)), run)
        clip = np.empty(0, np.uint8)
        for number, index in enumerate(indices):
            if number == 0 or index != indices[number - 1]:
                image = next(images)
            if number == 0:
                clip = np.empty((len(indices), *image.shape), np.uint8)
            clip[number] = image
        return clip

    def _read(self, indices: Sequence[int], run: FrameRun) -> Iterator[AnyImage]:
        source = self._source
        if isinstance(source, VideoFile):
            assert self._decoder is not None
            return (self._convert(source.to_rgb(frame)) for frame in self._decoder.read(indices, run))
        return (self._convert(source(index)) for index in indices)


def open_runs(frames: FrameReader, convert: Callable[[AnyImage], AnyImage]) -> RunReader:
    """Frames of a video or a folder of images at given indices."""
    return RunReader(frames if isinstance(frames, VideoFile) else lambda index: load_rgb(frames.files[index]), convert)
