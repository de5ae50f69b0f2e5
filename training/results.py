"""Results of a finished run: videos of held-out clips, their measures against the truth, and the model card.

Clips of the test split are taken, else of validation, else of training; the first window of each, at the size of the
cache. The evaluation has two rows: the run's own videos, and what the model was shown as it is (composites, or the
videos that something is taken out of), which any method has to beat.
Measures and model card need no torch.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from ..datasets.corpus.clip import Clip
from ..datasets.corpus.reader import Corpus, open_corpus
from ..datasets.store import codec
from ..datasets.store.atomic_io import atomic_write, digest_of
from ..digests import digest_of_file
from ..untrusted_input import markdown_text, path_within
from .base.latent_shapes import LatentGrid
from .configs.config import TrainingConfig
from .evaluation.evaluate import EvaluationSettings, ResultCache, evaluate, measure_share
from .evaluation.tables import write_tables
from .evaluation.videos import Method
from .fitting.step_log import EVALUATION_FOLDER, RECORD_FILE, SAMPLES_FOLDER, TRAINED_FOLDER, read_step_log
from .latents.encode_plan import change_mask, resize_frames, window_length

if TYPE_CHECKING:
    from .sampling.clip_videos import ClipVideo
    from .sampling.pipeline import PipelineInput

SPLITS = ("test", "validation", "train")
"""Splits to hold clips out of, by preference."""
MAX_LOSS_ROWS = 10


def select_evaluation_clips(corpus: Corpus, count: int) -> tuple[str, list[str]]:
    """Return the first of test, validation and train that holds pairs, and ids of its first `count` (0: all)."""
    rows = [row for row in corpus.table.select(["clip_id", "kind", "split"]).to_pylist() if row["kind"] != "unpaired"]
    splits = {row["split"] for row in rows}
    split = next((split for split in SPLITS if split in splits), SPLITS[-1])
    clip_ids = [row["clip_id"] for row in rows if row["split"] == split]
    return split, clip_ids[:count] if count else clip_ids


def describe_clips(split: str, count: int, *, trained_on: str) -> str:
    """Say how many clips of a split were measured, and whether a run trained on a split (or "all") saw them.

    Results on clips that a model was trained on say nothing of other clips.
    """
    clips = f"{count} clip{'' if count == 1 else 's'}"
    if trained_on not in ("all", split):
        return f"{clips} of the {split} split, held out of training"
    if split == SPLITS[-1]:
        return f"{clips} of the training split, for the corpus holds no pair back: the model may have learnt from them"
    return f"{clips} of the {split} split, on which this run was trained"


def generate_samples(settings: TrainingConfig, count: int, share: tuple[int, int] = (0, 1)) -> Iterator[str]:
    """Generate OUTPUT/samples/CLIP.mkv for each evaluation clip with the run's weights; yield its id when it is there.

    Of the clips those of a share (number, of how many) are taken. A video that the same weights made with the same
    settings is not made again.

    Raises:
        ValueError: the run is not finished, or a clip does not fit the model.
        WeightsNotFound: the base model is not on this machine.
    """
    from .generate import DeviceSettings, load_pipeline
    from .sampling.clip_videos import make_clip_videos
    from .sampling.sample import SamplingSettings

    validation, trained = settings.validation, settings.output_path / TRAINED_FOLDER
    weights = sorted(path for folder in (trained, trained / "transformer") for path in folder.glob("*.safetensors"))
    if not weights:
        raise ValueError(f"{trained}: holds no trained weights; train to the last step first")
    sampling = SamplingSettings(steps=validation.steps, guidance=validation.guidance, seed=validation.seed)
    made_with: list[Any] = [digest_of([digest_of_file(path) for path in weights]), dataclasses.asdict(sampling)]
    clip_ids = select_evaluation_clips(open_corpus(settings.corpus), count)[1][share[0] :: share[1]]
    load = partial(load_pipeline, DeviceSettings(trained=trained))
    yield from make_clip_videos(_list_samples(settings, clip_ids, made_with), load, sampling)


def _list_samples(settings: TrainingConfig, clip_ids: Sequence[str], made_with: list[Any]) -> "Iterator[ClipVideo]":
    """Videos of these clips; the corpus's digest in their keys changes with any caption or frame of it."""
    from .base.families import family_of_model
    from .base.models import locate_model
    from .sampling.clip_videos import ClipVideo

    corpus, cache, task = open_corpus(settings.corpus), settings.cache, settings.learning_task
    grid = family_of_model(locate_model(settings.model)).grid
    shown = [cache.size, cache.frames, cache.mask, cache.truth_threshold, settings.data.mask_downsample]
    for clip_id in clip_ids:
        clip = corpus.clip(clip_id)
        yield ClipVideo(
            clip_id=clip_id,
            path=path_within(settings.output_path, f"{SAMPLES_FOLDER}/{clip_id}.mkv"),
            key=digest_of([*made_with, corpus.manifest["digest"], clip_id, *shown, *task.record().values()]),
            caption=task.text(clip.caption),
            fps=clip.fps,
            read_inputs=partial(_sample_input, clip, settings, grid),
        )


def _sample_input(clip: Clip, settings: TrainingConfig, grid: LatentGrid) -> "PipelineInput":
    """Input of the model for the first window of a clip, as it was trained on."""
    from .sampling.pipeline import PipelineInput

    cache, task = settings.cache, settings.learning_task
    span = slice(window_length(clip, cache.frames, grid))
    frames: Any = {"over": getattr(clip, task.video), "effect_mask": change_mask(clip, cache, task)}
    layers: Any = {name: resize_frames(layer[span], cache.size) for name, layer in frames.items()}
    return PipelineInput(prompt=task.text(clip.caption), mask_downsample=settings.data.mask_downsample, **layers)


def evaluate_samples(settings: TrainingConfig, report: Callable[[int, int], None]) -> None:
    """Measure samples and what the model was shown at the trained size; write tables to OUTPUT/evaluation.

    `report` receives the number of clips measured and their total.

    Raises:
        ValueError: there are no samples, or they do not fit the corpus.
    """
    corpus, folder = open_corpus(settings.corpus), settings.output_path / EVALUATION_FOLDER
    methods, evaluation = _sample_evaluation(settings, corpus, (0, 1))
    measurements = evaluate(corpus, methods, evaluation, report)
    count = len(evaluation.clip_ids or ())
    clips = describe_clips(select_evaluation_clips(corpus, 0)[0], count, trained_on=settings.data.split)
    write_tables(measurements, folder, f"{clips}; {settings.validation.steps} steps of sampling")


def measure_samples(settings: TrainingConfig, share: tuple[int, int]) -> Iterator[str]:
    """Measure a share (number, of how many) of the samples into the cache of `evaluate_samples`; yield each clip's id.

    Raises:
        ValueError: there are no samples, or they do not fit the corpus.
    """
    corpus = open_corpus(settings.corpus)
    methods, evaluation = _sample_evaluation(settings, corpus, share)
    yield from measure_share(corpus, methods, evaluation, share)


def _sample_evaluation(
    settings: TrainingConfig, corpus: Corpus, share: tuple[int, int]
) -> tuple[list[Method], EvaluationSettings]:
    """Methods and settings by which a run's samples are measured; a share of what was shown is written."""
    task = settings.learning_task
    input_name = "input" if task.removes else "composite"
    samples, folder = settings.output_path / SAMPLES_FOLDER, settings.output_path / EVALUATION_FOLDER
    clip_ids = [clip_id for clip_id in corpus.ids if path_within(samples, f"{clip_id}.mkv").exists()]
    if not clip_ids:
        raise ValueError(f"{samples}: has no videos of clips of {settings.corpus}; sample first")
    size = settings.cache.size
    for clip_id in clip_ids[share[0] :: share[1]]:
        clip = corpus[clip_id]
        frames = resize_frames(getattr(clip, task.video), size)
        atomic_write(path_within(folder, f"{input_name}/{clip_id}.mkv"), codec.encode(frames, fps=clip.fps))
    methods = [Method(name="trained", folder=samples), Method(name=input_name, folder=folder / input_name)]
    cache = ResultCache(folder=folder / "clips")
    layers: Any = {"truth": task.target, "input": task.video, "prompt": task.prompt}
    return methods, EvaluationSettings(clip_ids=tuple(clip_ids), size=size, cache=cache, **layers)


def write_model_card(output: Path, *, is_measured: bool = False) -> Path:
    """Write `trained/README.md` of a finished run: origin of the weights, course of the training, measures if any.

    Raises:
        ValueError: the run is not finished.
    """
    trained, evaluation = output / TRAINED_FOLDER, output / EVALUATION_FOLDER / "table.md"
    try:
        record: dict[str, Any] = json.loads((trained / RECORD_FILE).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{trained}: holds no {RECORD_FILE}; train to the last step first") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    table = ""
    if is_measured and evaluation.exists():
        lines = evaluation.read_text().strip().splitlines()
        table = "\n".join(f"##{line}" if line.startswith("#") else line for line in lines)  # below the card's headings
    steps = read_step_log(output)
    environment.filters["text"] = markdown_text
    text = environment.get_template("model_card.md.j2").render(
        run=record,
        settings=record["settings"],
        losses=average_steps(steps),
        clip_counts=dict(sorted(steps[-1]["clips_by_kind"].items())) if steps else {},
        samples=sorted(path.name for path in (output / SAMPLES_FOLDER).glob("*.mkv")),
        table=table,
        is_tiny="tiny" in Path(record["base"]["id"]).name,
        dumps=json.dumps,
    )
    atomic_write(trained / "README.md", text.encode())
    return trained / "README.md"


def average_steps(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Average the step log in at most MAX_LOSS_ROWS equal bins; each has the number of its last step."""
    bin_size = max(1, math.ceil(len(steps) / MAX_LOSS_ROWS))
    bins = [steps[start : start + bin_size] for start in range(0, len(steps), bin_size)]
    names = ("loss", "grad_norm", "step_s", "wait_s")
    return [
        {"step": group[-1]["step"], **{name: sum(step[name] for step in group) / len(group) for name in names}}
        for group in bins
    ]
