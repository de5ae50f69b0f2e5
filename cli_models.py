"""The commands of `effectpairs` that train, ask and measure models: thin words over the flows, like those in `cli`."""

from pathlib import Path
from typing import Annotated

import typer

from .console import bar, out, prepare_prefect
from .flows.progress import reporting

models = typer.Typer()
"""Laid into the command line's own app by `cli`, so it has no name."""
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting.")]


@models.command(epilog="Example: effectpairs train tiny; effectpairs train run.toml --processes 8")
def train(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="Settings file, or tiny, or overpp-8gpu.")],
    overrides: Overrides = None,
    processes: Annotated[int, typer.Option(help="How many train: one for each GPU.")] = 1,
    accelerate: Annotated[str, typer.Option(metavar="FILE", help="Of `accelerate config`: FSDP, DeepSpeed ...")] = "",
    samples: Annotated[int, typer.Option(min=0, help="Held-out clips to make at the end; 0: all.")] = 8,
    direct: Annotated[bool, typer.Option("--direct", help="Without Prefect: the same steps, the same result.")] = False,
) -> None:
    """Fine-tune a model on a corpus: latents, training, videos, measures, model card; again to go on after a kill."""
    from .flows.training_run import open_job, run_directly

    asked = tuple(overrides or ())
    job = open_job(config, asked, processes=processes, accelerate=accelerate, samples=samples)
    if direct:
        with bar() as show, reporting(show):
            page = run_directly(job)
    else:
        prepare_prefect(quiet=True)
        from .flows.training import training

        with bar() as show, reporting(show):
            page = Path(training(config, asked, processes, accelerate, samples))
    out.print(f"model card: {page}", markup=False)
