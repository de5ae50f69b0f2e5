"""Caption columns of a row: the captions, the effects with their evidence, and how all of it came about."""

from collections.abc import Mapping
from typing import Any

from ...captioning.config import CAPTION_STEPS
from ...captioning.language.effect_mentions import named_effects
from ...datasets.store.atomic_io import json_bytes
from ...datasets.store.ledger import ClipOutcome
from ...stages.quality_gates import unremoved_effect
from ..engine.batches import Failure
from ..engine.item import ItemProgress
from ..engine.report import NOT_REACHED, finished_outcome
from .stages import TAGS, CaptionedItem, Captioning, caption_effects, caption_text

ROLES = {"describe": "captioner", "refine": "refiner", "augment": "augmenter"}
A_PERSON = "a person"


def captioned_outcome(progress: ItemProgress, pair_row: Mapping[str, Any], failure: Failure | None) -> ClipOutcome:
    """Outcome of a finished clip by its row without captions; failure is that of a caption stage in this run."""
    row = with_captions(pair_row, progress, progress.source, caption_doubt(progress, failure))
    is_judged_by_words = row["quality"]["reasons"] != pair_row["quality"]["reasons"]
    return finished_outcome(row, progress.layers, "captions" if is_judged_by_words else "quality")


def with_captions(
    row: Mapping[str, Any], progress: ItemProgress, settings: Captioning, doubt: str | None
) -> dict[str, Any]:
    """A finished clip's row with its captions, as far as they are made; a doubt sends an accepted clip to review.

    So does a mask that is too small for the effects that source or caption speak of; a rendered clip's is the truth.

    The verdict on the pair itself stays in the record of the captions, so that other captions can be judged anew.
    """
    item: CaptionedItem = progress.item  # type: ignore[assignment]
    facts, quality, provenance = progress.facts, row["quality"], row["provenance"]
    decision, tags = caption_effects(item, facts), facts.get(TAGS, {})
    effects = {
        "source": decision.source,
        "evidence": list(decision.evidence),
        "hint": list(item.expected_effects),
        "measured": list(tags.get("measured", ())),
        "named": list(named_effects(caption_text(item, facts, "refine") or "")),
    }
    record = _record(progress, settings) | {"effects": effects, "doubt": doubt}
    models = {(model["id"], model["revision"]): model for model in record["models"].values() if model["id"] != A_PERSON}
    pair = {"verdict": quality["verdict"], "reasons": list(quality["reasons"])}
    spoken = () if item.effects else tuple(dict.fromkeys((*decision.effects, *item.expected_effects)))
    doubts = [text for text in (doubt, unremoved_effect(quality, spoken)) if text is not None]
    if doubts:
        reasons = doubts if pair["verdict"] == "accept" else [*pair["reasons"], *doubts]
        verdict = "review" if pair["verdict"] == "accept" else pair["verdict"]
        quality = {**quality, "verdict": verdict, "reasons": reasons}
    return {
        **row,
        "effects": list(decision.effects),
        "caption": caption_text(item, facts, "refine"),
        "caption_dense": caption_text(item, facts, "describe") if item.fixed_caption is None else None,
        "quality": quality,
        "provenance": {
            **provenance,
            "models": [*provenance["models"], *models.values()],
            "captions": json_bytes(record | {"pair": pair}, indent=None).decode(),
        },
    }


def _record(progress: ItemProgress, settings: Captioning) -> dict[str, Any]:
    """Record of how the captions came about, step by step."""
    item: CaptionedItem = progress.item  # type: ignore[assignment]
    facts = progress.facts
    roles: dict[str, Any] = {} if item.fixed_caption is None else {"refiner": {"id": A_PERSON, "revision": None}}
    for step in CAPTION_STEPS:
        if replies := facts.get(step, {}).get("replies"):
            roles[ROLES[step]] = {"id": replies[0]["model"], "revision": replies[0]["revision"]}
    finished_steps = [step for step in CAPTION_STEPS if step in progress.results]
    return {
        "caption_by": roles.get("refiner", {}).get("id"),
        "augmented": [reply["text"] for reply in facts.get("augment", {}).get("replies") or ()],
        "given": item.fixed_caption,
        "models": roles,
        "filled": {step: facts.get(step, {}).get("filled", 0) for step in finished_steps},
        "steps": {step: dict(facts.get(step, {})) for step in finished_steps},
        "settings": settings.caption_values,
        "seed": item.caption_seed,
    }


def caption_doubt(progress: ItemProgress, failure: Failure | None = None) -> str | None:
    """Why the captions are not complete, in one sentence; None where they are. Failure is a caption stage's, if any."""
    item: CaptionedItem = progress.item  # type: ignore[assignment]
    for result in progress.results.values():
        if result.refused is not None:
            return f"no caption: {result.refused}"
    if progress.next_stage is not None:
        reason = failure.reason if failure is not None else NOT_REACHED
        lack = "no more captions" if progress.next_stage.name == "augment" else "no caption"
        return f"{lack}: {reason}"
    for step in CAPTION_STEPS:
        facts = progress.facts.get(step, {})
        if facts and facts["verdict"] == "review" and not (step == "augment" and item.fixed_caption is not None):
            return _complaint(step, facts)
    return caption_effects(item, progress.facts).doubt


def _complaint(step: str, facts: Mapping[str, Any]) -> str:
    """Say in one sentence what a step's answers lack."""
    objections = facts["attempts"][-1]["objections"] if facts["attempts"] else ()
    reason = f" ({objections[0].rstrip('.')})" if objections else ""
    if step == "augment":
        return f"{len(facts['replies'])} augmented captions alone passed the checks{reason}"
    if step == "refine" and facts["replies"]:
        return "the caption names no known effect"
    return f"no caption: {'none' if step == 'refine' else 'no description'} passed the checks{reason}"
