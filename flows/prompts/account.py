"""From made clips to the account: every caption with what became of it, and the row of each finished clip."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ...datasets.corpus.schema import QUALITY_NUMBERS
from ...datasets.store.atomic_io import digest_of, json_bytes
from ...datasets.store.ledger import ClipOutcome, RunSummary, write_ledger
from ...datasets.store.store import StageResult, Store
from ...stages.quality_gates import Verdict
from ...stages.unpaired_quality import judge
from ..captions.record import finished
from ..captions.steps import Worded
from .prompts import Prompt, PromptRefusal
from .source import UnpairedSource
from .steps import STAGE, ClipJob, values_of

Failures = Mapping[str, tuple[str, str]]
"""By name, the stage that failed and why."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What became of one prompt's words."""

    prompt: Prompt
    jobs: tuple[ClipJob, ...]
    """Its clips; none where its augmentation failed."""
    walked: Worded | None = None
    """Its augmentation, where there was one."""


def close_account(
    source: UnpairedSource,
    store: Store,
    wishes: Sequence[Wish | PromptRefusal],
    results: Mapping[str, StageResult],
    failures: Failures,
) -> RunSummary:
    """Judge every clip and write the source's ledger and account."""
    entries = [entry for wish in wishes for entry in _entries(wish, source, store, results, failures)]
    return write_ledger(store.workspace, source.name, entries, values_of(source))


def _entries(
    wish: Wish | PromptRefusal,
    source: UnpairedSource,
    store: Store,
    results: Mapping[str, StageResult],
    failures: Failures,
) -> Iterator[ClipOutcome]:
    if isinstance(wish, PromptRefusal):
        yield _failed(f"{source.name}-{wish.name}", "list", wish.reason)
        return
    if not wish.jobs:
        name = f"{source.name}-{wish.prompt.name}"
        stage, reason = failures.get(name, ("augment", "no augmented caption passed the checks"))
        yield _failed(name, stage, reason)
    for job in wish.jobs:
        name = job.clip_id(source)
        result = results.get(name)
        if result is None:
            stage, reason = failures.get(name, (STAGE, "was not reached; run the source again"))
            yield _failed(name, stage, reason)
        elif result.refused is not None:
            yield _failed(name, STAGE, result.refused)
        else:
            yield _finished(job, wish, result, source, store)


def _failed(name: str, stage: str, reason: str) -> ClipOutcome:
    return ClipOutcome(name=name, outcome="fail", stage=stage, reasons=(reason,))


def _finished(job: ClipJob, wish: Wish, result: StageResult, source: UnpairedSource, store: Store) -> ClipOutcome:
    made = result.layers["gt"]
    verdict = judged(result, source)
    quality = dict.fromkeys(QUALITY_NUMBERS) | {"verdict": verdict.verdict, "reasons": list(verdict.reasons)}
    file = made.file
    layers = {"gt": {"file": file, "sha256": made.sha256, "size_bytes": made.size_bytes}}
    return finished(_row(job, wish, result, source) | {"quality": quality}, layers)


def judged(result: StageResult, source: UnpairedSource) -> Verdict:
    """By its numbers; a scene that lacks something the caption names goes to review."""
    wanted = source.format.frames
    verdict = judge(result.facts["numbers"], source.limits, frames=wanted, wanted=wanted)
    missing = result.facts["missing"]
    if not missing or verdict.verdict == "reject":
        return verdict
    reason = f"the caption names what no scene has: {', '.join(missing)}"
    return Verdict(verdict="review", reasons=(reason, *(verdict.reasons if verdict.verdict == "review" else ())))


def _row(job: ClipJob, wish: Wish, result: StageResult, source: UnpairedSource) -> dict[str, Any]:
    form, maker = source.format, result.facts["maker"]
    facts = {name: value for name, value in result.facts.items() if name not in ("maker",)}
    return {
        "clip_id": job.clip_id(source),
        "kind": source.kind,
        "source": source.name,
        "group": job.group,
        "effects": list(job.effects),
        "caption": job.caption,
        "caption_dense": None,
        "num_frames": form.frames,
        "height": form.size[0],
        "width": form.size[1],
        "fps": form.fps,
        "provenance": {
            "origin": f"{source.origin}: {job.prompt}, {job.number}",
            "licence": source.licence,
            "inputs": [{"role": "caption", "sha256": digest_of(job.original)}],
            "start_s": None,
            "source_frames": None,
            "subject": None,
            "settings": json_bytes(values_of(source)).decode(),
            "seeds": [job.seed(source)],
            "models": [{"id": maker["model"], "revision": maker["revision"]}],
            "notes": [],
            "composite": None,
            "facts": json_bytes(facts).decode(),
            "captions": json_bytes(_record(job, wish, source)).decode(),
            "software": f"effectpairs {version('effectpairs')}",
        },
    }


def _record(job: ClipJob, wish: Wish, source: UnpairedSource) -> dict[str, Any]:
    """How the clip came by its caption."""
    told = {} if wish.walked is None else dict(wish.walked.facts("augment"))
    where = source.prompts if source.prompts is not None else source.corpus
    return {
        "given": job.original,
        "from": {"place": where, "name": job.prompt},
        "augmented": [],
        "effects": {"source": "caption" if source.prompts is not None else "corpus", "evidence": [job.original]},
        "filled": {"augment": told.get("filled", 0)},
        "steps": {"augment": told} if told else {},
        "settings": source.captioning.values,
        "doubt": None,
    }
