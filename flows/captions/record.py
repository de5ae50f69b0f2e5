"""Caption columns of a row: the captions, the effects with their evidence, and how all of it came about."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...captioning.config import CAPTION_STEPS
from ...captioning.language.caption_parsing import named_effects
from ...datasets.store.atomic_io import json_bytes
from ...datasets.store.ledger import ClipOutcome
from ..engine.batches import Failure
from ..engine.item import ItemProgress
from ..engine.report import NOT_REACHED, finished_outcome
from .stages import TAGS, CaptionedItem, Captioning, caption_text

ROLES = {"describe": "captioner", "refine": "refiner", "augment": "augmenter"}
A_PERSON = "a person"


def captioned_outcome(progress: ItemProgress, pair_row: Mapping[str, Any], failure: Failure | None) -> ClipOutcome:
    """Outcome of a finished clip by its row without captions; failure is that of a caption stage in this run."""
    doubt = caption_doubt(progress, failure)
    row = with_captions(pair_row, progress, progress.source, doubt)
    return finished_outcome(row, progress.layers, "captions" if doubt else "quality")


def with_captions(
    row: Mapping[str, Any], progress: ItemProgress, settings: Captioning, doubt: str | None
) -> dict[str, Any]:
    """A finished clip's row with its captions, as far as they are made; a doubt sends an accepted clip to review.

    The verdict on the pair itself stays in the record of the captions, so that other captions can be judged anew.
    """
    item: CaptionedItem = progress.item  # type: ignore[assignment]
    facts, quality, provenance = progress.facts, row["quality"], row["provenance"]
    effects, evidence = _effects(item, facts)
    record = _record(progress, settings) | {"effects": evidence, "doubt": doubt}
    models = {(model["id"], model["revision"]): model for model in record["models"].values() if model["id"] != A_PERSON}
    pair = {"verdict": quality["verdict"], "reasons": list(quality["reasons"])}
    if doubt is not None:
        reasons = [doubt] if pair["verdict"] == "accept" else [*pair["reasons"], doubt]
        verdict = "review" if pair["verdict"] == "accept" else pair["verdict"]
        quality = {**quality, "verdict": verdict, "reasons": reasons}
    return {
        **row,
        "effects": list(effects),
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


def _effects(item: CaptionedItem, facts: Mapping[str, Mapping[str, Any]]) -> tuple[Sequence[str], dict[str, Any]]:
    """Effects of a clip and how they are known: given, else measured, else named by a model that saw the frames."""
    tags = facts.get(TAGS, {})
    if item.effects:
        authority = "the scene says so" if item.scene_facts else "the source says so"
        return item.effects, {"source": "given", "evidence": list(tags.get("evidence", (authority,)))}
    evidence = {"source": tags.get("source", "unknown"), "evidence": list(tags.get("evidence", ()))}
    if tags.get("effects"):
        return tuple(tags["effects"]), evidence
    caption = caption_text(item, facts, "refine")
    replies: Sequence[Mapping[str, Any]] = facts.get("refine", {}).get("replies") or ()
    is_rule_based = bool(replies) and replies[0]["prompt_sha256"] is None
    if caption and not is_rule_based and (named := tuple(named_effects(caption))):
        return named, {"source": "caption", "evidence": [*evidence["evidence"], "the caption names it"]}
    return (), evidence


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
    doubt: str | None = progress.facts.get(TAGS, {}).get("doubt")
    return doubt


def _complaint(step: str, facts: Mapping[str, Any]) -> str:
    """Say in one sentence what a step's answers lack."""
    objections = facts["attempts"][-1]["objections"] if facts["attempts"] else ()
    reason = f" ({objections[0].rstrip('.')})" if objections else ""
    if step == "augment":
        return f"{len(facts['replies'])} augmented captions alone passed the checks{reason}"
    if step == "refine" and facts["replies"]:
        return "the caption names no known effect"
    return f"no caption: {'none' if step == 'refine' else 'no description'} passed the checks{reason}"
