"""Stages 2 to 6 as one chain: what each takes, what it gives, and which settings decide it.

Every stage is a pure function of named layers and of the facts that earlier stages left. Whoever runs the chain (the
flow with its store, or one clip in memory) keeps layers and facts and hands each stage what it names.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from . import composite, effect_mask, external, plate, propagate, provided, quality
from .decompose import Decomposer
from .effect_mask import EffectMaskSettings
from .external import External
from .plate import Plate
from .propagate import Propagate
from .provided import Provided
from .quality import Pair
from .subject import SubjectPrompt, SubjectSegmenter

Layer = UInt8[np.ndarray, "..."] | Bool[np.ndarray, "..."]
"""A layer of any of the shapes in `arrays.py`."""
Layers = Mapping[str, Layer]
Facts = Mapping[str, Mapping[str, Any]]
"""By the stage that left them."""

_VERSIONS = {
    Provided: provided.VERSION,
    Propagate: propagate.VERSION,
    Plate: plate.VERSION,
    External: external.VERSION,
    EffectMaskSettings: effect_mask.VERSION,
}


@dataclass(frozen=True, kw_only=True)
class StageOutput:
    """What a stage gives back."""

    layers: dict[str, Layer] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    """Plain JSON values."""


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """One link of the chain."""

    needs: tuple[str, ...]
    """Layers it cannot do without."""
    takes: tuple[str, ...] = ()
    """Layers it uses where the clip has them."""
    reads: tuple[str, ...] = ()
    """Stages whose facts it uses; "normalise" leaves the prompt's."""
    make: Callable[[Layers, Facts, Any], StageOutput]
    version: int = 1
    """Of a stage without settings; the others have that of their settings' module."""


def _subject(layers: Layers, facts: Facts, masker: SubjectSegmenter) -> StageOutput:
    prompt = facts["normalise"]
    keys = dict(zip(prompt.get("keys") or (), layers.get("keys", ()), strict=True))
    box = prompt.get("box")
    tracked = masker.track(
        layers["gt"],
        SubjectPrompt(given=layers.get("given_mask"), keys=keys, box=tuple(box) if box else None),
    )
    confidence = [round(float(value), 4) for value in tracked.confidence]
    return StageOutput(
        layers={"subject_mask": tracked.mask}, facts={"confidence": confidence, "notes": list(tracked.notes)}
    )


def _decompose(layers: Layers, facts: Facts, decomposer: Decomposer) -> StageOutput:
    others = layers.get("others")
    made = decomposer.decompose(
        layers["gt"],
        layers["subject_mask"],
        None if others is None else others > 127,
        layers.get("given"),
    )
    return StageOutput(
        layers={"background": made.background, "foreground": made.foreground, "alpha": made.alpha},
        facts={"numbers": {name: float(value) for name, value in made.facts.items()}, "notes": list(made.notes)},
    )


def _composite(layers: Layers, facts: Facts, settings: None) -> StageOutput:
    return StageOutput(
        layers={"over": composite.over(layers["foreground"], layers["background"], layers["subject_mask"])}
    )


def _effect_mask(layers: Layers, facts: Facts, settings: EffectMaskSettings) -> StageOutput:
    found = effect_mask.find_effect(layers["gt"], layers["over"], layers["subject_mask"], settings)
    return StageOutput(layers={"effect_mask": found.mask}, facts={"numbers": _plain(found.facts)})


def _quality(layers: Layers, facts: Facts, settings: None) -> StageOutput:
    pair = Pair(
        gt=layers["gt"],
        over=layers["over"],
        background=layers["background"],
        foreground=layers["foreground"],
        alpha=layers["alpha"],
        subject_mask=layers["subject_mask"],
        effect_mask=layers["effect_mask"] > 127 if layers["effect_mask"].dtype != bool else layers["effect_mask"],
        confidence=np.asarray(facts["subject"]["confidence"], np.float32),
        facts=dict(facts["decompose"]["numbers"]),
    )
    return StageOutput(facts={"numbers": _plain(quality.measure(pair))})


STAGES: dict[str, StageSpec] = {
    "subject": StageSpec(needs=("gt",), takes=("given_mask", "keys"), reads=("normalise",), make=_subject),
    "decompose": StageSpec(needs=("gt", "subject_mask"), takes=("others", "given"), make=_decompose),
    "composite": StageSpec(
        needs=("foreground", "background", "subject_mask"), make=_composite, version=composite.VERSION
    ),
    "effect_mask": StageSpec(needs=("gt", "over", "subject_mask"), make=_effect_mask),
    "quality": StageSpec(
        needs=("gt", "over", "background", "foreground", "alpha", "subject_mask", "effect_mask"),
        reads=("subject", "decompose"),
        make=_quality,
        version=quality.VERSION,
    ),
}


def version_of(stage: str, settings: Any) -> int:
    """The version of a stage's code under these settings."""
    return STAGES[stage].version if settings is None else _VERSIONS[type(settings)]


def settings_digestible(settings: Any) -> dict[str, Any]:
    """Settings as plain values, for a key or for the record."""
    return {} if settings is None else asdict(settings)


def run(
    layers: Layers,
    prompt: Mapping[str, Any],
    settings: Mapping[str, Any],
    after: Callable[[str], None] = lambda stage: None,
) -> tuple[dict[str, Layer], Facts]:
    """The whole chain over one clip in memory; what the flow does clip by clip with a store in between.

    Args:
        layers: `gt`, and of `given_mask`, `keys`, `others`, `given` those there are.
        prompt: `keys` (frame numbers) or `box`, as `normalise` leaves them.
        settings: by stage.
        after: told each stage's name when it is done.
    """
    held, facts = dict(layers), {"normalise": dict(prompt)}
    for name, stage in STAGES.items():
        made = stage.make(held, facts, settings.get(name))
        held |= made.layers
        facts[name] = made.facts
        after(name)
    return held, facts


def _plain(numbers: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: None if value is None else float(value) for name, value in numbers.items()}
