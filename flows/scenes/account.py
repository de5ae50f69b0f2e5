"""From drawn scenes to the account: every variant of a source with its verdict, and the row of each finished pair."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from ...datasets.corpus.schema import QUALITY_NUMBERS
from ...datasets.store.atomic_io import json_bytes
from ...datasets.store.ledger import ClipOutcome, RunSummary, write_ledger
from ...datasets.store.store import StageResult, Store
from ...render.scene.scene import Variant
from ...stages.quality_gates import Verdict, judge
from ..captions.record import captioned, finished, words_of
from ..captions.steps import walk
from .captions import of_scene
from .layers import OWN, SHARED
from .source import SceneSource
from .steps import STAGE, VERSION, SceneJob


@dataclass(frozen=True, kw_only=True)
class SceneRefusal:
    """A description that cannot be used, and why."""

    name: str
    reason: str


def close_account(
    source: SceneSource,
    store: Store,
    jobs: Iterable[SceneJob | SceneRefusal],
    results: Mapping[str, StageResult],
    failures: Mapping[str, tuple[str, str]],
) -> RunSummary:
    """Judge every variant and write the source's ledger and account."""
    entries: list[ClipOutcome] = []
    for job in jobs:
        if isinstance(job, SceneRefusal):
            entries.append(_failed(f"{source.name}-{job.name}", "list", job.reason))
            continue
        result = results.get(job.name)
        for variant in job.scene.variants:
            entries.append(_entry(job, variant, result, source, store, failures))
    return write_ledger(store.workspace, source.name, entries, settings_of(source))


def settings_of(source: SceneSource) -> dict[str, Any]:
    """What is decided for all scenes; each scene's own description stands in its rows."""
    drawn = {STAGE: {**source.decisive, "version": VERSION}, "gates": asdict(source.gates)}
    return drawn | {"captions": source.captioning.values}


def _failed(name: str, stage: str, reason: str) -> ClipOutcome:
    return ClipOutcome(name=name, outcome="fail", stage=stage, reasons=(reason,))


def _entry(
    job: SceneJob,
    variant: Variant,
    result: StageResult | None,
    source: SceneSource,
    store: Store,
    failures: Mapping[str, tuple[str, str]],
) -> ClipOutcome:
    clip_id = job.clip_id(source, variant)
    if result is None:
        return _failed(clip_id, STAGE, failures.get(job.name, (STAGE, "was not reached; run the source again"))[1])
    if result.refused is not None:
        return _failed(clip_id, STAGE, result.refused)
    made = result.facts["variants"][variant.name]
    if "refused" in made:
        return _failed(clip_id, STAGE, made["refused"])
    verdict = judged(made, source, job.scene.size)
    quality = {name: made["numbers"].get(name) for name in QUALITY_NUMBERS}
    quality |= {"verdict": verdict.verdict, "reasons": list(verdict.reasons)}
    stored = {name: name for name in SHARED} | {name: f"{variant.name}/{name}" for name in OWN}
    clip = next(one for one in of_scene(job, source, result) if one.clip_id == clip_id)
    words = words_of(walk(clip, source.captioning, store), source.captioning, failures.get(clip_id))
    layers = {
        name: {
            "file": result.layers[kept].file,
            "sha256": result.layers[kept].sha256,
            "size_bytes": result.layers[kept].size_bytes,
        }
        for name, kept in stored.items()
    }
    return finished(captioned(_row(job, variant, result, source) | {"quality": quality}, words), layers)


def judged(made: Mapping[str, Any], source: SceneSource, size: tuple[int, int]) -> Verdict:
    """By the numbers; and a row may name no effect that nobody can see."""
    verdict = judge(made["numbers"], source.gates_for(size))
    unseen = [kind for kind, white in made["white_steps"].items() if not white]
    if not unseen:
        return verdict
    reason = (
        f"the {unseen[0]} shows in no pixel: it lies out of view, or changes less than {source.truth.threshold} steps"
    )
    doubts = () if verdict.verdict == "accept" else verdict.reasons
    return Verdict(verdict="reject", reasons=(reason, *doubts))


def _row(job: SceneJob, variant: Variant, result: StageResult, source: SceneSource) -> dict[str, Any]:
    scene, content = job.scene, job.content
    made = result.facts["variants"][variant.name]
    return {
        "clip_id": job.clip_id(source, variant),
        "kind": source.kind,
        "source": source.name,
        "group": job.group,
        "num_frames": scene.frames,
        "height": scene.size[0],
        "width": scene.size[1],
        "fps": scene.fps,
        "provenance": {
            "origin": f"{source.origin}: {job.name}, {variant.name}",
            "licence": source.licence,
            "inputs": [{"role": role, "sha256": digest} for role, digest in result.facts["inputs"].items()],
            "start_s": None,
            "source_frames": None,
            "subject": 0,
            "settings": json_bytes(settings_of(source) | {"scene": content, "variant": variant.name}).decode(),
            "seeds": [scene.seed],
            "models": [{"id": "blender", "revision": result.facts["blender"]}],
            "notes": [],
            "composite": scene.rendering.composite,
            "facts": json_bytes(made["facts"]).decode(),
            "software": f"effectpairs {version('effectpairs')}",
        },
    }
