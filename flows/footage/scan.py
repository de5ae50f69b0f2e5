"""The first pass over a video: its times, cuts and damage, what lies beside it, and the plan of its clips.

It keeps 32 bytes a frame and makes nothing yet, so what it refuses costs no clip, and each clip can be made alone.
"""

from array import array
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from ...arrays import Image
from ...datasets.footage.masks import MaskReader
from ...datasets.footage.reader import FrameReader, count_frames, describe, open_frames
from ...datasets.footage.runs import FrameLog, FrameRun
from ...datasets.footage.types import Footage
from ...stages.alignment.frame_matching import match_frames
from ...stages.normalise import ClipPlan, Normalise, UnusableShot, find_cuts, find_gaps, plan_clips
from .subject_prompts import SubjectMasks

THUMBNAIL_HEIGHT_PX = 64
MAX_MISSING = 0.2
"""Largest share of a video's frames that a clean plate made from it may lack."""
MAX_MATCHED_FRAMES = 4000
"""Longest video that is matched with another tool's layers: every frame is compared with every other one, which takes
490 MiB and 6 s for so many, and four times as much for twice as many."""
Logs = Mapping[str, FrameLog]
"""Logs of the files that were read: "video", "masks-0", ... and those of `PATHS`."""
PATHS = {"given": "background", "given_foreground": "foreground", "given_alpha": "alpha"}
"""Layers of another tool, by the names of `stages.pair.GIVEN`: the field of Footage that has their file."""


@dataclass(frozen=True, kw_only=True)
class PlannedClip:
    """One clip that is to be made: its frames, and how to reach them in every file."""

    index: int
    """Number among the clips planned for the video, from 0."""
    start_s: float
    source_frames: tuple[int, ...]
    """Index in the video of each frame of the clip."""
    notes: tuple[str, ...]
    runs: Mapping[str, FrameRun]
    """Way to the frames in each video file, as in `Logs`; images need none."""
    layer_frames: tuple[int, ...] = ()
    """Index in the layers of another tool of each frame of the clip."""
    missing_share: float | None = None
    """Share of the clip's frames that those layers lack; None without any."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "PlannedClip":
        """Plan out of the JSON of its `asdict`."""
        lists = {name: tuple(values[name]) for name in ("source_frames", "notes", "layer_frames")}
        return cls(**{**values, **lists, "runs": {name: FrameRun(**run) for name, run in values["runs"].items()}})


@dataclass(frozen=True, kw_only=True)
class FootageScan:
    """All that the first pass over a video gives."""

    readers: Mapping[str, Mapping[str, Any]]
    """Facts by which each file is opened again without looking into it, by its name in `Logs`."""
    parts: tuple[PlannedClip | UnusableShot, ...] = field(repr=False)
    """Clips, and shots that give none, in the order of the video."""


@dataclass(frozen=True, kw_only=True)
class ExternalFootage:
    """Layers that another tool made, matched with their video frame by frame."""

    layers: Mapping[str, FrameReader]
    """Readers by the names of ExternalClip."""
    indices: Int64[np.ndarray, "N"]
    """Index in the layers of each frame of the video; a frame that they lack has that of the frame before."""
    missing: Bool[np.ndarray, "N"]
    usable: int
    """Number of the video's frames up to the last that they show."""
    notes: tuple[str, ...]

    @classmethod
    def open(cls, footage: Footage, thumbnails: Sequence[Image], logs: Logs) -> "ExternalFootage":
        """Open the layers and find which frame of the clean plate shows what each frame of the video shows.

        The logs note the frames of layers that are videos.

        Raises:
            ValueError: the clean plate lacks too many of the video's frames, or another layer has not as many as it.
        """
        layers = {
            name: open_frames(path, image_fps=footage.image_fps)
            for name, role in PATHS.items()
            if (path := getattr(footage, role)) is not None
        }
        background = footage.background
        assert background is not None
        clip = np.stack(thumbnails)
        lengths = {name: count_frames(layer) for name, layer in layers.items()}
        for name, length in lengths.items():
            if length != lengths["given"]:
                raise ValueError(
                    f"{getattr(footage, PATHS[name])}: has {length} frames, but {background.name} has "
                    f"{lengths['given']}; give layers that one run of the tool wrote"
                )
        if lengths["given"] > MAX_MATCHED_FRAMES:
            raise _too_long(background)
        plate = [thumbnail for _, thumbnail in layers["given"].thumbnails(THUMBNAIL_HEIGHT_PX, logs["given"])]
        for name, layer in layers.items():
            if name != "given":
                deque(layer.thumbnails(16, logs[name]), maxlen=0)
        match = match_frames(clip, plate, np.zeros(clip.shape[:3], np.uint8))
        missing = int(match.missing.sum())
        if missing > MAX_MISSING * len(clip):
            raise ValueError(
                f"{background}: lacks {missing} of the video's {len(clip)} frames; "
                "give a background made from this video"
            )
        usable = int(np.flatnonzero(~match.missing)[-1]) + 1
        notes = []
        if short := len(clip) - usable:
            frames = f"{short} frame{'s' * (short > 1)}"
            notes.append(f"{background.name} ends {frames} before the video; clips end with it.")
        if between := missing - short:
            notes.append(
                f"{background.name} lacks {between} more frames of the video; their neighbours stand for them."
            )
        indices = np.maximum.accumulate(match.indices)
        return cls(layers=layers, indices=indices, missing=match.missing, usable=usable, notes=tuple(notes))


def scan_footage(footage: Footage, settings: Normalise) -> FootageScan:
    """Read a video once, small, check all that lies beside it, and plan its clips.

    Raises:
        ValueError: when the video, a mask or the background cannot be used, in one sentence with file and remedy.
    """
    video = open_frames(footage.video, image_fps=footage.image_fps)
    logs: defaultdict[str, FrameLog] = defaultdict(FrameLog)
    max_thumbnails = MAX_MATCHED_FRAMES if footage.background else 0
    times_s, cuts, thumbnails = read_times_and_cuts(video, settings, logs["video"], max_thumbnails=max_thumbnails)
    if footage.background and len(times_s) > MAX_MATCHED_FRAMES:
        raise _too_long(footage.video)
    subjects = [
        SubjectMasks.open(files, video, len(times_s), footage.video, logs[f"masks-{number}"])
        for number, files in enumerate(footage.subjects)
    ]
    external = ExternalFootage.open(footage, thumbnails, logs) if footage.background else None
    usable = len(times_s) if external is None else external.usable
    mask_notes = (note for subject in subjects if subject.masks for note in subject.masks.notes)
    notes = (*video.info.notes, *(external.notes if external else ()), *mask_notes)
    readers = {"video": describe(video)}
    masks = {f"masks-{number}": subject.masks for number, subject in enumerate(subjects) if subject.masks}
    readers |= {name: reader.describe() for name, reader in masks.items()}
    readers |= {name: describe(layer) for name, layer in (external.layers if external else {}).items()}
    parts: list[PlannedClip | UnusableShot] = []
    index = 0
    for part in plan_clips(times_s[:usable], [cut for cut in cuts if cut < usable], settings):
        if isinstance(part, UnusableShot):
            parts.append(part)
        else:
            with_notes = replace(part, notes=notes + part.notes)
            parts.append(_planned_clip(with_notes, index, masks, external, logs))
            index += 1
    return FootageScan(readers=readers, parts=tuple(parts))


def read_times_and_cuts(
    video: FrameReader, settings: Normalise, log: FrameLog, *, max_thumbnails: int = 0
) -> tuple[Float64[np.ndarray, "N"], list[int], list[Image]]:
    """Decode a video once, small: time of each frame in seconds, first frames of new shots, and first thumbnails.

    Raises:
        ValueError: when any frame of it cannot be decoded.
    """
    times_s = array("d")
    thumbnails: list[Image] = []

    def frames() -> Iterator[Image]:
        for time_s, frame in video.thumbnails(THUMBNAIL_HEIGHT_PX, log):
            times_s.append(time_s)
            if len(thumbnails) < max_thumbnails:
                thumbnails.append(frame)
            yield frame

    cuts = list(find_cuts(frames(), settings.cut_threshold)) if settings.split_shots else []
    if not settings.split_shots:
        deque(frames(), maxlen=0)
    times = np.array(times_s)
    return times, sorted({*cuts, *find_gaps(times)}), thumbnails


def _planned_clip(
    plan: ClipPlan, index: int, masks: Mapping[str, MaskReader], external: ExternalFootage | None, logs: Logs
) -> PlannedClip:
    frames = plan.source_frames
    layer_frames = () if external is None else tuple(external.indices[list(frames)].tolist())
    indices = {name: masks[name].indices(frames) if name in masks else layer_frames for name in logs}
    indices["video"] = frames
    return PlannedClip(
        index=index,
        start_s=plan.start_s,
        source_frames=frames,
        notes=plan.notes,
        runs={name: log.run(indices[name]) for name, log in logs.items() if log.times_s},
        layer_frames=layer_frames,
        missing_share=None if external is None else float(external.missing[list(frames)].mean()),
    )


def _too_long(path: Path) -> ValueError:
    return ValueError(
        f"{path}: has more than {MAX_MATCHED_FRAMES} frames, the most that are matched with layers of another tool; "
        "cut the video and its layers into shorter pieces"
    )
