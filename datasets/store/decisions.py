"""Decisions of people about clips, and what they come to together.

A decision says who decided what about which layers, when, and what stood there before. `decision_log` keeps them.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

from ...untrusted_input import is_id, printable, shortened
from .atomic_io import json_bytes, key_digest
from .ledger import ClipOutcome

Topic = Literal["verdict", "note", "caption", "effects", "mask"]
VERDICT_WORDS = {"accept": "accepted", "review": "sent to review", "reject": "rejected"}
MENDABLE = ("effect_mask", "subject_mask")
"""Layers that a person may paint on."""
MAX_TEXT = 4000
"""Characters of a note or caption."""
MAX_EFFECTS, MAX_WORD = 16, 60
_HEX = re.compile("[0-9a-f]{8,64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One decision of one person about one clip."""

    id: str
    clip: str
    layers: str
    """Fingerprint of the layers that were looked at; layers that were made anew are not covered."""
    by: str
    at: str
    """UTC, as `2026-11-27T18:00:00.000000Z`: such texts sort by time."""
    what: str
    """One of `Topic`."""
    value: Any
    """A verdict, a text or a list of words; None takes back. Of a mask: its layer, the SHA-256 of the stored layer that
    was painted on, by frame a PNG in base64 that is 255 where the mask is to be, 128 where not, 0 where as it is, and
    whether to carry the mask to the frames between those."""
    before: Any = None
    """Value of the same person's decision until then."""
    undoes: str = ""
    """Id of the decision that this one takes back."""

    def __post_init__(self) -> None:
        """Check the form, since files come from others too.

        Raises:
            ValueError: naming the part that is not of its form.
        """
        if not (
            _HEX.fullmatch(self.id) and _HEX.fullmatch(self.layers) and (not self.undoes or _HEX.match(self.undoes))
        ):
            raise ValueError("a decision's id and fingerprint are hexadecimal digits")
        if not is_id(self.clip):
            raise ValueError(f"{shortened(self.clip)!r} is no clip id")
        check_reviewer(self.by)
        if not _TIME.fullmatch(self.at):
            raise ValueError(f"{shortened(self.at)!r} is no time of a decision")
        if self.what not in get_args(Topic):
            raise ValueError(f"{shortened(str(self.what))!r} is nothing that is decided")
        _check_value(self.what, self.value)

    @property
    def order(self) -> tuple[str, str]:
        """Decisions are taken in this order, in whichever they arrived."""
        return self.at, self.id


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Joint outcome of all that people decided about a clip as it is now."""

    verdict: Literal["accept", "review", "reject"] | None
    """None where nobody gave a verdict; review where they disagree, be it about the words."""
    caption: str | None
    effects: tuple[str, ...] | None
    reasons: tuple[str, ...]
    """Sentences: who gave the verdict, what they disagree about, their notes."""
    by: Mapping[str, Mapping[str, Any]]
    """Values by what was decided and by whom."""
    is_disputed: bool


def check_reviewer(name: str) -> None:
    """Check the name of a person who decides.

    Raises:
        ValueError: it is empty, too long or has signs that cannot be seen.
    """
    if not isinstance(name, str) or not 0 < len(name) <= 40 or name != printable(name).strip() or ", " in name:
        raise ValueError(f"{shortened(str(name))!r} is no reviewer's name; write 1 to 40 letters, such as Ana")


def fingerprint_of(layers: Mapping[str, str]) -> str:
    """Fingerprint of a clip's layers by the SHA-256 of each."""
    return key_digest(dict(layers))[:32]


def weigh_decisions(decisions: Iterable[Decision], fingerprint: str) -> Judgement | None:
    """Weigh decisions about one clip whose layers have that fingerprint; None where none covers it.

    Of each person the last decision counts; what people decided otherwise than each other sends the clip to review.
    """
    by: dict[str, dict[str, Any]] = {what: {} for what in ("verdict", "caption", "effects", "note")}
    for decision in sorted(decisions, key=lambda decision: decision.order):
        if decision.layers == fingerprint and decision.what in by:
            by[decision.what].pop(decision.by, None)
            if decision.value is not None:
                by[decision.what][decision.by] = decision.value
    if not any(by.values()):
        return None
    by = {what: dict(sorted(values.items())) for what, values in by.items()}
    agreed = {what: {json.dumps(value) for value in values.values()} for what, values in by.items()}
    reasons = []
    if len(agreed["verdict"]) > 1:
        reasons.append(f"reviewers disagree: {', '.join(f'{who} {value}' for who, value in by['verdict'].items())}")
    elif by["verdict"]:
        word = VERDICT_WORDS[next(iter(by["verdict"].values()))]
        reasons.append(f"{word} by {', '.join(by['verdict'])}")
    for what in ("caption", "effects"):
        if len(agreed[what]) > 1:
            reasons.append(f"reviewers disagree about the {what}: {', '.join(by[what])}")
    is_disputed = any(len(agreed[what]) > 1 for what in ("verdict", "caption", "effects"))
    single = {what: next(iter(by[what].values())) for what in agreed if len(agreed[what]) == 1}
    return Judgement(
        verdict="review" if is_disputed else single.get("verdict"),
        caption=single.get("caption"),
        effects=tuple(single["effects"]) if "effects" in single else None,
        reasons=(*reasons, *(f"note by {who}: {text}" for who, text in by["note"].items())),
        by=by,
        is_disputed=is_disputed,
    )


def overlays_of(decisions: Iterable[Decision]) -> list[Decision]:
    """The paintings on masks that were not taken back, in order."""
    ordered = sorted(decisions, key=lambda decision: decision.order)
    undone = {decision.undoes for decision in ordered}
    return [
        decision for decision in ordered if decision.what == "mask" and decision.value and decision.id not in undone
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class Decisions:
    """The decisions about many clips, as they were at a moment."""

    decisions: tuple[Decision, ...] = ()
    """Sorted by their order, each once."""

    @classmethod
    def of(cls, decisions: Iterable[Decision]) -> "Decisions":
        """Collect decisions that may come twice, in any order."""
        by_id = {decision.id: decision for decision in decisions}
        return cls(decisions=tuple(sorted(by_id.values(), key=lambda decision: decision.order)))

    @cached_property
    def digest(self) -> str:
        """Digest of all of them."""
        return key_digest([decision.id for decision in self.decisions])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Decisions) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def by_clip(self) -> Mapping[str, list[Decision]]:
        """Decisions by clip, in order."""
        by_clip: dict[str, list[Decision]] = defaultdict(list)
        for decision in self.decisions:
            by_clip[decision.clip].append(decision)
        return dict(by_clip)

    @cached_property
    def overlays_digest(self) -> str:
        """Digest of the paintings on masks, which decide results of a run."""
        return key_digest([decision.id for decision in overlays_of(self.decisions)])

    def words_about(self, clips: Iterable[str]) -> "Decisions":
        """Those about some clips that publishing honours, small enough to travel: without what was painted."""
        words = (decision for clip in clips for decision in self.by_clip.get(clip, ()) if decision.what != "mask")
        return Decisions(decisions=tuple(words))

    def apply(self, entry: ClipOutcome) -> ClipOutcome:
        """A ledger's entry as people judged it; its row says in `provenance` which layers it is of."""
        if entry.row is None or entry.layers is None:
            return entry
        fingerprint = fingerprint_of({name: layer["sha256"] for name, layer in entry.layers.items()})
        row = {**entry.row, "provenance": {**entry.row["provenance"], "layers_sha256": fingerprint}}
        judgement = weigh_decisions(self.by_clip.get(entry.name, ()), fingerprint)
        if judgement is None:
            return replace(entry, row=row)
        outcome = judgement.verdict or entry.outcome
        reasons = (*judgement.reasons, *entry.reasons)
        row["quality"] = {**row["quality"], "verdict": outcome, "reasons": list(reasons)}
        if judgement.effects is not None:
            row["effects"] = list(judgement.effects)
        if judgement.caption is not None:
            record = json.loads(row["provenance"].get("captions") or "{}")
            record.pop("augmented", None)  # they are variants of the caption that was wrong
            corrected = {"caption_by": "a person", "given": judgement.caption, "before": row["caption"]}
            row["provenance"]["captions"] = json_bytes(record | corrected, indent=None).decode()
            row["caption"] = judgement.caption
        return replace(entry, outcome=outcome, reasons=reasons, row=row)


def _check_value(what: str, value: Any) -> None:
    if value is None:
        return
    if what == "verdict" and value not in VERDICT_WORDS:
        raise ValueError(f"{shortened(str(value))!r} is no verdict; the verdicts are {', '.join(VERDICT_WORDS)}")
    if what in ("note", "caption") and not (
        isinstance(value, str) and value.strip() and len(value) <= MAX_TEXT and value == printable(value)
    ):
        raise ValueError(f"a {what} is a text of 1 to {MAX_TEXT} characters that can be seen")
    if what == "effects" and not (
        isinstance(value, list)
        and len(value) <= MAX_EFFECTS
        and all(isinstance(word, str) and 0 < len(word) <= MAX_WORD and word == printable(word) for word in value)
    ):
        raise ValueError(f"effects are up to {MAX_EFFECTS} words of up to {MAX_WORD} characters")
    if what == "mask":
        is_mask = isinstance(value, dict) and set(value) == {"layer", "drawn_on", "frames", "carry"}
        if not is_mask or value["layer"] not in MENDABLE or not _HEX.fullmatch(str(value["drawn_on"])):
            raise ValueError(f"only {' and '.join(MENDABLE)} are painted on")
        frames = value["frames"]
        if not isinstance(frames, dict) or not isinstance(value["carry"], bool):
            raise ValueError("what is painted is a picture by the number of its frame")
        if not all(re.fullmatch(r"\d{1,6}", key) and isinstance(png, str) for key, png in frames.items()):
            raise ValueError("what is painted is a picture by the number of its frame")
