"""The result as Parquet (every number), Markdown (to read) and LaTeX (the paper's Table 1)."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.durable import explaining, partial_beside, write_whole
from .groups import Level, Line
from .metric import COLUMNS, Column, MetricValue

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
NO_NUMBER = {"unavailable": "–", "undefined": "undef."}


def write_tables(lines: Sequence[Line], folder: Path, title: str) -> None:
    """Write `metrics.parquet`, `table.md` and `table.tex` into folder, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "metrics.parquet"
    partial = partial_beside(path)
    try:
        with explaining(path):
            pq.write_table(as_table(lines), partial)
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    write_whole(folder / "table.md", markdown(lines, title).encode())
    write_whole(folder / "table.tex", latex(lines).encode())


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
    found = _values(lines, level, key)
    head = [f"{column.title} {'↑' if column.better == 'higher' else '↓'}" for column in COLUMNS]
    rows = [f"| method | {' | '.join(head)} |", f"|---|{'---:|' * len(COLUMNS)}"]
    for method, values in found.items():
        cells = []
        for column in COLUMNS:
            best = _rank(found, column, method) == 0 and len(found) > 1
            cells.append(f"**{_text(values, column)}**" if best else _text(values, column))
        rows.append(f"| {method} | {' | '.join(cells)} |")
    return rows


def _notes(lines: Sequence[Line]) -> list[str]:
    """What stands behind the table of all clips: counts, weights, reasons."""
    notes = []
    titles = {column.name: column.title for column in COLUMNS}
    for line in (line for line in lines if line.level == "all"):
        value, name = line.value, titles[line.value.name]
        if value.status != "ok":
            notes.append(f"- {name} is {value.status}: {value.reason}.")
        elif value.weights is not None:
            notes.append(f"- {name}: {value.weights.id}, SHA-256 {value.weights.sha256[:12]}.")
        if value.left_out and value.status == "ok":
            notes.append(f"- {name} of {line.method} is over {value.n}; for {value.left_out} more it is undefined.")
        if value.name == "fvd" and value.status == "ok":
            notes.append(f"- FVD of {line.method} is over {value.n} windows; it depends on their number.")
    return list(dict.fromkeys(notes))


def latex(lines: Sequence[Line], columns: Sequence[Column] = COLUMNS) -> str:
    """The table of all clips for booktabs: the best in bold, the second underlined."""
    found = _values(lines, "all", "")
    arrows = {"higher": r"$\uparrow$", "lower": r"$\downarrow$"}
    head = " & ".join(f"{column.title} {arrows[column.better]}" for column in columns)
    rows = [rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule", rf"Method & {head} \\", r"\midrule"]
    for method, values in found.items():
        cells = []
        for column in columns:
            rank = _rank(found, column, method) if len(found) > 1 else None
            wrap = {0: r"\textbf{%s}", 1: r"\underline{%s}"}.get(-1 if rank is None else rank, "%s")
            cells.append(wrap % _text(values, column).replace("–", "--"))
        rows.append(rf"{_escaped(method)} & {' & '.join(cells)} \\")
    return "\n".join([*rows, r"\bottomrule", r"\end{tabular}", ""])


def _values(lines: Sequence[Line], level: Level, key: str) -> dict[str, dict[str, MetricValue]]:
    found: dict[str, dict[str, MetricValue]] = {}
    for line in lines:
        if line.level == level and line.key == key:
            found.setdefault(line.method, {})[line.value.name] = line.value
    return found


def _text(values: dict[str, MetricValue], column: Column) -> str:
    value = values.get(column.name)
    if value is None or value.value is None:
        return NO_NUMBER["unavailable" if value is None else value.status]
    return f"{value.value:.{column.decimals}f}"


def _rank(found: dict[str, dict[str, MetricValue]], column: Column, method: str) -> int | None:
    """0 for the best as printed, 1 for the second; None where there is no number."""
    printed = {name: values[column.name].value for name, values in found.items() if column.name in values}
    rounded = {name: round(value, column.decimals) for name, value in printed.items() if value is not None}
    if method not in rounded:
        return None
    order = sorted(set(rounded.values()), reverse=column.better == "higher")
    return order.index(rounded[method])


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "&%$#_{}" else letter for letter in text)
