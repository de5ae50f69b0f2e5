"""A corpus of squares and its latent cache by the tiny model, for the tests of training.

`from effectpairs.tests.fixtures_latent_cache import Small, make_small_cache`.
"""

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

from effectpairs.datasets.corpus.reader import Corpus
from effectpairs.tests.fixtures_corpus import make_small_corpus
from effectpairs.training.base.models import BaseModelRef
from effectpairs.training.base.optimiser import OptimiserSettings
from effectpairs.training.base.tiny import write_tiny_model
from effectpairs.training.configs.config import TrainingConfig, ValidationSettings
from effectpairs.training.latents.cache import LatentCache
from effectpairs.training.latents.encode import encode_corpus
from effectpairs.training.latents.encode_plan import CacheSettings, finalize_cache
from effectpairs.training.latents.sampler import DataSettings
from safetensors.torch import load_file

SETTINGS = CacheSettings(frames=13, storage_dtype="float32", compute_dtype="float32", device="cpu")
DATA = DataSettings(split="all", workers=0)
WAN_KINDS = ("tiny-wan", "tiny-vace")


class SmallCache(NamedTuple):
    """Corpus, base model and latent cache of a training run."""

    corpus: Corpus
    model: BaseModelRef
    cache: LatentCache


def make_small_cache(
    folder: Path, *, clips: int = 6, settings: CacheSettings = SETTINGS, kind: str = "tiny", **corpus
) -> SmallCache:
    """Six clips of 13 frames of 32x48, two of each kind, encoded in 32-bit."""
    small_corpus = make_small_corpus(folder, clips=clips, size=(32, 48), **corpus)
    model = BaseModelRef(id=str(write_tiny_model(folder / "model", kind=kind)))
    list(encode_corpus(small_corpus, model, folder / "cache", settings))
    return SmallCache(small_corpus, model, finalize_cache(small_corpus, model, folder / "cache", settings))


def training_settings(small: SmallCache, output, **changes) -> TrainingConfig:
    """Four steps of two samples, in 32-bit and in this process."""
    defaults = TrainingConfig(
        corpus=small.corpus.location.url,
        output=str(output),
        cache_folder=str(small.cache.folder),
        model=small.model,
        data=DATA,
        optimiser=OptimiserSettings(learning_rate=1e-3, warmup_steps=5),
        validation=ValidationSettings(every_steps=0),
        steps=4,
        global_batch=2,
        precision="no",
        checkpoint_every=2,
    )
    return dataclasses.replace(defaults, **changes)


def trained_weights(output) -> dict:
    """Load the weights that a run ended with."""
    return load_file(Path(output) / "trained" / "transformer" / "diffusion_pytorch_model.safetensors")


def as_toml(settings: TrainingConfig) -> str:
    """Settings as the file that a user would write."""
    tables = {"": {}} | {name: value for name, value in dataclasses.asdict(settings).items() if isinstance(value, dict)}
    tables[""] = {name: value for name, value in dataclasses.asdict(settings).items() if not isinstance(value, dict)}
    for name, table in list(tables.items()):
        for key in [key for key, value in table.items() if isinstance(value, dict)]:
            tables[f"{name}.{key}"] = table.pop(key)
    lines = []
    for name, table in tables.items():
        lines += [f"[{name}]"] if name else []
        lines += [f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None]
    return "\n".join(lines)
