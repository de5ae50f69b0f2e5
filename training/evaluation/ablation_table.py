"""The variants of an ablation beside each other: Parquet, Markdown, and LaTeX as the paper's Table 3."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.store.atomic_io import atomic_write, explain_os_errors, partial_beside
from ..configs.config import AblationVariant
from ..fitting.step_log import EVALUATION
from ..latents.sampler import KINDS
from .aggregation import Line
from .metric import COLUMNS
from .tables import LATEX, as_table, cells_of, markdown, read_lines, values_of

MEASURED = "trained"
"""The row of a run's own evaluation that is its model's."""
CLIP_COLUMNS = COLUMNS[:3]
"""Those of the paper's table."""


def write_ablation(output: Path, variants: Sequence[AblationVariant], title: str) -> Path:
    """Write `ablation.parquet`, `.md` and `.tex` from the evaluations of the variants' runs; return the Markdown.

    Args:
        output: the ablation's folder, with a run's folder for each variant.
        variants: the lines, in their order.
        title: of the page, in one line.

    Raises:
        ValueError: a variant was not evaluated, or on other clips than the first.
    """
    lines = {variant.name: _measured(output / variant.name / EVALUATION, variant.name) for variant in variants}
    _check_clips(output, lines)
    every = [line for found in lines.values() for line in found]
    _write_parquet(output / "ablation.parquet", every, variants)
    atomic_write(output / "ablation.tex", _latex(every, variants).encode())
    page = output / "ablation.md"
    atomic_write(page, _page(every, variants, title).encode())
    return page


def _measured(folder: Path, name: str) -> list[Line]:
    return [replace(line, method=name) for line in read_lines(folder / "metrics.parquet") if line.method == MEASURED]


def _check_clips(output: Path, lines: dict[str, list[Line]]) -> None:
    clips = {name: {line.key for line in found if line.level == "clip"} for name, found in lines.items()}
    first, *others = clips
    for name in others:
        if clips[name] != clips[first]:
            raise ValueError(
                f"{output / name}: was measured on other clips than {first}; delete both folders' {EVALUATION} and "
                "samples, and run again"
            )


def _write_parquet(path: Path, lines: Sequence[Line], variants: Sequence[AblationVariant]) -> None:
    """Every number, and of each variant which kinds it saw."""
    seen = {variant.name: variant.kinds for variant in variants}
    table = as_table(lines)
    for kind in KINDS:
        told = [kind in seen[name] for name in table.column("method").to_pylist()]
        table = table.append_column(kind, pa.array(told, pa.bool_()))
    partial = partial_beside(path)
    try:
        with explain_os_errors(path):
            pq.write_table(table, partial)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _page(lines: Sequence[Line], variants: Sequence[AblationVariant], title: str) -> str:
    found, head = values_of(lines, "all", ""), _head({"higher": "↑", "lower": "↓"})
    grid = [f"| {' | '.join(head)} |", f"|{':---:|' * len(KINDS)}{'---:|' * len(CLIP_COLUMNS)}"]
    for variant in variants:
        marks = ["✓" if kind in variant.kinds else "✗" for kind in KINDS]
        grid.append(f"| {' | '.join([*marks, *cells_of(found, variant.name, CLIP_COLUMNS)])} |")
    rest = markdown(lines, "All columns").splitlines()
    below = [f"#{line}" if line.startswith("#") else line for line in rest]
    return "\n".join([f"# {title}", "", *grid, "", *below, ""])


def _latex(lines: Sequence[Line], variants: Sequence[AblationVariant]) -> str:
    """For booktabs and amssymb: the best in bold, the second underlined."""
    found, head = values_of(lines, "all", ""), _head({"higher": r"$\uparrow$", "lower": r"$\downarrow$"})
    form = "c" * len(KINDS) + "r" * len(CLIP_COLUMNS)
    rows = [rf"\begin{{tabular}}{{{form}}}", r"\toprule", rf"{' & '.join(head)} \\", r"\midrule"]
    for variant in variants:
        marks = [r"$\checkmark$" if kind in variant.kinds else r"$\times$" for kind in KINDS]
        rows.append(rf"{' & '.join([*marks, *cells_of(found, variant.name, CLIP_COLUMNS, LATEX)])} \\")
    return "\n".join([*rows, r"\bottomrule", r"\end{tabular}", ""])


def _head(arrows: Mapping[str, str]) -> list[str]:
    return [*(kind.capitalize() for kind in KINDS), *(f"{one.title} {arrows[one.better]}" for one in CLIP_COLUMNS)]
