"""The account of a source: every clip with its outcome and why, and for a finished pair all that a row needs.

`<workspace>/sources/<source>/ledger-<digits>.jsonl` holds a line a clip; `account.json` beside it has the sums and the
ledger's name and digest, carries its own digest, and is written last: two runs of one source cannot mix theirs.
"""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from .atomic_io import CorruptFile, json_bytes, seal_json, unseal_json
from .location import Location, Place

Outcome = Literal["accept", "review", "reject", "fail"]
READ_ATTEMPTS = 3
"""Tries of reading a ledger whose account another run may be writing."""


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
    workspace: Place, source: str, entries: Iterable[ClipOutcome], settings: Mapping[str, Any]
) -> RunSummary:
    """Write a source's entries, sorted by name, and then its account; return the account."""
    ordered = sorted(entries, key=lambda entry: entry.name)
    location = Location.of(workspace)
    content = b"".join(json_bytes(vars(entry), indent=None) + b"\n" for entry in ordered)
    account = account_of(source, ordered)
    digest = hashlib.sha256(content).hexdigest()
    before = None
    with contextlib.suppress(OSError, CorruptFile):
        before = _sums(location, source)["ledger"]
    location.write(_ledger_name(source, digest), content)
    location.write(_account_name(source), seal_json({**asdict(account), "settings": settings, "ledger": digest}))
    if before not in (None, digest):
        location.remove(_ledger_name(source, before))
    return account


def read_ledger(workspace: Place, source: str) -> list[ClipOutcome]:
    """A source's entries as they were last written.

    Raises:
        CorruptFile: the ledger is not the one that the account was made of.
    """
    return [entry for _, entry in iter_ledger(workspace, source)]


def iter_ledger(workspace: Place, source: str) -> Iterator[tuple[int, ClipOutcome]]:
    """A source's entries one by one, each with the byte at which its line begins.

    Raises:
        CorruptFile: the ledger is not the one that the account was made of, which is known when all of it is read.
    """
    sha256, start = hashlib.sha256(), 0
    with _open_ledger(Location.of(workspace), source) as (file, digest, damaged):
        for line in file:
            sha256.update(line)
            try:
                yield start, _entry(line)
            except (ValueError, KeyError, TypeError) as broken:
                raise CorruptFile(damaged) from broken
            start += len(line)
    if sha256.hexdigest() != digest:
        raise CorruptFile(damaged)


def read_entries(workspace: Place, source: str, starts: Iterable[int]) -> Iterator[ClipOutcome]:
    """The entries whose lines begin at these bytes of a source's ledger.

    Raises:
        ValueError: none begins there, since the ledger is another one now.
    """
    with _open_ledger(Location.of(workspace), source) as (file, _, _):
        for start in starts:
            file.seek(start)
            try:
                yield _entry(file.readline())
            except (KeyError, TypeError) as broken:
                raise ValueError(f"no entry begins at byte {start} of the ledger of '{source}'") from broken


def read_account(workspace: Place, source: str) -> tuple[RunSummary, dict[str, Any]]:
    """A source's sums and the settings they came from."""
    sums = _sums(Location.of(workspace), source)
    return RunSummary(**{name: sums[name] for name in RunSummary.__dataclass_fields__}), sums["settings"]


def finished_sources(workspace: Place) -> list[str]:
    """The sources of a workspace that have an account, sorted."""
    location = Location.of(workspace)
    return [source for source in location.top("sources") if location.exists(_account_name(source))]


def ledger_stamp(workspace: Place) -> tuple[tuple[str, str], ...]:
    """Changes whenever a ledger does: source and digest of each account."""
    location = Location.of(workspace)
    return tuple((source, location.digest(_account_name(source))) for source in finished_sources(location))


def _entry(line: bytes) -> ClipOutcome:
    entry = json.loads(line)
    return ClipOutcome(**{**entry, "reasons": tuple(entry["reasons"])})


@contextlib.contextmanager
def _open_ledger(location: Location, source: str) -> Iterator[tuple[Any, str, str]]:
    """A source's ledger, open, its digest by the account, and the sentence for one that is damaged."""
    for attempt in range(READ_ATTEMPTS):
        digest = _sums(location, source)["ledger"]
        name = _ledger_name(source, digest)
        damaged = f"{location.path(name)} is damaged or gone; run source '{source}' again"
        try:
            file = location.open(name)
        except FileNotFoundError as gone:  # a run that ended just now may have put another in its place
            if attempt == READ_ATTEMPTS - 1:
                raise CorruptFile(damaged) from gone
        else:
            with file:
                yield file, digest, damaged
            return


def _ledger_name(source: str, digest: str) -> str:
    return f"sources/{source}/ledger-{digest[:12]}.jsonl"


def _account_name(source: str) -> str:
    return f"sources/{source}/account.json"


def _sums(location: Location, source: str) -> dict[str, Any]:
    name = _account_name(source)
    try:
        sums = unseal_json(location.read(name))
        return {**sums, "ledger": sums["ledger"], "settings": sums["settings"]}
    except (ValueError, KeyError, TypeError) as broken:
        raise CorruptFile(f"{location.path(name)} is damaged; run source '{source}' again") from broken
