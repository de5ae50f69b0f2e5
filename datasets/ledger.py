"""The account of a source: every clip with its outcome and why, and for a finished pair all that a row needs.

`<workspace>/sources/<source>/ledger.jsonl` holds a line a clip, `account.json` beside it the sums and is written last.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from .durable import json_bytes, write_whole

Outcome = Literal["accept", "review", "reject", "fail"]
OUTCOMES: tuple[Outcome, ...] = ("accept", "review", "reject", "fail")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What became of one clip (or of one video of which no clip came)."""

    name: str
    """The clip's id, or the video's name where there is no clip."""
    outcome: Outcome
    stage: str
    """The last stage that was reached."""
    reasons: tuple[str, ...]
    row: Mapping[str, Any] | None = None
    """The plain columns of a finished pair; its split comes with publishing."""
    layers: Mapping[str, Mapping[str, Any]] | None = None
    """Of a finished pair, by layer: file (relative to the workspace), sha256, size_bytes."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """A source's sums; inputs = accepted + review + rejected + failed."""

    source: str
    inputs: int
    accepted: int
    review: int
    rejected: int
    failed: int

    def __str__(self) -> str:
        parts = f"{self.accepted} accepted + {self.review} review + {self.rejected} rejected + {self.failed} failed"
        return f"{self.source}: {self.inputs} clips = {parts}"


def account_of(source: str, entries: Iterable[Entry]) -> Account:
    """Add up the outcomes."""
    counts = Counter(entry.outcome for entry in entries)
    return Account(
        source=source,
        inputs=counts.total(),
        accepted=counts["accept"],
        review=counts["review"],
        rejected=counts["reject"],
        failed=counts["fail"],
    )


def write_ledger(workspace: Path, source: str, entries: Iterable[Entry], settings: Mapping[str, Any]) -> Account:
    """Write a source's entries, sorted by name, and then its account; return the account."""
    ordered = sorted(entries, key=lambda entry: entry.name)
    folder = workspace / "sources" / source
    lines = (json.dumps(json.loads(json_bytes(asdict(entry))), sort_keys=True) for entry in ordered)
    write_whole(folder / "ledger.jsonl", "".join(f"{line}\n" for line in lines).encode())
    account = account_of(source, ordered)
    write_whole(folder / "account.json", json_bytes({**asdict(account), "settings": settings}))
    return account


def read_ledger(workspace: Path, source: str) -> list[Entry]:
    """A source's entries as they were last written."""
    path = workspace / "sources" / source / "ledger.jsonl"
    with path.open() as lines:
        entries = [json.loads(line) for line in lines]
    return [Entry(**{**entry, "reasons": tuple(entry["reasons"])}) for entry in entries]


def read_account(workspace: Path, source: str) -> tuple[Account, dict[str, Any]]:
    """A source's sums and the settings they came from."""
    found = json.loads((workspace / "sources" / source / "account.json").read_bytes())
    settings = found.pop("settings")
    return Account(**found), settings


def finished_sources(workspace: Path) -> list[str]:
    """The sources of a workspace that have an account, sorted."""
    return sorted(path.parent.name for path in workspace.glob("sources/*/account.json"))
