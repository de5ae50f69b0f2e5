"""What a task does to caption one clip, without Prefect: describe, refine, augment, each a result in the store.

A backend that is not there raises `Unavailable` and leaves nothing behind; all that was answered is kept.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ...captioning import pipeline
from ...captioning.checks.retry import CheckedAnswer
from ...captioning.config import CAPTION_STEPS, CaptionStep, captioner_for_step
from ...captioning.interface.captioner import ClipContext
from ...captioning.interface.frame_sampling import sample_frames
from ...captioning.llm.llm_captioner import LlmCaptioner
from ...captioning.pipeline import CaptionSettings
from ...captioning.rule_based import effect_classifier
from ...captioning.rule_based.captioner import RuleBasedCaptioner
from ...datasets.store.atomic_io import digest_of
from ...datasets.store.store import ResultWriter, StageKey, StageResult, Store
from .job import CaptionJob, see
from .settings import VERSION, Captioning

TAGS = "tags"
"""The stage that holds the source's word for a clip's effects against the frames, or finds one for itself."""
_decoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode")
"""Of many clips in flight one at a time is decoded, and in one thread: each would keep memory of its own."""


@dataclass(kw_only=True)
class Worded:
    """How far the captions of one clip are."""

    job: CaptionJob
    results: dict[str, StageResult] = field(default_factory=dict)
    missing: str | None = None
    """The first stage that has no result."""

    def said(self, stage: str) -> str | None:
        """What a stage came to, if anything passed."""
        if stage == "refine" and self.job.given is not None:
            return self.job.given
        replies = self.facts(stage).get("replies") or ()
        return str(replies[0]["text"]) if replies else None

    def facts(self, stage: str) -> Mapping[str, Any]:
        """Of a stage that is done and was not refused; else nothing."""
        result = self.results.get(stage)
        return {} if result is None or result.refused is not None else result.facts


def stages_of(job: CaptionJob, settings: Captioning) -> tuple[str, ...]:
    """The stages that a clip goes through; a person's caption is only augmented, a scene's effects are not measured."""
    measurable = not (job.effects and job.facts) and {"over", "effect_mask"} <= set(job.layers)
    return (
        *((TAGS,) if measurable else ()),
        *(("describe", "refine") if job.given is None else ()),
        *(("augment",) if settings.caption_rules.variants else ()),
    )


def walk(job: CaptionJob, settings: Captioning, store: Store, *, until: str | None = None) -> Worded:
    """What the store has of a clip's captions, up to (not including) a stage."""
    walked = Worded(job=job)
    for stage in stages_of(job, settings):
        if stage == until:
            break
        if _lacks(stage, walked):
            break
        found = store.find(work_of(stage, walked, settings))
        if found is None:
            walked.missing = stage
            break
        walked.results[stage] = found
    return walked


def work_of(stage: str, before: Worded, settings: Captioning) -> StageKey:
    """What decides the words of the next stage."""
    job = before.job
    inputs = {"known": digest_of(job.known)}
    if stage == "augment":
        inputs["caption"] = digest_of(before.said("refine"))
    else:
        inputs |= {name: at.sha256 for name, at in job.layers.items()}
    if stage == "refine":
        inputs["description"] = digest_of(before.said("describe"))
    more = {} if stage == TAGS else {"seed": job.seed, "fps": job.fps}
    return StageKey(stage=stage, version=VERSION, settings={**settings.settings_of(stage), **more}, inputs=inputs)


def caption_stage(job: CaptionJob, step: CaptionStep, settings: Captioning, store: Store) -> None:
    """One step over one clip, if those before it are done; the first takes the clip's effect tags with it.

    Raises:
        Unavailable: the backend gives no answer; nothing is kept.
    """
    _take((TAGS, step) if step == "describe" else (step,), job, settings, store)


def tag_stage(job: CaptionJob, settings: Captioning, store: Store) -> None:
    """The effect tags of one clip alone."""
    _take((TAGS,), job, settings, store)


def _take(stages: Iterable[str], job: CaptionJob, settings: Captioning, store: Store) -> None:
    for stage in stages:
        if stage not in stages_of(job, settings):
            continue
        before = walk(job, settings, store, until=stage)
        if before.missing is None and not _lacks(stage, before):
            _once(stage, before, settings, store)


def _lacks(stage: str, before: Worded) -> bool:
    """Did the step before come to nothing that this one could build on?"""
    needed = {"refine": "describe", "augment": "refine"}.get(stage)
    return needed is not None and before.said(needed) is None


def _once(stage: str, before: Worded, settings: Captioning, store: Store) -> None:
    def make(draft: ResultWriter) -> None:
        if stage == TAGS:
            draft.facts |= asdict(
                _decoder.submit(lambda: effect_classifier.classify_effects(see(before.job, store))).result()
            )
        else:
            draft.facts |= _asked(stage, before, settings, store).as_values()

    store.once(work_of(stage, before, settings), make, fps=before.job.fps)


def _asked(stage: str, before: Worded, settings: Captioning, store: Store) -> CheckedAnswer:
    """Ask the captioner; while a model thinks, no layer but the frames that it was shown is in memory."""
    step: CaptionStep = next(known for known in CAPTION_STEPS if known == stage)
    captioner = captioner_for_step(settings.caption, step)
    job, wanted = before.job, settings.caption_rules
    if stage == "augment":
        seen, text = _blind(job), before.said("refine")
        assert text is not None, job.clip_id
        return pipeline.augment_caption(captioner, text, seen, wanted, seed=job.seed)
    if not isinstance(captioner, LlmCaptioner):
        return _said(stage, captioner, see(job, store), before, wanted)
    seen = _shown(job, captioner.max_frames, store) if stage == "describe" else _blind(job)
    asked = _said(stage, captioner, seen, before, replace(wanted, fallback_to_rules=False))
    if asked.replies or not wanted.fallback_to_rules:
        return asked
    filled = _decoder.submit(lambda: _said(stage, RuleBasedCaptioner(), see(job, store), before, wanted)).result()
    return CheckedAnswer(
        replies=filled.replies, attempts=asked.attempts, filled=len(filled.replies), verdict=filled.verdict
    )


def _said(stage: str, captioner: Any, seen: ClipContext, before: Worded, wanted: CaptionSettings) -> CheckedAnswer:
    if stage == "describe":
        return pipeline.describe_clip(captioner, seen, wanted, seed=before.job.seed)
    return pipeline.refine_description(captioner, before.said("describe") or "", seen, wanted, seed=before.job.seed)


def _blind(job: CaptionJob) -> ClipContext:
    """What is known of a clip, for steps that look at no frame."""
    return ClipContext(gt=np.zeros((1, 2, 2, 3), np.uint8), fps=job.fps, **job.known)


def _shown(job: CaptionJob, frames: int, store: Store) -> ClipContext:
    """The frames that a model is shown, copied out of the clip."""
    return _decoder.submit(lambda: sample_frames(see(job, store, ("gt",)), frames)).result()
