"""Training as a program, for `accelerate launch` and for whoever starts processes.

`python -m effectpairs.training.train precompute CONFIG.toml [--share K/N] [--set KEY=VALUE ...]`
`accelerate launch -m effectpairs.training.train train CONFIG.toml [--set KEY=VALUE ...]`

What a user can mend ends the program with one sentence and status 2; a run that went astray, with status 3.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..datasets.corpus.reader import open_corpus
from ..datasets.store.atomic_io import CannotWrite
from ..extras import require
from .base.models import BaseModelNotFound, locate_model
from .configs.config import TrainingConfig, load_training
from .fitting.step_log import TrainingStopped
from .latents.encode_plan import build_recipe, finalize_cache, pending_clips


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the two; return the exit status."""
    asked = _parser().parse_args(arguments)
    _choose_threads()
    try:
        settings = load_training(Path(asked.config), asked.set)
        if asked.what == "precompute":
            precompute_all(settings, _share(asked.share))
        else:
            require(f"{__package__}.fitting.loop", extra="train").train(settings)
    except (ValueError, FileNotFoundError, ImportError, BaseModelNotFound, CannotWrite) as wrong:
        print(f"error: {wrong}", file=sys.stderr)
        return 2
    except RuntimeError as stopped:
        if not isinstance(stopped, TrainingStopped) and type(stopped).__name__ != "OutOfMemoryError":
            raise
        short = (
            "" if isinstance(stopped, TrainingStopped) else "; lower batch or cache.frames, or share out by DeepSpeed"
        )
        print(f"stopped: {str(stopped).splitlines()[0]}{short}", file=sys.stderr)
        return 3
    return 0


def precompute_all(settings: TrainingConfig, share: tuple[int, int] = (0, 1)) -> None:
    """Encode a share of the corpus; whoever finds that all is done finishes the cache.

    Raises:
        ValueError: the corpus is empty, or a clip cannot be encoded; rows that are done stay.
        BaseModelNotFound: the base model is not on this machine.
    """
    encoding = require(f"{__package__}.latents.encode", extra="train")
    corpus, folder = open_corpus(settings.corpus), settings.cache_path
    for clip_id in encoding.encode_corpus(corpus, settings.model, folder, settings.cache, share=share):
        print(f"encoded {clip_id}", flush=True)
    recipe = build_recipe(locate_model(settings.model).folder, settings.cache)
    if not pending_clips(corpus, folder, recipe):
        finalize_cache(corpus, settings.model, folder, settings.cache)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="effectpairs.training.train", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("precompute", "train"))
    parser.add_argument("config", help="a TOML file of settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--share", default="0/1", metavar="K/N", help="precompute every N-th clip, from the K-th")
    return parser


def _share(said: str) -> tuple[int, int]:
    number, _, of = said.partition("/")
    if not (number.isdigit() and of.isdigit() and int(number) < int(of)):
        raise ValueError(f"--share {said!r} is not K/N with K from 0 to N-1; write for example --share 0/2")
    return int(number), int(of)


def _choose_threads() -> None:
    """Without a GPU, more threads than the system grants are many times slower than one."""
    torch = require("torch", extra="train")
    if not torch.cuda.is_available() and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


if __name__ == "__main__":
    sys.exit(main())
