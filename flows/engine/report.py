"""Report of a run: its ledger, its summary, and the row of each finished clip."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

from ...datasets.corpus.schema import QUALITY_NUMBERS, TRUTH, is_layer, truth_effects
from ...datasets.store.atomic_io import json_bytes
from ...datasets.store.index import ResultStamp, WorkspaceIndex
from ...datasets.store.ledger import ClipOutcome, LedgerLine, RunSummary, read_account, read_state, write_ledger
from ...datasets.store.references import read_seconds_of, write_references
from ...datasets.store.store import LayerRef, StageResult
from ...licences import read_licence
from ...stages.quality_gates import Verdict
from .item import Item, ItemProgress, UnusableItem, progress_tree
from .run import Run

NOT_REACHED = "was not reached; run the source again"


LEFT_OUT = "was left out of this run by its options; run the source again"


def write_report(run: Run) -> RunSummary:
    """Judge every item of a run and write the source's ledger; return its summary.

    A ledger that was written for the same finished items stays as it is.
    """
    workspace, source = run.workspace, run.source.name
    state = run.state() if run.check_done() else None
    if state is not None and run.is_remembered and state == read_state(workspace, source):
        return read_account(workspace, source)[0]
    with write_references(workspace, source) as refer:
        run.delete_batches()
        past = dict(read_seconds_of(workspace, source)) | run.seconds
        refer(result_stamps(None, run.listing, run.index, past))
        lines = (line for number in range(len(run.items)) for line in _report_item(number, run, refer, past))
        summary = write_ledger(workspace, source, lines, run.kind.settings(run.source), state)
    run.index.commit()
    return summary


def refer_to_results(run: Run) -> None:
    """Write which results a run without a ledger refers to, so that they stay."""
    with write_references(run.workspace, run.source.name) as refer:
        for part in run.iter_items():
            refer(result_stamps(part, part.results.values(), run.index, run.seconds))


def result_stamps(
    part: ItemProgress | None, results: Iterable[StageResult], index: WorkspaceIndex, seconds: Mapping[str, float]
) -> Iterator[ResultStamp]:
    """Results of an item, or of a listing, as they lie in the store now; seconds say how long each took, by its key."""
    clips = list(clip_names(part)) if part is not None else []
    for result in results:
        stage = result.folder.split("/")[1]
        seen = index.look(stage, result.key)
        if seen is not None:
            yield ResultStamp(
                item="" if part is None else part.item.id,
                stage=stage,
                key=result.key,
                manifest_bytes=seen[0],
                times_ns=seen[1],
                size_bytes=seen[0] + result.size_bytes,
                seconds=seconds.get(result.key),
                clips=clips,
            )


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
            "licence": read_licence(source.licence).text,
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


def clip_names(part: ItemProgress | UnusableItem) -> Iterator[str]:
    """Ids under which what comes of an item stands in the ledger."""
    if isinstance(part, UnusableItem):
        yield part.id
    elif part.children is None:
        yield from part.item.outcome_names
    else:
        for child in part.children:
            yield from clip_names(child)


def _report_item(
    number: int, run: Run, refer: Callable[[Iterable[ResultStamp]], None], seconds: Mapping[str, float]
) -> Iterator[ClipOutcome | LedgerLine]:
    """Lines of a listed item, from memory where it was finished before; its results are referred to."""
    item, source = run.items[number], run.source.name
    if isinstance(item, Item):
        stamps = run.recall(item)
        lines = None if stamps is None else run.index.lines(source, item.id)
        if stamps is not None and lines is not None:
            refer(stamps)
            yield from lines
            return
    progress = run.read_progress(number)
    parts = list(progress_tree(progress))
    stamps = [stamp for part in parts for stamp in result_stamps(part, part.results.values(), run.index, seconds)]
    refer(stamps)
    lines = [LedgerLine.of(entry) for entry in _outcomes(progress, run, number, progress)]
    if isinstance(item, Item) and not any(part.next_stage or part.item.id in run.failures for part in parts):
        run.index.keep(source, item.id, run.fingerprint(item), stamps, lines)
    yield from lines


def _outcomes(
    item: ItemProgress | UnusableItem, run: Run, number: int, root: ItemProgress | UnusableItem
) -> Iterator[ClipOutcome]:
    if isinstance(item, UnusableItem):
        yield ClipOutcome(name=item.id, outcome=item.outcome, stage=item.stage, reasons=(item.reason,))
        return
    assert isinstance(root, ItemProgress), "a part has a whole"
    failure = run.failures.get(item.item.id)
    if item.children is not None:
        for child in item.children:
            yield from _outcomes(child, run, number, root)
    elif item.is_finished:
        outcome: ClipOutcome = run.kind.outcome(run.source, item, failure)
        reason = run.purges.row_reason(outcome.row) if run.purges.purges and outcome.row else None
        purged = ClipOutcome(name=outcome.name, outcome="purged", stage=outcome.stage, reasons=(reason or "",))
        yield purged if reason else outcome
    elif item.refusal is None and failure is None and not run.is_selected(number, item, root):
        assert item.next_stage is not None, item.item.id
        for name in item.item.outcome_names:
            yield ClipOutcome(name=name, outcome="pending", stage=item.next_stage.name, reasons=(LEFT_OUT,))
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
