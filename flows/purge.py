"""Purge: take clips out of a workspace and its corpora for good, by source, licence, origin or id."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from ..datasets.corpus.reader import open_corpus
from ..datasets.corpus.selection import PublishSettings
from ..datasets.store.index import ResultStamp
from ..datasets.store.ledger import ClipOutcome, finished_sources, iter_ledger, read_account, write_ledger
from ..datasets.store.location import Location
from ..datasets.store.purges import Purge, Purges, Subject, read_purges, write_purges
from ..datasets.store.references import delete_result, list_results, read_references, write_references
from ..licences import matches_licence
from ..settings import settings_from
from .engine.local_runner import publish_locally


@dataclass(frozen=True, kw_only=True)
class PurgePlan:
    """Clips, results and shards that a purge takes out."""

    purge: Purge
    clips: Mapping[str, tuple[str, ...]]
    """Ids of the clips that go, by source."""
    items: Mapping[str, frozenset[str]]
    """Ids of everything whose results go, by source: the clips, and the videos or scenes that they are all of."""
    results: tuple[tuple[str, str], ...]
    """Stage and key of each result that goes; those that clips which stay have part in are not among them."""
    size_bytes: int


def plan_purge(workspace: Location, by: Subject, pattern: str) -> PurgePlan:
    """Find the clips that a purge takes out.

    Raises:
        ValueError: there are none.
        CorruptFile: a ledger is damaged.
    """
    clips: dict[str, tuple[str, ...]] = {}
    items: dict[str, frozenset[str]] = {}
    leaving: set[tuple[str, str]] = set()
    staying: set[tuple[str, str]] = set()
    for source in finished_sources(workspace):
        entries = [(entry.name, _matches(entry, source, by, pattern)) for _, entry in iter_ledger(workspace, source)]
        if by == "licence" and any(is_match for _, is_match in entries):
            entries = [
                (name, True) for name, _ in entries
            ]  # a licence is a source's; what failed has no row that says so
        clips[source] = tuple(name for name, is_match in entries if is_match)
        leaving_clips = frozenset(clips[source])
        is_whole = len(leaving_clips) == len(entries)
        emptied = set()
        columns = ("item", "stage", "key", "clips")
        table = read_references(workspace, source, columns)
        for item, stage, key, names in zip(*(table.column(name).to_pylist() for name in columns), strict=True):
            goes = is_whole or (bool(names) and leaving_clips.issuperset(names))
            (leaving if goes else staying).add((stage, key))
            emptied |= {item} if goes else set()
        items[source] = leaving_clips | emptied
    if not any(clips.values()):
        raise ValueError(f"{workspace}: no clip matches {by} '{pattern}'; nothing is purged")
    leaving -= staying
    size = sum(size for stage, key, size in list_results(workspace) if (stage, key) in leaving)
    names = tuple(sorted(frozenset[str]().union(*items.values())))
    return PurgePlan(
        purge=Purge(by=by, pattern=pattern, names=names),
        clips={source: names for source, names in clips.items() if names},
        items={source: names for source, names in items.items() if names},
        results=tuple(sorted(leaving)),
        size_bytes=size,
    )


def purge(workspace: Location, plan: PurgePlan, corpora: Iterable[str] = ()) -> None:
    """Take the clips of a plan out of a workspace, and publish corpora again as they were published before.

    The list of what was purged is written first: killed at any moment, the clips do not come back, and the same purge
    goes on.

    Raises:
        ValueError: nothing would be left of a corpus, or it cannot be read.
    """
    manifests = {corpus: open_corpus(corpus).manifest for corpus in corpora}
    present = read_purges(workspace)
    write_purges(workspace, Purges(purges=(*(old for old in present.purges if old != plan.purge), plan.purge)))
    for source, names in plan.items.items():
        _, settings = read_account(workspace, source)
        write_ledger(workspace, source, _without(workspace, source, plan), settings)
        stamps = read_references(workspace, source).to_pylist()
        with write_references(workspace, source) as refer:
            refer(ResultStamp(**stamp) for stamp in stamps if stamp["item"] not in names)
    for stage, key in plan.results:
        delete_result(workspace, stage, key)
    for corpus, manifest in manifests.items():
        publishing = settings_from(PublishSettings, manifest["settings"]["publishing"])
        publish_locally(corpus, workspace, publishing, manifest["name"])


def _without(workspace: Location, source: str, plan: PurgePlan) -> Iterator[ClipOutcome]:
    """A source's entries; those that are purged keep their name alone."""
    names = plan.items[source]
    reason = f"was purged by {plan.purge.by} '{plan.purge.pattern}'"
    for _, entry in iter_ledger(workspace, source):
        if entry.name in names:
            entry = replace(entry, outcome="purged", reasons=(reason,), row=None, layers=None)
        yield entry


def _matches(entry: ClipOutcome, source: str, by: Subject, pattern: str) -> bool:
    values: dict[str, Any] = {"source": source, "clip": entry.name}
    if entry.row is not None:
        values |= {name: entry.row["provenance"][name] or "unknown" for name in ("licence", "origin")}
    matches = matches_licence if by == "licence" else fnmatchcase
    return entry.outcome != "purged" and matches(values.get(by, ""), pattern)
