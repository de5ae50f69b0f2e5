"""Caption stages of any clip: its effects are tagged, then it is described, and the description refined and augmented.

A backend that is not there raises `ModelUnavailable` and leaves nothing behind; all that was answered is kept.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from ...arrays import Mask
from ...captioning import pipeline
from ...captioning.config import CAPTION_STEPS, AnyCaptioner, CaptionStep, cache_key_settings, captioner_for_step
from ...captioning.interface.captioner import ClipContext, sample_frames
from ...captioning.language.effect_mentions import effect_words, named_effects
from ...captioning.llm.llm_captioner import LlmCaptioner
from ...captioning.pipeline import CaptionSettings, CheckedAnswer
from ...captioning.rule_based.captioner import RuleBasedCaptioner
from ...captioning.rule_based.effect_classifier import EffectDecision, EffectTags, classify_effects, decide_effects
from ...datasets.corpus.schema import TRUTH_LAYER
from ...datasets.sources.source import Source
from ...datasets.store.atomic_io import digest_of, key_digest
from ...datasets.store.codec import Frames
from ...datasets.store.store import ResultWriter
from ..engine.item import Item, Stage, StageInput

VERSION = 8
"""Raise it when a check or the grammar changes; captions of older versions are then made again."""
TAGS = "tags"
"""Stage that measures a clip's effects, and holds what its source expects against the frames."""
LAYERS = ("gt", "over", "subject_mask", "effect_mask")
"""Layers that captions are measured in."""
EFFECT_MASK_MIN = 51
"""Value of an effect's own true mask, 0 to 255, below which nobody sees where the effect lies (a fifth of 255)."""
_decoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode")
"""Decodes clips, one at a time and always in the same thread: each thread would keep memory of its own."""


@dataclass(frozen=True, kw_only=True)
class Captioning:
    """Captioner and rules for captions."""

    caption: AnyCaptioner = RuleBasedCaptioner()
    caption_rules: CaptionSettings = CaptionSettings()

    def step_settings(self, step: CaptionStep) -> dict[str, Any]:
        """Settings that decide a step's captions."""
        unused = {"describe": ("max_words", "variants"), "refine": ("variants",), "augment": ("max_words",)}[step]
        used = {name: value for name, value in asdict(self.caption_rules).items() if name not in unused}
        return {"captioner": cache_key_settings(self.caption, step), **used}

    @cached_property
    def caption_values(self) -> dict[str, Any]:
        """Settings of all steps, for provenance."""
        return {step: {**self.step_settings(step), "version": VERSION} for step in CAPTION_STEPS}


@dataclass(frozen=True, kw_only=True)
class CaptionedSource(Captioning, Source):
    """A source whose clips get captions."""


@dataclass(frozen=True, kw_only=True)
class CaptionedItem(Item):
    """An item that gets captions, with what is known of it beside its layers."""

    effects: tuple[str, ...] = ()
    """Effects that are there, as its scene or the caption that it is made for says."""
    expected_effects: tuple[str, ...] = ()
    """Effects that its source expects: a hint, which frames and captions outweigh."""
    scene_facts: Mapping[str, Any] = field(default_factory=dict)
    """Facts that a rendered scene states itself."""
    subject_name: str | None = None
    hint: str | None = None
    """A name or caption that came with the footage."""
    fixed_caption: str | None = None
    """A person's caption; it stays and is only augmented."""

    @property
    def context(self) -> dict[str, Any]:
        """Facts that captions may use beside the layers."""
        known = {"effects": self.effects, "expected_effects": self.expected_effects, "facts": self.scene_facts}
        return {**known, "subject": self.subject_name, "hint": self.hint}

    @cached_property
    def caption_seed(self) -> int:
        """Seed of its captions, from its id alone."""
        return int(digest_of(["captions", self.id])[:7], 16)


def caption_stages(settings: Captioning) -> tuple[Stage, ...]:
    """The stages that caption a `CaptionedItem`, in order.

    Effects are tagged by all workers before a model is asked, so that the process that asks need not hold whole clips.
    """
    captioners = {step: captioner_for_step(settings.caption, step) for step in CAPTION_STEPS}
    is_model = any(isinstance(captioner, LlmCaptioner) for captioner in captioners.values())
    tags = Stage(
        name=TAGS,
        version=VERSION,
        make=_tag,
        more_inputs=_clip_inputs,
        applies=_is_measurable,
        phase=TAGS if is_model else "captions",
        batch_name=TAGS if is_model else "captions",
        optional=True,
    )
    steps = (
        Stage(
            name=step,
            version=VERSION,
            settings=settings.step_settings(step),
            make=partial(_make_step, step, settings),
            more_inputs=partial(_step_inputs, step),
            applies=partial(_applies, step, settings.caption_rules.variants),
            phase="captions",
            batch_name="captions",
            optional=True,
            concurrency=getattr(captioner, "max_concurrency", 1),
            uses=("endpoint",) if is_model else ("cpu",),
        )
        for step, captioner in captioners.items()
    )
    return (tags, *steps)


def caption_text(item: CaptionedItem, facts: Mapping[str, Mapping[str, Any]], step: str) -> str | None:
    """Text that a step came to, where an answer passed its checks; a person's caption stands for the refined one."""
    if step == "refine" and item.fixed_caption is not None:
        return item.fixed_caption
    replies = facts.get(step, {}).get("replies") or ()
    return str(replies[0]["text"]) if replies else None


def caption_effects(item: CaptionedItem, facts: Mapping[str, Mapping[str, Any]]) -> EffectDecision:
    """Decide on a clip's effects by its scene, its measurement, its source's hint, and what its caption names.

    Only a caption by somebody who saw the clip, a model or a person, has a say; the rules word what was measured.
    """
    if item.effects:
        return EffectDecision(effects=item.effects, source="given", evidence=("the scene says so",))
    unmeasured = {"effects": item.expected_effects, "source": "hint" if item.expected_effects else "unknown"}
    facts_of_tags = facts.get(TAGS) or {**unmeasured, "evidence": ("nothing was measured",), "review": True}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in facts_of_tags.items()
    }
    tags = EffectTags(**values)
    replies: Sequence[Mapping[str, Any]] = facts.get("refine", {}).get("replies") or ()
    is_rule_based = bool(replies) and replies[0]["prompt_sha256"] is None
    caption = caption_text(item, facts, "refine")
    return decide_effects(tags, () if is_rule_based or caption is None else named_effects(caption))


def clip_context(stage_input: StageInput, names: Iterable[str] = ()) -> ClipContext:
    """A clip with its layers decoded, all of them or those named, and what is known beside them."""
    item: CaptionedItem = stage_input.item
    layers = {name: stage_input.layer(name) for name in _caption_layers(stage_input) if not names or name in names}
    effect_mask = _hard_mask(layers["effect_mask"]) if "effect_mask" in layers else None
    effect_masks = {
        name.removeprefix(TRUTH_LAYER): mask > EFFECT_MASK_MIN
        for name, mask in layers.items()
        if name.startswith(TRUTH_LAYER)
    }
    return ClipContext(
        gt=layers["gt"],
        over=layers.get("over"),
        subject_mask=layers.get("subject_mask"),
        effect_mask=effect_mask,
        effect_masks=effect_masks,
        fps=item.fps,
        **item.context,
    )


def _caption_layers(stage_input: StageInput) -> list[str]:
    return [name for name in stage_input.layers if name in LAYERS or name.startswith(TRUTH_LAYER)]


def _hard_mask(frames: Frames) -> Mask:
    """A mask out of a store, 0 and 255, or out of a corpus, which decodes it to bool."""
    mask: Mask = frames if frames.dtype == np.bool_ else frames > 127
    return mask


def _clip_inputs(stage_input: StageInput) -> dict[str, str]:
    layers = {name: stage_input.layers[name].sha256 for name in _caption_layers(stage_input)}
    return {"context": key_digest(stage_input.item.context), **layers}


def _step_inputs(step: str, stage_input: StageInput) -> dict[str, str]:
    """Digests of all that decides the text of a step beside its settings."""
    item: CaptionedItem = stage_input.item
    text_before = {"refine": "describe", "augment": "refine"}.get(step)
    inputs = _clip_inputs(stage_input) if step != "augment" else {"context": key_digest(_augment_context(stage_input))}
    if text_before is not None:
        inputs[text_before] = key_digest(caption_text(item, stage_input.facts, text_before))
    return inputs | {"seed": str(item.caption_seed), "fps": str(item.fps)}


def _is_measurable(stage_input: StageInput) -> bool:
    """Whether a clip's effects are to be measured: a scene's are known."""
    item: CaptionedItem = stage_input.item
    return not item.effects and {"over", "effect_mask"} <= set(stage_input.layers)


def _applies(step: str, variants: int, stage_input: StageInput) -> bool:
    """Whether a step is wanted, and the one before it came to a text that this one can build on."""
    item, facts = stage_input.item, stage_input.facts
    if step == "augment":
        return variants > 0 and caption_text(item, facts, "refine") is not None
    return item.fixed_caption is None and (step == "describe" or caption_text(item, facts, "describe") is not None)


def _tag(stage_input: StageInput, writer: ResultWriter) -> None:
    writer.facts |= asdict(classify_effects(clip_context(stage_input)))


def _make_step(step: CaptionStep, settings: Captioning, stage_input: StageInput, writer: ResultWriter) -> None:
    writer.facts |= _checked_answer(step, settings, stage_input).as_record()


def _checked_answer(step: CaptionStep, settings: Captioning, stage_input: StageInput) -> CheckedAnswer:
    """Ask the captioner; while a model thinks, no layer but the frames that it was shown is in memory."""
    captioner, rules = captioner_for_step(settings.caption, step), settings.caption_rules
    item: CaptionedItem = stage_input.item
    if step == "augment":
        text = caption_text(item, stage_input.facts, "refine")
        assert text is not None, item.id
        context = replace(_context_without_frames(item), **_augment_context(stage_input))
        return pipeline.augment_caption(captioner, text, context, rules, seed=item.caption_seed)
    if not isinstance(captioner, LlmCaptioner):
        return _describe_or_refine(step, captioner, clip_context(stage_input), stage_input, rules)
    if step == "describe":
        frames = captioner.max_frames
        context = _decoder.submit(lambda: sample_frames(clip_context(stage_input, ("gt",)), frames)).result()
    else:
        context = _context_without_frames(item)
    answer = _describe_or_refine(step, captioner, context, stage_input, replace(rules, fallback_to_rules=False))
    if answer.replies or not rules.fallback_to_rules:
        return answer
    fallback = _decoder.submit(
        lambda: _describe_or_refine(step, RuleBasedCaptioner(), clip_context(stage_input), stage_input, rules)
    ).result()
    return CheckedAnswer(
        replies=fallback.replies,
        attempts=answer.attempts,
        filled=len(fallback.replies),
        verdict=fallback.verdict,
    )


def _describe_or_refine(
    step: CaptionStep, captioner: Any, context: ClipContext, stage_input: StageInput, rules: CaptionSettings
) -> CheckedAnswer:
    seed = stage_input.item.caption_seed
    if step == "describe":
        return pipeline.describe_clip(captioner, context, rules, seed=seed)
    is_model = isinstance(captioner, LlmCaptioner)  # the rules word the clip, whoever described it
    description = (caption_text(stage_input.item, stage_input.facts, "describe") or "") if is_model else ""
    return pipeline.refine_description(captioner, description, context, rules, seed=seed)


def _augment_context(stage_input: StageInput) -> dict[str, Any]:
    """Facts of a clip that has a caption: of the effects those that the caption names, whoever decided."""
    item: CaptionedItem = stage_input.item
    caption = caption_text(item, stage_input.facts, "refine") or ""
    decided = caption_effects(item, stage_input.facts).effects
    named = {effect for meanings in effect_words(caption, decided).values() for effect in meanings}
    effects = item.effects or tuple(effect for effect in decided if effect in named)
    return {**item.context, "effects": effects, "expected_effects": ()}


def _context_without_frames(item: CaptionedItem) -> ClipContext:
    """Context of a clip for steps that look at no frame."""
    return ClipContext(gt=np.zeros((1, 2, 2, 3), np.uint8), fps=item.fps, **item.context)
