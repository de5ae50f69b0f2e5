"""From finished stages to the account: every clip of a source with its verdict, and the row of each finished pair."""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from ...datasets.corpus.schema import LAYERS, QUALITY_NUMBERS
from ...datasets.footage.listing import Footage, UnusableFootage
from ...datasets.store.atomic_io import json_bytes
from ...datasets.store.ledger import ClipOutcome, Outcome, RunSummary, write_ledger
from ...datasets.store.store import StageResult, Store
from ...stages import normalise, pair
from ...stages.quality_gates import judge
from ..captions.record import captioned, finished, words_of
from ..captions.steps import walk
from .captions import of_chain
from .source import RealSource
from .steps import Chain, Job, chain, jobs_of

Failures = Mapping[str, tuple[str, str]]
"""By clip id or video name: the stage that failed without a result, and why."""


def close_account(
    source: RealSource,
    store: Store,
    videos: Iterable[tuple[Footage | UnusableFootage, StageResult | None]],
    failures: Failures,
) -> RunSummary:
    """Judge every clip and write the source's ledger and account."""
    entries: list[ClipOutcome] = []
    for footage, result in videos:
        entries += entries_of(footage, result, source, store, failures)
    return write_ledger(store.workspace, source.name, entries, settings_of(source))


def entries_of(
    footage: Footage | UnusableFootage, result: StageResult | None, source: RealSource, store: Store, failures: Failures
) -> list[ClipOutcome]:
    """What became of one video: an entry a clip, or one for a video that gave none."""
    name = f"{source.name}-{footage.name}"
    if isinstance(footage, UnusableFootage):
        return [_entry(name, "fail", "list", footage.reason)]
    if result is None:
        stage, reason = failures.get(footage.name, ("normalise", "was not reached; run the source again"))
        return [_entry(name, "fail", stage, reason)]
    if result.refused is not None:
        return [_entry(name, "fail", "normalise", result.refused)]
    rejected = [
        _entry(f"{name}-{piece['where']}", "reject", "normalise", piece["reason"]) for piece in result.facts["rejected"]
    ]
    clips = [
        _clip_entry(chain(job, source, store), source, store, failures) for job in jobs_of(footage, source, result)
    ]
    if not clips and not rejected:
        return [_entry(name, "fail", "normalise", f"{footage.video}: no clip came of it; it is too short")]
    return [*rejected, *clips]


def settings_of(source: RealSource) -> dict[str, Any]:
    """Every stage's settings with the version of its code."""
    found = {stage: source.settings_of(stage) for stage in pair.STAGES}
    settings = {
        stage: {**pair.settings_digestible(value), "version": pair.version_of(stage, value)}
        for stage, value in found.items()
    }
    first = {**pair.settings_digestible(source.normalise), "version": normalise.VERSION}
    gates = pair.settings_digestible(source.gates)
    return {"normalise": first, **settings, "gates": gates, "captions": source.captioning.values}


def _entry(name: str, outcome: Outcome, stage: str, reason: str) -> ClipOutcome:
    return ClipOutcome(name=name, outcome=outcome, stage=stage, reasons=(reason,))


def _clip_entry(done: Chain, source: RealSource, store: Store, failures: Failures) -> ClipOutcome:
    clip_id = done.job.clip_id
    if done.refused is not None:
        return _entry(clip_id, "fail", *done.refused)
    if done.missing is not None:
        stage, reason = failures.get(clip_id, (done.missing, "was not reached; run the source again"))
        return _entry(clip_id, "fail", stage, reason)
    notes = [*done.clip["notes"], *(note for facts in done.facts.values() for note in facts.get("notes", ()))]
    numbers = done.facts["quality"]["numbers"]
    verdict = judge(numbers, source.gates, tuple(notes))
    layers = {
        name: {
            "file": result.layers[stored].file,
            "sha256": result.layers[stored].sha256,
            "size_bytes": result.layers[stored].size_bytes,
        }
        for name, (result, stored) in done.layers.items()
        if name in LAYERS
    }
    quality = {name: numbers.get(name) for name in QUALITY_NUMBERS}
    quality |= {"verdict": verdict.verdict, "reasons": list(verdict.reasons)}
    row = _row(done, source, store, notes) | {"quality": quality}
    walked = walk(of_chain(done, source), source.captioning, store)
    row = captioned(row, words_of(walked, source.captioning, failures.get(clip_id)))
    return finished(row, layers)


def _row(done: Chain, source: RealSource, store: Store, notes: list[str]) -> dict[str, Any]:
    job: Job = done.job
    first = store.get("normalise", job.normalise_key)
    assert first is not None, job
    frames, height, width = done.clip["shape"]
    return {
        "clip_id": job.clip_id,
        "kind": source.kind,
        "source": source.name,
        "group": job.group,
        "num_frames": frames,
        "height": height,
        "width": width,
        "fps": done.fps,
        "provenance": {
            "origin": f"{source.origin}: {job.origin}",
            "licence": source.licence,
            "inputs": [{"role": role, "sha256": digest} for role, digest in sorted(first.facts["inputs"].items())],
            "start_s": done.clip["start_s"],
            "source_frames": done.clip["source_frames"],
            "subject": job.subject,
            "settings": json_bytes(settings_of(source)).decode(),
            "seeds": [],
            "models": [],
            "notes": notes,
            "composite": "eq2",
            "facts": None,
            "software": f"effectpairs {version('effectpairs')}",
        },
    }
