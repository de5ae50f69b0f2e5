"""A corpus of squares and its latent cache by the tiny model, for whoever trains on one.

`from effectpairs.tests.small_cache import Small, make_small_cache`.
"""

from pathlib import Path
from typing import NamedTuple

from effectpairs.datasets.corpus import Corpus
from effectpairs.tests.small_corpus import make_small_corpus
from effectpairs.training.cache import LatentCache
from effectpairs.training.models import BaseModel
from effectpairs.training.precompute import precompute
from effectpairs.training.tiny import write_tiny_model
from effectpairs.training.worklist import CacheSettings, finish

SETTINGS = CacheSettings(frames=13, stored="float32", compute="float32", device="cpu")


class Small(NamedTuple):
    """All that training starts from."""

    corpus: Corpus
    model: BaseModel
    cache: LatentCache


def make_small_cache(folder: Path, *, clips: int = 6, settings: CacheSettings = SETTINGS, **corpus) -> Small:
    """Six clips of 13 frames of 32x48, two of each kind, encoded in 32-bit."""
    made = make_small_corpus(folder, clips=clips, size=(32, 48), **corpus)
    model = BaseModel(id=str(write_tiny_model(folder / "model")))
    list(precompute(made, model, folder / "cache", settings))
    return Small(made, model, finish(made, model, folder / "cache", settings))
