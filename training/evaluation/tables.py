"""The result as Parquet (every number), Markdown (to read) and LaTeX (the paper's Table 1)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.store.atomic_io import atomic_write, explain_os_errors, partial_beside
from .aggregation import Level, Line
from .metric import COLUMNS, Column, MetricValue, Weights

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
    ]
)
LATEX = (r"\textbf{%s}", r"\underline{%s}")
"""How a table for booktabs marks the best and the second."""
Grid = dict[str, dict[str, MetricValue]]
"""The numbers of one group, by method and metric."""
NO_NUMBER = {"unavailable": "–", "undefined": "undef."}


def write_tables(lines: Sequence[Line], folder: Path, title: str) -> None:
    """Write `metrics.parquet`, `table.md` and `table.tex` into folder, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "metrics.parquet"
    partial = partial_beside(path)
    try:
        with explain_os_errors(path):
            pq.write_table(as_table(lines), partial)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    atomic_write(folder / "table.md", markdown(lines, title).encode())
    atomic_write(folder / "table.tex", latex(lines).encode())


def as_table(lines: Sequence[Line]) -> pa.Table:
    """One row a number; where there is none the value is null and status and reason say why."""
    rows = []
    for line in lines:
        value = line.value
        weights: dict[str, str | None] = {"weights": None, "weights_sha256": None}
        if value.weights is not None:
            weights = {"weights": value.weights.id, "weights_sha256": value.weights.sha256}
        where = {"method": line.method, "level": line.level, "key": line.key, "frame": line.frame}
        what = {"metric": value.name, "value": value.value, "status": value.status, "reason": value.reason}
        rows.append({**where, **what, **weights, "n": value.n, "left_out": value.left_out})
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def markdown(lines: Sequence[Line], title: str) -> str:
    """Tables for all clips, for each source and each effect, and under them why numbers are not there."""
    parts = [f"# {title}", "", *_grid(lines, "all", "")]
    for level in ("source", "effect"):
        for key in dict.fromkeys(line.key for line in lines if line.level == level):
            parts += ["", f"## {level.capitalize()}: {key}", "", *_grid(lines, level, key)]
    return "\n".join([*parts, "", *_notes(lines), ""])


def _grid(lines: Sequence[Line], level: Level, key: str) -> list[str]:
    found = values_of(lines, level, key)
    head = [f"{column.title} {'↑' if column.better == 'higher' else '↓'}" for column in COLUMNS]
    rows = [f"| method | {' | '.join(head)} |", f"|---|{'---:|' * len(COLUMNS)}"]
    for method in found:
        rows.append(f"| {method} | {' | '.join(cells_of(found, method, COLUMNS))} |")
    return rows


def _notes(lines: Sequence[Line]) -> list[str]:
    """What stands behind the table of all clips: counts, weights, reasons."""
    notes = []
    titles = {column.name: column.title for column in COLUMNS}
    for line in (line for line in lines if line.level == "all"):
        value, name = line.value, titles[line.value.name]
        if value.status != "ok":
            whose = "" if value.status == "unavailable" else f" of {line.method}"
            notes.append(f"- {name}{whose} is {value.status}: {value.reason}.")
        elif value.weights is not None:
            notes.append(f"- {name}: {value.weights.id}, SHA-256 {value.weights.sha256[:12]}.")
        if value.left_out and value.status == "ok":
            notes.append(f"- {name} of {line.method} is over {value.n}; for {value.left_out} more it is undefined.")
        if value.name == "fvd" and value.status == "ok":
            notes.append(f"- FVD of {line.method} is over {value.n} windows; it depends on their number.")
    return list(dict.fromkeys(notes))


def latex(lines: Sequence[Line], columns: Sequence[Column] = COLUMNS) -> str:
    """The table of all clips for booktabs: the best in bold, the second underlined."""
    found = values_of(lines, "all", "")
    arrows = {"higher": r"$\uparrow$", "lower": r"$\downarrow$"}
    head = " & ".join(f"{column.title} {arrows[column.better]}" for column in columns)
    rows = [rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule", rf"Method & {head} \\", r"\midrule"]
    for method in found:
        rows.append(rf"{_escaped(method)} & {' & '.join(cells_of(found, method, columns, LATEX))} \\")
    return "\n".join([*rows, r"\bottomrule", r"\end{tabular}", ""])


def read_lines(path: Path) -> list[Line]:
    """The numbers of `metrics.parquet` again, all but those of single frames.

    Raises:
        ValueError: there is no such file, or it is damaged.
    """
    try:
        rows = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as missing:
        raise ValueError(f"{path}: cannot be read ({missing}); evaluate again") from missing
    return [_line(row) for row in rows if row["level"] != "frame"]


def _line(row: Mapping[str, Any]) -> Line:
    weights = Weights(id=row["weights"], sha256=row["weights_sha256"]) if row["weights"] is not None else None
    said = {name: row[name] for name in ("value", "status", "reason", "n", "left_out")}
    value = MetricValue(name=row["metric"], weights=weights, **said)
    return Line(method=row["method"], level=row["level"], key=row["key"], value=value)


def values_of(lines: Sequence[Line], level: Level, key: str) -> Grid:
    """The numbers of one group by method and metric."""
    found: dict[str, dict[str, MetricValue]] = {}
    for line in lines:
        if line.level == level and line.key == key:
            found.setdefault(line.method, {})[line.value.name] = line.value
    return found


def cells_of(
    found: Grid, method: str, columns: Sequence[Column], marks: tuple[str, str] = ("**%s**", "%s")
) -> list[str]:
    """A method's numbers as they are printed, or what stands in their place; the best and the second are marked."""
    cells = []
    for column in columns:
        rank = _rank(found, column, method) if len(found) > 1 else None
        text = _text(found[method], column)
        if marks is LATEX:
            text = text.replace("–", "--")
        cells.append(marks[rank] % text if rank in (0, 1) else text)
    return cells


def _text(values: Mapping[str, MetricValue], column: Column) -> str:
    value = values.get(column.name)
    if value is None or value.value is None:
        return NO_NUMBER["unavailable" if value is None else value.status]
    return f"{value.value:.{column.decimals}f}"


def _rank(found: Grid, column: Column, method: str) -> int | None:
    """0 for the best as printed, 1 for the second; None where there is no number."""
    printed = {name: values[column.name].value for name, values in found.items() if column.name in values}
    rounded = {name: round(value, column.decimals) for name, value in printed.items() if value is not None}
    if method not in rounded:
        return None
    order = sorted(set(rounded.values()), reverse=column.better == "higher")
    return order.index(rounded[method])


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "&%$#_{}" else letter for letter in text)
