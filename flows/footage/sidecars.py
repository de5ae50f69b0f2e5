"""What lies beside a video: masks and key masks of its subjects, and a background that another tool made."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ...arrays import Matte, MatteImage
from ...datasets.footage.listing import Footage, SubjectFiles
from ...datasets.footage.masks import SUBJECT, MaskReader, open_masks, read_keys
from ...datasets.footage.reader import FrameReader, count_frames, open_frames
from ...stages.geometry import fit_frame
from ...stages.normalise import Normalise
from ...stages.subject import Prompt

SHORT_SHARE = 0.05
"""Which share of the video another tool's background may lack or exceed before it is taken for another video's."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What was found of one subject on disk, checked."""

    masks: MaskReader | None
    keys: Mapping[int, MatteImage]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, files: SubjectFiles, video: FrameReader, frames: int) -> "Subject":
        """Open and check a subject's files against a video of so many frames."""
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


def open_background(footage: Footage, video: FrameReader, frames: int) -> tuple[FrameReader | None, tuple[str, ...]]:
    """Another tool's clean plate, and how it differs from the video, in sentences.

    Raises:
        ValueError: when it is of another length than the video by more than a few per cent.
    """
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
