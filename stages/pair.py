"""Stages 2 to 6 as one chain: the inputs, the outputs and the settings of each.

Every stage is a pure function of named layers and of the facts that earlier stages left. Whoever runs the chain (the
flow with its store, or one clip in memory) keeps layers and facts and hands each stage what it names.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from . import composite, effect_mask, quality
from .decompose import Decomposer, ExternalLayers
from .difference import Noise
from .effect_mask import EffectMaskSettings
from .quality import Pair
from .subject import SubjectSegmenter
from .tracking.prompts import SubjectPrompt

Layer = UInt8[np.ndarray, "..."] | Bool[np.ndarray, "..."]
"""A layer of any of the shapes in `arrays.py`."""
Layers = Mapping[str, Layer]
GIVEN = {"given": "background", "given_foreground": "foreground", "given_alpha": "alpha"}
"""Layers that another tool made, by the name under which a clip has them."""
Facts = Mapping[str, Mapping[str, Any]]
"""Facts by the stage that left them."""


@dataclass(frozen=True, kw_only=True)
class StageOutput:
    """Layers and facts that a stage returns."""

    layers: dict[str, Layer] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    """Plain JSON values."""


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """Specification of one stage of the chain."""

    needs: tuple[str, ...]
    """Layers that the stage requires."""
    takes: tuple[str, ...] = ()
    """Layers that it uses where the clip has them."""
    reads: tuple[str, ...] = ()
    """Stages whose facts it uses; "normalise" leaves the prompt's."""
    make: Callable[[Layers, Facts, Any], StageOutput]
    version: int = 1
    """Version of a stage without settings; the others have that of their settings' module."""


def _subject(layers: Layers, facts: Facts, segmenter: SubjectSegmenter) -> StageOutput:
    keys = (*layers.get("keys", ()), *layers.get("other_keys", ()))
    prompt = SubjectPrompt.from_json(facts["normalise"], keys, masks=layers.get("given_mask"))
    tracked = segmenter.track(layers["gt"], prompt)
    masks: dict[str, Layer] = {"subject_mask": tracked.mask}
    if tracked.others is not None:
        masks["tracked_others"] = tracked.others
    confidence = [round(float(value), 4) for value in tracked.confidence]
    facts_of_track = {"confidence": confidence, "notes": list(tracked.notes)}
    return StageOutput(layers=masks, facts=facts_of_track | ({"model": dict(tracked.model)} if tracked.model else {}))


def _external_layers(layers: Layers) -> ExternalLayers | None:
    if "given" not in layers:
        return None
    return ExternalLayers(**{name: layers[layer] for layer, name in GIVEN.items() if layer in layers})


def _decompose(layers: Layers, facts: Facts, decomposer: Decomposer) -> StageOutput:
    other_masks = [layers[name] > 127 for name in ("others", "tracked_others") if name in layers]
    split = decomposer.decompose(
        layers["gt"],
        layers["subject_mask"],
        np.logical_or.reduce(other_masks) if other_masks else None,
        _external_layers(layers),
    )
    return StageOutput(
        layers={"background": split.background, "foreground": split.foreground, "alpha": split.alpha},
        facts={"numbers": split.facts, "notes": list(split.notes), "models": [dict(model) for model in split.models]},
    )


def _composite(layers: Layers, facts: Facts, settings: None) -> StageOutput:
    return StageOutput(
        layers={"over": composite.over(layers["foreground"], layers["background"], layers["subject_mask"])}
    )


def _effect_mask(layers: Layers, facts: Facts, settings: EffectMaskSettings) -> StageOutput:
    noise = Noise.from_facts(facts["decompose"]["numbers"])
    result = effect_mask.find_effect(layers["gt"], layers["over"], layers["subject_mask"], settings, noise)
    return StageOutput(layers={"effect_mask": result.mask}, facts={"numbers": result.facts})


def _quality(layers: Layers, facts: Facts, settings: None) -> StageOutput:
    arrays = {name: layers[name] for name in STAGES["quality"].needs}
    arrays["effect_mask"] = layers["effect_mask"].astype(bool)  # 0 and 255 where it comes out of a store
    confidence = np.asarray(facts["subject"]["confidence"], np.float32)
    pair = Pair(**arrays, confidence=confidence, facts=dict(facts["decompose"]["numbers"]))
    return StageOutput(facts={"numbers": quality.measure(pair)})


STAGES: dict[str, StageSpec] = {
    "subject": StageSpec(
        needs=("gt",), takes=("given_mask", "keys", "other_keys"), reads=("normalise",), make=_subject
    ),
    "decompose": StageSpec(needs=("gt", "subject_mask"), takes=("others", "tracked_others", *GIVEN), make=_decompose),
    "composite": StageSpec(
        needs=("foreground", "background", "subject_mask"), make=_composite, version=composite.VERSION
    ),
    "effect_mask": StageSpec(needs=("gt", "over", "subject_mask"), reads=("decompose",), make=_effect_mask),
    "quality": StageSpec(
        needs=("gt", "over", "background", "foreground", "alpha", "subject_mask", "effect_mask"),
        reads=("subject", "decompose"),
        make=_quality,
        version=quality.VERSION,
    ),
}


def version_of(stage: str, settings: Any) -> int:
    """The version of a stage's code under these settings: that of the module that holds the settings' class."""
    return STAGES[stage].version if settings is None else int(sys.modules[type(settings).__module__].VERSION)


def settings_digestible(settings: Any) -> dict[str, Any]:
    """Settings as plain values, for a key or for the record; without those of where a stage runs."""
    operational = getattr(settings, "operational", ())
    return {} if settings is None else {name: v for name, v in asdict(settings).items() if name not in operational}


def run(
    layers: Layers,
    prompt: Mapping[str, Any],
    settings: Mapping[str, Any],
    after: Callable[[str], None] = lambda stage: None,
) -> tuple[dict[str, Layer], Facts]:
    """Run the whole chain on one clip in memory, as the flow does with a store between the stages.

    Args:
        layers: `gt`, and where the clip has them `given_mask`, `keys`, `other_keys`, `others`, `given`.
        prompt: facts that `normalise` leaves, as of `SubjectPrompt.to_json`.
        settings: by stage.
        after: called with the name of each finished stage.
    """
    clip_layers, facts = dict(layers), {"normalise": dict(prompt)}
    for name, stage in STAGES.items():
        output = stage.make(clip_layers, facts, settings.get(name))
        clip_layers |= output.layers
        facts[name] = output.facts
        after(name)
    return clip_layers, facts
