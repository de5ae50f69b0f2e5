"""Tables of measurements: Parquet (every number), Markdown (to read) and LaTeX (the paper's Tables 1 and 3).

An ablation's tables set its variants beside each other, each with the kinds of clips that it was trained on.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.store.atomic_io import atomic_write
from ...untrusted_input import markdown_text
from ..configs.config import AblationVariant
from ..fitting.step_log import EVALUATION_FOLDER
from ..latents.sampler import KINDS
from .metric import COLUMNS, Column, Level, Measurement, MetricValue, Weights
from .table_markup import LATEX, MARKDOWN, Markup, cells, group_values, latex_table, latex_text, markdown_table, titles

SCHEMA = pa.schema(
    [
        ("method", pa.string()),
        ("level", pa.string()),
        ("key", pa.string()),
        ("frame", pa.int32()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("weights", pa.string()),
        ("weights_sha256", pa.string()),
        ("n", pa.int64()),
        ("left_out", pa.int64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
    ]
)
NUMBERS = ("value", "status", "reason", "n", "left_out", "low", "high")
"""Columns that are a `MetricValue`'s own fields."""
TRAINED_METHOD = "trained"
"""Row of a run's own evaluation that is its model's."""
CLIP_COLUMNS = COLUMNS[:3]
"""Columns of an ablation's table."""


def write_tables(measurements: Sequence[Measurement], folder: Path, title: str) -> None:
    """Write `metrics.parquet`, `table.md` and `table.tex` into folder, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(folder / "metrics.parquet", to_arrow(measurements))
    atomic_write(folder / "table.md", to_markdown(measurements, title).encode())
    atomic_write(folder / "table.tex", to_latex(measurements).encode())


def read_measurements(path: Path) -> list[Measurement]:
    """Read `metrics.parquet`, without the values of single frames.

    Raises:
        ValueError: there is no such file, or it is damaged.
    """
    try:
        rows = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path}: cannot be read ({error}); evaluate again") from error
    measurements = []
    for row in (row for row in rows if row["level"] != "frame"):
        weights = Weights(id=row["weights"], sha256=row["weights_sha256"]) if row["weights"] is not None else None
        value = MetricValue(name=row["metric"], weights=weights, **{name: row.get(name) for name in NUMBERS})
        measurements.append(Measurement(method=row["method"], level=row["level"], key=row["key"], value=value))
    return measurements


def to_arrow(measurements: Sequence[Measurement]) -> pa.Table:
    """One row a number; without one the value is null, and status and reason say why."""
    rows = []
    for measurement in measurements:
        value = measurement.value
        row = {name: getattr(measurement, name) for name in ("method", "level", "key", "frame")}
        row |= {"metric": value.name} | {name: getattr(value, name) for name in NUMBERS}
        if value.weights is not None:
            row |= {"weights": value.weights.id, "weights_sha256": value.weights.sha256}
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def to_markdown(measurements: Sequence[Measurement], title: str) -> str:
    """Tables for all clips, each source and each effect, and below them the reasons of missing numbers."""
    parts = [f"# {markdown_text(title)}", "", *_method_rows(measurements, "all", "")]
    levels: tuple[Level, ...] = ("source", "effect")
    for level in levels:
        for key in dict.fromkeys(row.key for row in measurements if row.level == level):
            parts += ["", f"## {level.capitalize()}: {markdown_text(key)}", "", *_method_rows(measurements, level, key)]
    return "\n".join([*parts, "", *measurement_notes(measurements), ""])


def to_latex(measurements: Sequence[Measurement], columns: Sequence[Column] = COLUMNS) -> str:
    """Table of all clips for booktabs: the best value in bold, the second underlined."""
    values = group_values(measurements, "all", "")
    rows = [[latex_text(method), *cells(values, method, columns, LATEX)] for method in values]
    return latex_table(f"l{'r' * len(columns)}", ["Method", *titles(columns, LATEX)], rows)


def write_ablation_tables(output: Path, variants: Sequence[AblationVariant], title: str) -> Path:
    """Write `ablation.parquet`, `.md` and `.tex` from the runs in OUTPUT/VARIANT, a row each; return the Markdown.

    Raises:
        ValueError: a variant was not evaluated, or on other clips than the first.
    """
    by_variant = {}
    for variant in variants:
        rows = read_measurements(output / variant.name / EVALUATION_FOLDER / "metrics.parquet")
        by_variant[variant.name] = [replace(row, method=variant.name) for row in rows if row.method == TRAINED_METHOD]
    clips = {name: {row.key for row in rows if row.level == "clip"} for name, rows in by_variant.items()}
    first = variants[0].name
    for name in clips:
        if clips[name] != clips[first]:
            raise ValueError(
                f"{output / name}: was measured on other clips than {first}; delete both folders' "
                f"{EVALUATION_FOLDER} and samples, and run again"
            )
    return write_source_tables(
        [row for rows in by_variant.values() for row in rows], variants, output, "ablation", title
    )


def write_source_tables(
    measurements: Sequence[Measurement],
    variants: Sequence[AblationVariant],
    folder: Path,
    name: str,
    title: str,
    notes: Sequence[str] = (),
) -> Path:
    """Write the paper's Table 3 as NAME.parquet, .md and .tex, a row for each variant's method; return the Markdown."""
    kinds = {variant.name: variant.kinds for variant in variants}
    table = to_arrow(measurements)
    for kind in KINDS:
        flags = [kind in kinds[name] for name in table.column("method").to_pylist()]
        table = table.append_column(kind, pa.array(flags, pa.bool_()))
    write_parquet(folder / f"{name}.parquet", table)
    alignment = "c" * len(KINDS) + "r" * len(CLIP_COLUMNS)
    latex = latex_table(alignment, *_ablation_rows(measurements, variants, LATEX))  # needs booktabs and amssymb
    atomic_write(folder / f"{name}.tex", latex.encode())
    grid = markdown_table(alignment, *_ablation_rows(measurements, variants, MARKDOWN))
    details = to_markdown(measurements, "All columns").splitlines()
    lower = [f"#{line}" if line.startswith("#") else line for line in details]
    lines = [f"# {markdown_text(title)}", "", *grid, "", *notes, "", *lower, ""]
    page = folder / f"{name}.md"
    atomic_write(page, "\n".join(lines).encode())
    return page


def _ablation_rows(
    measurements: Sequence[Measurement], variants: Sequence[AblationVariant], markup: Markup
) -> tuple[list[str], list[list[str]]]:
    """Head and rows of an ablation's table."""
    values = group_values(measurements, "all", "")
    yes, no = markup.ticks
    rows = [
        [yes if kind in variant.kinds else no for kind in KINDS] + cells(values, variant.name, CLIP_COLUMNS, markup)
        for variant in variants
    ]
    return [*(kind.capitalize() for kind in KINDS), *titles(CLIP_COLUMNS, markup)], rows


def _method_rows(measurements: Sequence[Measurement], level: Level, key: str) -> list[str]:
    values = group_values(measurements, level, key)
    rows = [[markdown_text(method), *cells(values, method, COLUMNS, MARKDOWN)] for method in values]
    return markdown_table(f"l{'r' * len(COLUMNS)}", ["method", *titles(COLUMNS, MARKDOWN)], rows)


def measurement_notes(measurements: Sequence[Measurement]) -> list[str]:
    """Lines on counts, weights and reasons behind the table of all clips."""
    notes = []
    names = {column.name: column.title for column in COLUMNS}
    for row in (row for row in measurements if row.level == "all"):
        value, title = row.value, names[row.value.name]
        if value.status != "ok":
            owner = "" if value.status == "unavailable" else f" of {markdown_text(row.method)}"
            notes.append(f"- {title}{owner} is {value.status}: {markdown_text(value.reason)}.")
        elif value.weights is not None:
            notes.append(f"- {title}: {markdown_text(value.weights.id)}, SHA-256 {value.weights.sha256[:12]}.")
        if value.left_out and value.status == "ok":
            method = markdown_text(row.method)
            notes.append(f"- {title} of {method} is over {value.n}; for {value.left_out} more it is undefined.")
        if value.name == "fvd" and value.status == "ok":
            notes.append(f"- FVD of {markdown_text(row.method)} is over {value.n} windows; it depends on their number.")
    return list(dict.fromkeys(notes))


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write a table, whole or not at all."""
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream)
    atomic_write(path, stream.getvalue().to_pybytes())
