"""Corpus of clips that are drawn for a run, stored, judged and published as any other, and resumed clip by clip.

Layers go through the mask, the measures and the verdict of rendered pairs (`render/compositing/layers`); the clips
themselves come from `render/shadow_clips`.
"""

from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..datasets.corpus.finalize import finalize
from ..datasets.corpus.publish import plan_shards, write_planned
from ..datasets.corpus.schema import QUALITY_NUMBERS, TRUTH, TRUTH_LAYER, is_layer, truth_effects
from ..datasets.corpus.selection import PublishSettings
from ..datasets.store.atomic_io import digest_of, json_bytes
from ..datasets.store.ledger import ClipOutcome, write_ledger
from ..datasets.store.location import Location
from ..datasets.store.store import ResultWriter, StageKey, StageResult, Store
from ..render.shadow_clips import VERSION, ShadowClips, draw_clip
from ..stages import effect_mask, quality
from ..stages.effect_mask import EffectMaskSettings
from ..stages.quality import Pair
from ..stages.quality_gates import QualityThresholds, judge

SOURCE = "drawn-shadows"
FPS = 16.0
PUBLISHING = PublishSettings(include=("accept", "review"), validation_share=0.03, test_share=0.1)
"""The noise of two passes is near the limit of a review; what is rejected stays out."""


def draw_corpus(settings: ShadowClips, workspace: Path, corpus: str) -> Iterator[str]:
    """Draw what is not drawn yet, yield each clip's id when it is there, and publish all of them last.

    Raises:
        CannotWrite: the disk is full, or a folder cannot be written.
    """
    store, entries = Store(workspace), []
    for number in range(settings.clips):
        entries.append(_draw_entry(number, settings, store))
        yield entries[-1].name
    write_ledger(store.workspace, SOURCE, entries, {"draw": asdict(settings) | {"version": VERSION}})
    location = Location(corpus)
    files = [
        write_planned(plan, workspace, location, PUBLISHING) for plan in plan_shards(workspace, location, PUBLISHING)
    ]
    finalize(store.workspace, location, files, PUBLISHING, "drawn shadows")


def _draw_entry(number: int, settings: ShadowClips, store: Store) -> ClipOutcome:
    decisive = {name: value for name, value in asdict(settings).items() if name != "clips"}
    inputs = {"scene": digest_of([number, decisive, VERSION])}
    key = StageKey(
        stage="draw",
        version=VERSION,
        settings={"effect_mask_version": effect_mask.VERSION, "quality_version": quality.VERSION},
        inputs=inputs,
    )

    def make(writer: ResultWriter) -> None:
        clip = draw_clip(number, settings)
        layers: dict[str, Any] = clip._asdict()
        shape, shadow = layers.pop("shape"), layers.pop("shadow")
        layers["foreground"] = clip.gt
        mask = effect_mask.find_effect(clip.gt, clip.over, clip.subject_mask, EffectMaskSettings()).mask
        pair = Pair(**layers, alpha=None, effect_mask=mask, confidence=None, facts={})
        for name, layer in {**layers, "effect_mask": mask, f"{TRUTH_LAYER}shadow": shadow}.items():
            writer.add(name, layer)
        writer.facts |= {"numbers": quality.measure(pair), "shape": shape}

    result = store.once(key, make, fps=FPS)
    clip_id = f"{SOURCE}-{number:05d}-{inputs['scene'][:8]}"
    row = _row(clip_id, result, settings, inputs)
    verdict, reasons = row["quality"]["verdict"], tuple(row["quality"]["reasons"])
    layers = {name: vars(layer) for name, layer in result.layers.items() if is_layer(name)}
    return ClipOutcome(name=clip_id, outcome=verdict, stage="quality", reasons=reasons, row=row, layers=layers)


def _row(clip_id: str, result: StageResult, settings: ShadowClips, inputs: dict[str, str]) -> dict[str, Any]:
    numbers = result.facts["numbers"]
    verdict = judge(numbers, QualityThresholds(), ())
    quality_columns = {name: numbers.get(name) for name in QUALITY_NUMBERS}
    height, width = settings.size
    return {
        "clip_id": clip_id,
        "kind": "synthetic",
        "source": SOURCE,
        "group": clip_id,
        "effects": ["shadow"],
        "caption": f"A {result.facts['shape']} moves over the ground and casts a shadow.",
        "caption_dense": None,
        "num_frames": settings.frames,
        "height": height,
        "width": width,
        "fps": FPS,
        "quality": quality_columns | {"verdict": verdict.verdict, "reasons": list(verdict.reasons)},
        "provenance": {
            **dict.fromkeys(("start_s", "source_frames", "subject", "captions")),
            "origin": "drawn by effectpairs",
            "licence": "CC0-1.0",
            "inputs": [{"role": role, "sha256": digest} for role, digest in inputs.items()],
            "settings": json_bytes({"draw": asdict(settings) | {"version": VERSION}}).decode(),
            "seeds": [settings.seed],
            "models": [],
            "notes": [],
            "composite": "eq2",
            "facts": json_bytes({"subject": result.facts["shape"]}).decode(),
            "software": f"effectpairs {version('effectpairs')}",
        },
        TRUTH: truth_effects(result.layers),
    }
