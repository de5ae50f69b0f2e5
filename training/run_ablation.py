"""An ablation's runs and their table: each variant is a run of its own over the same latents, by the same programs.

Like a single run it can be asked for again at any time: variants that are finished are not trained again.
"""

import dataclasses
from pathlib import Path

from ..datasets.corpus.reader import open_corpus
from .configs.config import AblationVariant, load_training
from .evaluation.ablation_table import write_ablation
from .evaluation.held_out import held_out, measured_split, what_they_are
from .run import Job, run_directly


def variants_of(job: Job) -> list[Job]:
    """A run for each variant, in a folder named as it is, with a mix that lacks what it goes without."""
    return [_run_of(job, variant) for variant in job.settings.ablation]


def table(job: Job) -> Path:
    """The variants' measures beside each other; return the page.

    Raises:
        ValueError: a variant was not measured.
    """
    steps, batch = job.settings.steps, job.settings.global_batch
    corpus = open_corpus(job.settings.corpus)
    count = len(held_out(corpus, job.samples))
    clips = what_they_are(measured_split(corpus), count, trained_on=job.settings.data.split)
    title = f"What each source of data is worth: {steps} steps of {batch} samples a variant, on {clips}"
    return write_ablation(job.output, job.settings.ablation, title)


def run_all_directly(job: Job) -> Path:
    """All parts of a run, or of all variants of an ablation, without Prefect; return the model card, or the table."""
    if not job.settings.ablation:
        return run_directly(job)
    for variant in variants_of(job):
        run_directly(variant)
    return table(job)


def _run_of(job: Job, variant: AblationVariant) -> Job:
    asked = (
        *job.overrides,
        f'output="{job.output.absolute() / variant.name}"',
        f'cache_folder="{job.settings.cache_path.absolute()}"',
        *(f"data.mix.{kind}=0" for kind in variant.without),
        "ablation=[]",
    )
    settings = load_training(job.config, asked)
    return dataclasses.replace(job, settings=settings, overrides=asked, variant=variant.name)
