"""Toy items: a line is split into words, every word is spelled, and spellings are weighed several at a time."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from effectpairs.datasets.store.atomic_io import digest_of
from effectpairs.datasets.store.ledger import ClipOutcome
from effectpairs.datasets.store.store import ResultWriter, Store
from effectpairs.flows.engine.batches import Failure
from effectpairs.flows.engine.item import Item, ItemKind, ItemProgress, Stage, StageInput, UnusableItem
from effectpairs.heartbeat import beat
from effectpairs.tests.toy_kind.source import ToySource

CALLS = "EFFECTPAIRS_TOY_CALLS"
"""Variable that names a file to which every call of a stage adds a line."""


@dataclass(frozen=True, kw_only=True)
class LineItem(Item):
    text: str


@dataclass(frozen=True, kw_only=True)
class WordItem(Item):
    word: str


def list_items(source: ToySource, store: Store) -> Iterator[Item | UnusableItem]:
    for number, text in enumerate(source.lines):
        if text.strip():
            yield LineItem(id=f"{source.name}-{number}", text=text, inputs={"text": digest_of(text)})
        else:
            yield UnusableItem(
                id=f"{source.name}-{number}", stage="list", reason=f"line {number} is empty; write words"
            )


def stages(source: ToySource) -> tuple[Stage, ...]:
    spell = partial(_spell, source.upper)
    spelled = {"reads": ("spell",), "phase": "words"}
    return (
        Stage(name="split", reads_inputs=True, make=_split, splits=_words, batch_name="lines"),
        Stage(
            name="spell", settings={"upper": source.upper}, reads_inputs=True, make=spell, phase="words", stall_s=5.0
        ),
        Stage(name="weigh", needs=("letters",), prepare=_weigh, make=_write_weight, batch=3, **spelled),
        Stage(name="rhyme", make=_rhyme, optional=True, **spelled),
    )


def outcome(source: ToySource, progress: ItemProgress, failure: Failure | None) -> ClipOutcome:
    facts = progress.facts
    row = {"spelling": facts["spell"]["text"], "weight": facts["weigh"]["weight"], "rhyme": facts.get("rhyme")}
    reasons = (failure.reason,) if failure else ("all is there",)
    return ClipOutcome(name=progress.item.id, outcome="accept", stage="weigh", reasons=reasons, row=row)


def settings(source: ToySource) -> dict[str, Any]:
    return {"upper": source.upper}


TOY = ItemKind(
    item_classes=(LineItem, WordItem), list_items=list_items, stages=stages, outcome=outcome, settings=settings
)


def _record_call(name: str) -> None:
    if path := os.environ.get(CALLS):
        with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123 - one write, so that processes do not mix lines
            file.write(f"{name}\n")


def _split(stage_input: StageInput, writer: ResultWriter) -> None:
    _record_call("split")
    writer.facts["words"] = stage_input.item.text.split()


def _words(stage_input: StageInput) -> Sequence[Item | UnusableItem]:
    line = stage_input.item
    return [
        UnusableItem(id=f"{line.id}-{number}", stage="split", reason=f"{word} is a number", outcome="reject")
        if word.isdigit()
        else WordItem(id=f"{line.id}-{number}", word=word, inputs={"word": digest_of(word)})
        for number, word in enumerate(stage_input.facts["split"]["words"])
    ]


def _spell(upper: bool, stage_input: StageInput, writer: ResultWriter) -> None:
    _record_call("spell")
    word = stage_input.item.word
    if word == "unspellable":
        raise ValueError("unspellable: has no spelling; write another word")
    if word == "deadly" and not os.environ.get("EFFECTPAIRS_TOY_ALIVE"):
        os._exit(9)
    if word == "endless":
        time.sleep(600)
    if word.startswith("wait"):
        end = time.monotonic() + float(word[4:])
        while time.monotonic() < end:
            beat()
            time.sleep(0.05)
    writer.facts["text"] = word.upper() if upper else word
    writer.add("letters", np.full((5, 16, 16), len(word), np.uint8))


def _weigh(stage_inputs: Sequence[StageInput]) -> Sequence[int]:
    _record_call(f"weigh {len(stage_inputs)}")
    return [int(stage_input.layer("letters").max()) for stage_input in stage_inputs]


def _write_weight(stage_input: StageInput, writer: ResultWriter) -> None:
    writer.facts["weight"] = stage_input.prepared


def _rhyme(stage_input: StageInput, writer: ResultWriter) -> None:
    if stage_input.facts["spell"]["text"] == "orange":
        raise RuntimeError("nothing rhymes with it")
    writer.facts["ending"] = stage_input.facts["spell"]["text"][-2:]
