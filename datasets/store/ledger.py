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
from operator import itemgetter
from tempfile import TemporaryFile
from typing import Any, Literal, NamedTuple

from .atomic_io import CorruptFile, explain_os_errors, flush_file, json_bytes, seal_json, unseal_json
from .location import Location, Place

Outcome = Literal["accept", "review", "reject", "fail", "pending", "purged"]
"""Verdicts; fail: no pair could be made; pending: left out of the run by its options; purged: taken out for good."""
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


class LedgerLine(NamedTuple):
    """An entry as it stands in the ledger."""

    name: str
    outcome: Outcome
    text: str

    @classmethod
    def of(cls, entry: ClipOutcome) -> "LedgerLine":
        """Line of an entry."""
        return cls(entry.name, entry.outcome, json_bytes(vars(entry), indent=None).decode())


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A source's sums; inputs = accepted + review + rejected + failed + pending + purged."""

    source: str
    inputs: int
    accepted: int
    review: int
    rejected: int
    failed: int
    pending: int = 0
    purged: int = 0

    def __str__(self) -> str:
        parts = f"{self.accepted} accepted + {self.review} review + {self.rejected} rejected + {self.failed} failed"
        parts += f" + {self.pending} pending" * bool(self.pending) + f" + {self.purged} purged" * bool(self.purged)
        return f"{self.source}: {self.inputs} clips = {parts}"


def account_of(source: str, entries: Iterable[ClipOutcome | LedgerLine]) -> RunSummary:
    """Add up the outcomes."""
    counts = Counter(entry.outcome for entry in entries)
    return RunSummary(
        source=source,
        inputs=counts.total(),
        accepted=counts["accept"],
        review=counts["review"],
        rejected=counts["reject"],
        failed=counts["fail"],
        pending=counts["pending"],
        purged=counts["purged"],
    )


def write_ledger(
    workspace: Place,
    source: str,
    entries: Iterable[ClipOutcome | LedgerLine],
    settings: Mapping[str, Any],
    state: str | None = None,
) -> RunSummary:
    """Write a source's entries, sorted by name, and then its account; return the account.

    Args:
        workspace: where the source was run.
        source: its name.
        entries: one is in memory at a time.
        settings: of the source.
        state: digest of all that decided the entries, for `read_state`.
    """
    location = Location.of(workspace)
    name = f"sources/{source}/ledger-{0:012}.jsonl"  # the right one is known when all of it is there
    partial = location.scratch(name)
    counts: list[LedgerLine] = []
    try:
        with explain_os_errors(partial), partial.open("wb") as ledger, TemporaryFile(dir=partial.parent) as spool:
            spans = []
            for entry in entries:
                line = entry if isinstance(entry, LedgerLine) else LedgerLine.of(entry)
                counts.append(LedgerLine(line.name, line.outcome, ""))
                spans.append((line.name, spool.tell(), spool.write(line.text.encode() + b"\n")))
            sha256 = hashlib.sha256()
            for _, start, length in sorted(spans, key=itemgetter(0)):
                spool.seek(start)
                content = spool.read(length)
                sha256.update(content)
                ledger.write(content)
            flush_file(ledger)
        account, digest = account_of(source, counts), sha256.hexdigest()
        before = None
        with contextlib.suppress(OSError, CorruptFile):
            before = _sums(location, source)["ledger"]
        location.take(partial, _ledger_name(source, digest))
    finally:
        partial.unlink(missing_ok=True)
    sums = {**asdict(account), "settings": settings, "ledger": digest, "state": state}
    location.write(_account_name(source), seal_json(sums))
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


def read_state(workspace: Place, source: str) -> str | None:
    """The state that the ledger was written with, as long as the ledger is whole."""
    location = Location.of(workspace)
    try:
        sums = _sums(location, source)
        is_whole = location.digest(_ledger_name(source, sums["ledger"])) == sums["ledger"]
    except OSError:
        return None
    return sums.get("state") if is_whole else None


def read_account(workspace: Place, source: str) -> tuple[RunSummary, dict[str, Any]]:
    """A source's sums and the settings they came from."""
    sums = _sums(Location.of(workspace), source)
    return RunSummary(**{name: sums[name] for name in RunSummary.__dataclass_fields__ if name in sums}), sums[
        "settings"
    ]


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
