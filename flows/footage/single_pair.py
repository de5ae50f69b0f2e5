"""One pair of one clip, here and now: the stages of `real-pairs` in memory, its layers written as files to look at."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ...datasets.corpus.schema import LAYERS
from ...datasets.footage.listing import Footage, SubjectFiles
from ...datasets.footage.types import VideoPrompts
from ...datasets.store import codec
from ...datasets.store.atomic_io import atomic_write, json_bytes
from ...requirements import check_requirements
from ...stages import pair
from ...stages.normalise import UnusableShot
from ...stages.quality_gates import Verdict, judge
from ...stages.tracking.prompts import SubjectPrompt
from ..engine.report import software
from .ingest import NormalizedClip, normalize_footage
from .source import RealSource


@dataclass(frozen=True, kw_only=True)
class PairRequest:
    """One pair that `effectpairs pair` is to make."""

    video: Path
    masks: Path | None = None
    """A mask video or a folder of mask images."""
    keys: Path | None = None
    """A folder of FRAME.png, or a polygons JSON."""
    prompts: VideoPrompts = VideoPrompts()
    """Points, boxes and a noun, in pixels and frames of the video."""
    background: Path | None = None
    """A clean plate that another tool made."""
    foreground: Path | None = None
    """The subject with its effects, by that tool."""
    alpha: Path | None = None
    """The matte of it."""
    other_masks: tuple[Path, ...] = ()
    """Mask videos or folders of the clip's other subjects, which stay in the background."""
    clip: int = 0
    """Number of the clip in the video, from 0."""


def make_pair(request: PairRequest, source: RealSource, out: Path) -> tuple[Verdict, tuple[int, int]]:
    """Make one pair and write `<layer>.mkv` for each layer and `pair.json` to out.

    Returns:
        The verdict, and the first and last frame of the video that the pair is made of.

    Raises:
        ValueError: the video or a mask cannot be used, in one sentence with file and remedy.
        RequirementMissing: a model or package that the settings name is not here.
    """
    check_requirements(source.subject, source.decompose)
    seconds: dict[str, float] = {}
    start = time.perf_counter()

    def record_seconds(stage: str) -> None:
        nonlocal start
        seconds[stage], start = time.perf_counter() - start, time.perf_counter()

    clip, prompt, others = _requested_clip(request, source)
    record_seconds("normalise")
    optional = {"given_mask": prompt.masks, "others": others, **clip.external}
    inputs = {"gt": clip.gt} | {name: layer for name, layer in optional.items() if layer is not None}
    if prompt.keys:
        inputs["keys"] = np.stack(list(prompt.keys.values()))
    settings = {stage: source.stage_settings(stage) for stage in pair.STAGES}
    layers, facts = pair.run(inputs, prompt.to_json(), settings, after=record_seconds)
    notes = [*clip.notes, *(note for stage_facts in facts.values() for note in stage_facts.get("notes", ()))]
    numbers = facts["quality"]["numbers"] | {"layer_missing": clip.missing_share}
    verdict = judge(numbers, source.quality_thresholds, tuple(notes))
    for name in LAYERS:
        atomic_write(out / f"{name}.mkv", codec.encode(layers[name], fps=clip.fps))
    record_seconds("write")
    record = {
        "video": str(request.video),
        "num_frames": len(clip.gt),
        "height": clip.gt.shape[1],
        "width": clip.gt.shape[2],
        "fps": clip.fps,
        "start_s": clip.start_s,
        "source_frames": list(clip.source_frames),
        "quality": numbers,
        "verdict": verdict.verdict,
        "reasons": list(verdict.reasons),
        "notes": notes,
        "mask_confidence": facts["subject"]["confidence"],
        "models": [stage_facts["model"] for stage_facts in facts.values() if "model" in stage_facts],
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "settings": {
            "normalise": asdict(source.normalise),
            **{name: pair.settings_digestible(stage_settings) for name, stage_settings in settings.items()},
            "quality_thresholds": asdict(source.quality_thresholds),
        },
        "software": software(),
    }
    atomic_write(out / "pair.json", json_bytes(record))
    return verdict, (clip.source_frames[0], clip.source_frames[-1])


def _requested_clip(
    request: PairRequest, source: RealSource
) -> tuple[NormalizedClip, SubjectPrompt, UInt8[np.ndarray, "T H W"] | None]:
    """The clip that a request names, the prompt of its subject, and a mask of its other subjects."""
    meaning = source.mask_meaning
    subject = SubjectFiles(masks=request.masks, keys=request.keys, prompts=request.prompts, meaning=meaning)
    others = tuple(SubjectFiles(masks=masks, meaning=meaning) for masks in request.other_masks)
    footage = Footage(
        name=request.video.stem,
        video=request.video,
        subjects=(subject, *others),
        background=request.background,
        foreground=request.foreground,
        alpha=request.alpha,
    )
    reasons: list[str] = []
    for part in normalize_footage(footage, source.normalise):
        if isinstance(part, UnusableShot):
            reasons.append(f"{part.where}: {part.reason}")
        elif part.index >= request.clip and 0 in (prompts := dict(part.prompts)):
            mattes = [prompt.masks for number, prompt in prompts.items() if number and prompt.masks is not None]
            return part, prompts[0], np.maximum.reduce(mattes) if mattes else None
    why = "; ".join(reasons) or f"it has no clip number {request.clip}"
    raise ValueError(f"{request.video}: gives no clip to make a pair of: {why}")
