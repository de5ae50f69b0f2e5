"""Upkeep of a workspace: what is on its disk for whom, what nobody refers to, and whether every byte is as written."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .atomic_io import CorruptFile, unseal_json
from .decision_log import FILE as DECISIONS
from .decision_log import damaged_lines
from .ledger import finished_sources, iter_ledger
from .location import Location
from .purges import read_purges
from .references import StageCost, delete_result, keys_by_stage, list_results, read_references, stage_costs
from .store import MANIFEST, DamagedLayer, StageKey, Store, result_folder

BATCHES = "batches"
"""Folder that a run has in its source's as long as it has not ended; named as partial ones are."""


@dataclass(frozen=True, kw_only=True)
class StoredResult:
    """One result on the disk, whole or not."""

    stage: str
    key: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    """Space that a workspace's results take."""

    sources: dict[str, dict[str, StageCost]]
    """Keyed by source and stage; a result that two sources refer to counts for both."""
    unreferenced: tuple[StoredResult, ...]
    """Those that no source refers to: for `gc`, or of a run that has not ended."""
    size_bytes: int
    """All of them together, each once."""


def disk_use(workspace: Location) -> DiskUse:
    """Look at the size of every result of a workspace; none is opened."""
    names = workspace.top("sources")
    keys = keys_by_stage(workspace, names)
    total, unreferenced = 0, []
    for stage, key, size in list_results(workspace):
        total += size
        if key not in keys.get(stage, ()):
            unreferenced.append(StoredResult(stage=stage, key=key, size_bytes=size))
    costs = {source: stage_costs(workspace, source) for source in names}
    return DiskUse(sources=costs, unreferenced=tuple(unreferenced), size_bytes=total)


def list_garbage(workspace: Location) -> tuple[StoredResult, ...]:
    """Results that no source refers to any more, in the order of stages.

    Raises:
        ValueError: a run goes on or was interrupted, or a source was never run to its end: what it made is its own.
    """
    finished = finished_sources(workspace)
    for source in workspace.top("sources"):
        names = workspace.top(f"sources/{source}")
        is_unfinished = source not in finished and "results.parquet" not in names
        if is_unfinished or any(name.startswith(f"{BATCHES}.partial-") for name in names):
            raise ValueError(
                f"{workspace.path(f'sources/{source}')}: the last run of '{source}' has not ended, and what it made "
                f"would be lost; let it end or run it again, or delete this folder to give it up"
            )
        if source in finished and "results.parquet" not in names:
            raise ValueError(
                f"{workspace.path(f'sources/{source}')}: which results '{source}' refers to is not known; run it again"
            )
    return disk_use(workspace).unreferenced


def collect_garbage(workspace: Location, garbage: tuple[StoredResult, ...], step: Callable[[], None]) -> None:
    """Delete results; step is called after each."""
    for result in garbage:
        delete_result(workspace, result.stage, result.key)
        step()


def verify_workspace(workspace: Location, step: Callable[[int, int], None] = lambda done, total: None) -> Iterator[str]:
    """Read every byte of a workspace; yield a sentence for each thing that is damaged.

    A damaged result counts as not there from now on, so that a run of its source makes it anew. The step is called with
    the number of results that were read, and of all.
    """
    store = Store(workspace)
    results = list(list_results(workspace))
    owners = _owners(workspace)
    for number, (stage, key, _) in enumerate(results, start=1):
        problem = _fault_of(store, stage, key)
        if problem is not None:
            sources = owners.get(key, ())
            remedy = f"run {', '.join(sources)} again to re-make it" if sources else "delete it with: effectpairs gc"
            yield f"{workspace.path(result_folder(stage, key))}: {problem}; {remedy}"
        step(number, len(results))
    for source in finished_sources(workspace):
        try:
            for _ in iter_ledger(workspace, source):
                pass
            read_references(workspace, source, ("key",))
        except CorruptFile as damaged:
            yield str(damaged)
    try:
        read_purges(workspace)
    except CorruptFile as damaged:
        yield str(damaged)
    if (problem := damaged_lines(workspace)) is not None:
        yield f"{workspace.path(DECISIONS)}: {problem}"


def _owners(workspace: Location) -> dict[str, list[str]]:
    owners: dict[str, list[str]] = {}
    for source in workspace.top("sources"):
        try:
            keys = set(read_references(workspace, source, ("key",)).column("key").to_pylist())
        except CorruptFile:
            continue  # said with its source
        for key in keys:
            owners.setdefault(key, []).append(source)
    return owners


def _fault_of(store: Store, stage: str, key: str) -> str | None:
    """The first thing wrong with a result, which is then set aside; None where all is well."""
    name = f"{result_folder(stage, key)}/{MANIFEST}"
    try:
        manifest = unseal_json(store.workspace.read(name))
        is_right = StageKey(**{part: manifest[part] for part in ("stage", "version", "settings", "inputs")}).key == key
    except FileNotFoundError:
        return f"has no {MANIFEST}, so it counts as not there"
    except (ValueError, KeyError, TypeError):
        is_right = False
    if not is_right:
        store.workspace.remove(name)
        return f"its {MANIFEST} is damaged"
    result = store.get(stage, key)
    if result is None:
        store.workspace.remove(name)
        return "a layer of it is gone or has another size"
    for layer in result.layers.values():
        try:
            store.read(layer)
        except DamagedLayer:
            return f"its layer {layer.file.rsplit('/', 1)[-1]} is damaged"
    return None
