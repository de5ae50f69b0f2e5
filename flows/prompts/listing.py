"""The captions that unpaired clips are made for: lines of a text file, or the captions of a corpus.

Whatever stands there is data. A line that is no caption is refused with its reason, and no other line suffers.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...captioning.checks.validators import check_text
from ...captioning.language.caption_parsing import named_effects
from ...datasets.corpus.reader import open_corpus
from ...datasets.store.atomic_io import digest_of
from .source import UnpairedSource

MAX_BYTES = 64 * 1024**2
MAX_WORDS = 120
"""Text-to-video models read 226 tokens, which is about 150 words; what comes after is not seen."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One caption, and where it came from."""

    name: str
    """Number of its line, or id of its clip."""
    caption: str
    effects: tuple[str, ...]
    group: str
    """Group of the clips made for it: those of a corpus stay in the split of the clip whose caption it was."""
    augmented: tuple[str, ...] = ()
    """Augmented captions that are there already."""


@dataclass(frozen=True, kw_only=True)
class UnusablePrompt:
    """A caption that no clip can be made for, and why."""

    name: str
    reason: str


def list_prompts(source: UnpairedSource) -> list[Prompt | UnusablePrompt]:
    """List the captions of a source in order, and those that cannot be used with the reason.

    Raises:
        ValueError: the file or corpus as a whole cannot be read, or holds no caption.
    """
    if source.prompts is not None:
        candidates = _read_file(source.prompts)
    else:
        candidates = _read_corpus(str(source.corpus), source.kinds)
    prompts: list[Prompt | UnusablePrompt] = []
    name_by_text: dict[str, str] = {}
    for candidate in candidates:
        prompts.append(_check(candidate, name_by_text) if isinstance(candidate, Prompt) else candidate)
        if source.count and len(prompts) == source.count:
            break
    if not prompts:
        origin = source.prompts or source.corpus
        raise ValueError(
            f"{origin}: holds no caption; write one a line, such as 'A red car kicks up thick brown dust.'"
        )
    return prompts


def _check(prompt: Prompt, name_by_text: dict[str, str]) -> Prompt | UnusablePrompt:
    objections = check_text(prompt.caption.replace("\u2028", "\n").replace("\u2029", "\n"))
    count = len(prompt.caption.split())
    key = " ".join(prompt.caption.lower().split())
    if objections:
        reason = f"is no caption: {objections[0]}"
    elif count > MAX_WORDS:
        reason = f"has {count} words, of which a model reads the first 150 at most; use {MAX_WORDS} or fewer"
    elif not prompt.effects:
        reason = "names no effect; say what shadow, dust, smoke, splash, wake, reflection or glow is there"
    elif key in name_by_text:
        remedy = "take it out, or change seed for other clips of the same captions"
        reason = f"stands already under {name_by_text[key]}; {remedy}"
    else:
        name_by_text[key] = prompt.name
        return prompt
    return UnusablePrompt(name=prompt.name, reason=reason)


def _read_file(name: str) -> Iterator[Prompt | UnusablePrompt]:
    path = Path(os.path.expandvars(name)).expanduser()
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(f"{path}: has {size} bytes, more than {MAX_BYTES}; give a text file of captions")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as missing:
        raise ValueError(
            f"{path}: cannot be read ({missing.strerror}); give a text file, one caption a line"
        ) from missing
    except UnicodeDecodeError as problem:
        raise ValueError(f"{path}: is no UTF-8 text ({problem.reason}); save it as plain text") from problem
    # Only line feeds part lines: other marks that Unicode calls line ends stay in theirs, and are refused with it.
    for number, line in enumerate(re.split(r"\r?\n", text), start=1):
        caption = line.strip(" \t")
        if caption and not caption.startswith("#"):
            group = digest_of(["prompt", caption])[:16]
            yield Prompt(name=f"line-{number:05d}", caption=caption, effects=named_effects(caption), group=group)


def _read_corpus(url: str, kinds: Sequence[str]) -> Iterator[Prompt | UnusablePrompt]:
    columns = ["clip_id", "kind", "group", "effects", "caption", "provenance"]
    for row in open_corpus(url).table.select(columns).to_pylist():
        if row["kind"] not in kinds:
            continue
        if not row["caption"]:
            yield UnusablePrompt(name=row["clip_id"], reason="has no caption; caption the corpus first")
            continue
        effects = tuple(row["effects"] or ()) or named_effects(row["caption"])
        record = _caption_record(row["provenance"])
        yield Prompt(
            name=row["clip_id"],
            caption=row["caption"],
            effects=effects,
            group=row["group"],
            augmented=tuple(
                text for text in record.get("augmented") or () if isinstance(text, str) and not check_text(text)
            ),
        )


def _caption_record(provenance: Mapping[str, Any] | None) -> Mapping[str, Any]:
    try:
        record = json.loads((provenance or {}).get("captions") or "{}")
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
