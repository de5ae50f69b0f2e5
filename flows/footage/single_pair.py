"""One clip here and now: the chain of `real-pairs` in memory, its layers written as files to look at."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ...arrays import MatteImage
from ...datasets.corpus.schema import LAYERS
from ...datasets.footage.listing import Footage, SubjectFiles
from ...datasets.footage.reader import open_frames
from ...datasets.store import codec
from ...datasets.store.atomic_io import atomic_write, json_bytes
from ...stages import pair
from ...stages.geometry import fit_frame
from ...stages.quality_gates import Verdict, judge
from ...stages.subject import Prompt
from .ingest import Ingested, Rejected, ingest, keys_within
from .source import RealSource


@dataclass(frozen=True, kw_only=True)
class Request:
    """What `effectpairs pair` is asked for."""

    video: Path
    masks: Path | None = None
    """A mask video or a folder of mask images."""
    keys: Path | None = None
    """A folder of FRAME.png, or a polygons JSON."""
    box: tuple[int, int, int, int] | None = None
    """x, y, width, height in pixels of the video."""
    at: int = 0
    """The frame of the box."""
    background: Path | None = None
    """A clean plate that another tool made."""
    clip: int = 0
    """Which clip of the video, counted from 0."""


def make_pair(request: Request, source: RealSource, out: Path) -> tuple[Verdict, tuple[int, int]]:
    """Make one pair and write `<layer>.mkv` for each layer and `pair.json` to out.

    Returns:
        The verdict, and the first and last frame of the video that the pair is made of.

    Raises:
        ValueError: the video or a mask cannot be used, in one sentence with file and remedy.
    """
    seconds: dict[str, float] = {}
    start = time.perf_counter()

    def clock(stage: str) -> None:
        nonlocal start
        seconds[stage], start = time.perf_counter() - start, time.perf_counter()

    piece, prompt = _clip_of(request, source)
    clock("normalise")
    layers = {"gt": piece.gt, "given_mask": prompt.given, "given": piece.given}
    if prompt.keys:
        layers["keys"] = np.stack(list(prompt.keys.values()))
    known = {name: layer for name, layer in layers.items() if layer is not None}
    settings = {stage: source.settings_of(stage) for stage in pair.STAGES}
    held, facts = pair.run(known, {"keys": list(prompt.keys), "box": prompt.box}, settings, after=clock)
    notes = [*piece.notes, *(note for found in facts.values() for note in found.get("notes", ()))]
    verdict = judge(facts["quality"]["numbers"], source.gates, tuple(notes))
    for name in LAYERS:
        atomic_write(out / f"{name}.mkv", codec.encode(held[name], fps=piece.fps))
    clock("write")
    atomic_write(out / "pair.json", json_bytes(_record(request, piece, source, facts, verdict, notes, seconds)))
    return verdict, (piece.source_frames[0], piece.source_frames[-1])


def _clip_of(request: Request, source: RealSource) -> tuple[Ingested, Prompt]:
    subject = SubjectFiles(masks=request.masks, keys=request.keys)
    footage = Footage(name=request.video.stem, video=request.video, subjects=(subject,), background=request.background)
    reasons: list[str] = []
    for piece in ingest(footage, source.normalise):
        if isinstance(piece, Rejected):
            reasons.append(f"{piece.where}: {piece.reason}")
        elif piece.index >= request.clip:
            return piece, _with_box(request, piece, source)
    why = "; ".join(reasons) or f"it has no clip number {request.clip}"
    raise ValueError(f"{request.video}: gives no clip to make a pair of: {why}")


def _with_box(request: Request, piece: Ingested, source: RealSource) -> Prompt:
    """The box of the video as a box of the clip, in the clip's frame nearest to the asked one."""
    if request.box is None:
        return piece.prompts[0][1]
    video = open_frames(request.video).info
    x, y, width, height = request.box
    inside: MatteImage = np.zeros(video.size, np.uint8)
    inside[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = 255
    left, top, wide, high = cv2.boundingRect(fit_frame(inside, source.normalise.size, source.normalise.fit))
    frames = keys_within([request.at], piece.source_frames)
    if not wide or not high:
        raise ValueError(f"--box {x},{y},{width},{height} lies outside the picture of {video.size[1]}x{video.size[0]}")
    if not frames:
        first, last = piece.source_frames[0], piece.source_frames[-1]
        raise ValueError(f"--at {request.at} is not in the clip; give a frame from {first} to {last}")
    return Prompt(box=(next(iter(frames)), left, top, wide, high))


def _record(
    request: Request,
    piece: Ingested,
    source: RealSource,
    facts: Mapping[str, Mapping[str, Any]],
    verdict: Verdict,
    notes: list[str],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    frames, height, width = piece.gt.shape[:3]
    return {
        "video": str(request.video),
        "num_frames": frames,
        "height": height,
        "width": width,
        "fps": piece.fps,
        "start_s": piece.start_s,
        "source_frames": list(piece.source_frames),
        "quality": facts["quality"]["numbers"],
        "verdict": verdict.verdict,
        "reasons": list(verdict.reasons),
        "notes": notes,
        "mask_confidence": facts["subject"]["confidence"],
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "settings": {
            "normalise": asdict(source.normalise),
            **{name: pair.settings_digestible(source.settings_of(name)) for name in pair.STAGES},
            "gates": asdict(source.gates),
        },
        "software": f"effectpairs {version('effectpairs')}",
    }
