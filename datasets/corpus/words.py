"""Tables that lie beside the shards: the words and numbers of all clips without their videos, and every clip's outcome.

Each clip is a row group of its shard, so that any video is one read; to read the words of 100,000 clips there is to
find them between 100,000 videos, which takes minutes. Publishing keeps them a second time in one small file,
`words-*.parquet`. It is a copy: a corpus without it, or with that of another version, opens all the same.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..store.atomic_io import explain_os_errors, flush_file
from ..store.location import Location
from .announcements import announce, withdraw
from .schema import PLAIN_ROW, SCHEMA_VERSION

_VERSION_KEY = b"effectpairs.words"
WORDS = PLAIN_ROW.with_metadata({_VERSION_KEY: f"{SCHEMA_VERSION}.2".encode()})
"""Columns of the table of words; raise the second number of its version when they change."""
OUTCOMES = pa.schema(
    [*((name, pa.string()) for name in ("source", "name", "outcome", "stage")), ("reasons", pa.list_(pa.string()))]
)
BLOCK_ROWS = 2000
"""Rows of a row group, which are Python values in memory while they are written."""


def put_table(
    corpus: Location, prefix: str, schema: pa.Schema, rows: Iterable[Mapping[str, Any]], scratch: Path
) -> tuple[dict[str, Any], str]:
    """Write rows as one Parquet file, block by block; return its entry in `corpus.json`, and its note.

    It is named by its content, so that the file of the present corpus stays until the new `corpus.json` is there.
    """
    partial = corpus.scratch(f"{prefix}-{0:012}.parquet", scratch)  # its name is known when all of it is there
    rows, count = iter(rows), 0
    try:
        with explain_os_errors(partial.parent), partial.open("wb") as file:
            with pq.ParquetWriter(file, schema, compression="zstd", write_page_index=True) as writer:
                while block := list(islice(rows, BLOCK_ROWS)):
                    writer.write_table(pa.Table.from_pylist(block, schema=schema))
                    count += len(block)
            flush_file(file)
        size_bytes, sha256 = partial.stat().st_size, Location(str(partial.parent)).digest(partial.name)
        path = f"{prefix}-{sha256[:12]}.parquet"
        note = announce(corpus, [path])
        try:
            corpus.take(partial, path)
        except BaseException:
            withdraw(corpus, note)
            raise
    finally:
        partial.unlink(missing_ok=True)
    return {"path": path, "rows": count, "size_bytes": size_bytes, "sha256": sha256}, note


def read_words(file: Any, rows: int, columns: Sequence[str] | None = None) -> pa.Table | None:
    """Read the table of words, or some columns of it; None where it is another version's or has not as many rows.

    Args:
        file: path or open file.
        rows: number of clips of the corpus.
        columns: names, or leaves as Parquet spells them (`provenance.licence`); all if None.

    Raises:
        pyarrow.ArrowException: it is no Parquet file.
    """
    table = pq.ParquetFile(file)
    if not is_current(table.schema_arrow) or table.metadata.num_rows != rows:
        return None
    return table.read(columns=None if columns is None else list(columns)).replace_schema_metadata()


def is_current(schema: pa.Schema) -> bool:
    """Whether a file's schema is that of the table of words of this version."""
    return bool(schema.equals(WORDS)) and (schema.metadata or {}).get(_VERSION_KEY) == WORDS.metadata[_VERSION_KEY]


def iter_words(file: Any, lengths: Iterable[int]) -> Iterator[pa.Table]:
    """The table of words in parts of these lengths, in order; a row group or two are in memory at a time.

    Raises:
        pyarrow.ArrowException: it is no Parquet file.
    """
    table = pq.ParquetFile(file)
    groups = iter(range(table.num_row_groups))
    ahead = WORDS.empty_table()
    for length in lengths:
        while len(ahead) < length and (group := next(groups, None)) is not None:
            ahead = pa.concat_tables([ahead, table.read_row_group(group)])
        yield ahead.slice(0, length).replace_schema_metadata()
        ahead = ahead.slice(length)
