"""Caption columns of a row: the captions, the effects with their evidence, and how all of it came about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...captioning.config import CAPTION_STEPS
from ...captioning.language.caption_parsing import named_effects
from ...datasets.store.atomic_io import json_bytes
from ..engine.batches import Failure
from ..engine.progress import ItemProgress
from ..engine.report import NOT_REACHED
from .stages import TAGS, CaptionedItem, Captioning, caption_text

ROLES = {"describe": "captioner", "refine": "refiner", "augment": "augmenter"}
A_PERSON = "a person"


@dataclass(frozen=True, kw_only=True)
class CaptionRecord:
    """Captions and effects of one clip, and how they came about."""

    caption: str | None
    caption_dense: str | None
    effects: Sequence[str]
    models: tuple[Mapping[str, Any], ...]
    provenance: Mapping[str, Any]
    """All that the row's provenance keeps of it."""
    doubt: str | None
    """Why the clip goes to review."""


def caption_record(progress: ItemProgress, settings: Captioning, failure: Failure | None = None) -> CaptionRecord:
    """Captions of a clip as far as they are made.

    Args:
        progress: the clip's stages; its item is a `CaptionedItem`.
        settings: how captions are made.
        failure: why a caption stage has no result, if one failed in this run.
    """
    item: CaptionedItem = progress.item  # type: ignore[assignment]
    facts = progress.facts
    effects, evidence = _effects(item, facts)
    doubt = _doubt(progress, item, failure)
    roles: dict[str, Any] = {} if item.fixed_caption is None else {"refiner": {"id": A_PERSON, "revision": None}}
    for step in CAPTION_STEPS:
        if replies := facts.get(step, {}).get("replies"):
            roles[ROLES[step]] = {"id": replies[0]["model"], "revision": replies[0]["revision"]}
    models = {(model["id"], model["revision"]): model for model in roles.values() if model["id"] != A_PERSON}
    finished_steps = [step for step in CAPTION_STEPS if step in progress.results]
    provenance = {
        "caption_by": roles.get("refiner", {}).get("id"),
        "augmented": [reply["text"] for reply in facts.get("augment", {}).get("replies") or ()],
        "given": item.fixed_caption,
        "effects": evidence,
        "models": roles,
        "filled": {step: facts.get(step, {}).get("filled", 0) for step in finished_steps},
        "steps": {step: dict(facts.get(step, {})) for step in finished_steps},
        "settings": settings.values,
        "seed": item.caption_seed,
        "doubt": doubt,
    }
    return CaptionRecord(
        caption=caption_text(item, facts, "refine"),
        caption_dense=caption_text(item, facts, "describe") if item.fixed_caption is None else None,
        effects=effects,
        models=tuple(models.values()),
        provenance=provenance,
        doubt=doubt,
    )


def with_captions(row: Mapping[str, Any], record: CaptionRecord) -> dict[str, Any]:
    """A finished clip's row with its captions; a doubt about them sends an accepted clip to review.

    The verdict on the pair itself stays in the record, so that other captions can be judged anew.
    """
    quality, provenance = row["quality"], row["provenance"]
    pair = {"verdict": quality["verdict"], "reasons": list(quality["reasons"])}
    if record.doubt is not None:
        reasons = [record.doubt] if pair["verdict"] == "accept" else [*pair["reasons"], record.doubt]
        verdict = "review" if pair["verdict"] == "accept" else pair["verdict"]
        quality = {**quality, "verdict": verdict, "reasons": reasons}
    return {
        **row,
        "effects": list(record.effects),
        "caption": record.caption,
        "caption_dense": record.caption_dense,
        "quality": quality,
        "provenance": {
            **provenance,
            "models": [*provenance["models"], *(dict(model) for model in record.models)],
            "captions": json_bytes({**record.provenance, "pair": pair}).decode(),
        },
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


def _doubt(progress: ItemProgress, item: CaptionedItem, failure: Failure | None) -> str | None:
    """Why the captions are not complete, in one sentence; None where they are."""
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
    if step == "describe":
        return f"no caption: no description passed the checks{reason}"
    if step == "refine":
        return (
            "the caption names no known effect" if facts["replies"] else f"no caption: none passed the checks{reason}"
        )
    return f"{len(facts['replies'])} augmented captions alone passed the checks{reason}"
