"""The commands of `effectpairs` that train, ask and measure models: thin words over the flows, like those in `cli`."""

from pathlib import Path
from typing import Annotated

import typer

from ..progress import reporting
from .console import bar, out, prepare_prefect

models = typer.Typer()
"""Laid into the command line's own app by `cli`, so it has no name."""
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting.")]


@models.command(epilog="Example: effectpairs train tiny; effectpairs train run.toml --processes 8")
def train(
    config: Annotated[str, typer.Argument(metavar="CONFIG", help="Settings file, or one of the house: tiny ...")],
    overrides: Overrides = None,
    processes: Annotated[int, typer.Option(help="How many train: one for each GPU.")] = 1,
    accelerate: Annotated[str, typer.Option(metavar="FILE", help="Of `accelerate config`: FSDP, DeepSpeed ...")] = "",
    samples: Annotated[int, typer.Option(min=0, help="Held-out clips to make at the end; 0: all.")] = 8,
    direct: Annotated[bool, typer.Option("--direct", help="Without Prefect: the same steps, the same result.")] = False,
) -> None:
    """Fine-tune a model on a corpus: latents, training, videos, measures, model card; again to go on after a kill."""
    from ..training.run import open_job
    from ..training.run_ablation import run_all_directly

    asked = tuple(overrides or ())
    try:
        job = open_job(config, asked, processes=processes, accelerate=accelerate, samples=samples)
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from wrong
    if direct:
        with bar() as show, reporting(show):
            page = run_all_directly(job)
    else:
        prepare_prefect(quiet=True)
        from ..flows.training import training

        with bar() as show, reporting(show):
            page = Path(training(config, asked, processes, accelerate, samples))
    out.print(f"{'table' if job.settings.ablation else 'model card'}: {page}", markup=False)


@models.command(epilog='Example: effectpairs generate --trained runs/first/trained --over car.mp4 --prompt "Dust."')
def generate(
    prompt: Annotated[str, typer.Option(help="What is to be seen, the effect named.")],
    over: Annotated[Path | None, typer.Option(help="Composite without effects: a video or a folder.")] = None,
    foreground: Annotated[Path | None, typer.Option(help="Instead of --over: video of the subject,")] = None,
    mask: Annotated[Path | None, typer.Option(help="... its coverage, one picture a frame,")] = None,
    background: Annotated[Path | None, typer.Option(help="... and what is behind it: video or image.")] = None,
    effect_mask: Annotated[
        list[str] | None,
        typer.Option(metavar="MASK|FRAME=PNG", help="Where the effect is: video, image, or keyframes."),
    ] = None,
    negative: Annotated[str, typer.Option(help="What is not to be seen.")] = "",
    trained: Annotated[Path | None, typer.Option(help="A run's folder `trained`; else the base model.")] = None,
    base: Annotated[str | None, typer.Option(help="Base model: folder or hub name; else as trained.")] = None,
    guidance: Annotated[float, typer.Option(help="How much the words count; 1: no guidance, twice as fast.")] = 6.0,
    seed: Annotated[int, typer.Option(help="Equal seeds make equal videos.")] = 43,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 50,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="In sixteens; else the input's, cropped.")] = None,
    frames: Annotated[int, typer.Option(help="Length of a video of text alone.")] = 85,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    offload: Annotated[bool, typer.Option("--offload", help="Small card: only what works is on it.")] = False,
    sequential: Annotated[bool, typer.Option("--sequential", help="Small card: guidance in two passes.")] = False,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the videos.")] = Path("generated"),
) -> None:
    """Put effects into a composite: the video, a map of what changed, and both side by side."""
    from ..training.generate import DeviceSettings
    from ..training.generation import Request, check_request, make_video, read_size
    from ..training.sampling.sample import SamplingSettings

    try:
        request = Request(
            prompt=prompt,
            negative=negative,
            over=over,
            foreground=foreground,
            mask=mask,
            background=background,
            effect_mask=tuple(effect_mask or ()),
            size=read_size(size) if size else None,
            frames=frames,
        )
        check_request(request)
        sampling = SamplingSettings(steps=steps, guidance=guidance, seed=seed, sequential_cfg=sequential)
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from wrong
    with bar() as show, reporting(show):
        made = make_video(
            request, sampling, DeviceSettings(trained=trained, base=base, device=device, offload=offload), out_dir
        )
    out.print(f"video: {made}; what changed and both side by side are in {out_dir}", markup=False)


@models.command(epilog="Example: effectpairs caption corpus --set caption.kind=openai --set caption.model=NAME")
def caption(
    corpus: Annotated[str, typer.Argument(help="Folder or fsspec URL of the corpus.")],
    overrides: Overrides = None,
    workspace: Annotated[Path, typer.Option(help="Where answers are kept; a later run goes on there.")] = Path(
        "workspace"
    ),
    out_place: Annotated[str | None, typer.Option("--out", help="Where to publish; the same place if none.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Worker processes; 0: what the machine carries.")] = 0,
) -> None:
    """Caption the clips of a published corpus anew; their videos stay, byte for byte, and corpus.json comes last."""
    from ..flows.captions.corpus_captions import caption_corpus, caption_settings

    try:
        settings = caption_settings(overrides or ())
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from wrong
    with bar() as show:
        account, missed = caption_corpus(
            corpus, workspace, settings, out=out_place, workers=workers, report_progress=show
        )
    for failure in missed:
        out.print(f"  no caption {failure.item}: {failure.reason}", markup=False)
    worded = account.inputs - len(missed)
    out.print(f"{out_place or corpus}: {worded} of {account.inputs} clips captioned", style="bold", markup=False)
    if missed and not worded:
        raise typer.Exit(1)


@models.command(epilog="Example: effectpairs evaluate corpus --method ours=out/ours --method vace=out/vace --out table")
def evaluate(
    corpus: Annotated[str, typer.Argument(help="Folder or fsspec URL of the corpus.")],
    method: Annotated[list[str], typer.Option(metavar="NAME=FOLDER", help="Videos named by clip_id; once a method.")],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the tables.")] = Path("evaluation"),
    split: Annotated[str | None, typer.Option(help="train, validation or test; all if none.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="At most so many frames of every clip.")] = None,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="Metrics may be unavailable.")] = False,
) -> None:
    """Measure methods against a corpus: the nine columns of the paper's Table 1 as Parquet, Markdown and LaTeX.

    What a clip came to is kept in OUT/clips, so the same command goes on where it was cut off.
    """
    from ..datasets.corpus.reader import open_corpus
    from ..training.evaluation.evaluate import Evaluation, missing
    from ..training.evaluation.evaluate import evaluate as measured
    from ..training.evaluation.result_cache import Kept
    from ..training.evaluation.tables import write_tables
    from ..training.evaluation.videos import method_of

    try:
        methods = [method_of(given) for given in method]
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from wrong
    with bar() as show:
        settings = Evaluation(split=split, frames=frames, kept=Kept(folder=out_dir / "clips"))
        lines = measured(open_corpus(corpus), methods, settings, lambda done, total: show("evaluate", done, total))
    write_tables(lines, out_dir, f"Evaluation on {corpus}")
    out.print(f"tables: {out_dir / 'table.md'}", markup=False)
    reasons = missing(lines)
    for name, reason in reasons.items():
        out.print(f"  {name} is unavailable: {reason}", markup=False)
    if reasons and not allow_missing:
        raise ValueError(f"{len(reasons)} metrics are unavailable; bring what they need, or give --allow-missing")


@models.command(epilog="Example: effectpairs study out/ours out/vace --corpus corpus --out study")
def study(
    first: Annotated[str, typer.Argument(metavar="A", help="FOLDER or NAME=FOLDER of one method's videos.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The same of the other.")],
    corpus: Annotated[str, typer.Option(help="Corpus with the prompts, inputs and masks.")],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for page/ and key.json.")] = Path("study"),
    masks: Annotated[bool, typer.Option(help="Ask about masks, where a clip has one.")] = True,
    seed: Annotated[int, typer.Option(help="Of the names that hide the methods.")] = 0,
) -> None:
    """Make a user study: a static page of pairs, answered by keyboard; key.json says what is whose and stays here."""
    from ..datasets.corpus.reader import open_corpus
    from ..training.evaluation.videos import method_of
    from ..training.study.study import Study, write_study

    try:
        one, other = (method_of(given if "=" in given else f"{Path(given).name}={given}") for given in (first, second))
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from wrong
    with bar() as show:
        step = lambda done, total: show("study", done, total)  # noqa: E731
        page = write_study((one, other), open_corpus(corpus), out_dir, Study(masks=masks, seed=seed), step)
    out.print(f"page: {page}; count the answers with: effectpairs winrate {out_dir} ANSWERS.json ...", markup=False)


@models.command(epilog="Example: effectpairs winrate study answers/*.json")
def winrate(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of the study.")],
    answers: Annotated[list[Path], typer.Argument(help="Files that participants saved.")],
) -> None:
    """Count the answers of a study: how often one method was preferred, with 95 % intervals."""
    from ..training.study.winrate import markdown, win_rates, write_rates

    rates = win_rates(folder / "key.json", answers)
    write_rates(rates, folder)
    out.print(markdown(rates), markup=False)
