"""The captions that unpaired clips are made for: lines of a text file, or the captions of a corpus.

Whatever stands there is data. A line that is no caption is refused with its reason, and no other line suffers.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...captioning.checks.validators import check_text
from ...captioning.language.effect_mentions import effect_words, named_effects
from ...datasets.corpus.reader import open_corpus
from ...datasets.store.atomic_io import digest_of
from ...render.generators.scene_from_caption import EFFECT_SCENARIOS
from ...untrusted_input import expand_variables
from ..engine.item import UnusableItem
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
    """Empty where a clip of a corpus has none."""
    effects: tuple[str, ...]
    group: str
    """Group of the clips made for it: those of a corpus stay in the split of the clip whose caption it was."""
    augmented: tuple[str, ...] = ()
    """Augmented captions that are there already."""


def list_prompts(source: UnpairedSource) -> list[Prompt | UnusableItem]:
    """List the captions of a source in order, and those that cannot be used with the reason.

    Raises:
        ValueError: the file or corpus as a whole cannot be read, or holds no caption.
    """
    if source.prompts is not None:
        candidates = _read_file(source.prompts)
    else:
        candidates = _read_corpus(str(source.corpus), source.kinds)
    prompts: list[Prompt | UnusableItem] = []
    name_by_text: dict[str, str] = {}
    for prompt in candidates:
        reason = _check(prompt, name_by_text) or _lack_of_scenes(prompt, source)
        unusable = UnusableItem(id=f"{source.name}-{prompt.name}", stage="list", reason=reason) if reason else None
        prompts.append(unusable or prompt)
        if source.count and len(prompts) == source.count:
            break
    if not prompts:
        origin = source.prompts or source.corpus
        raise ValueError(
            f"{origin}: holds no caption; write one a line, such as 'A red car kicks up thick brown dust.'"
        )
    return prompts


def _check(prompt: Prompt, name_by_text: dict[str, str]) -> str | None:
    """Return why no clip can be made for a caption, or add it to those that are there."""
    if not prompt.caption:
        return "has no caption; caption the corpus first"
    if objections := check_text(prompt.caption.replace("\u2028", "\n").replace("\u2029", "\n")):
        return f"is no caption: {objections[0]}"
    words = prompt.caption.lower().split()
    if len(words) > MAX_WORDS:
        return f"has {len(words)} words, of which a model reads the first 150 at most; use {MAX_WORDS} or fewer"
    if not prompt.effects:
        return "names no effect; say what shadow, dust, smoke, splash, wake, reflection, glow or other effect is there"
    if (first := name_by_text.setdefault(" ".join(words), prompt.name)) != prompt.name:
        return f"stands already under {first}; take it out, or change seed for other clips of the same captions"
    return None


def _lack_of_scenes(prompt: Prompt, source: UnpairedSource) -> str | None:
    """Return why Blender draws no clip for a caption: none of its effects has a shape here. A model takes any word."""
    if not source.renders or not set(EFFECT_SCENARIOS).isdisjoint(prompt.effects):
        return None
    return (
        f"names {' and '.join(prompt.effects)}, which is not drawn here; take a text-to-video model "
        f"(--set video.kind=cogvideox), or name one of {', '.join(EFFECT_SCENARIOS)}"
    )


def _read_file(name: str) -> Iterator[Prompt]:
    path = Path(expand_variables(name))
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


def _read_corpus(url: str, kinds: Sequence[str]) -> Iterator[Prompt]:
    columns = ["clip_id", "kind", "group", "effects", "caption", "provenance"]
    for row in open_corpus(url).table.select(columns).to_pylist():
        if row["kind"] not in kinds:
            continue
        caption = row["caption"] or ""
        known = tuple(row["effects"] or ())
        spoken = {effect for meanings in effect_words(caption, known).values() for effect in meanings}
        texts = _caption_record(row["provenance"]).get("augmented") or ()
        yield Prompt(
            name=row["clip_id"],
            caption=caption,
            # The clip is made of the words alone, so an effect that they leave out is not in it.
            effects=tuple(effect for effect in known if effect in spoken) or known or named_effects(caption),
            group=row["group"],
            augmented=tuple(text for text in texts if isinstance(text, str) and not check_text(text)),
        )


def _caption_record(provenance: Mapping[str, Any] | None) -> Mapping[str, Any]:
    try:
        record = json.loads((provenance or {}).get("captions") or "{}")
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
