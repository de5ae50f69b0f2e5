"""Real footage as items: a video is scanned for its clips, each is normalised, goes through the pair stages and gets
captions.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from typing import Any

import numpy as np

from ...captioning.language.effect_mentions import plain_effects
from ...datasets.footage.types import Footage
from ...datasets.store.atomic_io import digest_of, key_digest
from ...datasets.store.ledger import ClipOutcome
from ...datasets.store.store import ResultWriter
from ...stages import normalise, pair
from ...stages.quality_gates import judge
from ...weights import WeightsNotFound, find_weights
from ..captions.record import captioned_outcome
from ..captions.stages import caption_stages
from ..engine.batches import Failure
from ..engine.item import Item, ItemKind, ItemProgress, Stage, StageInput, UnusableItem, slugify
from ..engine.report import clip_row, settings_json
from .ingest import ClipReader, NormalizedClip
from .items import ClipItem, PlannedClipItem, VideoItem, identity_of, list_items, unchanged
from .mending import MENDED, mend_stage, overlays_for
from .scan import PlannedClip, scan_footage
from .source import RealSource

BATCH_VIDEOS = 4
"""Videos of a batch of scans."""
BATCH_CLIPS = 8
"""Clips of a batch of stage 1, in their order in a video; one of 1080p footage takes some 5 s."""
STALL_S = 300.0
"""Time without a frame or a packet after which a decoder counts as hanging: a picture of 150 million pixels, the
largest that is read, takes 8 s of a core, and a busy machine may be thirty times as slow."""


def stages(source: RealSource) -> tuple[Stage, ...]:
    """Stages of a source of footage, in order."""
    scan = Stage(
        name="scan",
        version=normalise.VERSION,
        settings=asdict(source.normalise),
        reads_inputs=True,
        more_inputs=_listing_inputs,
        make=_scan,
        splits=_planned_clips,
        batch_name="videos",
        batch_items=BATCH_VIDEOS,
        stall_s=STALL_S,
    )
    normalise_stage = Stage(
        name="normalise",
        version=normalise.VERSION,
        settings=asdict(source.normalise),
        reads_inputs=True,
        more_inputs=lambda stage_input: {"plan": key_digest(stage_input.item.plan), **_listing_inputs(stage_input)},
        make=_normalise,
        splits=_clips,
        batch_name="planned",
        batch_items=BATCH_CLIPS,
        stall_s=STALL_S,
    )
    pair_stages = [
        Stage(
            name=name,
            version=pair.version_of(name, source.stage_settings(name)),
            settings=pair.settings_digestible(source.stage_settings(name)),
            needs=spec.needs,
            takes=spec.takes,
            reads=spec.reads,
            more_inputs=partial(_weights_inputs, source.stage_settings(name)),
            make=partial(_make_pair_stage, spec, source.stage_settings(name)),
            phase="pairs",
            batch_name="clips",
            uses=("gpu",) if getattr(source.stage_settings(name), "required_weights", ()) else ("cpu",),
        )
        for name, spec in pair.STAGES.items()
    ]
    for maker in MENDED:
        position = next(number for number, stage in enumerate(pair_stages) if stage.name == maker)
        pair_stages.insert(position + 1, mend_stage(maker))
    return (scan, normalise_stage, *pair_stages, *caption_stages(source))


def settings(source: RealSource) -> dict[str, Any]:
    """Settings of every stage with the version of its code."""
    by_stage = {
        stage.name: {**stage.settings, "version": stage.version}
        for stage in stages(source)
        if stage.name == "normalise" or stage.name in pair.STAGES
    }
    thresholds = asdict(source.quality_thresholds)
    return {**by_stage, "quality_thresholds": thresholds, "captions": source.caption_values}


def outcome(source: RealSource, progress: ItemProgress, failure: Failure | None) -> ClipOutcome:
    """Judge a finished clip and build its row."""
    item: ClipItem = progress.item  # type: ignore[assignment]
    notes = [*item.clip["notes"], *(note for facts in progress.facts.values() for note in facts.get("notes", ()))]
    models = [facts["model"] for facts in progress.facts.values() if facts.get("model")]
    models += progress.facts["decompose"].get("models", ())
    numbers = progress.facts["quality"]["numbers"] | {"layer_missing": item.clip["layer_missing"]}
    verdict = judge(numbers, source.quality_thresholds, tuple(notes))
    provenance = {
        "origin": item.hint or "",
        "inputs": item.inputs,
        "settings": settings_json(settings, source),
        "start_s": item.clip["start_s"],
        "source_frames": item.clip["source_frames"],
        "subject": item.subject,
        "models": models,
        "notes": notes,
        "composite": "eq2",
    }
    row = clip_row(progress, item.group, tuple(item.clip["shape"]), numbers, verdict, provenance)
    return captioned_outcome(progress, row, failure)


FOOTAGE = ItemKind(
    item_classes=(VideoItem, PlannedClipItem, ClipItem),
    list_items=list_items,
    stages=stages,
    outcome=outcome,
    settings=settings,
)


def _listing_inputs(stage_input: StageInput) -> dict[str, str]:
    footage: Footage = stage_input.item.footage
    labels = [subject.label for subject in footage.subjects]
    inputs = {"image_fps": str(footage.image_fps), "labels": digest_of(labels)}
    if prompts := [repr(subject.prompts) for subject in footage.subjects if not subject.prompts.is_empty]:
        inputs["prompts"] = digest_of(prompts)  # those of several subjects lie in one file
    if any(subject.meaning for subject in footage.subjects):  # ids of other clips stay as they were
        inputs["meanings"] = ",".join(str(subject.meaning) for subject in footage.subjects)
    return inputs


def _weights_inputs(stage_settings: Any, stage_input: StageInput) -> dict[str, str]:
    """Versions of the weights that a stage computes with; of those that are not here its making says so."""
    versions = {}
    for ref in getattr(stage_settings, "required_weights", ()):
        with contextlib.suppress(WeightsNotFound):
            versions[f"weights {ref.model}"] = find_weights(ref).version
    return versions


def _scan(stage_input: StageInput, writer: ResultWriter) -> None:
    with unchanged(stage_input.item):
        scan = scan_footage(stage_input.item.footage, stage_input.source.normalise)
    plans = [asdict(part) for part in scan.parts if isinstance(part, PlannedClip)]
    rejected = [asdict(part) for part in scan.parts if isinstance(part, normalise.UnusableShot)]
    writer.facts.update(readers=scan.readers, plans=plans, rejected=rejected)


def _planned_clips(stage_input: StageInput) -> Sequence[Item | UnusableItem]:
    """The clips that a scanned video will give, and its shots that give none."""
    facts, video, source = stage_input.facts["scan"], stage_input.item, stage_input.source
    parts: list[Item | UnusableItem] = [_unusable_part(video, source, shot) for shot in facts["rejected"]]
    name = f"{source.name}-{slugify(video.footage.name)}"
    values = {key: getattr(video, key) for key in ("fps", "inputs", "footage", "stamp")}
    for plan in facts["plans"]:
        item_id = f"{name}-{plan['index']:03d}-{identity_of(video, source)[:8]}"
        parts.append(PlannedClipItem(id=item_id, plan=plan, readers=facts["readers"], **values))
    if not parts:
        reason = f"{video.footage.video}: no clip came of it; it is too short"
        parts.append(UnusableItem(id=video.id, stage="normalise", reason=reason))
    return parts


def _normalise(stage_input: StageInput, writer: ResultWriter) -> None:
    item, settings = stage_input.item, stage_input.source.normalise
    clips, unusable = [], []
    with unchanged(item):
        reader = _clip_reader(_Opened(item.footage, item.readers, settings, f"{item.stamp} {key_digest(item.readers)}"))
        for part in reader.read(PlannedClip.from_json(item.plan)):
            if isinstance(part, normalise.UnusableShot):
                unusable.append(asdict(part))
            else:
                clips.append(_write_clip(part, writer))
    writer.facts.update(clips=clips, rejected=unusable)


@dataclass(frozen=True)
class _Opened:
    """A video that is open, known by the stamp of its files."""

    footage: Footage = field(compare=False)
    readers: Mapping[str, Any] = field(compare=False)
    settings: normalise.Normalise
    stamp: str


@lru_cache(maxsize=1)
def _clip_reader(opened: _Opened) -> ClipReader:
    """Reader of the video that this process worked on last, so that a decoder goes on from clip to clip."""
    return ClipReader(opened.footage, opened.readers, opened.settings)


def _write_clip(clip: NormalizedClip, writer: ResultWriter) -> dict[str, Any]:
    """Write the layers of one clip; return what later stages and the row need of it."""
    writer.add("gt", clip.gt)
    for name, layer in clip.external.items():
        writer.add(name, layer)
    masks = {number: prompt.masks for number, prompt in clip.prompts if prompt.masks is not None}
    subjects = []
    for number, prompt in clip.prompts_with_others():
        if prompt.masks is not None:
            writer.add(f"given_mask_{number:02d}", prompt.masks)
        if prompt.keys:
            writer.add(f"keys_{number:02d}", np.stack(list(prompt.keys.values())))
        if other_keys := [mask for other in prompt.others for mask in other.keys.values()]:
            writer.add(f"other_keys_{number:02d}", np.stack(other_keys))
        other_masks = [mask > 127 for other_number, mask in masks.items() if other_number != number]
        if other_masks:
            writer.add(f"others_{number:02d}", np.logical_or.reduce(other_masks))
        subjects.append({"subject": number, "prompt": prompt.to_json()})
    return {
        "index": clip.index,
        "start_s": clip.start_s,
        "fps": clip.fps,
        "source_frames": list(clip.source_frames),
        "shape": list(clip.gt.shape[:3]),
        "subjects": subjects,
        "notes": list(clip.notes),
        "layer_missing": clip.missing_share,
    }


def _clips(stage_input: StageInput) -> Sequence[Item | UnusableItem]:
    """The rows that a normalised clip will give, and its subjects that give none."""
    facts, item = stage_input.facts["normalise"], stage_input.item
    parts: list[Item | UnusableItem] = [_unusable_part(item, stage_input.source, part) for part in facts["rejected"]]
    return parts + [_clip_item(stage_input, clip, subject) for clip in facts["clips"] for subject in clip["subjects"]]


def _unusable_part(item: VideoItem, source: RealSource, part: Mapping[str, str]) -> UnusableItem:
    item_id = f"{source.name}-{item.footage.name}-{part['where']}"
    return UnusableItem(id=item_id, stage="normalise", reason=part["reason"], outcome="reject")


def _clip_item(stage_input: StageInput, clip: Mapping[str, Any], subject: Mapping[str, Any]) -> ClipItem:
    video, source, number = stage_input.item, stage_input.source, subject["subject"]
    footage: Footage = video.footage
    inputs = video.inputs
    identity = identity_of(video, source)
    picture = {role: digest for role, digest in inputs.items() if role.startswith("video")}
    stored_as = {name: name for name in ("gt", *pair.GIVEN)}
    stored_as |= {name: f"{name}_{number:02d}" for name in ("given_mask", "keys", "other_keys", "others")}
    clip_id = f"{source.name}-{slugify(footage.name)}-{clip['index']:03d}-s{number:02d}-{identity[:8]}"
    return ClipItem(
        id=clip_id,
        fps=float(clip["fps"]),
        inputs=inputs,
        layers={name: stage_input.layers[file] for name, file in stored_as.items() if file in stage_input.layers},
        facts={"normalise": subject["prompt"]},
        group=digest_of(picture)[:16],
        clip=clip,
        subject=number,
        overlays=overlays_for(clip_id, stage_input.store),
        expected_effects=plain_effects(source.effects),
        hint=footage.name,
        fixed_caption=footage.caption or source.fixed_caption,
    )


def _make_pair_stage(spec: pair.StageSpec, stage_settings: Any, stage_input: StageInput, writer: ResultWriter) -> None:
    names = [name for name in (*spec.needs, *spec.takes) if name in stage_input.layers]
    output = spec.make({name: stage_input.layer(name) for name in names}, stage_input.facts, stage_settings)
    for name, frames in output.layers.items():
        writer.add(name, frames)
    writer.facts.update(output.facts)
