"""Shards: Parquet files of whole clips, one clip a row group, so that any clip's any layer is one read.

Words and numbers are compressed by Parquet; the videos already are and go in as they stand, without dictionary or
statistics. A shard carries the digest of its content (`effectpairs.content`), so an interrupted or repeated publishing
sees which shards are already there.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .schema import LAYERS, PLAIN_COLUMNS, ROW, fitted, shard_schema

CONTENT_KEY = b"effectpairs.content"
ReadLayer = Callable[[str], bytes | None]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One clip ready to be written: its plain columns, and a way to its encoded layers."""

    columns: Mapping[str, Any]
    layer: ReadLayer


def write_shard(path: Path, rows: Iterator[Row], *, content: str) -> int:
    """Write rows to a new Parquet file and flush it; return how many. One clip is in memory at a time."""
    schema = shard_schema()
    metadata = {**(schema.metadata or {}), CONTENT_KEY: content.encode()}
    count = 0
    with path.open("wb") as file:
        with pq.ParquetWriter(file, schema.with_metadata(metadata), **_layout()) as writer:
            for row in rows:
                writer.write_table(_table(row, schema))
                count += 1
        file.flush()
        os.fsync(file.fileno())
    return count


def content_of(file: Any) -> str | None:
    """The content digest that a shard carries, or None where the file is no whole shard of ours."""
    try:
        metadata = pq.ParquetFile(file).metadata.metadata or {}
    except (pa.ArrowException, OSError):
        return None
    content = metadata.get(CONTENT_KEY)
    return content.decode() if content else None


def read_plain(file: Any, columns: Sequence[str] = PLAIN_COLUMNS) -> pa.Table:
    """The words and numbers of a shard; no byte of video is read."""
    # Without pre-buffering nothing is read ahead across the videos that lie between the row groups.
    return plain_of(pq.ParquetFile(file, pre_buffer=False), columns)


def plain_of(shard: pq.ParquetFile, columns: Sequence[str] = PLAIN_COLUMNS) -> pa.Table:
    """The same of a shard that is open."""
    # Clip by clip: a clip's words lie together, so a remote file fetches them in one piece.
    schema = pa.schema([ROW.field(name) for name in columns])
    clips = [
        fitted(shard.read_row_group(group, columns=list(columns), use_threads=False), schema)
        for group in range(shard.num_row_groups)
    ]
    return pa.concat_tables([schema.empty_table(), *clips])


def read_layer(shard: pq.ParquetFile, row: int, layer: str) -> bytes | None:
    """The encoded video of one layer of one clip, or None where the clip has none."""
    column = shard.read_row_group(row, columns=[f"{layer}.bytes"], use_threads=False).column(layer).combine_chunks()
    value = column.field("bytes")[0]
    return value.as_buffer().to_pybytes() if value.is_valid else None


def _table(row: Row, schema: pa.Schema) -> pa.Table:
    columns: dict[str, Any] = {name: [row.columns[name]] for name in PLAIN_COLUMNS}
    for layer in LAYERS:
        video = row.layer(layer)
        path = f"{row.columns['clip_id']}.{layer}.mkv"
        columns[layer] = [None if video is None else {"bytes": video, "path": path}]
    return pa.table(columns, schema=schema)


def _layout() -> dict[str, Any]:
    leaves = _leaves(ROW)
    videos = [leaf for leaf in leaves if leaf.split(".")[0] in LAYERS]
    words = [leaf for leaf in leaves if leaf not in videos]
    return {
        "compression": {**dict.fromkeys(words, "zstd"), **dict.fromkeys(videos, "none")},
        "use_dictionary": False,
        "write_statistics": words,
        "store_schema": True,
    }


def _leaves(schema: pa.Schema) -> list[str]:
    """The schema's columns as Parquet spells them, down to the leaves."""
    leaves: list[str] = []

    def walk(name: str, kind: pa.DataType) -> None:
        if pa.types.is_struct(kind):
            for field in kind:
                walk(f"{name}.{field.name}", field.type)
        elif pa.types.is_list(kind):
            walk(f"{name}.list.element", kind.value_type)
        else:
            leaves.append(name)

    for field in schema:
        walk(field.name, field.type)
    return leaves
