"""Files meet stage 1: footage from disk -> clips with what is known of their subjects, one clip in memory at a time."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float64, UInt8

from ...arrays import Image, Matte, MatteImage, Rgb
from ...datasets.footage.listing import Footage
from ...datasets.footage.reader import FrameReader, count_frames, open_frames
from ...stages.cuts import find_cuts
from ...stages.geometry import AnyImage, fit_frame, resize
from ...stages.normalise import Normalise, Piece, TooShort, plan
from ...stages.subject import Prompt
from .sidecars import Subject, keys_within, open_background

__all__ = ["Ingested", "Rejected", "ingest", "keys_within", "pick", "scan"]

THUMBNAIL_ROWS = 64
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """One clip of the working size, ready for stage 2."""

    index: int
    """Which clip of its video, from 0."""
    start_s: float
    fps: float
    source_frames: tuple[int, ...]
    """The source frame that each frame of the clip is."""
    gt: Rgb
    prompts: tuple[tuple[int, Prompt], ...]
    """Which subject of the footage, and what is known of it; subjects that this clip does not show are not here."""
    given: Rgb | None = None
    """A background that another tool made."""
    notes: tuple[str, ...] = ()
    """What a person who reviews the clip should know, in sentences."""


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A shot, or one subject of a clip, that gives nothing, and why."""

    where: str
    reason: str


def ingest(footage: Footage, settings: Normalise) -> Iterator[Ingested | Rejected]:
    """Yield a video's clips, and what had to be left out, in the order of the video.

    The video is read twice: once small, to find cuts and damage before anything is made, and once in full. A clip
    that shows none of the subjects is not yielded, only the rejection of each of them.

    Raises:
        ValueError: when the video, a mask or the background cannot be used, in one sentence with file and remedy.
    """
    video = open_frames(footage.video, image_fps=footage.image_fps)
    times_s, cuts = scan(video, settings)
    subjects = [Subject.of(files, video, len(times_s)) for files in footage.subjects]
    given, given_notes = open_background(footage, video, len(times_s))
    usable = len(times_s) if given is None else min(len(times_s), count_frames(given))
    planned = list(plan(times_s[:usable], [cut for cut in cuts if cut < usable], settings))
    streams = _Streams.over(planned, video, subjects, given, settings)
    notes = video.info.notes + given_notes + tuple(note for subject in subjects for note in subject.notes)
    index = 0
    for piece in planned:
        if isinstance(piece, TooShort):
            yield Rejected(where=piece.where, reason=piece.reason)
            continue
        yield from _clip(piece, index, subjects, streams, notes)
        index += 1


def _clip(
    piece: Piece, index: int, subjects: Iterable[Subject], streams: "_Streams", notes: tuple[str, ...]
) -> Iterator[Ingested | Rejected]:
    """The next clip of the streams, after the rejections of subjects that it does not show."""
    gt, mattes, plates = streams.next_clip(len(piece.source_frames))
    prompts = []
    for number, subject in enumerate(subjects):
        known = subject.prompt(mattes.get(number), piece.source_frames, streams.settings)
        if isinstance(known, str):
            yield Rejected(where=f"clip {index}, subject {number}", reason=known)
        else:
            prompts.append((number, known))
    if prompts:
        yield Ingested(
            index=index,
            start_s=piece.start_s,
            fps=streams.settings.fps,
            source_frames=piece.source_frames,
            gt=gt,
            prompts=tuple(prompts),
            given=plates,
            notes=notes + piece.notes,
        )


def scan(video: FrameReader, settings: Normalise) -> tuple[Float64[np.ndarray, "N"], list[int]]:
    """Decode a video once, small: when each frame is shown, and which frames begin a new shot.

    Raises:
        ValueError: when any frame of it cannot be decoded.
    """
    times_s: list[float] = []

    def frames() -> Iterator[Image]:
        for time_s, frame in video.thumbnails(THUMBNAIL_ROWS):
            times_s.append(time_s)
            yield frame

    cuts = list(find_cuts(frames(), settings.cut_threshold)) if settings.split_cuts else []
    if not settings.split_cuts:
        deque(frames(), maxlen=0)
    return np.array(times_s), cuts


def pick(items: Iterable[T], indices: Iterable[int]) -> Iterator[T]:
    """Yield the items at indices, which may repeat but never fall; the items between are passed over."""
    coming, at = iter(items), -1
    for index in indices:
        for _ in range(index - at):
            item = next(coming)
        at = index
        yield item


@dataclass(frozen=True, kw_only=True)
class _Streams:
    """The chosen frames of a video and of all that lies beside it, side by side, at the working size."""

    frames: Iterator[Image]
    masks: Mapping[int, Iterator[MatteImage]]
    given: Iterator[Image] | None
    settings: Normalise

    @classmethod
    def over(
        cls,
        planned: Iterable[Piece | TooShort],
        video: FrameReader,
        subjects: Iterable[Subject],
        given: FrameReader | None,
        settings: Normalise,
    ) -> "_Streams":
        wanted = [frame for piece in planned if isinstance(piece, Piece) for frame in piece.source_frames]

        def fitted(images: Iterable[AnyImage]) -> Iterator[AnyImage]:
            return (fit_frame(resize(image, video.info.size), settings.size, settings.fit) for image in images)

        return cls(
            settings=settings,
            frames=fitted(frame for _, frame in pick(video, wanted)),
            masks={
                number: fitted(pick(subject.masks, wanted))
                for number, subject in enumerate(subjects)
                if subject.masks is not None
            },
            given=None if given is None else fitted(frame for _, frame in pick(given, wanted)),
        )

    def next_clip(self, length: int) -> tuple[Rgb, dict[int, Matte], Rgb | None]:
        """The next frames of each stream."""
        return (
            _stack(self.frames, length),
            {number: _stack(masks, length) for number, masks in self.masks.items()},
            None if self.given is None else _stack(self.given, length),
        )


def _stack(images: Iterator[AnyImage], length: int) -> UInt8[np.ndarray, "T h w *c"]:
    """Fill a clip frame by frame, so that no second copy of it is ever in memory."""
    first = next(images)
    clip = np.empty((length, *first.shape), np.uint8)
    clip[0] = first
    for number in range(1, length):
        clip[number] = next(images)
    return clip
