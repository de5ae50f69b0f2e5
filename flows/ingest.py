"""Files meet stage 1: footage from disk -> clips with what is known of their subjects, one clip in memory at a time."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float64, UInt8

from ..arrays import Image, Matte, MatteImage, Rgb
from ..datasets.footage import FrameReader, count_frames, open_frames
from ..datasets.layouts import Footage, SubjectFiles
from ..datasets.masks import SUBJECT, MaskReader, open_masks, read_keys
from ..stages.cuts import find_cuts
from ..stages.geometry import AnyImage, fit_frame, resize
from ..stages.normalise import Normalise, Piece, TooShort, plan
from ..stages.subject import Prompt

THUMBNAIL_ROWS = 64
SHORT_SHARE = 0.05
"""Which share of the video another tool's background may lack or exceed before it is taken for another video's."""
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
    subjects = [_Subject.of(files, video, len(times_s)) for files in footage.subjects]
    given, given_notes = _open_background(footage, video, len(times_s))
    usable = len(times_s) if given is None else min(len(times_s), count_frames(given))
    planned = list(plan(times_s[:usable], [cut for cut in cuts if cut < usable], settings))
    notes = video.info.notes + given_notes + tuple(note for subject in subjects for note in subject.notes)
    streams = _Streams.over(planned, video, subjects, given, settings)
    index = 0
    for piece in planned:
        if isinstance(piece, TooShort):
            yield Rejected(where=piece.where, reason=piece.reason)
            continue
        gt, mattes, plates = streams.next_clip(len(piece.source_frames))
        prompts = []
        for number, subject in enumerate(subjects):
            known = subject.prompt(mattes.get(number), piece.source_frames, settings)
            if isinstance(known, str):
                yield Rejected(where=f"clip {index}, subject {number}", reason=known)
            else:
                prompts.append((number, known))
        if prompts:
            yield Ingested(
                index=index,
                start_s=piece.start_s,
                fps=settings.fps,
                source_frames=piece.source_frames,
                gt=gt,
                prompts=tuple(prompts),
                given=plates,
                notes=notes + piece.notes,
            )
        index += 1


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

    cuts = list(find_cuts(frames(), settings.cut_threshold))
    return np.array(times_s), cuts if settings.split_cuts else []


def pick(items: Iterable[T], indices: Iterable[int]) -> Iterator[T]:
    """Yield the items at indices, which may repeat but never fall; the items between are passed over."""
    coming, at = iter(items), -1
    for index in indices:
        for _ in range(index - at):
            item = next(coming)
        at = index
        yield item


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """What was found of one subject on disk, checked."""

    masks: MaskReader | None
    keys: Mapping[int, MatteImage]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, files: SubjectFiles, video: FrameReader, frames: int) -> "_Subject":
        masks = open_masks(files.masks, video.info, frames, label=files.label) if files.masks else None
        keys = read_keys(files.keys, video.info, frames) if files.keys else {}
        return cls(masks=masks, keys=keys, notes=masks.notes if masks else ())

    def prompt(self, matte: Matte | None, source_frames: tuple[int, ...], settings: Normalise) -> Prompt | str:
        """What is known of the subject in one clip, or why it cannot be used there."""
        if matte is not None and not (matte >= SUBJECT).any():
            return (
                "the subject is in no frame of this clip, absent or cropped away; set normalise.fit='pad' to show all"
            )
        if matte is not None and (matte >= SUBJECT).all():
            return "the subject covers every frame of this clip whole, so nothing is left to compare; exclude it"
        keys = {
            at: fit_frame(self.keys[key], settings.size, settings.fit)
            for at, key in keys_within(self.keys, source_frames).items()
        }
        if self.keys and not keys:
            first, last = source_frames[0], source_frames[-1]
            return f"no key mask lies in this clip; draw a key mask between frames {first} and {last}"
        return Prompt(given=matte, keys=keys)


def keys_within(keys: Iterable[int], source_frames: tuple[int, ...]) -> dict[int, int]:
    """For the key frames that a clip spans: the clip's frame nearest to each; of two for one, the nearer key."""
    kept = np.array(source_frames)
    placed: dict[int, int] = {}
    for key in sorted(keys):
        if kept[0] <= key <= kept[-1]:
            at = int(np.argmin(np.abs(kept - key)))
            other = placed.setdefault(at, key)
            if abs(kept[at] - key) < abs(kept[at] - other):
                placed[at] = key
    return placed


@dataclass(frozen=True, kw_only=True)
class _Streams:
    """The chosen frames of a video and of all that lies beside it, side by side, at the working size."""

    frames: Iterator[Image]
    masks: Mapping[int, Iterator[MatteImage]]
    given: Iterator[Image] | None

    @classmethod
    def over(
        cls,
        planned: Iterable[Piece | TooShort],
        video: FrameReader,
        subjects: Iterable[_Subject],
        given: FrameReader | None,
        settings: Normalise,
    ) -> "_Streams":
        wanted = [frame for piece in planned if isinstance(piece, Piece) for frame in piece.source_frames]

        def fitted(images: Iterable[AnyImage]) -> Iterator[AnyImage]:
            return (fit_frame(resize(image, video.info.size), settings.size, settings.fit) for image in images)

        return cls(
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


def _open_background(footage: Footage, video: FrameReader, frames: int) -> tuple[FrameReader | None, tuple[str, ...]]:
    if footage.background is None:
        return None, ()
    given = open_frames(footage.background, image_fps=footage.image_fps)
    held = count_frames(given)
    if abs(held - frames) > SHORT_SHARE * frames:
        raise ValueError(
            f"{footage.background}: has {held} frames, but the video has {frames}; "
            "give a background made from this video, frame by frame"
        )
    name = footage.background.name
    notes = []
    if held < frames:
        notes.append(f"{name} ends {frames - held} frames before the video; clips end with it.")
    if given.info.size != video.info.size:
        stretched = f"it was stretched to the video's {video.info.width}x{video.info.height}"
        notes.append(f"{name} is {given.info.width}x{given.info.height} pixels; {stretched}.")
    return given, tuple(notes)
