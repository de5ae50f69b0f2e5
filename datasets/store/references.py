"""Results that a source refers to: `<workspace>/sources/<source>/results.parquet`, written with each report of a run.

A row is a result of one item: its stage and key, its size and the time that its making took. It says what may be
deleted, what is on the disk for whom, and what a coming run will need.
"""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .atomic_io import CorruptFile, explain_os_errors
from .index import ResultStamp
from .location import Location
from .store import MANIFEST, result_folder

BLOCK_ROWS = 10_000
_COLUMNS = pa.schema(
    [
        *((name, pa.string()) for name in ("item", "stage", "key")),
        ("manifest_bytes", pa.int64()),
        ("times_ns", pa.list_(pa.int64())),
        ("size_bytes", pa.int64()),
        ("seconds", pa.float64()),
        ("clips", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """Results of one stage of a source, added up."""

    results: int
    size_bytes: int
    mean_seconds: float | None
    """Time that the making of one took, of those whose time is known."""


@contextlib.contextmanager
def write_references(workspace: Location, source: str) -> Iterator[Callable[[Iterable[ResultStamp]], None]]:
    """Yield a function that takes the results that a source refers to; their file is there when the block ends.

    A block of them is in memory at a time.
    """
    name = f"sources/{source}/results.parquet"
    partial = workspace.scratch(name)
    block: list[ResultStamp] = []
    try:
        with explain_os_errors(partial), pq.ParquetWriter(partial, _COLUMNS, compression="zstd") as writer:

            def write_block() -> None:
                columns = {field: [getattr(stamp, field) for stamp in block] for field in _COLUMNS.names}
                writer.write_table(pa.table(columns, schema=_COLUMNS))
                block.clear()

            def add(stamps: Iterable[ResultStamp]) -> None:
                block.extend(stamps)
                if len(block) >= BLOCK_ROWS:
                    write_block()

            yield add
            write_block()
        workspace.take(partial, name)
    finally:
        partial.unlink(missing_ok=True)


def read_references(workspace: Location, source: str, columns: Iterable[str] = _COLUMNS.names) -> pa.Table:
    """Columns of the results that a source refers to; no row where none was ever written.

    Raises:
        CorruptFile: the file is damaged.
    """
    name = f"sources/{source}/results.parquet"
    try:
        with workspace.open(name) as file:
            return pq.read_table(file, columns=list(columns))
    except FileNotFoundError:
        return _COLUMNS.empty_table().select(list(columns))
    except pa.ArrowException as broken:
        raise CorruptFile(f"{workspace.path(name)} is damaged; run source '{source}' again") from broken


def read_seconds_of(workspace: Location, source: str) -> Iterator[tuple[str, float]]:
    """Key and time of each result of a source whose making was seen; nothing where that is not known any more."""
    with contextlib.suppress(CorruptFile):
        table = read_references(workspace, source, ("key", "seconds"))
        table = table.filter(pc.is_valid(table["seconds"]))
        yield from zip(*(table.column(name).to_pylist() for name in ("key", "seconds")), strict=True)


def stage_costs(workspace: Location, source: str) -> dict[str, StageCost]:
    """Time and disk that the results of a source took by stage, sorted by name; a shared result counts once."""
    table = read_references(workspace, source, ("stage", "key", "size_bytes", "seconds"))
    groups = table.group_by(["stage", "key"]).aggregate([("size_bytes", "max"), ("seconds", "max")])
    sums = groups.group_by("stage").aggregate([("key", "count"), ("size_bytes_max", "sum"), ("seconds_max", "mean")])
    rows = sorted(sums.to_pylist(), key=lambda row: row["stage"])
    return {
        row["stage"]: StageCost(
            results=row["key_count"], size_bytes=row["size_bytes_max_sum"], mean_seconds=row["seconds_max_mean"]
        )
        for row in rows
    }


def keys_by_stage(workspace: Location, sources: Iterable[str]) -> dict[str, set[str]]:
    """Keys of all results that sources refer to, by stage."""
    keys: dict[str, set[str]] = defaultdict(set)
    for source in sources:
        table = read_references(workspace, source, ("stage", "key"))
        for stage, key in zip(*(table.column(name).to_pylist() for name in ("stage", "key")), strict=True):
            keys[stage].add(key)
    return keys


def list_results(workspace: Location) -> Iterator[tuple[str, str, int]]:
    """Stage, key and size of everything below the store's folders, whole or not."""
    for stage in workspace.top("store"):
        sizes: dict[str, int] = defaultdict(int)
        for name, size in workspace.sizes(f"store/{stage}").items():
            sizes[name.split("/")[3]] += size
        yield from ((stage, key, size) for key, size in sorted(sizes.items()))


def delete_result(workspace: Location, stage: str, key: str) -> None:
    """Delete one result, its `result.json` first: what is left by a process that is killed counts for nothing."""
    folder = result_folder(stage, key)
    workspace.remove(f"{folder}/{MANIFEST}")
    Location(workspace.path(folder)).delete()
