"""What is captioned: one clip by reference, wherever its layers lie, with all that is known of it beside them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from ...arrays import Mask
from ...captioning.interface.captioner import ClipContext
from ...datasets.corpus.reader import Corpus, open_corpus
from ...datasets.store.atomic_io import digest_of
from ...datasets.store.codec import Frames
from ...datasets.store.store import StageResult, Store

SEEN = ("gt", "over", "subject_mask", "effect_mask")
"""The layers that captions are measured in."""
OWN_PART = 51
"""Of an effect's soft mask, 0 to 255: fainter than a fifth of its strength nobody sees where it lies."""


@dataclass(frozen=True, kw_only=True)
class LayerAt:
    """A layer by reference: of a stored result, or of a clip in a corpus."""

    stage: str
    """Empty for a corpus."""
    key: str
    """Of the result, or the clip's id."""
    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class CaptionJob:
    """One clip that wants words; small, it travels between processes."""

    clip_id: str
    fps: float
    layers: Mapping[str, LayerAt]
    """By the names of `SEEN`, as far as there are any; `own/WORD` is an effect's own soft mask."""
    corpus: str | None = None
    """Where the layers lie, if not in the workspace."""
    effects: tuple[str, ...] = ()
    """As scene or source say."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    subject: str | None = None
    hint: str | None = None
    given: str | None = None
    """A person's caption."""

    @property
    def known(self) -> dict[str, Any]:
        """What is known of the clip, beside its layers."""
        return {"effects": self.effects, "facts": self.facts, "subject": self.subject, "hint": self.hint}

    @property
    def seed(self) -> int:
        """From the clip's id alone."""
        return int(digest_of(["captions", self.clip_id])[:7], 16)


def stored(result: StageResult, name: str) -> LayerAt:
    """A layer of a result, by reference."""
    return LayerAt(stage=result.folder.parent.parent.name, key=result.key, name=name, sha256=result.layers[name].sha256)


def see(job: CaptionJob, store: Store, names: Iterable[str] = ()) -> ClipContext:
    """The clip with its layers decoded: all of them, or those named."""
    wanted = set(names) or set(job.layers)
    found = {name: _frames(job, at, store) for name, at in job.layers.items() if name in wanted}
    effect = None if "effect_mask" not in found else _hard(found["effect_mask"], 127)
    own = {
        name.removeprefix("own/"): _hard(frames, OWN_PART) & (True if effect is None else effect)
        for name, frames in found.items()
        if name.startswith("own/")
    }
    return ClipContext(
        gt=found["gt"],
        over=found.get("over"),
        subject_mask=found.get("subject_mask"),
        effect_mask=effect,
        effect_masks=own,
        fps=job.fps,
        effects=job.effects,
        facts=job.facts,
        subject=job.subject,
        hint=job.hint,
    )


def _frames(job: CaptionJob, at: LayerAt, store: Store) -> Frames:
    if job.corpus is not None:
        frames = _corpus(job.corpus)[at.key].decode(at.name)
        assert frames is not None, at
        return frames
    result = store.get(at.stage, at.key)
    assert result is not None, at
    return store.layer(result.layers[at.name])


def _hard(frames: Frames, above: int) -> Mask:
    mask: Mask = frames if frames.dtype == np.bool_ else frames > above
    return mask


@lru_cache(maxsize=2)
def _corpus(url: str) -> Corpus:
    return open_corpus(url)
