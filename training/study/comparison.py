"""The paper's Table 2: several user studies beside each other, each of our method against another.

A study is a folder of `effectpairs study` with what participants saved in STUDY/answers. One of its two methods has the
name "ours" or "ours without mask"; intervals are Wilson's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from ...datasets.store.atomic_io import atomic_write
from ...untrusted_input import markdown_text
from ..evaluation.table_markup import LATEX, MARKDOWN, Markup, latex_table, latex_text, markdown_table
from ..evaluation.tables import write_parquet
from .study import QUESTIONS, TITLES, WinRate, count_win_rates, wilson_interval

OURS, OURS_WITHOUT_MASK = "ours", "ours without mask"
"""Names of our method in tables and studies."""


def read_studies(folders: Sequence[Path]) -> dict[str, list[WinRate]]:
    """Win rates of our method by opponent, from studies with the answers in STUDY/answers.

    Raises:
        ValueError: a study has no answers, none of its methods is ours, or an opponent comes twice.
    """
    studies: dict[str, list[WinRate]] = {}
    for folder in folders:
        files = sorted((folder / "answers").glob("*.json"))
        if not files:
            raise ValueError(f"{folder / 'answers'} has no *.json; put the files there that participants saved")
        rates = [_rate_of_ours(rate, folder) for rate in count_win_rates(folder / "key.json", files)]
        for rate in rates:
            if rate.question in {earlier.question for earlier in studies.get(rate.opponent, ())}:
                raise ValueError(f"{folder}: {rate.opponent} is in another study too; give one study an opponent")
            studies.setdefault(rate.opponent, []).append(rate)
    return studies


def write_study_table(studies: Mapping[str, Sequence[WinRate]], folder: Path) -> Path:
    """Write the paper's Table 2 as `table2.parquet`, `.md` and `.tex`; return the Markdown.

    A question that a study did not ask has a dash.
    """
    rates = {(rate.question, opponent): rate for opponent, row in studies.items() for rate in row}
    records = []
    for rate in rates.values():
        low, high = wilson_interval(rate.wins, rate.answers)
        names = ("question", "method", "opponent", "wins", "answers", "rate", "participants", "pairs")
        records.append({name: getattr(rate, name) for name in names} | {"low": low, "high": high})
    write_parquet(folder / "table2.parquet", pa.Table.from_pylist(records))
    grids = {}
    for markup in (MARKDOWN, LATEX):
        grids[markup.unavailable] = [
            [TITLES[question], *(_rate_cell(rates.get((question, opponent)), markup) for opponent in studies)]
            for question in QUESTIONS
        ]
    alignment = "l" + "r" * len(studies)
    counts = [
        f"- {markdown_text(opponent)}: {markdown_text(row[0].method)} against it, {max(rate.answers for rate in row)} "
        f"answers to a question at most, by {max(rate.participants for rate in row)} participants over "
        f"{max(rate.pairs for rate in row)} pairs."
        for opponent, row in studies.items()
    ]
    lines = ["# User studies", "", "Share of answers that preferred ours, with Wilson's 95 % interval.", ""]
    lines += markdown_table(alignment, _head(studies, markdown_text), grids[MARKDOWN.unavailable])
    page = folder / "table2.md"
    atomic_write(page, "\n".join([*lines, "", *counts, ""]).encode())
    latex = latex_table(alignment, _head(studies, latex_text), grids[LATEX.unavailable])
    atomic_write(folder / "table2.tex", latex.encode())
    return page


def _head(opponents: Iterable[str], text: Callable[[str], str]) -> list[str]:
    return ["Fidelity to", *(f"ours vs. {text(opponent)}" for opponent in opponents)]


def _rate_of_ours(rate: WinRate, folder: Path) -> WinRate:
    """Return a win rate as that of our method."""
    ours = (OURS, OURS_WITHOUT_MASK)
    if rate.method in ours:
        return rate
    if rate.opponent not in ours:
        raise ValueError(
            f"{folder} compares {rate.method} and {rate.opponent}; one of them must be named '{OURS}' or "
            f"'{OURS_WITHOUT_MASK}': effectpairs study ours=FOLDER ..."
        )
    return replace(rate, method=rate.opponent, opponent=rate.method, wins=rate.answers - rate.wins)


def _rate_cell(rate: WinRate | None, markup: Markup) -> str:
    if rate is None:
        return markup.unavailable
    share, *ends = (
        f"{value:.0%}".replace("%", markup.percent) for value in (rate.rate, *wilson_interval(rate.wins, rate.answers))
    )
    return share + markup.interval % tuple(ends)
