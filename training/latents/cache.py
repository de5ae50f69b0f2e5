"""Latents on disk: one Parquet file for each window of a clip, and `cache.json`, which says that all are there.

A row holds the output of the video autoencoder and the text encoder for a clip, so neither is needed while training:
the moments of the target and of the videos that condition it (a sample is drawn anew at every step), all rows of the
caption, and the effect mask in pixels, bit by bit. A file is named by the digest of its inputs, so no row is made
twice, and several processes never write the same file. An unpaired clip has neither conditioning nor a mask.
"""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from ...arrays import Mask
from ...datasets.store.atomic_io import atomic_write
from ...untrusted_input import parse_json, path_within

FORMAT = 3
"""Raise it when rows, or the settings that decide them, change."""
MANIFEST = "cache.json"
TARGET = "target"
"""Name of the layer that is to come out."""
HINT = "hint/"
"""Before the name of a conditioning video: as it is where the effect mask is hidden (see `task`)."""
LatentArray = Float[np.ndarray, "f c h w"]
TextArray = Float[np.ndarray, "L D"]

_LAYER = pa.struct([("name", pa.string()), ("mean", pa.binary()), ("logvar", pa.binary())])
_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("clip_id", pa.string()),
        ("caption", pa.string()),
        ("start", pa.int32()),
        ("layers", pa.list_(_LAYER)),
        ("latent_shape", pa.list_(pa.int32())),
        ("mask_bits", pa.binary()),
        ("mask_shape", pa.list_(pa.int32())),
        ("subject_bits", pa.binary()),
        ("text", pa.binary()),
        ("text_shape", pa.list_(pa.int32())),
        ("storage_dtype", pa.string()),
    ]
)
_COMPRESSION = {name: "ZSTD" if name.endswith("_bits") else "NONE" for name in _SCHEMA.names}


class LayerMoments(NamedTuple):
    """Latents of a video, scaled."""

    mean: LatentArray
    logvar: LatentArray | None = None
    """None where training does not draw from them."""


@dataclass(frozen=True, kw_only=True)
class CachedRow:
    """One window of a clip as the models see it."""

    key: str
    clip_id: str = ""
    caption: str = ""
    start: int = 0
    """First frame of the window."""
    target: LayerMoments
    """Moments of the video that is to come out."""
    conditions: Mapping[str, LayerMoments] = field(default_factory=dict)
    """Moments by the names of `Family.condition_videos`; empty where the clip has no pair."""
    mask: Mask | None = None
    """Pixels that change."""
    subject: Mask | None = None
    """Pixels of the subject, where the task wants them."""
    text: TextArray


def draw_name(name: str, draw: int) -> str:
    """Name of a condition as encoded with one draw of noise; the first has the plain name."""
    return f"{name}.{draw}" if draw else name


class LatentCache:
    """A finished cache: `cache.rows` lists its rows, `cache.read(key)` reads one of them. Picklable."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.manifest = dict(manifest)
        self.digest: str = manifest["digest"]
        """Digest of all rows, their recipe and their origin."""
        self.rows: list[dict[str, Any]] = manifest["rows"]
        """Windows as dictionaries of key, clip_id, kind, source, split, frames, height, width."""

    def read(self, key: str) -> CachedRow:
        """Read a row; its numbers come back as 32-bit.

        Raises:
            ValueError: its file is missing or damaged.
        """
        path = row_path(self.folder, key)
        try:
            file = pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True)
            values = file.read(use_threads=False).to_pylist()[0]
        except (OSError, IndexError, pa.ArrowException) as error:
            raise ValueError(f"{path}: is gone or damaged; delete it and encode again") from error

        def unpack(numbers: bytes | None, shape: list[int]) -> Any:
            if numbers is None:
                return None
            return np.frombuffer(numbers, values["storage_dtype"]).reshape(shape).astype(np.float32)

        def unpack_mask(bits: bytes | None) -> Mask | None:
            if bits is None:
                return None
            sides = values["mask_shape"]
            return np.unpackbits(np.frombuffer(bits, np.uint8), count=math.prod(sides)).reshape(sides).astype(bool)

        shape = values["latent_shape"]
        layers = {
            layer["name"]: LayerMoments(*(unpack(layer[part], shape) for part in ("mean", "logvar")))
            for layer in values["layers"]
        }
        length, width = values["text_shape"]
        stored = unpack(values["text"], [-1, width])
        return CachedRow(
            target=layers.pop(TARGET),
            conditions=layers,
            mask=unpack_mask(values["mask_bits"]),
            subject=unpack_mask(values["subject_bits"]),
            text=np.pad(stored, ((0, length - len(stored)), (0, 0))),
            **{name: values[name] for name in ("key", "clip_id", "caption", "start")},
        )

    def no_caption(self) -> TextArray:
        """Rows of text of an empty caption, for classifier-free guidance."""
        return self.read(self.manifest["no_caption"]).text


def open_cache(folder: Path) -> LatentCache:
    """Open a finished cache.

    Raises:
        ValueError: there is none, it is unfinished, damaged or of another format.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(f"{folder}: has no {MANIFEST}, so no cache was finished there; encode the corpus first")
    try:
        manifest = parse_json(path.read_bytes())
        version = manifest["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: is damaged; encode again, finished rows are kept") from error
    if version != FORMAT:
        raise ValueError(f"{path}: has format {version}, not {FORMAT}; encode again into another folder")
    return LatentCache(folder, manifest)


def row_path(folder: Path, key: str) -> Path:
    """Path to the file of a row."""
    return path_within(folder, f"rows/{key[:2]}/{key}.parquet")


def write_row(folder: Path, row: CachedRow, *, storage_dtype: str) -> None:
    """Write a row whole or not at all, its numbers as `storage_dtype` ("float16" or "float32").

    Raises:
        ValueError: a number is not finite, or too large to be stored so.
        CannotWrite: the disk is full or the folder cannot be written.
    """

    def pack(values: LatentArray | TextArray) -> bytes:
        with np.errstate(over="ignore"):
            packed = values.astype(storage_dtype)
        if not np.isfinite(packed).all():
            raise ValueError(
                f"clip '{row.clip_id}': its latents are not finite as {storage_dtype}; "
                "set cache.storage_dtype = 'float32'"
            )
        return packed.tobytes()

    values = {name: getattr(row, name) for name in ("key", "clip_id", "caption", "start")} | {
        "layers": [
            {"name": name, "mean": pack(layer.mean), "logvar": None if layer.logvar is None else pack(layer.logvar)}
            for name, layer in {TARGET: row.target, **row.conditions}.items()
        ],
        "latent_shape": list(row.target.mean.shape),
        "mask_bits": None if row.mask is None else np.packbits(row.mask).tobytes(),
        "mask_shape": None if row.mask is None else list(row.mask.shape),
        "subject_bits": None if row.subject is None else np.packbits(row.subject).tobytes(),
        "text": pack(row.text[: int(np.flatnonzero(row.text.any(axis=1)).max(initial=-1)) + 1]),  # zeros at the end go
        "text_shape": list(row.text.shape),
        "storage_dtype": storage_dtype,
    }
    buffer = io.BytesIO()
    table = pa.Table.from_pylist([values], schema=_SCHEMA)
    pq.write_table(table, buffer, compression=_COMPRESSION, use_dictionary=False, write_page_checksum=True)
    atomic_write(row_path(folder, row.key), buffer.getvalue())
