"""Commands of a benchmark that can be repeated: build, table."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from .console import CorpusPlace, ProcessCount, out, progress_bar, usage_errors

commands = typer.Typer(no_args_is_help=True, help="Pin clips for a comparison of methods, and make its tables.")

BenchmarkPlace = Annotated[Path, Argument(metavar="BENCHMARK", help="Folder that `benchmark build` wrote.")]


@commands.command(epilog="Example: effectpairs benchmark build corpus --out bench --clip davis-camel-000-s00-1f2e3d4c")
def build(
    corpus: CorpusPlace,
    out_dir: Annotated[Path, Option("--out", help="New folder for the benchmark.")],
    clip: Annotated[list[str] | None, Option(help="Id of a real clip to pin; repeatable.")] = None,
    split: Annotated[str, Option(help="Split of which all real clips are pinned, without --clip.")] = "test",
    name: Annotated[str, Option(help="Title of the tables; the folder's name if not given.")] = "",
    task: Annotated[str, Option(help="Task of the methods: add effects to composites, or remove.")] = "add",
    remove_to: Annotated[
        str, Option(help="Truth of a removal: background, or over (the subject stays).")
    ] = "background",
) -> None:
    """Pin real clips by content, and write them for baselines.

    None may share footage with training. Clips named by --clip are pinned wherever they are; publish again with
    --benchmark to take them and their like out of training.
    """
    from ..datasets.corpus.reader import open_corpus
    from ..training.benchmark.build import BenchmarkPlan, build_benchmark, choose_clips
    from ..training.benchmark.pinned import find_leaks
    from ..training.latents.task import parse_task

    with usage_errors():
        asked = parse_task(task, remove_to)
    published = open_corpus(corpus)
    clip_ids, left_out = choose_clips(published, split=split, clip_ids=clip or ())
    plan = BenchmarkPlan(name=name or out_dir.name, clip_ids=clip_ids, left_out=left_out, task=asked)
    with progress_bar() as show:
        benchmark = build_benchmark(published, plan, out_dir, partial(show, "benchmark"))
    for clip_id, reason in left_out.items():
        out.print(f"  left out {clip_id}: {reason}", markup=False)
    out.print(f"benchmark: {len(benchmark.clips)} clips in {out_dir}; how to use it is in README.md", markup=False)
    leaks = find_leaks(benchmark, published)
    if leaks:
        out.print(
            f"{len(leaks)} clips of their footage are in training, such as {leaks[0]}; before you train: "
            f"effectpairs publish {corpus} --benchmark {out_dir}",
            markup=False,
        )


@commands.command(
    epilog="Example: effectpairs benchmark table bench --corpus corpus --ours out/ours --method vace=vace"
)
def table(
    benchmark: BenchmarkPlace,
    corpus: Annotated[str, Option(help="Folder or URL of the corpus with the pinned clips.")],
    ours: Annotated[Path | None, Option(help="Videos of our method with masks.")] = None,
    ours_without_mask: Annotated[Path | None, Option(help="Videos of our method without masks.")] = None,
    method: Annotated[list[str] | None, Option(metavar="NAME=FOLDER", help="Videos of a baseline.")] = None,
    masked: Annotated[list[str] | None, Option(metavar="NAME", help="Baseline that takes masks.")] = None,
    first_frame: Annotated[
        list[str] | None, Option(metavar="NAME", help="Baseline that starts from the truth's first frame.")
    ] = None,
    variant: Annotated[
        list[str] | None, Option(metavar="KIND+KIND=FOLDER", help="Videos of a model trained on these kinds: Table 3.")
    ] = None,
    study: Annotated[list[Path] | None, Option(help="Study with answers/, ours against another: Table 2.")] = None,
    trim: Annotated[bool, Option("--trim", help="Cut all methods to the shortest where one ends too soon.")] = False,
    processes: ProcessCount = 0,
    allow_missing: Annotated[bool, Option("--allow-missing", help="Succeed even if a metric is unavailable.")] = False,
    out_dir: Annotated[Path, Option("--out", help="Folder for the tables.")] = Path("benchmark-tables"),
) -> None:
    """Make the paper's Tables 1 to 3, with 95 % intervals.

    Each as Markdown, LaTeX and Parquet. Results of clips are kept in OUT/clips: the same command goes on where it was
    cut off.
    """
    from ..training.benchmark import table as tables

    with usage_errors():
        rows = tables.list_methods(method or (), ours, ours_without_mask, masked or (), first_frame or ())
        request = tables.TableRequest(
            benchmark=benchmark,
            corpus=corpus,
            methods=tuple(rows),
            variants=tuple(tables.parse_variant(option) for option in variant or ()),
            studies=tuple(study or ()),
            trim=trim,
            processes=processes,
        )
    with progress_bar() as show:
        pages, reasons = tables.write_benchmark_tables(request, out_dir, show)
    for page in pages:
        out.print(f"table: {page}", markup=False)
    for name, reason in reasons.items():
        out.print(f"  {name} is unavailable: {reason}", markup=False)
    if reasons and not allow_missing:
        raise ValueError(f"{len(reasons)} metrics are unavailable; bring what they need, or give --allow-missing")
