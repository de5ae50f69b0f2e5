"""Step `sample`: OUTPUT/samples/CLIP.mkv of held-out clips by a finished run, to look at and to measure.

Clips of the test split are taken, else of validation, else of training; the first window of each, at the size of the
cache. A video that the same weights made with the same settings is not made again.
"""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..datasets.corpus.clip import Clip
from ..datasets.corpus.reader import open_corpus
from ..datasets.store import codec
from ..datasets.store.atomic_io import atomic_write, digest_of, digest_of_file, json_bytes
from .configs.config import TrainingConfig
from .fitting.step_log import SAMPLES, TRAINED
from .generate import DeviceSettings, load_pipeline
from .latents.encode_plan import downscale, window_length
from .measure import held_out_clips
from .sampling.pipeline import PipelineInput
from .sampling.sample import SamplingSettings


def sample_clips(settings: TrainingConfig, count: int) -> Iterator[str]:
    """Make a video of each clip by the run's weights; yield its id, also where the video exists already.

    Raises:
        ValueError: the run is not finished, or a clip does not fit the model.
        BaseModelNotFound: the base model is not on this machine.
    """
    output, corpus = Path(settings.output).expanduser(), open_corpus(settings.corpus)
    validation = settings.validation
    sampling = SamplingSettings(steps=validation.steps, guidance=validation.guidance, seed=validation.seed)
    weights = sorted((output / TRAINED / "transformer").glob("*.safetensors"))
    if not weights:
        raise ValueError(f"{output / TRAINED}: holds no trained weights; train to the last step first")
    weights_digest = digest_of([digest_of_file(path) for path in weights])
    pipeline = None
    for clip_id in held_out_clips(corpus, count):
        clip = corpus.clip(clip_id)
        # A caption or a frame that changed makes another version of the corpus, and so another key.
        origin = [weights_digest, dataclasses.asdict(sampling), corpus.manifest["digest"], clip_id]
        key = digest_of([*origin, settings.cache.size, settings.cache.frames])
        path = output / SAMPLES / f"{clip_id}.mkv"
        if not _is_sampled(path, key):
            pipeline = pipeline or load_pipeline(DeviceSettings(trained=output / TRAINED))
            frames = pipeline(_pipeline_input(clip, settings), sampling)
            atomic_write(path, codec.encode(frames, fps=clip.fps))
            atomic_write(path.with_suffix(".json"), json_bytes({"key": key, "caption": clip.caption}))
        yield clip_id


def _pipeline_input(clip: Clip, settings: TrainingConfig) -> PipelineInput:
    span = slice(window_length(clip, settings.cache.frames))
    layers: dict[str, Any] = {"over": clip.over[span], "effect_mask": clip.effect_mask[span]}  # type: ignore[index]
    if settings.cache.size is not None:
        layers = {name: downscale(layer, settings.cache.size) for name, layer in layers.items()}
    return PipelineInput(prompt=clip.caption or "", mask_downsample=settings.data.mask_downsample, **layers)


def _is_sampled(path: Path, key: str) -> bool:
    """Return whether a video was made under this key."""
    try:
        return path.exists() and json.loads(path.with_suffix(".json").read_text())["key"] == key
    except (OSError, ValueError, KeyError):
        return False
