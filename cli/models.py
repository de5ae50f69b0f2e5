"""Commands that train, ask and measure models: train, generate, evaluate, study, winrate."""

from pathlib import Path
from typing import Annotated

import typer

from ..progress import reporting
from .console import CorpusPlace, NoPrefect, SettingOverrides, out, prepare_prefect, progress_bar, usage_errors

commands = typer.Typer()


@commands.command(epilog="Example: effectpairs train tiny; effectpairs train run.toml --processes 8")
def train(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="Settings file, or a name in training/configs, such as tiny.")
    ],
    overrides: SettingOverrides = None,
    processes: Annotated[int, typer.Option(help="Number of training processes, one for each GPU.")] = 1,
    accelerate: Annotated[
        str, typer.Option(metavar="FILE", help="File that `accelerate config` wrote, instead of --processes.")
    ] = "",
    eval_clips: Annotated[
        int, typer.Option(min=0, help="Held-out clips to make videos of at the end; 0 makes all.")
    ] = 8,
    no_prefect: NoPrefect = False,
) -> None:
    """Fine-tune a model on a corpus.

    Makes latents, trains, makes and measures videos of held-out clips, and writes a model card. After an interruption
    the same command goes on where it was.
    """
    from ..training.run import open_job
    from ..training.run_ablation import run_all_directly

    changes = tuple(overrides or ())
    with usage_errors():
        job = open_job(config, changes, processes=processes, accelerate=accelerate, samples=eval_clips)
    if no_prefect:
        with progress_bar() as show, reporting(show):
            page = run_all_directly(job)
    else:
        prepare_prefect(quiet=True)
        from ..flows.training import training

        with progress_bar() as show, reporting(show):
            page = Path(training(config, changes, processes, accelerate, eval_clips))
    out.print(f"{'table' if job.settings.ablation else 'model card'}: {page}", markup=False)


@commands.command(epilog='Example: effectpairs generate --trained runs/first/trained --over car.mp4 --prompt "Dust."')
def generate(
    prompt: Annotated[str, typer.Option(help="Text of what is to be seen; name the effect.")],
    over: Annotated[Path | None, typer.Option(help="Composite without effects: a video or a folder of images.")] = None,
    foreground: Annotated[
        Path | None, typer.Option(help="Video of the subject; with --mask and --background, instead of --over.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Coverage of the subject of --foreground, one picture a frame.")
    ] = None,
    background: Annotated[Path | None, typer.Option(help="Video or image behind the subject of --foreground.")] = None,
    effect_mask: Annotated[
        list[str] | None,
        typer.Option(metavar="MASK|FRAME=PNG", help="Where the effect is: a video, an image, or keyframes."),
    ] = None,
    negative: Annotated[str, typer.Option(help="Text of what is not to be seen.")] = "",
    trained: Annotated[
        Path | None, typer.Option(help="Folder `trained` of a run; the base model if not given.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Folder or hub name of the base model; the one of --trained if not given.")
    ] = None,
    guidance: Annotated[float, typer.Option(help="Weight of the prompt; 1 is no guidance, twice as fast.")] = 6.0,
    seed: Annotated[int, typer.Option(help="Seed of the noise; equal seeds make equal videos.")] = 43,
    steps: Annotated[int, typer.Option(help="Number of denoising steps.")] = 50,
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Size in multiples of 16; the input's, cropped, if not given.")
    ] = None,
    frames: Annotated[int, typer.Option(help="Length of a video that is made of text alone.")] = 85,
    device: Annotated[str, typer.Option(help="Device: auto, cpu, cuda, cuda:1, ...")] = "auto",
    cpu_offload: Annotated[
        bool, typer.Option("--cpu-offload", help="Keep idle parts of the model off the GPU.")
    ] = False,
    sequential_cfg: Annotated[
        bool, typer.Option("--sequential-cfg", help="Do guidance in two passes, in less memory.")
    ] = False,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the videos.")] = Path("generated"),
) -> None:
    """Put effects into a composite. Writes the video, a map of what changed, and both side by side."""
    from ..training.generate import DeviceSettings
    from ..training.generation import Request, check_request, make_video, read_size
    from ..training.sampling.sample import SamplingSettings

    with usage_errors():
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
        sampling = SamplingSettings(steps=steps, guidance=guidance, seed=seed, sequential_cfg=sequential_cfg)
    with progress_bar() as show, reporting(show):
        made = make_video(
            request, sampling, DeviceSettings(trained=trained, base=base, device=device, offload=cpu_offload), out_dir
        )
    out.print(f"video: {made}; what changed and both side by side are in {out_dir}", markup=False)


@commands.command(
    epilog="Example: effectpairs evaluate corpus --method ours=out/ours --method vace=out/vace --out table"
)
def evaluate(
    corpus: CorpusPlace,
    method: Annotated[
        list[str],
        typer.Option(metavar="NAME=FOLDER", help="Folder of a method's videos, named by clip_id; may be repeated."),
    ],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the tables.")] = Path("evaluation"),
    split: Annotated[
        str | None, typer.Option(help="Split to measure: train, validation or test; all if not given.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames to measure of every clip, at most.")] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Succeed even if a metric is unavailable.")
    ] = False,
) -> None:
    """Measure the videos of methods against a corpus.

    Writes the nine columns of the paper's Table 1 as Parquet, Markdown and LaTeX. Results of clips are kept in
    OUT/clips, so the same command goes on where it was cut off.
    """
    from ..datasets.corpus.reader import open_corpus
    from ..training.evaluation.evaluate import Evaluation, missing
    from ..training.evaluation.evaluate import evaluate as measured
    from ..training.evaluation.result_cache import Kept
    from ..training.evaluation.tables import write_tables
    from ..training.evaluation.videos import method_of

    with usage_errors():
        methods = [method_of(folder) for folder in method]
    with progress_bar() as show:
        settings = Evaluation(split=split, frames=frames, kept=Kept(folder=out_dir / "clips"))
        lines = measured(open_corpus(corpus), methods, settings, lambda done, total: show("evaluate", done, total))
    write_tables(lines, out_dir, f"Evaluation on {corpus}")
    out.print(f"tables: {out_dir / 'table.md'}", markup=False)
    reasons = missing(lines)
    for name, reason in reasons.items():
        out.print(f"  {name} is unavailable: {reason}", markup=False)
    if reasons and not allow_missing:
        raise ValueError(f"{len(reasons)} metrics are unavailable; bring what they need, or give --allow-missing")


@commands.command(epilog="Example: effectpairs study out/ours out/vace --corpus corpus --out study")
def study(
    first: Annotated[str, typer.Argument(metavar="A", help="Videos of one method: FOLDER or NAME=FOLDER.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Videos of the other method: FOLDER or NAME=FOLDER.")],
    corpus: Annotated[str, typer.Option(help="Folder or URL of the corpus with prompts, inputs and masks.")],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for page/ and key.json.")] = Path("study"),
    masks: Annotated[bool, typer.Option(help="Ask about masks too, where a clip has one.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of the order and of the names that hide the methods.")] = 0,
) -> None:
    """Make a user study of two methods: a static page.

    Pairs of videos are judged by keyboard. key.json says which is whose, and stays with you.
    """
    from ..datasets.corpus.reader import open_corpus
    from ..training.evaluation.videos import method_of
    from ..training.study.study import Study, write_study

    with usage_errors():
        one, other = (method_of(given if "=" in given else f"{Path(given).name}={given}") for given in (first, second))
    with progress_bar() as show:
        step = lambda done, total: show("study", done, total)  # noqa: E731
        page = write_study((one, other), open_corpus(corpus), out_dir, Study(masks=masks, seed=seed), step)
    out.print(f"page: {page}; count the answers with: effectpairs winrate {out_dir} ANSWERS.json ...", markup=False)


@commands.command(epilog="Example: effectpairs winrate study answers/*.json")
def winrate(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of the study.")],
    answers: Annotated[list[Path], typer.Argument(help="Files that participants saved.")],
) -> None:
    """Count the answers of a user study, with 95 % intervals."""
    from ..training.study.winrate import markdown, win_rates, write_rates

    rates = win_rates(folder / "key.json", answers)
    write_rates(rates, folder)
    out.print(markdown(rates), markup=False)
