"""Commands that train, ask and measure models: train, generate, evaluate, study, winrate."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from .console import (
    CorpusPlace,
    NoPrefect,
    ProcessCount,
    SettingOverrides,
    out,
    prepare_prefect,
    progress_bar,
    usage_errors,
)

if TYPE_CHECKING:
    from ..training.generate import DeviceSettings
    from ..training.generate_request import GenerateRequest
    from ..training.sampling.sample import SamplingSettings

commands = typer.Typer()

EffectMasks = Annotated[list[str] | None, Option(metavar="MASK|FRAME=PNG", help="Video, image or keyframes.")]
LoraPlace = Annotated[Path | None, Option(help="LoRA on top of the model: its file, or a run's folder `trained`.")]
MaskDownsample = Annotated[
    str | None, Option(help="Mask's way to the latents: trilinear, area or max; drawn ones max.")
]


@commands.command(epilog="Example: effectpairs train tiny; effectpairs train run.toml --processes 8")
def train(
    config: Annotated[str, Argument(metavar="CONFIG", help="Settings file, or a name in training/configs.")],
    overrides: SettingOverrides = None,
    processes: Annotated[int, Option(help="Number of training processes, one for each GPU.")] = 1,
    accelerate: Annotated[str, Option(metavar="FILE", help="File that `accelerate config` wrote.")] = "",
    eval_clips: Annotated[int, Option(min=0, help="Held-out clips to sample at the end; 0 for all.")] = 8,
    no_prefect: NoPrefect = False,
) -> None:
    """Fine-tune a model on a corpus.

    Makes latents, trains, makes and measures videos of held-out clips, and writes a model card. After an interruption
    the same command goes on where it was.
    """
    from ..training.run import open_job, run_training

    with usage_errors():
        job = open_job(config, overrides or (), processes=processes, accelerate=accelerate, eval_clips=eval_clips)
    out.print(job.note, markup=False)
    if no_prefect:
        with progress_bar() as show:
            page = run_training(job, show)
    else:
        prepare_prefect(quiet=True)
        from ..flows.prefect_runner import run_in_flow
        from ..flows.training import train_with_prefect

        with progress_bar() as show:
            page = run_in_flow("training", Path(config).stem, partial(train_with_prefect, job, show))
    out.print(f"{'table' if job.settings.ablation else 'model card'}: {page}", markup=False)
    if job.settings.drawing is not None:
        from ..training.effect_check import describe_check

        out.print(describe_check(job.settings.output_path), markup=False)


@commands.command(epilog='Example: effectpairs generate --trained runs/first/trained --over car.mp4 --prompt "Dust."')
def generate(
    prompt: Annotated[str, Option(help="Text of what is to be seen; name the effect.")] = "",
    over: Annotated[Path | None, Option(help="Composite without effects: a video or a folder of images.")] = None,
    foreground: Annotated[Path | None, Option(help="Video of the subject, to be composed instead of --over.")] = None,
    mask: Annotated[Path | None, Option(help="Coverage of --foreground: one picture a frame.")] = None,
    background: Annotated[Path | None, Option(help="Video or image behind --foreground.")] = None,
    effect_mask: EffectMasks = None,
    video: Annotated[Path | None, Option(help="Video to take something out of, by a model trained to remove.")] = None,
    subject_mask: Annotated[Path | None, Option(help="Masks of the subject in --video: one picture a frame.")] = None,
    negative: Annotated[str, Option(help="Text of what is not to be seen.")] = "",
    trained: Annotated[Path | None, Option(help="Folder `trained` of a run; the base model if not given.")] = None,
    base: Annotated[str | None, Option(help="Base model: folder or hub name; that of --trained if not given.")] = None,
    lora: LoraPlace = None,
    lora_scale: Annotated[float, Option(help="Factor of the LoRA's changes.")] = 1.0,
    merge_lora: Annotated[bool, Option("--merge-lora", help="Add the LoRA to the weights: faster.")] = False,
    guidance: Annotated[float, Option(help="Weight of the prompt; 1 is no guidance, twice as fast.")] = 6.0,
    seed: Annotated[int, Option(help="Seed of the noise; equal seeds make equal videos.")] = 43,
    steps: Annotated[int, Option(help="Number of denoising steps.")] = 50,
    weights: Annotated[Path | None, Option(help="Published transformer, such as Casper's, for the base's.")] = None,
    size: Annotated[str | None, Option(metavar="HxW", help="Size in sixteens; the trained one if not given.")] = None,
    mask_downsample: MaskDownsample = None,
    frames: Annotated[int, Option(help="Length of a video that is made of text alone.")] = 85,
    device: Annotated[str, Option(help="Device: auto, cpu, cuda, cuda:1, ...")] = "auto",
    cpu_offload: Annotated[bool, Option("--cpu-offload", help="Keep idle parts of the model off the GPU.")] = False,
    sequential_cfg: Annotated[bool, Option("--sequential-cfg", help="Do guidance in two passes.")] = False,
    no_memory_check: Annotated[bool, Option("--no-memory-check", help="Try what seems too large for memory.")] = False,
    corpus: Annotated[str, Option(help="Make a video of every pair of this corpus instead.")] = "",
    split: Annotated[str, Option(help="Split of --corpus.")] = "test",
    benchmark: Annotated[Path | None, Option(help="Benchmark whose clips are taken instead of a split.")] = None,
    mode: Annotated[str, Option(help="For --corpus: mask, nomask, keyframes or text.")] = "mask",
    keyframes: Annotated[int, Option(min=1, help="Number of masks in the mode keyframes.")] = 3,
    processes: ProcessCount = 0,
    out_dir: Annotated[Path, Option("--out", help="Folder for the videos.")] = Path("generated"),
) -> None:
    """Put effects into videos, or take something out of them.

    Writes the video, a map of what changed, and both side by side. With --corpus one video a clip, named by its id; the
    same command goes on where it was cut off.
    """
    from ..training.generate import DeviceSettings
    from ..training.generate_request import GenerateRequest, parse_downsample, parse_size
    from ..training.sampling.pipeline import LoraRequest
    from ..training.sampling.sample import SamplingSettings

    adapter = None if lora is None else LoraRequest(path=lora, factor=lora_scale, merge=merge_lora)
    places: Any = {"trained": trained, "base": base, "weights": weights, "lora": adapter}
    files: Any = {"over": over, "foreground": foreground, "mask": mask, "background": background, "video": video}
    files |= {"subject_mask": subject_mask, "effect_mask": tuple(effect_mask or ())}
    with usage_errors():
        shape: Any = {"size": parse_size(size) if size else None, "mask_downsample": parse_downsample(mask_downsample)}
        request = GenerateRequest(prompt=prompt, negative=negative, frames=frames, **files, **shape)
        sampling = SamplingSettings(steps=steps, guidance=guidance, seed=seed, sequential_cfg=sequential_cfg)
    model = DeviceSettings(**places, device=device, cpu_offload=cpu_offload, check_memory=not no_memory_check)
    settings: Any = {"model": model, "sampling": sampling, "folder": out_dir}
    if corpus:
        clips: Any = {"split": split, "benchmark": benchmark, "mode": mode, "keyframes": keyframes}
        _generate_corpus(request, corpus, processes, **clips, **settings)
    else:
        _generate_video(request, benchmark, **settings)


def _generate_corpus(request: "GenerateRequest", corpus: str, processes: int, **values: Any) -> None:
    """Make a video of every clip; of the request size and negative text are taken."""
    from ..training.corpus_videos import choose_request, make_corpus_videos

    with usage_errors():
        if request.prompt or request.has_files:
            raise ValueError("--corpus has prompts, composites and masks of its own; leave out those options")
        videos = choose_request(corpus, **values, negative=request.negative, size=request.size)
    with progress_bar() as show:
        make_corpus_videos(videos, processes, partial(show, "generate"))
    out.print(f"videos: {len(videos.clip_ids)} clips in {videos.folder}", markup=False)


def _generate_video(
    request: "GenerateRequest",
    benchmark: Path | None,
    *,
    model: "DeviceSettings",
    sampling: "SamplingSettings",
    folder: Path,
) -> None:
    """Make the one video of a request."""
    from ..training.generate import generate as make_video
    from ..training.generate import read_training
    from ..training.generate_request import check_request

    with usage_errors():
        if benchmark:
            raise ValueError("--benchmark names clips of a corpus; give --corpus too")
        if not request.prompt and request.video is None:
            raise ValueError("--prompt is missing; say what is to be seen, or name a --corpus")
        check_request(request)
    if request.size is None:
        height, width = read_training(model).size
        out.print(f"size: {height}x{width}, at which the model was trained; --size takes another", markup=False)
    with progress_bar() as show:
        result = make_video(request, sampling, model, folder, partial(show, "generate"))
    out.print(f"video: {result}; what changed and both side by side are in {folder}", markup=False)


@commands.command(
    epilog="Example: effectpairs evaluate corpus --method ours=out/ours --method vace=out/vace --out table"
)
def evaluate(
    corpus: CorpusPlace,
    method: Annotated[list[str], Option(metavar="NAME=FOLDER", help="Videos of a method, named by clip_id.")],
    out_dir: Annotated[Path, Option("--out", help="Folder for the tables.")] = Path("evaluation"),
    split: Annotated[str | None, Option(help="Split to measure; all if not given.")] = None,
    frames: Annotated[int | None, Option(min=1, help="Frames to measure of every clip, at most.")] = None,
    processes: ProcessCount = 0,
    allow_missing: Annotated[bool, Option("--allow-missing", help="Succeed even if a metric is unavailable.")] = False,
) -> None:
    """Measure the videos of methods against a corpus.

    Writes the nine columns of the paper's Table 1 as Parquet, Markdown and LaTeX. Results of clips are kept in
    OUT/clips, so the same command goes on where it was cut off.
    """
    from ..datasets.corpus.reader import open_corpus
    from ..training.base.shares import share_count
    from ..training.evaluation.evaluate import EvaluationSettings, ResultCache, missing_metrics
    from ..training.evaluation.sharing import evaluate_shared
    from ..training.evaluation.tables import write_tables
    from ..training.evaluation.videos import parse_method

    with usage_errors():
        methods = [parse_method(option) for option in method]
    settings = EvaluationSettings(split=split, frames=frames, cache=ResultCache(folder=out_dir / "clips"))
    with progress_bar() as show:
        count, report = share_count(processes), partial(show, "evaluate")
        measurements = evaluate_shared(open_corpus(corpus), methods, settings, count, report)
    write_tables(measurements, out_dir, f"Evaluation on {corpus}")
    out.print(f"tables: {out_dir / 'table.md'}", markup=False)
    reasons = missing_metrics(measurements)
    for name, reason in reasons.items():
        out.print(f"  {name} is unavailable: {reason}", markup=False)
    if reasons and not allow_missing:
        raise ValueError(f"{len(reasons)} metrics are unavailable; bring what they need, or give --allow-missing")


@commands.command(epilog="Example: effectpairs study out/ours out/vace --corpus corpus --out study")
def study(
    first: Annotated[str, Argument(metavar="A", help="Videos of one method: FOLDER or NAME=FOLDER.")],
    second: Annotated[str, Argument(metavar="B", help="Videos of the other method: FOLDER or NAME=FOLDER.")],
    corpus: Annotated[str, Option(help="Folder or URL of the corpus with prompts, inputs and masks.")],
    out_dir: Annotated[Path, Option("--out", help="Folder for page/ and key.json.")] = Path("study"),
    masks: Annotated[bool, Option(help="Ask about masks too, where a clip has one.")] = True,
    seed: Annotated[int, Option(help="Seed of the order and of the names that hide the methods.")] = 0,
) -> None:
    """Make a user study of two methods: a static page.

    Pairs of videos are judged by keyboard. key.json says which is whose, and stays with you.
    """
    from ..datasets.corpus.reader import open_corpus
    from ..training.evaluation.videos import parse_method
    from ..training.study.study import write_study

    with usage_errors():
        names = [folder if "=" in folder else f"{Path(folder).name}={folder}" for folder in (first, second)]
        methods = parse_method(names[0]), parse_method(names[1])
    with progress_bar() as show:
        page = write_study(methods, open_corpus(corpus), out_dir, partial(show, "study"), masks=masks, seed=seed)
    out.print(f"page: {page}; count the answers with: effectpairs winrate {out_dir} ANSWERS.json ...", markup=False)


@commands.command(epilog="Example: effectpairs winrate study answers/*.json")
def winrate(
    folder: Annotated[Path, Argument(metavar="STUDY", help="Folder of the study.")],
    answers: Annotated[list[Path], Argument(help="Files that participants saved.")],
) -> None:
    """Count the answers of a user study, with 95 % intervals."""
    from ..training.study.study import count_win_rates, win_rate_table, write_win_rates

    rates = count_win_rates(folder / "key.json", answers)
    write_win_rates(rates, folder)
    out.print(win_rate_table(rates), markup=False)
