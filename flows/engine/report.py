"""Report of a run: its ledger, its summary, and the row of each finished clip."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

from ...datasets.corpus.schema import LAYERS, QUALITY_NUMBERS
from ...datasets.store.atomic_io import json_bytes
from ...datasets.store.ledger import ClipOutcome, RunSummary, write_ledger
from ...datasets.store.store import LayerRef
from .item import UnusableItem
from .progress import ItemProgress
from .run import Run

NOT_REACHED = "was not reached; run the source again"


@dataclass(frozen=True, kw_only=True)
class RowFacts:
    """Facts of one finished clip that only its kind of item knows; its row has the same others for every kind."""

    group: str
    shape: tuple[int, int, int]
    """Frames, rows, columns."""
    origin: str
    """Which video, scene or caption of the source's origin it came from."""
    inputs: Mapping[str, str]
    """SHA-256 of each input, by its role."""
    settings: str
    """Settings of the stages, as JSON."""
    numbers: Mapping[str, float | None]
    """Quality numbers; those that are not here are unknown."""
    verdict: str
    reasons: tuple[str, ...]
    start_s: float | None = None
    source_frames: Sequence[int] | None = None
    subject: int | None = None
    seeds: Sequence[int] = ()
    models: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    composite: str | None = None
    """How `over` was composed: "exact" in linear light, or "eq2"."""
    facts: Mapping[str, Any] | None = None
    """What a caption may say of it, or how it was made."""


def write_report(run: Run) -> RunSummary:
    """Judge every item of a run and write the source's ledger; return its summary."""
    run.refresh()
    outcomes = [outcome for item in run.items for outcome in _outcomes(item, run)]
    return write_ledger(run.workspace, run.source.name, outcomes, run.kind.settings(run.source))


def clip_row(progress: ItemProgress, facts: RowFacts) -> dict[str, Any]:
    """Row of a finished clip without its caption columns."""
    item, source = progress.item, progress.source
    frames, height, width = facts.shape
    quality: dict[str, Any] = {name: facts.numbers.get(name) for name in QUALITY_NUMBERS}
    return {
        "clip_id": item.id,
        "kind": source.kind,
        "source": source.name,
        "group": facts.group,
        "num_frames": frames,
        "height": height,
        "width": width,
        "fps": item.fps,
        "quality": quality | {"verdict": facts.verdict, "reasons": list(facts.reasons)},
        "provenance": {
            "origin": f"{source.origin}: {facts.origin}",
            "licence": source.licence,
            "inputs": [{"role": role, "sha256": digest} for role, digest in sorted(facts.inputs.items())],
            "start_s": facts.start_s,
            "source_frames": facts.source_frames,
            "subject": facts.subject,
            "settings": facts.settings,
            "seeds": list(facts.seeds),
            "models": list(facts.models),
            "notes": list(facts.notes),
            "composite": facts.composite,
            "facts": None if facts.facts is None else json_bytes(facts.facts).decode(),
            "software": software(),
        },
    }


@lru_cache(maxsize=4)
def settings_json(settings: Callable[[Any], Mapping[str, Any]], source: Any) -> str:
    """Settings of a source's stages as JSON; all rows of the source share them."""
    return json_bytes(settings(source)).decode()


@cache
def software() -> str:
    """Name and version of this program, as provenance has it."""
    return f"effectpairs {version('effectpairs')}"


def finished_outcome(row: Mapping[str, Any], layers: Mapping[str, LayerRef], stage: str = "quality") -> ClipOutcome:
    """Outcome of a clip that went through every stage, with its row and the files of its layers."""
    return ClipOutcome(
        name=row["clip_id"],
        outcome=row["quality"]["verdict"],
        stage=stage,
        reasons=tuple(row["quality"]["reasons"]),
        row=row,
        layers={name: vars(layer) for name, layer in layers.items() if name in LAYERS},
    )


def failed_outcome(name: str, stage: str, reason: str) -> ClipOutcome:
    """Outcome of an item that gives no row."""
    return ClipOutcome(name=name, outcome="fail", stage=stage, reasons=(reason,))


def _outcomes(item: ItemProgress | UnusableItem, run: Run) -> Iterator[ClipOutcome]:
    if isinstance(item, UnusableItem):
        yield ClipOutcome(name=item.id, outcome=item.outcome, stage=item.stage, reasons=(item.reason,))
        return
    failure = run.failures.get(item.item.id)
    if item.is_finished and item.children is None:
        yield run.kind.outcome(run.source, item, failure)
    elif item.children is not None:
        for child in item.children:
            yield from _outcomes(child, run)
    elif item.refusal is not None:
        yield from (failed_outcome(name, *item.refusal) for name in item.item.outcome_names)
    else:
        assert item.next_stage is not None, item.item.id
        stage, reason = (failure.stage, failure.reason) if failure else (item.next_stage.name, NOT_REACHED)
        yield from (failed_outcome(name, stage, reason) for name in item.item.outcome_names)
