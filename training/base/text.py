"""Captions as the rows that the transformer attends to.

Every caption is padded or cut to the same length and encoded without an attention mask, as the base model was trained:
the padding rows are not zero, and the real rows depend on them. All rows are therefore kept; none is trimmed or masked.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...extras import require
from .tensors import TextRows

torch = require("torch", extra="train")


class TextModel(NamedTuple):
    """A tokenizer, its encoder, and how many rows the transformer expects."""

    tokenizer: Any
    encoder: Any
    length: int


def encode_texts(model: TextModel, texts: Sequence[str]) -> TextRows:
    """Encode texts, each to the same number of rows, in 32-bit."""
    tokens = model.tokenizer(
        list(texts), padding="max_length", max_length=model.length, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        rows = model.encoder(tokens.input_ids.to(model.encoder.device))[0]
    return rows.float()
