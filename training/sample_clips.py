"""Videos of a corpus's clips by a finished run, one per clip, to look at and to measure.

`python -m effectpairs.training.launched sample CONFIG.toml [--set KEY=VALUE ...] [--count N]`: OUTPUT/samples/CLIP.mkv.

Clips of the test split are taken, else of validation, else of training; the first window of each, at the size of the
cache. What is there and was made by the same weights with the same settings is not made again.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..datasets.corpus.clip import Clip
from ..datasets.corpus.reader import open_corpus
from ..datasets.store import codec
from ..datasets.store.atomic_io import CannotWrite, atomic_write, digest_of, digest_of_file, json_bytes
from .base.models import BaseModelNotFound
from .configs.config import TrainingConfig, load_training
from .evaluation.held_out import held_out
from .fitting.step_log import SAMPLES, TRAINED
from .generate import DeviceSettings, load
from .latents.encode import downscale
from .latents.encode_plan import window_length
from .sampling.pipeline import PipelineInput
from .sampling.sample import SamplingSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the videos that are not there; return the exit status."""
    parser = argparse.ArgumentParser(prog="effectpairs.training.sample_clips")
    parser.add_argument("config")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--count", type=int, default=8)
    asked = parser.parse_args(arguments)
    try:
        for clip_id in sample_clips(load_training(Path(asked.config), asked.set), asked.count):
            print(f"sampled {clip_id}", flush=True)
    except (ValueError, FileNotFoundError, ImportError, BaseModelNotFound, CannotWrite) as wrong:
        print(f"error: {wrong}", file=sys.stderr)
        return 2
    return 0


def sample_clips(settings: TrainingConfig, count: int) -> Iterator[str]:
    """Make a video of each clip by the run's weights; yield its id, also where it was there already.

    Raises:
        ValueError: the run is not finished, or a clip does not fit the model.
        BaseModelNotFound: the base model is not on this machine.
    """
    output, corpus = Path(settings.output).expanduser(), open_corpus(settings.corpus)
    pipeline, sampling = None, _sampling(settings)
    weights = _digest(output / TRAINED)
    for clip_id in held_out(corpus, count):
        clip = corpus.clip(clip_id)
        # A caption or a frame that changed makes another version of the corpus, and so another key.
        told = [weights, dataclasses.asdict(sampling), corpus.manifest["digest"], clip_id, settings.cache.size]
        key, place = digest_of([*told, settings.cache.frames]), output / SAMPLES / f"{clip_id}.mkv"
        if not _is_made(place, key):
            pipeline = pipeline or load(DeviceSettings(trained=output / TRAINED))
            made = pipeline(_asked(clip, settings), sampling)
            atomic_write(place, codec.encode(made, fps=clip.fps))
            atomic_write(place.with_suffix(".json"), json_bytes({"key": key, "caption": clip.caption}))
        yield clip_id


def _asked(clip: Clip, settings: TrainingConfig) -> PipelineInput:
    span = slice(window_length(clip, settings.cache.frames))
    layers: dict[str, Any] = {"over": clip.over[span], "effect_mask": clip.effect_mask[span]}  # type: ignore[index]
    if settings.cache.size is not None:
        layers = {name: downscale(layer, settings.cache.size) for name, layer in layers.items()}
    return PipelineInput(prompt=clip.caption or "", mask_downsample=settings.data.mask_downsample, **layers)


def _sampling(settings: TrainingConfig) -> SamplingSettings:
    wanted = settings.validation
    return SamplingSettings(steps=wanted.steps, guidance=wanted.guidance, seed=wanted.seed)


def _digest(trained: Path) -> str:
    files = sorted((trained / "transformer").glob("*.safetensors"))
    if not files:
        raise ValueError(f"{trained}: holds no trained weights; train to the last step first")
    return digest_of([digest_of_file(file) for file in files])


def _is_made(place: Path, key: str) -> bool:
    try:
        return place.exists() and json.loads(place.with_suffix(".json").read_text())["key"] == key
    except (OSError, ValueError, KeyError):
        return False
