"""Training and sampling on the tiny model: waiting for data, what the cache saves, our loop against the library's.

`python tests/benchmarks/training_rates.py`: ratios measured in this run, on one thread.
"""

import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import diffusers
import torch
from effectpairs.tests.fixtures_corpus import make_small_corpus
from effectpairs.training.base import encoders
from effectpairs.training.base.families import open_family
from effectpairs.training.base.models import BaseModelRef, load_text_model
from effectpairs.training.base.network import TrainingBatch
from effectpairs.training.base.optimiser import OptimiserSettings
from effectpairs.training.base.tiny import TEXT_LENGTH, write_tiny_model
from effectpairs.training.configs.config import TrainingConfig, ValidationSettings
from effectpairs.training.fitting.loop import train
from effectpairs.training.fitting.step_log import read_step_log
from effectpairs.training.latents.data import CachedSamples, collate
from effectpairs.training.latents.encode import encode_corpus
from effectpairs.training.latents.encode_plan import CacheSettings, finalize_cache
from effectpairs.training.latents.sampler import DataSettings
from effectpairs.training.sampling.sample import SamplingSettings, denoise

FRAMES, SIZE = 13, (64, 96)
CACHE = CacheSettings(frames=FRAMES, storage_dtype="float16", compute_dtype="float32", device="cpu")
STEPS, WARM = 60, 15


def waiting(folder: Path, corpus: str, model: BaseModelRef) -> tuple[float, float]:
    """Share of a step that goes by waiting for two loader workers, once they have started: median, and of all steps."""
    settings = TrainingConfig(
        corpus=corpus,
        output=str(folder / "out"),
        cache_folder=str(folder / "cache"),
        model=model,
        cache=CACHE,
        data=DataSettings(split="all", workers=2),
        optimiser=OptimiserSettings(learning_rate=1e-4),
        validation=ValidationSettings(every_steps=0),
        steps=STEPS,
        global_batch=2,
        precision="no",
        checkpoint_every=STEPS,
    )
    train(settings)
    lines = read_step_log(Path(settings.output))[WARM:]
    median = statistics.median(line["wait_s"] / line["step_s"] for line in lines)
    return median, sum(line["wait_s"] for line in lines) / sum(line["step_s"] for line in lines)


def step_times(folder: Path, corpus, cache) -> tuple[float, float]:
    """Median seconds of a step of one sample: from the cache, and with clips encoded on the fly."""
    model, samples = folder / "model", CachedSamples(cache, DataSettings(split="all", workers=0), seed=0)
    family = samples.family
    transformer, schedule, coder = family.load_transformer(model), family.load_scheduler(model), family.load_vae(model)
    words = load_text_model(model)
    paired = [row for row in samples.rows if row["kind"] != "unpaired"]
    numbers = [n for n in range(60) if samples[n]["kind"] != "unpaired"][:12]

    def step(number: int) -> None:
        given = collate([samples[number]])
        batch = TrainingBatch(*(given[n] for n in TrainingBatch._fields))
        family.loss(transformer, batch, schedule).backward()

    def encode(number: int) -> None:
        clip = corpus[paired[number % len(paired)]["clip_id"]]
        for frames in (clip.gt, clip.over):
            family.encode_video(coder, encoders.frames_to_video(frames))
        family.encode_texts(words, [clip.caption])

    cached = [seconds(lambda n=n: step(n)) for n in numbers]
    on_the_fly = [seconds(lambda n=n: (encode(n), step(n))) for n in numbers]
    return statistics.median(cached), statistics.median(on_the_fly)


def sampling_times(folder: Path) -> tuple[float, float]:
    """Median seconds of 10 guided steps: ours with 33 channels, the library's pipeline with its own 16."""
    plain = write_tiny_model(folder / "plain", in_channels=16)
    family = open_family(folder / "model")
    transformer, schedule = family.load_transformer(folder / "model"), family.load_scheduler(folder / "model")
    pipe = diffusers.CogVideoXPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=family.load_vae(plain),
        transformer=diffusers.CogVideoXTransformer3DModel.from_pretrained(plain / "transformer"),
        scheduler=diffusers.CogVideoXDDIMScheduler.from_config(schedule.config, snr_shift_scale=1.0),
    )
    pipe.set_progress_bar_config(disable=True)
    texts = torch.randn(2, 1, TEXT_LENGTH, 32)
    told = torch.randn(1, 4, 17, SIZE[0] // 8, SIZE[1] // 8)
    asked = {"num_inference_steps": 10, "guidance_scale": 6.0, "output_type": "latent", "num_frames": FRAMES}
    embeds = {"prompt_embeds": texts[0], "negative_prompt_embeds": texts[1], "height": SIZE[0], "width": SIZE[1]}
    ours, theirs = [], []
    for _ in range(9):
        ours.append(
            seconds(
                lambda: denoise(family, transformer, schedule, told, (texts[0], texts[1]), SamplingSettings(steps=10))
            )
        )
        theirs.append(seconds(lambda: pipe(**asked, **embeds)))
    return statistics.median(ours), statistics.median(theirs)


def seconds(work: Callable[[], object]) -> float:
    """How long a piece of work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        corpus = make_small_corpus(folder, clips=6, size=SIZE)
        model = BaseModelRef(id=str(write_tiny_model(folder / "model")))
        list(encode_corpus(corpus, model, folder / "cache", CACHE))
        cache = finalize_cache(corpus, model, folder / "cache", CACHE)
        cached, on_the_fly = step_times(folder, corpus, cache)
        print(f"step from the cache {cached * 1e3:.1f} ms, encoding on the fly {on_the_fly * 1e3:.1f} ms: ", end="")
        print(f"{on_the_fly / cached:.1f} times as long")
        ours, theirs = sampling_times(folder)
        print(f"10 guided DDIM steps {ours * 1e3:.0f} ms, the library's pipeline {theirs * 1e3:.0f} ms: ", end="")
        print(f"ratio {ours / theirs:.2f} (goal: at most 1.05)")
        median, share = waiting(folder, corpus.location.url, model)
        print(
            f"waiting for data with 2 loader workers: {median:.2%} of the median step, {share:.2%} of all the time ",
            end="",
        )
        print("(goal: below 2 %; more where other programs take the cores)")


if __name__ == "__main__":
    sys.exit(main())
