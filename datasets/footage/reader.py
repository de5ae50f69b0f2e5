"""Frames out of video files and folders of images, as a player would show them: upright, in full-range RGB."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import ColorRange, Interpolation
from av.video.stream import VideoStream
from jaxtyping import UInt8

from ...arrays import Image
from ...heartbeat import beat
from .container import Timing, measure, open_container, picture_stream
from .images import ImageFolder, numbered_images, open_images
from .runs import FrameLog, OtherFrames
from .types import FootageInfo, need_readable, need_sane_size

EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT
"""Half a level of error in 8-bit RGB where swscale's default is 2.5 off, and the same bytes on every processor."""

MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""AVColorSpace (how the file words its matrix) to SWS_CS (how the converter does); the rest is guessed by size."""
BT709, BT601 = 1, 5
LIMITED, FULL = 1, 2
SEEK_BACK_S = (0.0, 2.0, 12.0)
"""Seconds before a key frame to seek to, in turn: MPEG-TS and AVI land behind the frame that was asked for."""
MAX_THREADS = 4
HDR = {16: "PQ", 18: "HLG"}

Upright = UInt8[np.ndarray, "upright_h upright_w 3"]


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Turn of stored frames into upright ones: rows and columns are exchanged first, then the axes flipped."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def apply(self, frame: Image) -> Upright:
        """Turn one frame."""
        turned = frame.transpose(1, 0, 2) if self.transpose else frame
        turned = turned[:, ::-1] if self.flip_x else turned
        return np.ascontiguousarray(turned[::-1] if self.flip_y else turned)


@dataclass(frozen=True, kw_only=True)
class VideoFile:
    """The picture stream of one file."""

    path: Path
    info: FootageInfo
    turn: Turn
    coded: tuple[int, int]
    """Height and width of the frames in the file."""

    def __iter__(self) -> Iterator[tuple[float, Image]]:
        return self.frames()

    def frames(self, log: FrameLog | None = None, *, step: int = 1) -> Iterator[tuple[float, Image]]:
        """One frame of so many, from the first on; a log notes each. Those between are decoded, but not converted."""
        return self._frames(self._stored_size, log, step)

    def thumbnails(self, rows: int, log: FrameLog | None = None) -> Iterator[tuple[float, Image]]:
        """The same at so many rows; a log notes each frame."""
        columns = max(16, round(rows * self.info.width / self.info.height))
        return self._frames((columns, rows) if self.turn.transpose else (rows, columns), log)

    def decode_from(self, key_pts: int | None) -> Iterator[av.VideoFrame]:
        """Yield every frame, or those from a key frame on, by its time in the stream's unit.

        Raises:
            OtherFrames: decoding from there fails or does not come upon that frame.
        """
        if key_pts is None:
            yield from (frame for _, frame in self._decoded())
            return
        with open_container(self.path) as container:
            try:
                yield from self._sought(container, picture_stream(self.path, container), key_pts)
            except (av.FFmpegError, ValueError) as wrong:
                raise OtherFrames from wrong

    def to_rgb(self, frame: av.VideoFrame) -> Image:
        """Convert one decoded frame as the loop over all does."""
        return self.turn.apply(_to_rgb(frame, self._stored_size))

    @property
    def _stored_size(self) -> tuple[int, int]:
        return self.info.size[::-1] if self.turn.transpose else self.info.size

    def _frames(
        self, stored_size: tuple[int, int], log: FrameLog | None = None, step: int = 1
    ) -> Iterator[tuple[float, Image]]:
        for number, (time_s, frame) in enumerate(self._decoded()):
            if log is not None:
                log.add(time_s, frame)
            if number % step == 0:
                yield time_s, self.turn.apply(_to_rgb(frame, stored_size))

    def _decoded(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """Yield every frame and its seconds; a frame that is missing or damaged is an error, never a gap."""
        count, first_s, time_s = 0, None, 0.0
        with open_container(self.path) as container:
            stream = picture_stream(self.path, container)
            _set_threads(stream)
            try:
                for frame in container.decode(stream):
                    self._need_sound(frame, count)
                    frame_time_s = count / self.info.fps if frame.time is None else frame.time
                    first_s = frame_time_s if first_s is None else first_s
                    time_s = max(time_s, frame_time_s - first_s)
                    yield time_s, frame
                    count += 1
            except av.FFmpegError as wrong:
                raise ValueError(
                    f"{self.path}: frame {count} does not decode; copy it again or re-encode it"
                ) from wrong
        if self.info.frames is not None and count < self.info.frames:
            raise ValueError(
                f"{self.path}: only {count} of its {self.info.frames} frames decode; copy it again or re-encode it"
            )

    def _sought(self, container: InputContainer, stream: VideoStream, key_pts: int) -> Iterator[av.VideoFrame]:
        _set_threads(stream)
        for back_s in SEEK_BACK_S:
            container.seek(key_pts - round(back_s / (stream.time_base or 1)), stream=stream)
            frames = container.decode(stream)
            for frame in frames:
                beat()
                if frame.pts == key_pts:
                    self._need_sound(frame, 0)
                    yield frame
                    for count, following in enumerate(frames, start=1):
                        self._need_sound(following, count)
                        yield following
                    return
                if frame.pts is None or frame.pts > key_pts:
                    break
        raise OtherFrames

    def _need_sound(self, frame: av.VideoFrame, count: int) -> None:
        beat()
        if frame.is_corrupt:
            raise ValueError(f"{self.path}: frame {count} is damaged; copy the file again or re-encode it")
        if (frame.height, frame.width) != self.coded:
            raise ValueError(
                f"{self.path}: frame {count} is {frame.width}x{frame.height} pixels, but the first is "
                f"{self.coded[1]}x{self.coded[0]}; re-encode it at one size"
            )


def open_video(path: Path) -> VideoFile:
    """Read a file's headers, its packets' times and its first frame.

    Raises:
        ValueError: for a file that is no video, has no frames, claims absurd frames, or is cut off.
    """
    timing = measure(path)
    with open_container(path) as container:
        stream = picture_stream(path, container)
        try:
            frame = next(iter(container.decode(stream)))
        except (av.FFmpegError, StopIteration) as wrong:
            raise ValueError(f"{path}: its first frame does not decode; copy it again or re-encode it") from wrong
        pixel_aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
        # A packet may be half a frame (interlaced) or none at all (VP8's hidden frames).
        packet_is_frame = not frame.interlaced_frame and stream.codec_context.name not in {"vp8", "libvpx"}
    need_sane_size(path, frame.width, frame.height)
    turn, turn_notes = _turn(frame.side_data.get("DISPLAYMATRIX"))
    width = max(1, round(frame.width * pixel_aspect))
    need_sane_size(path, width, frame.height)
    info = FootageInfo(
        width=frame.height if turn.transpose else width,
        height=width if turn.transpose else frame.height,
        fps=timing.fps,
        variable=timing.variable,
        bit_depth=max(component.bits for component in frame.format.components),
        full_range=_source_range(frame) == FULL,
        frames=timing.frames if packet_is_frame else None,
        duration_s=timing.duration_s,
        notes=turn_notes + _notes(frame, timing),
    )
    return VideoFile(path=path, info=info, turn=turn, coded=(frame.height, frame.width))


def _set_threads(stream: VideoStream) -> None:
    """Decode with a few threads: each holds frames, and there is a worker on every core already."""
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = min(MAX_THREADS, os.cpu_count() or 1)


def _to_rgb(frame: av.VideoFrame, size: tuple[int, int]) -> Image:
    """Convert a decoded frame to full-range RGB by its own matrix and range, stretched to (height, width)."""
    height, width = size
    same = (frame.height, frame.width) == size
    shrinks = height < frame.height
    how = Interpolation.BILINEAR if same else Interpolation.AREA if shrinks else Interpolation.BICUBIC
    # Where a file names no matrix players take BT.709 for high definition, BT.601 below.
    usual_matrix = BT709 if frame.width >= 1280 or frame.height > 576 else BT601
    matrix = MATRICES.get(int(frame.colorspace), usual_matrix)
    converted = frame.reformat(
        width=width,
        height=height,
        format="rgb24",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=_source_range(frame),
        dst_color_range=ColorRange.JPEG,
        interpolation=how | EXACT,
        threads=1,
    )
    return np.array(converted.to_ndarray())


def _source_range(frame: av.VideoFrame) -> int:
    if frame.format.is_rgb or frame.format.name.startswith(("yuvj", "gray", "pal", "mono")):
        return FULL
    return FULL if int(frame.color_range) == FULL else LIMITED


def _turn(display_matrix: Any) -> tuple[Turn, tuple[str, ...]]:
    """The display matrix maps (x, y) to (a*x + c*y, b*x + d*y); its first rows are a, b, _ and c, d, _."""
    if display_matrix is None:
        return Turn(), ()
    a, b, _, c, d = np.frombuffer(display_matrix, np.int32)[:5].tolist()
    if not b and not c and a and d:
        return Turn(flip_x=a < 0, flip_y=d < 0), ()
    if not a and not d and b and c:
        return Turn(transpose=True, flip_x=c < 0, flip_y=b < 0), ()
    return Turn(), ("The file asks for a rotation by no whole quarter turn; its frames are taken as they are stored.",)


def _notes(frame: av.VideoFrame, timing: Timing) -> tuple[str, ...]:
    notes = []
    if frame.interlaced_frame:
        notes.append("The video is interlaced: two moments share a frame; deinterlace it for clean edges.")
    if int(frame.color_trc) in HDR:
        notes.append(
            f"The video is HDR ({HDR[int(frame.color_trc)]}); its values are taken as they are, not tone-mapped."
        )
    if timing.variable:
        notes.append("The frame rate varies; clips follow the real times.")
    return tuple(notes)


FrameReader = VideoFile | ImageFolder
"""Frames in order as (seconds since the first frame, frame), read anew by each loop; one at a time is in memory."""


def open_frames(path: Path, *, image_fps: float = 24.0) -> FrameReader:
    """Look at a video file, or a folder of numbered images, and make it ready to read.

    Args:
        path: mp4, mov, mkv, webm, avi or ts, whatever its name says; or a folder of png, jpg, tif, webp or bmp.
        image_fps: frames per second of a folder of images.

    Raises:
        ValueError: in one sentence that names the file and the remedy. A file that turns out to be damaged further
            on raises it when the loop gets there.
    """
    need_readable(path)
    return open_images(path, fps=image_fps) if path.is_dir() else open_video(path)


def count_frames(frames: FrameReader) -> int:
    """Number of frames: as the file says, or counted where it does not."""
    return sum(1 for _ in frames.thumbnails(16)) if frames.info.frames is None else frames.info.frames


def describe(frames: FrameReader) -> dict[str, Any]:
    """Facts by which `reopen` makes a reader again without looking into the file."""
    facts: dict[str, Any] = {"info": asdict(frames.info)}
    return facts | ({"turn": asdict(frames.turn), "coded": frames.coded} if isinstance(frames, VideoFile) else {})


def reopen(path: Path, facts: Mapping[str, Any]) -> FrameReader:
    """Reader of what `describe` described."""
    info = FootageInfo(**{**facts["info"], "notes": tuple(facts["info"]["notes"])})
    if "turn" not in facts:
        return ImageFolder(files=tuple(numbered_images(path)), info=info)
    height, width = facts["coded"]
    return VideoFile(path=path, info=info, turn=Turn(**facts["turn"]), coded=(height, width))
