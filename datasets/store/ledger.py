"""The account of a source: every clip with its outcome and why, and for a finished pair all that a row needs.

`<workspace>/sources/<source>/ledger.jsonl` holds a line a clip; `account.json` beside it has the sums and the ledger's
digest, and is written last.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from .atomic_io import CorruptFile, atomic_write, json_bytes

Outcome = Literal["accept", "review", "reject", "fail"]


@dataclass(frozen=True, kw_only=True)
class ClipOutcome:
    """Outcome of one clip (or of one video of which no clip came)."""

    name: str
    """The clip's id, or the video's name where there is no clip."""
    outcome: Outcome
    stage: str
    """The last stage that was reached."""
    reasons: tuple[str, ...]
    row: Mapping[str, Any] | None = None
    """The plain columns of a finished pair; its split comes with publishing."""
    layers: Mapping[str, Mapping[str, Any]] | None = None
    """Layers of a finished pair: file (relative to the workspace), sha256, size_bytes."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
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


def account_of(source: str, entries: Iterable[ClipOutcome]) -> RunSummary:
    """Add up the outcomes."""
    counts = Counter(entry.outcome for entry in entries)
    return RunSummary(
        source=source,
        inputs=counts.total(),
        accepted=counts["accept"],
        review=counts["review"],
        rejected=counts["reject"],
        failed=counts["fail"],
    )


def write_ledger(
    workspace: Path, source: str, entries: Iterable[ClipOutcome], settings: Mapping[str, Any]
) -> RunSummary:
    """Write a source's entries, sorted by name, and then its account; return the account."""
    ordered = sorted(entries, key=lambda entry: entry.name)
    folder = workspace / "sources" / source
    content = b"".join(json_bytes(vars(entry), indent=None) + b"\n" for entry in ordered)
    account = account_of(source, ordered)
    sums = {**asdict(account), "settings": settings, "ledger": hashlib.sha256(content).hexdigest()}
    atomic_write(folder / "ledger.jsonl", content)
    atomic_write(folder / "account.json", json_bytes(sums))
    return account


def read_ledger(workspace: Path, source: str) -> list[ClipOutcome]:
    """A source's entries as they were last written.

    Raises:
        CorruptFile: the ledger is not the one that the account was made of.
    """
    return [entry for _, entry in iter_ledger(workspace, source)]


def iter_ledger(workspace: Path, source: str) -> Iterator[tuple[int, ClipOutcome]]:
    """A source's entries one by one, each with the byte at which its line begins.

    Raises:
        CorruptFile: the ledger is not the one that the account was made of, which is known when all of it is read.
    """
    path = workspace / "sources" / source / "ledger.jsonl"
    damaged = f"{path} is damaged, or its run was interrupted at the very end; run source '{source}' again"
    sha256, start = hashlib.sha256(), 0
    with path.open("rb") as file:
        for line in file:
            sha256.update(line)
            try:
                yield start, _entry(line)
            except (ValueError, KeyError, TypeError) as broken:
                raise CorruptFile(damaged) from broken
            start += len(line)
    if sha256.hexdigest() != _sums(workspace, source)["ledger"]:
        raise CorruptFile(damaged)


def read_entries(workspace: Path, source: str, starts: Iterable[int]) -> Iterator[ClipOutcome]:
    """The entries whose lines begin at these bytes of a source's ledger.

    Raises:
        ValueError: none begins there, since the ledger is another one now.
    """
    with (workspace / "sources" / source / "ledger.jsonl").open("rb") as file:
        for start in starts:
            file.seek(start)
            try:
                yield _entry(file.readline())
            except (KeyError, TypeError) as broken:
                raise ValueError(f"no entry begins at byte {start} of the ledger of '{source}'") from broken


def read_account(workspace: Path, source: str) -> tuple[RunSummary, dict[str, Any]]:
    """A source's sums and the settings they came from."""
    sums = _sums(workspace, source)
    return RunSummary(**{name: sums[name] for name in RunSummary.__dataclass_fields__}), sums["settings"]


def finished_sources(workspace: Path) -> list[str]:
    """The sources of a workspace that have an account, sorted."""
    return sorted(path.parent.name for path in workspace.glob("sources/*/account.json"))


def ledger_stamp(workspace: Path) -> tuple[tuple[str, int, int], ...]:
    """Changes whenever a ledger does: source, time and file number of each account."""
    stats = (
        (source, (workspace / "sources" / source / "account.json").stat()) for source in finished_sources(workspace)
    )
    return tuple((source, stat.st_mtime_ns, stat.st_ino) for source, stat in stats)


def _entry(line: bytes) -> ClipOutcome:
    entry = json.loads(line)
    return ClipOutcome(**{**entry, "reasons": tuple(entry["reasons"])})


def _sums(workspace: Path, source: str) -> dict[str, Any]:
    path = workspace / "sources" / source / "account.json"
    try:
        sums: dict[str, Any] = json.loads(path.read_bytes())
        return {**sums, "ledger": sums["ledger"], "settings": sums["settings"]}
    except (ValueError, KeyError, TypeError) as broken:
        raise CorruptFile(f"{path} is damaged; run source '{source}' again") from broken
