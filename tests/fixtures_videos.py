"""Tiny real videos and folders of images, for the tests of whatever reads footage."""

import io
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image


def sliding_clip(frames: int = 13, height: int = 32, width: int = 48, seed: int = 0) -> np.ndarray:
    """A bright square slides to and fro over a smooth ground and drags a shadow; neighbouring frames always differ."""
    rows, columns = np.mgrid[:height, :width]
    ground = np.stack([90 + rows, 110 + columns, np.full_like(rows, 120 + 10 * seed)], -1).astype(np.uint8)
    clip = np.repeat(ground[None], frames, axis=0)
    for number, frame in enumerate(clip):
        x = _square_x(number, width)
        frame[20:24, x : x + 12] //= 2
        frame[8:20, x : x + 8] = (230, 60, 40)
    return clip


def _square_x(number: int, width: int) -> int:
    """Two pixels a frame, to and fro."""
    travel = max(width - 16, 1)
    return 2 + travel - abs(travel - 2 * number % (2 * travel))


def square_mask(frames: int = 13, height: int = 32, width: int = 48) -> np.ndarray:
    """Mask of the square in `sliding_clip`: 255 inside, 0 elsewhere."""
    clip = np.zeros((frames, height, width), np.uint8)
    for number, frame in enumerate(clip):
        x = _square_x(number, width)
        frame[8:20, x : x + 8] = 255
    return clip


def encode_video(
    path: Path,
    frames: Iterable[Any],
    *,
    codec: str = "libx264rgb",
    pix_fmt: str = "rgb24",
    fps: int = 24,
    ticks: list[int] | None = None,
    sar: Fraction | None = None,
    turn: tuple[float, bool, bool] | None = None,
    tags: dict[str, int] | None = None,
    container: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Encode frames (RGB, or grey [H W], or ready-made av frames) to a file; lossless unless told otherwise."""
    frames = list(frames)
    first = frames[0]
    height, width = (first.height, first.width) if isinstance(first, av.VideoFrame) else first.shape[:2]
    options = options or {"qp": "0", "preset": "ultrafast"}
    with av.open(str(path), "w", options=container or {}) as output:
        stream = output.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.time_base = Fraction(1, fps)
        if sar is not None:
            stream.sample_aspect_ratio = sar
        if turn is not None:
            stream.set_display_rotation(*turn)
        for tag, value in (tags or {}).items():
            setattr(stream.codec_context, tag, value)
        for number, frame in enumerate(frames):
            if not isinstance(frame, av.VideoFrame):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "gray" if frame.ndim == 2 else "rgb24")
            frame.pts = ticks[number] if ticks else number
            frame.time_base = Fraction(1, fps)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def write_images(folder: Path, frames: Iterable[np.ndarray], *, suffix: str = ".png", start: int = 0) -> Path:
    """Write frames as numbered images."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames, start):
        Image.fromarray(frame).save(folder / f"{number:05d}{suffix}")
    return folder


def write_label_images(folder: Path, frames: Iterable[np.ndarray]) -> Path:
    """Write frames of labels as palette images, as DAVIS does."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        picture = Image.fromarray(frame, mode="P")
        picture.putpalette([channel for index in range(256) for channel in (index, 255 - index, index * 7 % 256)])
        picture.save(folder / f"{number:05d}.png")
    return folder


def h264(clip, crf):
    """The clip after one round through the codec."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=16, options={"crf": str(crf), "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt, stream.thread_count = *clip.shape[1:3], "yuv420p", 1
        for frame in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
