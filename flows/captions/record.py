"""From finished caption steps to a row: the words, the effects with their evidence, and how all of it came about."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...captioning.config import CAPTION_STEPS
from ...captioning.language.caption_parsing import named_effects
from ...datasets.store.atomic_io import json_bytes
from ...datasets.store.ledger import ClipOutcome
from .settings import Captioning
from .steps import Worded

ROLES = {"describe": "captioner", "refine": "refiner", "augment": "augmenter"}


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a row says of its clip, and what somebody should look at."""

    caption: str | None
    dense: str | None
    effects: Sequence[str]
    models: tuple[Mapping[str, Any], ...]
    record: Mapping[str, Any]
    """All that provenance keeps."""
    doubt: str | None
    """Why the clip goes to review."""


def words_of(walked: Worded, settings: Captioning, absent: tuple[str, str] | None = None) -> Words:
    """The words of a clip as far as they are made.

    Args:
        walked: its steps.
        settings: how they were made.
        absent: the stage that failed without a result, and why.
    """
    job = walked.job
    effects, evidence = _effects(walked)
    doubt = _doubt(walked, absent)
    roles = {} if job.given is None else {"refiner": {"id": "a person", "revision": None}}
    for stage in CAPTION_STEPS:
        replies = walked.facts(stage).get("replies") or ()
        if replies:
            roles[ROLES[stage]] = {"id": replies[0]["model"], "revision": replies[0]["revision"]}
    models = {(one["id"], one["revision"]): one for one in roles.values() if one["id"] != "a person"}
    record = {
        "caption_by": roles.get("refiner", {}).get("id"),
        "augmented": [reply["text"] for reply in walked.facts("augment").get("replies") or ()],
        "given": job.given,
        "effects": evidence,
        "models": roles,
        "filled": {stage: walked.facts(stage).get("filled", 0) for stage in CAPTION_STEPS if stage in walked.results},
        "steps": {stage: dict(walked.facts(stage)) for stage in CAPTION_STEPS if stage in walked.results},
        "settings": settings.values,
        "seed": job.seed,
        "doubt": doubt,
    }
    return Words(
        caption=walked.said("refine"),
        dense=walked.said("describe") if job.given is None else None,
        effects=effects,
        models=tuple(models.values()),
        record=record,
        doubt=doubt,
    )


def captioned(row: Mapping[str, Any], words: Words) -> dict[str, Any]:
    """A finished pair's row with its words; a doubt about them sends an accepted pair to review.

    What the pair was judged by itself stays in the record, so that other words can be judged anew.
    """
    quality, provenance = row["quality"], row["provenance"]
    judged = {"verdict": quality["verdict"], "reasons": list(quality["reasons"])}
    if words.doubt is not None:
        reasons = [words.doubt] if judged["verdict"] == "accept" else [*judged["reasons"], words.doubt]
        verdict = "review" if judged["verdict"] == "accept" else judged["verdict"]
        quality = {**quality, "verdict": verdict, "reasons": reasons}
    record = {**words.record, "pair": judged}
    return {
        **row,
        "effects": list(words.effects),
        "caption": words.caption,
        "caption_dense": words.dense,
        "quality": quality,
        "provenance": {
            **provenance,
            "models": [*provenance["models"], *(dict(model) for model in words.models)],
            "captions": json_bytes(record).decode(),
        },
    }


def finished(row: Mapping[str, Any], layers: Mapping[str, Mapping[str, Any]]) -> ClipOutcome:
    """The entry of a pair that went through every stage."""
    quality = row["quality"]
    return ClipOutcome(
        name=row["clip_id"],
        outcome=quality["verdict"],
        stage="captions" if json.loads(row["provenance"]["captions"])["doubt"] else "quality",
        reasons=tuple(quality["reasons"]),
        row=row,
        layers=layers,
    )


def _effects(walked: Worded) -> tuple[Sequence[str], dict[str, Any]]:
    """The clip's effects and how they are known: told, else measured, else named by a model that saw the frames."""
    tags = walked.facts("tags")
    if walked.job.effects:
        told = "the scene says so" if walked.job.facts else "the source says so"
        return walked.job.effects, {"source": "given", "evidence": list(tags.get("evidence", (told,)))}
    found = {"source": tags.get("source", "unknown"), "evidence": list(tags.get("evidence", ()))}
    if tags.get("effects"):
        return tuple(tags["effects"]), found
    caption = walked.said("refine")
    named = tuple(named_effects(caption)) if caption and not _is_measured(walked) else ()
    if named:
        return named, {"source": "caption", "evidence": [*found["evidence"], "the caption names it"]}
    return (), found


def _is_measured(walked: Worded) -> bool:
    replies = list(walked.facts("refine").get("replies") or ())
    return bool(replies) and replies[0]["prompt_sha256"] is None


def _doubt(walked: Worded, absent: tuple[str, str] | None) -> str | None:
    """One sentence, or None where the words are whole."""
    for result in walked.results.values():
        if result.refused is not None:
            return f"no caption: {result.refused}"
    if walked.missing is not None:
        why = absent[1] if absent is not None else "was not reached; run the source again"
        kind = "no more captions" if walked.missing == "augment" else "no caption"
        return f"{kind}: {why}"
    for stage in ("describe", "refine", "augment"):
        facts = walked.facts(stage)
        if facts and facts["verdict"] == "review" and not (stage == "augment" and walked.job.given is not None):
            return _complaint(stage, facts)
    doubt: str | None = walked.facts("tags").get("doubt")
    return doubt


def _complaint(stage: str, facts: Mapping[str, Any]) -> str:
    said = facts["attempts"][-1]["objections"] if facts["attempts"] else ()
    why = f" ({said[0].rstrip('.')})" if said else ""
    if stage == "describe":
        return f"no caption: no description passed the checks{why}"
    if stage == "refine":
        return "the caption names no known effect" if facts["replies"] else f"no caption: none passed the checks{why}"
    return f"{len(facts['replies'])} augmented captions alone passed the checks{why}"
