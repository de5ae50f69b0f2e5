"""Masks that people painted on in a review: stages that take the strokes in, for the clips that have some.

The tracked or thresholded mask stays as it was made; a stage of its own lays the strokes over it, and what follows is
made anew from there. Strokes are about the very bytes that were painted on: where a mask was made anew since, they
count no more.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from ...arrays import Matte, PerFrame, Rgb
from ...datasets.review.painting import overlays_on, paint
from ...datasets.store import codec
from ...datasets.store.atomic_io import key_digest
from ...datasets.store.decisions import Decision, overlays_of
from ...datasets.store.store import ResultWriter, Store
from ...stages import mend
from ..engine.item import Stage, StageInput

MENDED = {"subject": "subject_mask", "effect_mask": "effect_mask"}
"""Layer that people may paint on by the stage that makes it."""


def overlays_for(clip_id: str, store: Store) -> tuple[Mapping[str, Any], ...]:
    """The paintings on a clip's masks as JSON values, in order."""
    return tuple(asdict(overlay) for overlay in overlays_of(store.decisions.by_clip.get(clip_id, ())))


def mend_stage(maker: str) -> Stage:
    """The stage that lays people's strokes over the mask that another one made; its facts stand in for that one's."""
    layer = MENDED[maker]
    return Stage(
        name=f"mend_{maker}",
        version=mend.VERSION,
        settings=mend.SETTINGS,
        needs=("gt", layer),
        reads=(maker,),
        replaces=maker,
        more_inputs=partial(_overlay_inputs, layer),
        applies=partial(_has_overlays, layer),
        make=partial(_mend, maker),
        phase="pairs",
        batch_name="clips",
    )


def _overlays(stage_input: StageInput, layer: str) -> list[Decision]:
    overlays = (Decision(**values) for values in getattr(stage_input.item, "overlays", ()))
    return [overlay for overlay in overlays if overlay.value["layer"] == layer]


def _has_overlays(layer: str, stage_input: StageInput) -> bool:
    overlays = _overlays(stage_input, layer)
    return bool(overlays and layer in stage_input.layers) and bool(
        overlays_on(overlays, layer, stage_input.layers[layer].sha256)
    )


def _overlay_inputs(layer: str, stage_input: StageInput) -> dict[str, str]:
    return {"overlays": key_digest([overlay.id for overlay in _overlays(stage_input, layer)])}


def _mend(maker: str, stage_input: StageInput, writer: ResultWriter) -> None:
    layer = MENDED[maker]
    facts = dict(stage_input.facts[maker])
    mask: Matte = stage_input.layer(layer)
    waiting, digest = _overlays(stage_input, layer), stage_input.layers[layer].sha256
    # Strokes on a mask that was mended already are about the mended one.
    while overlays := overlays_on(waiting, layer, digest):
        waiting = [overlay for overlay in waiting if overlay not in overlays]
        mask, frames = paint(mask, overlays)
        if maker == "subject":
            gt: Rgb = stage_input.layer("gt")
            confidence: PerFrame = np.asarray(facts["confidence"], np.float32)
            carry = any(overlay.value["carry"] for overlay in overlays)
            track = mend.track_between(gt, mask, confidence, frames, carry=carry)
            mask = track.mask
            facts["confidence"] = [round(float(value), 4) for value in track.confidence]
        people = ", ".join(sorted({overlay.by for overlay in overlays}))
        note = f"{layer} was painted by {people} in frame {', '.join(map(str, frames))}."
        facts["notes"] = [*facts.get("notes", ()), note]
        digest = hashlib.sha256(codec.encode(mask, fps=writer.fps)).hexdigest()
    writer.add(layer, mask)
    writer.facts.update(facts)
