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

from .schema import LAYERS, PLAIN_COLUMNS, PLAIN_ROW, ROW, TRUTH, TRUTH_LAYER, fitted, shard_schema

CONTENT_KEY = b"effectpairs.content"
LAYOUT_VERSION = 2
"""Raise it when the bytes of a shard change though its rows do not; 2 has a page index."""
_TRUTH_EFFECT, _TRUTH_VIDEO = (f"{TRUTH}.list.element.{field}" for field in ("effect", "strength"))
PAGE_HEAD_BYTES = 256
"""Bytes of a column chunk among which its video begins; the header of its only page takes about 40."""
ReadLayer = Callable[[str], bytes | None]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One clip ready to be written: its plain columns, and a way to its encoded layers."""

    columns: Mapping[str, Any]
    layer: ReadLayer


def write_shard(path: Path, rows: Iterator[Row], *, content: str) -> int:
    """Write rows to a new Parquet file and flush it; return how many. One clip is in memory at a time."""
    schema = shard_schema()
    leaves = [leaf for field in ROW for leaf in _leaves(field.name, field.type)]
    words = [leaf for leaf in leaves if leaf.split(".")[0] not in LAYERS and not leaf.startswith(_TRUTH_VIDEO)]
    layout: dict[str, Any] = {
        "compression": {leaf: "zstd" if leaf in words else "none" for leaf in leaves},
        "use_dictionary": False,
        "write_statistics": words,
        "write_page_index": True,  # with it a viewer finds one clip's pages without reading the row group before
        "store_schema": True,
    }
    metadata = {**(schema.metadata or {}), CONTENT_KEY: content.encode()}
    count = 0
    with path.open("wb") as file:
        with pq.ParquetWriter(file, schema.with_metadata(metadata), **layout) as writer:
            for row in rows:
                columns: dict[str, Any] = {name: [row.columns[name]] for name in PLAIN_COLUMNS if name != TRUTH}
                columns |= {layer: [_video(row, layer)] for layer in LAYERS}
                effects = [entry["effect"] for entry in row.columns.get(TRUTH) or ()]
                columns[TRUTH] = [
                    [{"effect": effect, "strength": _video(row, f"{TRUTH_LAYER}{effect}")} for effect in effects]
                ]
                writer.write_table(pa.table(columns, schema=schema))
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
    schema = pa.schema([PLAIN_ROW.field(name) for name in columns])
    leaves = [_TRUTH_EFFECT if name == TRUTH else name for name in columns]
    clips = [
        fitted(shard.read_row_group(group, columns=leaves, use_threads=False), schema)
        for group in range(shard.num_row_groups)
    ]
    return pa.concat_tables([schema.empty_table(), *clips]).combine_chunks()  # a chunk a clip takes 70 kB each


def read_layer(shard: pq.ParquetFile, row: int, layer: str) -> bytes | None:
    """The encoded video of one layer of one clip, or None where the clip has none.

    Args:
        shard: an open shard.
        row: number of the clip in it.
        layer: a column of videos, or `effect_truth/EFFECT`.
    """
    if layer.startswith(TRUTH_LAYER):
        return _read_truth(shard, row, layer.removeprefix(TRUTH_LAYER))
    column = shard.read_row_group(row, columns=[f"{layer}.bytes"], use_threads=False).column(layer).combine_chunks()
    value = column.field("bytes")[0]
    return value.as_buffer().to_pybytes() if value.is_valid else None


def find_layer(
    shard: pq.ParquetFile, row: int, layer: str, read: Callable[[int, int], bytes]
) -> tuple[int, int] | None:
    """First byte and length of a layer's video in the shard's file; None where it must be read by `read_layer`.

    The video is the last thing in its column chunk, as it stands, behind four bytes that say how long it is.

    Args:
        shard: an open shard.
        row: number of the clip in it.
        layer: a column of videos, or `effect_truth/EFFECT`, which shares its chunk with others and is not searched.
        read: gives the bytes from one position of the file to another.
    """
    leaf = f"{layer}.bytes"
    group = shard.metadata.row_group(row)
    chunk = next((c for c in map(group.column, range(group.num_columns)) if c.path_in_schema == leaf), None)
    if chunk is None or chunk.num_values != 1 or chunk.compression != "UNCOMPRESSED" or chunk.has_dictionary_page:
        return None
    start, size = chunk.data_page_offset, chunk.total_compressed_size
    head = read(start, start + min(size, PAGE_HEAD_BYTES))
    for end in range(4, len(head) + 1):
        # Shorter than a page's head is no video; it may be what stands there where the layer is absent.
        if int.from_bytes(head[end - 4 : end], "little") == size - end > PAGE_HEAD_BYTES:
            return start + end, size - end
    return None


def _read_truth(shard: pq.ParquetFile, row: int, effect: str) -> bytes | None:
    if TRUTH not in shard.schema_arrow.names:
        return None
    column = shard.read_row_group(row, columns=[_TRUTH_EFFECT, f"{_TRUTH_VIDEO}.bytes"], use_threads=False)[TRUTH]
    entries = column.combine_chunks().flatten()
    effects = entries.field("effect").to_pylist()
    if effect not in effects:
        return None
    value = entries.field("strength").field("bytes")[effects.index(effect)]
    return value.as_buffer().to_pybytes() if value.is_valid else None


def _video(row: Row, layer: str) -> dict[str, Any] | None:
    """Value of a layer's column."""
    video = row.layer(layer)
    if video is None:
        return None
    suffix = "mov" if video[4:8] == b"ftyp" else "mkv"
    return {"bytes": video, "path": f"{row.columns['clip_id']}.{layer.replace('/', '.')}.{suffix}"}


def _leaves(name: str, kind: pa.DataType) -> list[str]:
    """Leaves of a column as Parquet spells them."""
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(f"{name}.{field.name}", field.type)]
    return _leaves(f"{name}.list.element", kind.value_type) if pa.types.is_list(kind) else [name]
