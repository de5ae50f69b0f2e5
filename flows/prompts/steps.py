"""What a task does to make an unpaired clip, without Prefect: a caption and a seed to frames in the store.

The result holds the clip and its numbers; whether it is good enough is decided when the account is closed.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...arrays import Rgb
from ...captioning.rule_based.augment import find_effect_phrases
from ...datasets.store.atomic_io import digest_of
from ...datasets.store.store import ResultWriter, StageKey, StageResult, Store
from ...render.blender import plan
from ...render.blender.exr_frames import CorruptFrame, open_render_frames
from ...render.blender.process import blender_version, find_python, render_frames
from ...render.compositing import linear_composite
from ...render.compositing.layers import compose_shared, compose_variant
from ...render.generators import scene_from_caption
from ...render.generators.effect_styles import Style
from ...render.scene.scene import dump_scene
from ...stages import unpaired_quality
from ...stages.text_to_video.cogvideox import PIPELINES, CogVideoX
from ...stages.text_to_video.diffusion_weights import locate
from ...stages.text_to_video.text_to_video import Shot
from ..engine.ids import plain_name
from ..scenes.steps import frames_folder
from .source import BlenderTextToVideo, UnpairedSource

STAGE = "unpaired"
VERSION = 1
"""Raise it when results change; stored results of older versions are then made again."""


@dataclass(frozen=True, kw_only=True)
class ClipJob:
    """One clip that is wanted; small, it travels between processes."""

    prompt: str
    """Name of the prompt it came from."""
    number: int
    """Of the clip among those of its prompt."""
    caption: str
    original: str
    """The caption that this one was augmented from, or the same."""
    effects: tuple[str, ...]
    group: str

    def seed(self, source: UnpairedSource) -> int:
        """From the caption and the source's seed, so that other captions more or fewer change nothing."""
        return int(digest_of(["unpaired", source.seed, self.caption])[:7], 16)

    def clip_id(self, source: UnpairedSource) -> str:
        """Of the clip's row."""
        digest = digest_of([self.caption, self.effects, source.decisive, source.seed])[:8]
        return f"{source.name}-{plain_name(self.prompt)}-{self.number}-{digest}"


def maker_of(source: UnpairedSource) -> dict[str, str]:
    """Model or renderer, and the revision of it that is here: part of every result's key.

    Raises:
        BlenderNotFound, ModelMissing: it is not here.
        ValueError: what is here is no such model.
    """
    if isinstance(source.video, CogVideoX):
        found = locate(source.video.model, source.video.revision, PIPELINES)
        return {"model": source.video.model, "revision": found.revision}
    return {"model": "blender", "revision": blender_version(find_python(source.video.blender)) or "unknown"}


def clip_work(job: ClipJob, source: UnpairedSource, maker: dict[str, str]) -> StageKey:
    """What decides a clip."""
    code = {"quality": unpaired_quality.VERSION}
    if isinstance(source.video, BlenderTextToVideo):
        code |= {"worded": scene_from_caption.VERSION, "plan": plan.VERSION, "composite": linear_composite.VERSION}
    inputs = {
        "caption": digest_of(job.caption),
        "effects": digest_of(job.effects),
        "seed": str(job.seed(source)),
        "code": digest_of(code),
        "maker": digest_of(maker),
    }
    return StageKey(stage=STAGE, version=VERSION, settings=source.decisive, inputs=inputs)


def made(jobs: Sequence[ClipJob], source: UnpairedSource, store: Store, maker: dict[str, str]) -> list[StageResult]:
    """The clips of some jobs, at most a batch, made if they are not there yet.

    Raises:
        BlenderNotFound, RenderFailed, ModelMissing: nothing is kept.
        CorruptFrame: frame files were damaged; they are gone, the next try draws them again.
    """
    works = [clip_work(job, source, maker) for job in jobs]
    if isinstance(source.video, BlenderTextToVideo):
        return [_drawn(job, source, store, work) for job, work in zip(jobs, works, strict=True)]
    missing = [place for place, work in enumerate(works) if store.find(work) is None]
    clips: dict[int, Rgb] = {}
    if missing:
        shots = [Shot(prompt=jobs[place].caption, seed=jobs[place].seed(source)) for place in missing]
        clips = dict(zip(missing, source.video.make(shots, source.format).clips, strict=True))

    def keep(place: int, draft: ResultWriter) -> None:
        draft.add("gt", clips[place])
        draft.facts |= {"maker": maker, "numbers": unpaired_quality.measure(clips[place]), "missing": []}

    fps = source.format.fps
    return [store.once(work, lambda draft, at=at: keep(at, draft), fps=fps) for at, work in enumerate(works)]  # type: ignore[misc]


def attributes(caption: str, effects: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """By effect, the adjectives that a caption gives it, in the order of reading."""
    found = {one.effect: tuple(reversed(one.adjectives)) for one in find_effect_phrases(caption, effects)}
    return {effect: found.get(effect, ()) for effect in effects}


def _drawn(job: ClipJob, source: UnpairedSource, store: Store, work: StageKey) -> StageResult:
    """Draw the scene that the caption describes; killed in between, it goes on frame by frame."""
    frames = frames_folder(store.workspace, work.key)
    maker = maker_of(source)

    def make(draft: ResultWriter) -> None:
        told = attributes(job.caption, job.effects)
        found = scene_from_caption.scene_from_caption(
            job.caption, told, seed=job.seed(source), clip_format=source.clip_format
        )
        frames.mkdir(parents=True, exist_ok=True)
        passes = tuple(one for one in plan.passes_of(found.scene) if not _of_truth(one.name))
        assert isinstance(source.video, BlenderTextToVideo)
        render_frames(plan.make_plan(found.scene, frames, passes), frames, source.video.blender)
        try:
            files, every = open_render_frames(frames), range(found.scene.frames)
            shared = compose_shared(files, every)
            gt = compose_variant(files, 0, ("described",), shared, shared.over).gt
        except CorruptFrame:
            shutil.rmtree(frames, ignore_errors=True)
            raise
        draft.add("gt", gt)
        draft.facts |= {
            "maker": maker,
            "numbers": unpaired_quality.measure(gt, shared.over, colours_of(told)),
            "missing": list(found.missing),
            "scene": dump_scene(found.scene),
        }

    result = store.once(work, make, fps=source.format.fps)
    shutil.rmtree(frames, ignore_errors=True)
    return result


def colours_of(told: dict[str, tuple[str, ...]]) -> dict[str, tuple[float, float, float]]:
    """The described colours to look for, by effect; a mirror image has that of what it mirrors, a wake foam's alone."""
    styles = {effect: Style(words=words) for effect, words in told.items() if effect not in ("reflection", "ripple")}
    found = {effect: style.colour for effect, style in styles.items()}
    if "shadow" in found:
        found["shadow"] = (0.0, 0.0, 0.0)
    return {effect: colour for effect, colour in found.items() if colour is not None}


def _of_truth(name: str) -> bool:
    """Passes that only tell effects apart; nobody asks that of an unpaired clip."""
    return name.endswith("-truth") or "-without-" in name


def values_of(source: UnpairedSource) -> dict[str, Any]:
    """What is decided for all clips, for account and provenance."""
    drawn = {STAGE: {**source.decisive, "version": VERSION}, "limits": asdict(source.limits)}
    return drawn | {"use": source.use, "seed": source.seed, "captions": source.captioning.values}
