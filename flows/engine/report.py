"""Report of a run: its ledger, its summary, and the row of each finished clip."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

from ...datasets.corpus.schema import QUALITY_NUMBERS, TRUTH, is_layer, truth_effects
from ...datasets.store.atomic_io import json_bytes
from ...datasets.store.ledger import ClipOutcome, RunSummary, write_ledger
from ...datasets.store.store import LayerRef
from ...stages.quality_gates import Verdict
from .item import ItemProgress, UnusableItem
from .run import Run

NOT_REACHED = "was not reached; run the source again"


def write_report(run: Run) -> RunSummary:
    """Judge every item of a run and write the source's ledger; return its summary."""
    run.refresh()
    outcomes = [outcome for item in run.items for outcome in _outcomes(item, run)]
    run.delete_batches()
    return write_ledger(run.workspace, run.source.name, outcomes, run.kind.settings(run.source))


def clip_row(
    progress: ItemProgress,
    group: str,
    shape: tuple[int, int, int],
    numbers: Mapping[str, float | None],
    verdict: Verdict,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """Row of a finished clip without its caption columns.

    Args:
        progress: of the clip.
        group: clips of one group stay in one split.
        shape: frames, rows, columns.
        numbers: quality numbers; those that are not here are unknown.
        verdict: decision about the pair.
        provenance: what only its kind of item knows. `origin` says which video, scene or caption of the source's origin
            it came from, `inputs` has the SHA-256 of each input by its role, `settings` those of the stages as JSON,
            `composite` is "exact" (in linear light) or "eq2", `facts` are for captions, or say how it was made.
    """
    item, source = progress.item, progress.source
    frames, height, width = shape
    quality: dict[str, Any] = {name: numbers.get(name) for name in QUALITY_NUMBERS}
    facts = provenance.get("facts")
    return {
        "clip_id": item.id,
        "kind": source.kind,
        "source": source.name,
        "group": group,
        "num_frames": frames,
        "height": height,
        "width": width,
        "fps": item.fps,
        "quality": quality | {"verdict": verdict.verdict, "reasons": list(verdict.reasons)},
        "provenance": {
            **dict.fromkeys(("start_s", "source_frames", "subject", "composite")),
            **{"seeds": [], "models": [], "notes": []},
            **provenance,
            "origin": f"{source.origin}: {provenance['origin']}",
            "licence": source.licence,
            "inputs": [{"role": role, "sha256": digest} for role, digest in sorted(provenance["inputs"].items())],
            "facts": None if facts is None else json_bytes(facts).decode(),
            "software": software(),
        },
        TRUTH: truth_effects(progress.layers),
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
        layers={name: vars(layer) for name, layer in layers.items() if is_layer(name)},
    )


def _outcomes(item: ItemProgress | UnusableItem, run: Run) -> Iterator[ClipOutcome]:
    if isinstance(item, UnusableItem):
        yield ClipOutcome(name=item.id, outcome=item.outcome, stage=item.stage, reasons=(item.reason,))
        return
    failure = run.failures.get(item.item.id)
    if item.children is not None:
        for child in item.children:
            yield from _outcomes(child, run)
    elif item.is_finished:
        yield run.kind.outcome(run.source, item, failure)
    else:
        if item.refusal is not None:
            stage, reason = item.refusal
        elif failure is not None:
            stage, reason = failure.stage, failure.reason
        else:
            assert item.next_stage is not None, item.item.id
            stage, reason = item.next_stage.name, NOT_REACHED
        for name in item.item.outcome_names:
            yield ClipOutcome(name=name, outcome="fail", stage=stage, reasons=(reason,))
