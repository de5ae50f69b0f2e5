"""What a task does, without Prefect: files to normalised clips, clips through the stages, all of it in the store.

A worker process, the flow, `effectpairs pair` and the tests call these same functions.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...datasets.footage.listing import Footage
from ...datasets.store.atomic_io import digest_of, digest_of_file
from ...datasets.store.store import ResultWriter, StageKey, StageResult, Store
from ...stages import normalise, pair
from ..engine.ids import plain_name
from .ingest import Ingested, Rejected, ingest
from .source import RealSource


@dataclass(frozen=True, kw_only=True)
class Job:
    """One subject of one clip: what becomes one row."""

    clip_id: str
    group: str
    origin: str
    normalise_key: str
    clip: int
    subject: int
    caption: str | None = None


def normalised(footage: Footage, source: RealSource, store: Store) -> StageResult:
    """Stage 1 over one video: its clips, with what is known of their subjects."""
    work = normalise_work(footage, source)
    return store.once(work, lambda draft: _ingest(footage, source, work, draft), fps=source.normalise.fps)


def jobs_of(footage: Footage, source: RealSource, result: StageResult) -> list[Job]:
    """The rows that a normalised video will give, in order."""
    digest = digest_of([footage.name, result.facts["content"], asdict(source.normalise)])[:8]
    name = plain_name(footage.name)
    return [
        Job(
            clip_id=f"{source.name}-{name}-{clip['index']:03d}-s{subject['subject']:02d}-{digest}",
            group=result.facts["picture"][:16],
            origin=footage.name,
            normalise_key=result.key,
            clip=clip["index"],
            subject=subject["subject"],
            caption=footage.caption,
        )
        for clip in result.facts["clips"]
        for subject in clip["subjects"]
    ]


def run_stage(job: Job, stage: str, source: RealSource, store: Store) -> StageResult | None:
    """One stage over one clip; None where an earlier stage has no usable result, so that there is nothing to do."""
    before = chain(job, source, store, until=stage)
    if before.broken:
        return None
    work = before.work(stage, source)
    return store.once(work, lambda draft: _make(before, stage, source, store, draft), fps=before.fps)


@dataclass(kw_only=True)
class Chain:
    """What is done of one job: the results so far and every layer by name."""

    job: Job
    clip: dict[str, Any]
    results: dict[str, StageResult]
    layers: dict[str, tuple[StageResult, str]]
    facts: dict[str, dict[str, Any]]
    missing: str | None = None
    """The first stage that has no result."""

    @property
    def refused(self) -> tuple[str, str] | None:
        """The stage that could not use its input, and its sentence."""
        for stage, result in self.results.items():
            if result.refused is not None:
                return stage, result.refused
        return None

    @property
    def broken(self) -> bool:
        """Nothing more can be made of this job as it stands."""
        return self.missing is not None or self.refused is not None

    @property
    def fps(self) -> float:
        """Frames per second of the clip."""
        return float(self.clip["fps"])

    def work(self, stage: str, source: RealSource) -> StageKey:
        """What decides the result of the next stage."""
        link = pair.STAGES[stage]
        wanted = [*link.needs, *(name for name in link.takes if name in self.layers)]
        inputs = {name: self.layers[name][0].layers[self.layers[name][1]].sha256 for name in wanted}
        inputs |= {f"facts of {name}": digest_of(self.facts[name]) for name in link.reads}
        settings = source.settings_of(stage)
        return StageKey(
            stage=stage,
            version=pair.version_of(stage, settings),
            settings=pair.settings_digestible(settings),
            inputs=inputs,
        )

    def add(self, stage: str, result: StageResult) -> None:
        """Take a finished stage in."""
        self.results[stage] = result
        self.facts[stage] = dict(result.facts)
        self.layers |= {name: (result, name) for name in result.layers}


def chain(job: Job, source: RealSource, store: Store, *, until: str | None = None) -> Chain:
    """Walk the stages of a job as far as they are done, up to (not including) a stage."""
    result = store.get("normalise", job.normalise_key)
    assert result is not None, job
    clip = next(clip for clip in result.facts["clips"] if clip["index"] == job.clip)
    prompt = next(subject for subject in clip["subjects"] if subject["subject"] == job.subject)
    layers = {"gt": (result, f"{job.clip:03d}/gt")}
    for name in ("given_mask", "keys", "others"):
        stored = f"{job.clip:03d}/{name}_{job.subject:02d}"
        if stored in result.layers:
            layers[name] = (result, stored)
    if f"{job.clip:03d}/given" in result.layers:
        layers["given"] = (result, f"{job.clip:03d}/given")
    facts = {"normalise": {"keys": prompt["keys"], "box": prompt["box"]}}
    walked = Chain(job=job, clip=clip, results={}, layers=layers, facts=facts)
    for stage in pair.STAGES:
        if stage == until or walked.broken:
            break
        found = store.find(walked.work(stage, source))
        if found is None:
            walked.missing = stage
        else:
            walked.add(stage, found)
    return walked


def _make(before: Chain, stage: str, source: RealSource, store: Store, draft: ResultWriter) -> None:
    link = pair.STAGES[stage]
    names = [name for name in (*link.needs, *link.takes) if name in before.layers]
    layers = {name: store.layer(before.layers[name][0].layers[before.layers[name][1]]) for name in names}
    made = link.make(layers, before.facts, source.settings_of(stage))
    for name, frames in made.layers.items():
        draft.add(name, frames)
    draft.facts.update(made.facts)


def normalise_work(footage: Footage, source: RealSource) -> StageKey:
    """What decides the result of stage 1; reads every file once for its digest."""
    return StageKey(
        stage="normalise",
        version=normalise.VERSION,
        settings=asdict(source.normalise)
        | {"image_fps": footage.image_fps, "labels": [subject.label for subject in footage.subjects]},
        inputs=content_of(footage),
    )


def content_of(footage: Footage) -> dict[str, str]:
    """SHA-256 by role; of a folder of images, the digest of its files' digests in order."""
    digests: dict[str, list[str]] = {}
    for role, path in footage.files():
        digests.setdefault(role, []).append(digest_of_file(path))
    return {role: found[0] if len(found) == 1 else digest_of(found) for role, found in digests.items()}


def _ingest(footage: Footage, source: RealSource, work: StageKey, draft: ResultWriter) -> None:
    clips, rejected = [], []
    for piece in ingest(footage, source.normalise):
        if isinstance(piece, Rejected):
            rejected.append({"where": piece.where, "reason": piece.reason})
        else:
            clips.append(_add_clip(piece, draft))
    picture = {role: digest for role, digest in work.inputs.items() if role.startswith("video")}
    draft.facts.update(
        content=digest_of(work.inputs), picture=digest_of(picture), inputs=work.inputs, clips=clips, rejected=rejected
    )


def _add_clip(piece: Ingested, draft: ResultWriter) -> dict[str, Any]:
    folder = f"{piece.index:03d}"
    draft.add(f"{folder}/gt", piece.gt)
    if piece.given is not None:
        draft.add(f"{folder}/given", piece.given)
    given = {number: prompt.given for number, prompt in piece.prompts if prompt.given is not None}
    subjects = []
    for number, prompt in piece.prompts:
        if prompt.given is not None:
            draft.add(f"{folder}/given_mask_{number:02d}", prompt.given)
        if prompt.keys:
            draft.add(f"{folder}/keys_{number:02d}", np.stack(list(prompt.keys.values())))
        others = [mask > 127 for other, mask in given.items() if other != number]
        if others:
            draft.add(f"{folder}/others_{number:02d}", np.logical_or.reduce(others))
        subjects.append({"subject": number, "keys": list(prompt.keys), "box": prompt.box})
    return {
        "index": piece.index,
        "start_s": piece.start_s,
        "fps": piece.fps,
        "source_frames": list(piece.source_frames),
        "shape": list(piece.gt.shape[:3]),
        "subjects": subjects,
        "notes": list(piece.notes),
    }
