"""Captions as items: a caption is augmented, and a clip is generated or rendered for each augmented caption."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...captioning.rule_based.augment import find_effect_phrases
from ...datasets.store.atomic_io import digest_of, json_bytes
from ...datasets.store.ledger import ClipOutcome
from ...datasets.store.store import ResultWriter, Store
from ...render.blender import plan
from ...render.blender.exr_frames import open_render_frames
from ...render.blender.process import BlenderNotFound, blender_version, find_python
from ...render.compositing import linear_composite
from ...render.compositing.layers import compose_shared, compose_variant
from ...render.generators import scene_from_caption
from ...render.generators.effect_styles import Style
from ...render.generators.generator import ClipFormat
from ...render.scene.scene import dump_scene
from ...settings import first_names
from ...stages import unpaired_quality
from ...stages.quality_gates import Verdict
from ...stages.text_to_video import VideoRequest, find_pipeline
from ...weights import WeightsNotFound
from ..captions.stages import CaptionedItem, caption_stages
from ..engine.batches import Failure
from ..engine.item import Item, ItemKind, ItemProgress, Stage, StageInput, UnusableItem, slugify
from ..engine.report import clip_row, finished_outcome, settings_json
from ..scenes.stages import delete_frames, drawn_frames, sweep_frames
from .listing import Prompt, list_prompts
from .source import UnpairedSource

UNPAIRED = "unpaired"
VERSION = 2
"""Raise it when results change; stored results of older versions are then made again."""
BATCH_CALLS = 4
"""Calls of the generator in one batch."""
MIRRORS = ("reflection", "ripple")
"""Effects whose colours are not looked for: they are those of what is mirrored, or of the water."""


@dataclass(frozen=True, kw_only=True)
class PromptItem(CaptionedItem):
    """One caption that clips are made for, with the captions that were augmented from it already."""

    prompt: Prompt


@dataclass(frozen=True, kw_only=True)
class UnpairedItem(Item):
    """One clip that is to be made: what becomes a row."""

    prompt: Prompt
    """Its caption is the one that this clip's was augmented from, or the same."""
    number: int
    """Number of the clip among those of its prompt."""
    caption: str
    seed: int
    augmentation: Mapping[str, Any]
    """Record of the caption's augmentation; empty where there was none."""


def list_items(source: UnpairedSource, store: Store) -> Iterator[Item | UnusableItem]:
    """List the captions of a source.

    Raises:
        ValueError: the captions cannot be read, or there are none.
    """
    sweep_frames(store)
    missing = None
    generator: dict[str, str] = {}
    prompts = list_prompts(source)
    try:
        generator = find_generator(source)
    except (BlenderNotFound, WeightsNotFound, ImportError) as problem:
        missing = str(problem)
    for prompt in prompts:
        if isinstance(prompt, UnusableItem):
            yield prompt
        elif missing is not None:
            # Nothing can be made of it: the clips that are known stand in the report, with the reason.
            texts = prompt.augmented[: source.caption_rules.variants] if source.prompts_as == "augmented" else ()
            for number, text in enumerate(texts or (prompt.caption,)):
                yield UnusableItem(id=_clip_id(source, prompt, number, text), stage=UNPAIRED, reason=missing)
        else:
            yield PromptItem(
                id=f"{source.name}-{prompt.name}",
                prompt=prompt,
                inputs=generator,
                effects=prompt.effects,
                fixed_caption=prompt.caption,
            )


def find_generator(source: UnpairedSource) -> dict[str, str]:
    """Model or renderer that makes the clips, and the revision of it that is here: part of every result's key.

    Raises:
        BlenderNotFound, WeightsNotFound: it is not here.
        ValueError: what is here is no such model.
    """
    video: Any = source.video
    if source.renders:
        return {"model": "blender", "revision": blender_version(find_python(video.blender)) or "unknown"}
    return {"model": video.model, "revision": find_pipeline(video.required_weights[0]).model.version}


def stages(source: UnpairedSource) -> tuple[Stage, ...]:
    """Stages of a source of captions, in order."""
    (augment,) = (stage for stage in caption_stages(source) if stage.name == "augment")
    augment = replace(
        augment,
        phase="augment",
        optional=False,
        applies=lambda stage_input: source.prompts_as == "augmented" and not stage_input.item.prompt.augmented,
        splits=_clips,
    )
    renders = source.renders
    generate = Stage(
        name=UNPAIRED,
        version=VERSION,
        settings=source.generation_settings,
        reads_inputs=True,
        make=_render if renders else _write_generated,
        prepare=None if renders else _generate,
        cleanup=delete_frames if renders else None,
        batch=source.video.batch,
        batch_name=UNPAIRED,
        batch_items=BATCH_CALLS * source.video.batch,
        uses=("blender",) if renders else ("gpu",),
    )
    return (augment, generate)


def settings(source: UnpairedSource) -> dict[str, Any]:
    """Settings that hold for all clips."""
    generated = {UNPAIRED: {**source.generation_settings, "version": VERSION}, "limits": asdict(source.limits)}
    return generated | {"prompts_as": source.prompts_as, "seed": source.seed, "captions": source.caption_values}


def outcome(source: UnpairedSource, progress: ItemProgress, failure: Failure | None) -> ClipOutcome:
    """Judge a made clip and build its row."""
    item: UnpairedItem = progress.item  # type: ignore[assignment]
    generated = progress.facts[UNPAIRED]
    verdict = judge_clip(generated, source)
    clip_format, generator = source.format, generated["maker"]
    provenance = {
        "origin": f"{item.prompt.name}, {item.number}",
        "inputs": {"caption": digest_of(item.prompt.caption)},
        "settings": settings_json(settings, source),
        "seeds": [item.seed],
        "models": [{"id": generator["model"], "revision": generator["revision"]}],
        "facts": {name: value for name, value in generated.items() if name != "maker"},
    }
    row = clip_row(progress, item.prompt.group, (clip_format.frames, *clip_format.size), {}, verdict, provenance)
    row |= {"effects": list(item.prompt.effects), "caption": item.caption, "caption_dense": None}
    captions: dict[str, Any] = {
        "given": item.prompt.caption,
        "from": {"place": source.prompts or source.corpus, "name": item.prompt.name},
        "augmented": [],
        "effects": {"source": "corpus" if source.prompts is None else "caption", "evidence": [item.prompt.caption]},
        "filled": {"augment": item.augmentation.get("filled", 0)},
        "steps": {"augment": dict(item.augmentation)} if item.augmentation else {},
        "settings": source.caption_values,
        "doubt": None,
    }
    row["provenance"]["captions"] = json_bytes(captions, indent=None).decode()
    return finished_outcome(row, progress.layers)


def judge_clip(generated: Mapping[str, Any], source: UnpairedSource) -> Verdict:
    """Verdict by a clip's numbers; a scene that lacks something the caption names goes to review."""
    frames = source.format.frames
    verdict = unpaired_quality.judge(generated["numbers"], source.limits, frames=frames, expected_frames=frames)
    if not generated["missing"] or verdict.verdict == "reject":
        return verdict
    reason = f"the caption names what no scene has: {', '.join(generated['missing'])}"
    return Verdict(verdict="review", reasons=(reason, *(verdict.reasons if verdict.verdict == "review" else ())))


def adjectives_of(caption: str, effects: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Adjectives that a caption gives each effect, in the order of reading."""
    phrases = {phrase.effect: tuple(reversed(phrase.adjectives)) for phrase in find_effect_phrases(caption, effects)}
    return {effect: phrases.get(effect, ()) for effect in effects}


def described_colours(adjectives: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[float, float, float]]:
    """Described colour of each effect, to look for in the clip."""
    styles = {effect: Style(words=words) for effect, words in adjectives.items() if effect not in MIRRORS}
    colours = {effect: (0.0, 0.0, 0.0) if effect == "shadow" else style.colour for effect, style in styles.items()}
    return {effect: colour for effect, colour in colours.items() if colour is not None}


PROMPTS = ItemKind(
    item_classes=(PromptItem, UnpairedItem), list_items=list_items, stages=stages, outcome=outcome, settings=settings
)


def _clips(stage_input: StageInput) -> Sequence[Item | UnusableItem]:
    """The clips that are to be made for a prompt: one for each augmented caption, or one for the caption itself."""
    item, source = stage_input.item, stage_input.source
    prompt: Prompt = item.prompt
    augmentation = stage_input.facts.get("augment", {})
    texts: Sequence[str] = (prompt.caption,)
    if source.prompts_as == "augmented":
        replies = augmentation.get("replies") or ()
        texts = prompt.augmented[: source.caption_rules.variants] or [reply["text"] for reply in replies]
    if not texts:
        return [UnusableItem(id=item.id, stage="augment", reason="no augmented caption passed the checks")]
    return [_unpaired_item(stage_input, number, text, augmentation) for number, text in enumerate(texts)]


def _unpaired_item(stage_input: StageInput, number: int, text: str, augmentation: Mapping[str, Any]) -> UnpairedItem:
    item, source = stage_input.item, stage_input.source
    prompt: Prompt = item.prompt
    # The seed comes from the caption and the source's seed, so that captions more or fewer change no other clip.
    seed = int(digest_of(["unpaired", source.seed, text])[:7], 16)
    versions = {"quality": unpaired_quality.VERSION}
    if source.renders:
        versions |= {"worded": scene_from_caption.VERSION, "plan": plan.VERSION, "composite": linear_composite.VERSION}
    return UnpairedItem(
        id=_clip_id(source, prompt, number, text),
        fps=source.format.fps,
        inputs={
            "caption": digest_of(text),
            "effects": digest_of(prompt.effects),
            "seed": str(seed),
            "code": digest_of(versions),
            **item.inputs,
        },
        prompt=prompt,
        number=number,
        caption=text,
        seed=seed,
        augmentation=augmentation,
    )


def _clip_id(source: UnpairedSource, prompt: Prompt, number: int, text: str) -> str:
    identity = digest_of([text, prompt.effects, first_names(source.generation_settings), source.seed])
    return f"{source.name}-{slugify(prompt.name)}-{number}-{identity[:8]}"


def _generate(stage_inputs: Sequence[StageInput]) -> Sequence[Any]:
    """One call of the model for several clips."""
    source = stage_inputs[0].source
    requests = [
        VideoRequest(prompt=stage_input.item.caption, seed=stage_input.item.seed) for stage_input in stage_inputs
    ]
    return source.video.generate(requests, source.format)  # type: ignore[no-any-return]


def _write_generated(stage_input: StageInput, writer: ResultWriter) -> None:
    clip = stage_input.prepared
    writer.add("gt", clip)
    generator = {name: stage_input.item.inputs[name] for name in ("model", "revision")}
    writer.facts |= {"maker": generator, "numbers": unpaired_quality.measure(clip), "missing": []}


def _render(stage_input: StageInput, writer: ResultWriter) -> None:
    """Draw the scene that the caption describes; killed in between, it goes on frame by frame."""
    item, source = stage_input.item, stage_input.source
    adjectives = adjectives_of(item.caption, item.prompt.effects)
    clip_format = ClipFormat(**asdict(source.format), rendering=source.video.rendering)
    described = scene_from_caption.scene_from_caption(item.caption, adjectives, seed=item.seed, clip_format=clip_format)
    # Passes that only tell effects apart are not needed: an unpaired clip has no mask.
    passes = tuple(
        render_pass
        for render_pass in plan.passes_of(described.scene)
        if not (render_pass.name.endswith("-truth") or "-without-" in render_pass.name)
    )
    with drawn_frames(stage_input, described.scene, passes, source.video.blender) as (frames, _):
        files, numbers = open_render_frames(frames), range(described.scene.frames)
        shared = compose_shared(files, numbers)
        gt = compose_variant(files, 0, ("described",), shared, shared.over).gt
    writer.add("gt", gt)
    writer.facts |= {
        "maker": {name: item.inputs[name] for name in ("model", "revision")},
        "numbers": unpaired_quality.measure(gt, shared.over, described_colours(adjectives)),
        "missing": list(described.missing),
        "scene": dump_scene(described.scene),
    }
