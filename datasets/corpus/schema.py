"""The row: one clip's columns as Arrow types (SPEC section 3), and the words that may stand in them."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = 3
OLDEST_READABLE = 2
"""Rows of version 2 have no `effect_truth`; they are read as if it were empty."""
KINDS = ("real", "synthetic", "unpaired")
SPLITS = ("train", "validation", "test")
VERDICTS = ("accept", "review", "reject")
EFFECTS = (
    *("shadow", "reflection", "splash", "wake", "ripple", "spray", "dust", "smoke", "glow", "light"),
    *("snow", "mud", "sparks", "fog", "leaves", "debris", "footprints", "fire"),
)
"""Vocabulary of the column `effects`; it is open, and any other word may stand there too."""

COLOUR_LAYERS = ("gt", "over", "background", "foreground")
MATTE_LAYERS = ("alpha", "subject_mask")
MASK_LAYERS = ("effect_mask",)
LAYERS = (*COLOUR_LAYERS, *MATTE_LAYERS, *MASK_LAYERS)
TRUTH = "effect_truth"
"""Column of the renderer's own soft masks, a matte for each of the clip's effects; empty where they are not known."""
TRUTH_LAYER = f"{TRUTH}/"
"""Prefix of the name of one effect's mask as a layer, `effect_truth/dust` say."""
MAY_BE_ABSENT = {"real": (), "synthetic": ("alpha",), "unpaired": tuple(layer for layer in LAYERS if layer != "gt")}
"""Layers that a clip may lack, by its kind: a rendered subject is never decomposed, an unpaired clip has `gt` alone."""

QUALITY_NUMBERS = (
    "reconstruction_psnr_db",
    "preservation_psnr_db",
    "effect_area",
    "effect_peak_area",
    "effect_flicker",
    "effect_strength",
    "edge_effect",
    "registration_error_px",
    "unseen_share",
    "unseen_detail",
    "moving_surroundings",
    "mover_contact",
    "subject_leak",
    "subject_area",
    "mask_confidence_min",
    "mask_confidence_mean",
    "layer_correlation",
    "layer_psnr_db",
    "layer_tone",
    "layer_flicker",
    "layer_missing",
    "otsu_iou",
    "truth_preservation_psnr_db",
    "subject_error",
    "firefly_share",
)

_VIDEO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_QUALITY = pa.struct(
    [(name, pa.float64()) for name in QUALITY_NUMBERS] + [("verdict", pa.string()), ("reasons", pa.list_(pa.string()))]
)
_PROVENANCE = pa.struct(
    [
        ("origin", pa.string()),
        ("licence", pa.string()),
        ("inputs", pa.list_(pa.struct([("role", pa.string()), ("sha256", pa.string())]))),
        ("start_s", pa.float64()),
        ("source_frames", pa.list_(pa.int32())),
        ("subject", pa.int32()),
        ("settings", pa.string()),  # JSON: stage -> its settings and version
        ("seeds", pa.list_(pa.int64())),
        ("models", pa.list_(pa.struct([("id", pa.string()), ("revision", pa.string())]))),
        ("notes", pa.list_(pa.string())),
        ("composite", pa.string()),  # how over was put together: eq2 (display space) or exact (linear light)
        ("facts", pa.string()),  # JSON: of a rendered clip all that a caption may say; null for others
        ("captions", pa.string()),  # JSON: how the words came about: every answer, model, prompt; augmented captions
        ("software", pa.string()),
        ("layers_sha256", pa.string()),  # fingerprint of the stored layers, which a person's decision is about
    ]
)

# Words and numbers come first, the videos last: who reads captions alone stays in one short stretch of each row group.
# The first leaf of `effect_truth` is its effects' words, so that they are the end of that stretch.
ROW = pa.schema(
    [
        ("clip_id", pa.string()),
        ("kind", pa.string()),
        ("source", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("effects", pa.list_(pa.string())),
        ("caption", pa.string()),
        ("caption_dense", pa.string()),
        ("num_frames", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("fps", pa.float64()),
        ("quality", _QUALITY),
        ("provenance", _PROVENANCE),
        (TRUTH, pa.list_(pa.struct([("effect", pa.string()), ("strength", _VIDEO)]))),
        *((layer, _VIDEO) for layer in LAYERS),
    ]
)
NULLABLE = ("caption", "caption_dense")
"""Plain columns that may be null."""
PLAIN_COLUMNS = tuple(name for name in ROW.names if name not in LAYERS)
_TRUTH_EFFECTS = pa.list_(pa.struct([("effect", pa.string())]))
PLAIN_ROW = pa.schema([(name, _TRUTH_EFFECTS if name == TRUTH else ROW.field(name).type) for name in PLAIN_COLUMNS])
"""The row without its videos; of `effect_truth` the effects' words are left."""


def is_layer(name: str) -> bool:
    """Whether a name is that of a layer, or of one effect's true mask."""
    return name in LAYERS or name.startswith(TRUTH_LAYER)


def truth_effects(layers: Iterable[str]) -> list[dict[str, str]]:
    """`effect_truth` of a plain row whose clip has these layers, in their order."""
    return [{"effect": name.removeprefix(TRUTH_LAYER)} for name in layers if name.startswith(TRUTH_LAYER)]


def footage_digests(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """SHA-256 of the video, or of each of the images, that a clip was cut from, by the record in its row."""
    return tuple(entry["sha256"] for entry in provenance["inputs"] or () if entry["role"].startswith("video"))


def shard_schema() -> pa.Schema:
    """The row's schema, with the features that Hugging Face `datasets` reads from metadata: videos are `Video`."""
    features = {field.name: _feature(field.type) for field in ROW}
    return ROW.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: pa.DataType) -> Any:
    """A column in the vocabulary of Hugging Face features."""
    if kind.equals(_VIDEO):
        return {"_type": "Video"}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    dtype = {"double": "float64"}.get(str(kind), str(kind))
    return {"dtype": dtype, "_type": "Value"}


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table read from a shard, with all that the schema has: a list that came later is empty, a field null."""
    columns = [
        _completed(table.column(field.name), field.type)
        if field.name in table.column_names
        else pa.array([[]] * len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _completed(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if column.type.equals(kind) or not pa.types.is_struct(kind):
        return column
    struct = column.combine_chunks()
    field_names = {field.name for field in struct.type}
    parts = [
        struct.field(field.name) if field.name in field_names else pa.nulls(len(struct), field.type) for field in kind
    ]
    return pa.chunked_array([pa.StructArray.from_arrays(parts, fields=list(kind), mask=struct.is_null())])


def is_row(written: pa.Schema) -> bool:
    """Is a shard's schema the row's, but for `effect_truth` and for fields of its structs that came later?"""
    names = [name for name in ROW.names if name != TRUTH or name in written.names]
    return written.names == names and all(
        _reads_as(written.field(name).type, ROW.field(name).type) for name in written.names
    )


def _reads_as(written: pa.DataType, kind: pa.DataType) -> bool:
    if written.equals(kind) or not (pa.types.is_struct(written) and pa.types.is_struct(kind)):
        return bool(written.equals(kind))
    field_names = {field.name: field.type for field in kind}
    return all(field.name in field_names and field.type.equals(field_names[field.name]) for field in written)
