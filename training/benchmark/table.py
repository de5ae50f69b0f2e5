"""The paper's tables on a benchmark: methods (Table 1), user studies (Table 2), and sources of training data (Table 3).

Every method's videos are brought to the clip's frames, rate and size by one set of rules (`read_conformed`), and every
value has its 95 % interval: by the bootstrap over clips in Tables 1 and 3, Wilson's in Table 2. Results of clips are
kept in OUT/clips, so a table that was cut off goes on, and another method costs its own clips alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from ...datasets.corpus.reader import open_corpus
from ...datasets.store.atomic_io import atomic_write
from ...untrusted_input import markdown_text
from ..base.shares import share_count
from ..configs.config import AblationVariant
from ..evaluation.evaluate import EvaluationSettings, ResultCache, missing_metrics
from ..evaluation.metric import COLUMNS, Measurement
from ..evaluation.sharing import evaluate_shared
from ..evaluation.table_markup import (
    LATEX,
    MARKDOWN,
    Markup,
    cells,
    group_values,
    latex_table,
    latex_text,
    markdown_table,
    titles,
)
from ..evaluation.tables import measurement_notes, to_arrow, write_parquet, write_source_tables
from ..evaluation.videos import Method, conformed_lengths, parse_method, require_names
from ..latents.sampler import KINDS
from ..study.comparison import OURS, OURS_WITHOUT_MASK, read_studies, write_study_table
from .pinned import Benchmark, check_pinned, read_benchmark

_RULES = """\
Videos were brought to each clip's frames, rate and size: as many frames stand one for one, of other numbers the nearest
in time is taken; frames are stretched, by area to shrink and bicubic to grow. In brackets: 95 % intervals by the
bootstrap over clips. Bold: best, LaTeX underlines the second.
"""


Variant = tuple[AblationVariant, Method]
"""Kinds of clips that a model was trained on, and its videos."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkMethod:
    """A method of Table 1."""

    method: Method
    takes_mask: bool = False
    needs_first_frame: bool = False
    """It starts from the first frame of the truth."""


def list_methods(
    methods: Sequence[str],
    ours: Path | None,
    ours_without_mask: Path | None,
    masked: Sequence[str],
    first_frame: Sequence[str],
) -> list[BenchmarkMethod]:
    """List the rows of Table 1, ours last, from NAME=FOLDER options and the names of those that take more.

    Raises:
        ValueError: an option is not of that form, a folder is not there, or a name is of no method.
    """
    baselines = [parse_method(option) for option in methods]
    strange = [name for name in (*masked, *first_frame) if name not in {method.name for method in baselines}]
    if strange:
        raise ValueError(f"{strange[0]} is the name of no --method; give its videos as --method {strange[0]}=FOLDER")
    rows = [
        BenchmarkMethod(method=method, takes_mask=method.name in masked, needs_first_frame=method.name in first_frame)
        for method in baselines
    ]
    for name, folder, takes_mask in ((OURS_WITHOUT_MASK, ours_without_mask, False), (OURS, ours, True)):
        if folder is not None:
            rows.append(BenchmarkMethod(method=parse_method(f"{name}={folder}"), takes_mask=takes_mask))
    return rows


@dataclass(frozen=True, kw_only=True)
class TableRequest:
    """Files of `effectpairs benchmark table`."""

    benchmark: Path
    corpus: str
    methods: tuple[BenchmarkMethod, ...] = ()
    """Rows of Table 1."""
    variants: tuple[Variant, ...] = ()
    """Rows of Table 3."""
    studies: tuple[Path, ...] = ()
    """Columns of Table 2."""
    trim: bool = False
    """Cut all methods to the shortest where one ends too soon."""
    processes: int = 1
    """Programs that measure side by side."""

    def __post_init__(self) -> None:
        if not (self.methods or self.variants or self.studies):
            raise ValueError("nothing is to be compared; give --ours, --method, --variant or --study")
        require_names(self.videos)

    @property
    def videos(self) -> tuple[Method, ...]:
        """Videos that are measured."""
        return (*(row.method for row in self.methods), *(method for _, method in self.variants))


def write_benchmark_tables(
    request: TableRequest,
    folder: Path,
    report: Callable[[str, int, int], None] = lambda *_: None,
    metrics: EvaluationSettings = EvaluationSettings(),
) -> tuple[list[Path], dict[str, str]]:
    """Write all tables that are asked for; return their pages, and metrics that are unavailable with their reasons.

    All input is looked at before anything is measured.

    Args:
        request: the benchmark, and what is compared on it.
        folder: gets the tables, and results of clips in `clips`.
        report: receives a table's name, the number of clips done and their total.
        metrics: metrics and their weights; clips and rules are the benchmark's.

    Raises:
        ValueError: a pinned clip, a video or a study cannot be used, in one sentence.
    """
    benchmark, corpus = read_benchmark(request.benchmark), open_corpus(request.corpus)
    rates, cache = read_studies(request.studies), ResultCache(folder=folder / "clips")
    if request.videos:
        check_pinned(benchmark, corpus)
        clips = [{"clip_id": clip.clip_id, "num_frames": clip.num_frames, "fps": clip.fps} for clip in benchmark.clips]
        lengths = conformed_lengths(request.videos, clips, trim=request.trim)
    layers: Any = {"truth": benchmark.task.target, "input": benchmark.task.video, "prompt": benchmark.task.prompt}
    settings = replace(metrics, clip_ids=benchmark.clip_ids, cache=cache, conform=True, intervals=True, **layers)
    pages, measurements, count = [], [], share_count(request.processes)
    if request.methods:
        methods = [row.method for row in request.methods]
        values = evaluate_shared(corpus, methods, settings, count, partial(report, "Table 1"))
        notes = _trim_notes(benchmark, lengths, methods)
        pages.append(write_method_table(request.methods, benchmark, values, notes, folder))
        measurements += values
    if rates:
        pages.append(write_study_table(rates, folder))
    if request.variants:
        methods, variants = [method for _, method in request.variants], [variant for variant, _ in request.variants]
        values = evaluate_shared(corpus, methods, settings, count, partial(report, "Table 3"))
        title = f"What each source of data is worth, on {benchmark.name}: {len(benchmark.clips)} clips"
        notes = _trim_notes(benchmark, lengths, methods)
        pages.append(write_source_tables(values, variants, folder, "table3", title, notes))
        measurements += values
    return pages, missing_metrics(measurements)


def _trim_notes(benchmark: Benchmark, lengths: Mapping[str, Mapping[str, int]], methods: Sequence[Method]) -> list[str]:
    """Lines on the clips that all methods of a table are cut to, given the length of each method's videos."""
    notes = []
    for clip in benchmark.clips:
        by_method = {method.name: lengths[method.name][clip.clip_id] for method in methods}
        shortest = min(by_method, key=lambda name: by_method[name])
        if by_method[shortest] < clip.num_frames:
            notes.append(
                f"- {markdown_text(clip.clip_id)}: all methods are cut to {by_method[shortest]} of {clip.num_frames} "
                f"frames, which {markdown_text(shortest)} has."
            )
    return notes


def write_method_table(
    rows: Sequence[BenchmarkMethod],
    benchmark: Benchmark,
    measurements: Sequence[Measurement],
    notes: Sequence[str],
    folder: Path,
) -> Path:
    """Write `table1.parquet`, `.md` and `.tex`; return the Markdown.

    Methods without a mask stand above those with one, as in the paper; one that needs the first frame has a star.
    """
    rows = sorted(rows, key=lambda row: row.takes_mask)
    table = to_arrow(measurements)
    for field in ("takes_mask", "needs_first_frame"):
        flags = {row.method.name: getattr(row, field) for row in rows}
        values = [flags[name] for name in table.column("method").to_pylist()]
        table = table.append_column(field, pa.array(values, pa.bool_()))
    write_parquet(folder / "table1.parquet", table)
    alignment = "lc" + "r" * len(COLUMNS)
    lines = [f"# {markdown_text(benchmark.name)}: {len(benchmark.clips)} clips", "", _RULES]
    lines += markdown_table(alignment, *_method_rows(rows, measurements, MARKDOWN))
    if any(row.needs_first_frame for row in rows):
        lines += ["", f"{MARKDOWN.star.strip()} starts from the first frame of the truth."]
    page = folder / "table1.md"
    atomic_write(page, "\n".join([*lines, "", *notes, *measurement_notes(measurements), ""]).encode())
    unmasked = sum(not row.takes_mask for row in rows)
    grid = latex_table(alignment, *_method_rows(rows, measurements, LATEX), unmasked)
    atomic_write(folder / "table1.tex", grid.encode())
    return page


def parse_variant(option: str) -> Variant:
    """Parse the value of `--variant KIND+KIND=FOLDER`: the kinds of clips that a model was trained on, and its videos.

    Raises:
        ValueError: a kind is none, or there is no such folder.
    """
    words, _, folder = option.partition("=")
    kinds = words.split("+")
    if not set(kinds) <= set(KINDS) or not folder:
        raise ValueError(
            f"--variant {option} is not KINDS=FOLDER with KINDS of {', '.join(KINDS)}; write, for instance, "
            "real+synthetic=out/without-unpaired"
        )
    if not Path(folder).is_dir():
        raise ValueError(f"--variant {option}: there is no folder {folder}; name the folder with the model's videos")
    without = tuple(kind for kind in KINDS if kind not in kinds)
    name = "-".join(kind for kind in KINDS if kind in kinds)
    return AblationVariant(name=name, without=without), Method(name=name, folder=Path(folder))  # type: ignore[arg-type]


def _method_rows(
    rows: Sequence[BenchmarkMethod], measurements: Sequence[Measurement], markup: Markup
) -> tuple[list[str], list[list[str]]]:
    """Head and rows of Table 1."""
    values, text = group_values(measurements, "all", ""), markdown_text if markup is MARKDOWN else latex_text
    lines = []
    for row in rows:
        name = row.method.name
        label = text(name) + (markup.star if row.needs_first_frame else "")
        lines.append([label, markup.ticks[not row.takes_mask], *cells(values, name, COLUMNS, markup)])
    return ["Method", "Mask", *titles(COLUMNS, markup)], lines
