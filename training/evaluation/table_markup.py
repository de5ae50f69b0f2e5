"""Cells, heads and grids of tables in Markdown and LaTeX, with the best and the second of a column marked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .metric import Column, Level, Measurement, MetricValue

LATEX_SIGNS = (r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}")
"""A backslash, a tilde and a circumflex as LaTeX prints them."""
GroupValues = dict[str, dict[str, MetricValue]]
"""Values of one group of clips, by method and metric."""


@dataclass(frozen=True, kw_only=True)
class Markup:
    """Signs of a table's format."""

    best: str
    second: str
    unavailable: str
    interval: str
    """The ends of an interval behind its value."""
    arrows: Mapping[str, str]
    ticks: tuple[str, str]
    """Signs of yes and no."""
    star: str
    """Sign of a footnote behind a name."""
    percent: str


MARKDOWN = Markup(
    best="**%s**",
    second="%s",
    unavailable="–",
    interval=" [%s, %s]",
    arrows={"higher": "↑", "lower": "↓"},
    ticks=("✓", "✗"),
    star=r" \*",
    percent="%",
)
LATEX = Markup(
    best=r"\textbf{%s}",
    second=r"\underline{%s}",
    unavailable="--",
    interval=r" {\tiny[%s, %s]}",
    arrows={"higher": r"$\uparrow$", "lower": r"$\downarrow$"},
    ticks=(r"$\checkmark$", r"$\times$"),
    star="$^*$",
    percent=r"\%",
)


def group_values(measurements: Sequence[Measurement], level: Level, key: str) -> GroupValues:
    """Values of one group, by method and metric, in the order of the measurements."""
    values: GroupValues = {}
    for row in measurements:
        if (row.level, row.key) == (level, key):
            values.setdefault(row.method, {})[row.value.name] = row.value
    return values


def cells(values: GroupValues, method: str, columns: Sequence[Column], markup: Markup) -> list[str]:
    """Format a method's values, or the signs of missing ones; the best and the second are marked."""
    texts = []
    for column in columns:
        numbers = [metrics[column.name].value for metrics in values.values() if column.name in metrics]
        as_printed = {round(number, column.decimals) for number in numbers if number is not None}
        ranking = sorted(as_printed, reverse=column.better == "higher") if len(values) > 1 else []
        value, form, interval = values[method].get(column.name), "%s", ""
        text = "undef." if value is not None and value.status == "undefined" else markup.unavailable
        if value is not None and value.value is not None:
            text, number = f"{value.value:.{column.decimals}f}", round(value.value, column.decimals)
            form = markup.best if [number] == ranking[:1] else markup.second if [number] == ranking[1:2] else "%s"
            if value.low is not None:
                interval = markup.interval % tuple(f"{end:.{column.decimals}f}" for end in (value.low, value.high))
        texts.append(form % text + interval)
    return texts


def titles(columns: Sequence[Column], markup: Markup) -> list[str]:
    """Heads of columns, each with an arrow towards what is better."""
    return [f"{column.title} {markup.arrows[column.better]}" for column in columns]


def markdown_table(alignment: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table in Markdown; a letter of alignment (l, c, r) for each column."""
    rules = {"l": "---", "c": ":---:", "r": "---:"}
    return [
        f"| {' | '.join(head)} |",
        f"|{'|'.join(rules[letter] for letter in alignment)}|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def latex_table(alignment: str, head: Sequence[str], rows: Sequence[Sequence[str]], rule_after: int = 0) -> str:
    """A table for booktabs; `rule_after` rows stand above a rule of their own, 0 draws none."""
    top = [rf"\begin{{tabular}}{{{alignment}}}", r"\toprule", rf"{' & '.join(head)} \\", r"\midrule"]
    lines = [rf"{' & '.join(row)} \\" for row in rows]
    if 0 < rule_after < len(lines):
        lines.insert(rule_after, r"\midrule")
    return "\n".join([*top, *lines, r"\bottomrule", r"\end{tabular}", ""])


def latex_text(text: str) -> str:
    """Text as LaTeX prints it letter by letter."""
    signs: dict[str, str | int | None] = {letter: f"\\{letter}" for letter in "&%$#_{}"}
    return text.translate(str.maketrans(signs | dict(zip("\\~^", LATEX_SIGNS, strict=True))))
