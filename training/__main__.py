"""Program of a training run's steps, for `accelerate launch` and for the driver in `run`.

`python -m effectpairs.training STEP ...` with the steps draw, encode, train, sample, measure, check, score, videos and
decode; `--help` of each names its arguments. What a user can mend ends the program with one sentence and status 2; a
run that diverged, or ran out of memory, with status 3.

A driver that is killed leaves its children behind, and a second run would train into the same folder beside them. With
`--end-with-stdin` the program therefore ends, with status 4, when its standard input closes, of which the driver holds
the other end. A checkpoint is whole or not at all, so nothing is lost by that.
"""

import argparse
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from ..datasets.corpus.reader import open_corpus
from ..datasets.store.atomic_io import CannotWrite
from ..weights import WeightsNotFound
from .base.models import locate_model, select_device
from .base.shares import parse_share, print_clips
from .configs.config import TrainingConfig, load_training
from .fitting.step_log import TrainingStopped
from .latents.encode_plan import build_recipe, finalize_cache, pending_clip_ids

ABANDONED = 4
"""Exit status of a program whose driver is gone."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one step; return the exit status."""
    options = _parser().parse_args(arguments)
    if options.end_with_stdin:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        _run(options)
    except (ValueError, FileNotFoundError, ImportError, WeightsNotFound, CannotWrite) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        if getattr(error, "is_unavailable", False):
            print(f"error: {error}", file=sys.stderr)
            return 2
        stopped = isinstance(error, TrainingStopped)
        if not stopped and type(error).__name__ != "OutOfMemoryError":
            raise
        remedy = "" if stopped else "; lower batch or cache.frames, or share out by DeepSpeed"
        print(f"stopped: {str(error).splitlines()[0]}{remedy}", file=sys.stderr)
        return 3
    return 0


def _run(options: argparse.Namespace) -> None:
    """Run the step that was named; the modules that need torch are imported by it alone."""
    if options.step == "decode":
        from .sampling.pipeline import decode_folder

        decode_folder(Path(options.folder), Path(options.cache), Path(options.model), options.device)
        return
    if options.step == "videos":
        from .corpus_videos import make_videos, read_request

        print_clips("sampled", make_videos(read_request(Path(options.request)), parse_share(options.share)))
        return
    if options.step == "score":
        from .evaluation.sharing import measure_job

        print_clips("measured", measure_job(Path(options.job), parse_share(options.share)))
        return
    settings = load_training(Path(options.config), options.set)
    if options.step == "draw":
        _draw(settings)
    elif options.step == "encode":
        _encode(settings, options)
    elif options.step == "train":
        from .fitting.loop import train

        select_device()  # limits the threads on a CPU
        train(settings)
    elif options.step == "sample":
        from .results import generate_samples

        print_clips("sampled", generate_samples(settings, options.count, parse_share(options.share)))
    elif options.step == "check":
        from .effect_check import check_effects

        print_clips("checked", check_effects(settings, options.count))
    else:
        _measure(settings, parse_share(options.share))


def _draw(settings: TrainingConfig) -> None:
    from .shadow_corpus import draw_corpus

    if settings.drawing is None:
        raise ValueError("the settings have no table [drawing]; add one, or train on a corpus that is there")
    print_clips("drew", draw_corpus(settings.drawing, settings.output_path / "drawing", settings.corpus))


def _encode(settings: TrainingConfig, options: argparse.Namespace) -> None:
    """Encode a share of the corpus; the program that finds nothing left to encode finishes the cache."""
    from .base.tiny import write_tiny_model
    from .latents.encode import encode_corpus

    share = parse_share(options.share)
    if options.tiny_model and not Path(settings.model.id, "scheduler").exists():
        model = Path(settings.model.id)
        write_tiny_model(model, kind=model.name)  # type: ignore[arg-type]
    corpus, folder, task = open_corpus(settings.corpus), settings.cache_path, settings.learning_task
    print_clips("encoded", encode_corpus(corpus, settings.model, folder, settings.cache, task=task, share=share))
    recipe = build_recipe(locate_model(settings.model), settings.cache, task)
    if not pending_clip_ids(corpus, folder, recipe):
        finalize_cache(corpus, settings.model, folder, settings.cache, task)


def _measure(settings: TrainingConfig, share: tuple[int, int]) -> None:
    from .results import evaluate_samples, measure_samples

    if share != (0, 1):
        print_clips("measured", measure_samples(settings, share))
        return

    def print_progress(count: int, total: int) -> None:
        if count:  # the first call comes before anything is measured
            print(f"measured {count} of {total}", flush=True)

    evaluate_samples(settings, print_progress)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=__package__, description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(required=True, metavar="STEP", dest="step")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--end-with-stdin", action="store_true", help="end when standard input closes")
    run = argparse.ArgumentParser(add_help=False, parents=[common])
    run.add_argument("config", help="a TOML file of settings")
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    share = argparse.ArgumentParser(add_help=False)
    share.add_argument("--share", default="0/1", metavar="K/N", help="take every N-th clip, from the K-th")
    steps.add_parser("draw", parents=[run, share], help="draw the clips of [drawing] and publish them as the corpus")
    encode = steps.add_parser("encode", parents=[run, share], help="encode the corpus as latents")
    encode.add_argument("--tiny-model", action="store_true", help="write the model in miniature into model.id first")
    steps.add_parser("train", parents=[run], help="train from the newest checkpoint on")
    sample = steps.add_parser("sample", parents=[run, share], help="sample videos of held-out clips")
    check = steps.add_parser("check", parents=[run, share], help="check the samples at the masks of their clips")
    for step in (sample, check):
        step.add_argument("--count", type=int, default=8, help="number of clips; 0 takes all")
    steps.add_parser("measure", parents=[run, share], help="measure the samples against their truth")
    score = steps.add_parser("score", parents=[common, share], help="measure clips of an evaluation into its cache")
    score.add_argument("job", help="file of the evaluation")
    videos = steps.add_parser("videos", parents=[common, share], help="make videos of a corpus's clips")
    videos.add_argument("request", help="file of the request")
    decode = steps.add_parser("decode", parents=[common], help="make FOLDER/CLIP.mp4 of each FOLDER/CLIP.safetensors")
    for name in ("folder", "cache", "model", "device"):
        decode.add_argument(name)
    return parser


def _end_with_stdin() -> None:
    while os.read(0, 1024):
        pass
    os._exit(ABANDONED)  # from a thread, nothing else ends the main one in the middle of a step


if __name__ == "__main__":
    sys.exit(main())
