"""What the answers of a study say: how often each method was preferred, with Wilson's confidence interval.

The interval takes answers as independent. Those of one participant are not quite, so the numbers of participants and
pairs stand beside it.
"""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...datasets.store.atomic_io import atomic_write
from .study import NAMES, QUESTIONS

Z = 1.959963984540054
"""Of the normal distribution: 95 % lie within so many deviations."""
TITLES = {"text": "Text", "mask": "Mask", "content": "FG & BG"}


@dataclass(frozen=True, kw_only=True)
class WinRate:
    """How often a method was preferred to the other, for one question."""

    question: str
    method: str
    other: str
    wins: int
    answers: int
    participants: int
    pairs: int

    @property
    def rate(self) -> float:
        """Share of answers won, in [0, 1]."""
        return self.wins / self.answers

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the rate."""
        return wilson(self.wins, self.answers)


def wilson(wins: int, answers: int, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval of a share; it stays within [0, 1] and has a width at 0 and 1 too.

    Raises:
        ValueError: there are no answers, or more wins than answers.
    """
    if not 0 <= wins <= answers or not answers:
        raise ValueError(f"{wins} wins of {answers} answers are no share; there must be at least one answer")
    share, weight = wins / answers, z * z / answers
    middle = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / answers + weight / (4 * answers)) / (1 + weight)
    return (0.0 if wins == 0 else middle - half), (1.0 if wins == answers else middle + half)


def win_rates(key_file: Path, answer_files: Sequence[Path]) -> list[WinRate]:
    """Count the answers of all participants, for the first method of the key in alphabetical order.

    Raises:
        ValueError: a file is no key or no answers, is of another study, or a participant comes twice.
    """
    key = _read(key_file, ("study", "pairs"))
    given = [answer for file in _of_study(key["study"], answer_files) for answer in _answers(key, *file)]
    method, other = sorted({pair[name] for pair in key["pairs"].values() for name in NAMES})
    rates = []
    for question in QUESTIONS:
        asked = [answer for answer in given if answer["question"] == question]
        if asked:
            wins = sum(key["pairs"][answer["pair"]][answer["chosen"]] == method for answer in asked)
            people, pairs = ({answer[name] for answer in asked} for name in ("participant", "pair"))
            counts = {"answers": len(asked), "participants": len(people), "pairs": len(pairs)}
            rates.append(WinRate(question=question, method=method, other=other, wins=wins, **counts))
    return rates


def markdown(rates: Sequence[WinRate]) -> str:
    """The paper's Table 2, for two methods."""
    if not rates:
        return "No answers.\n"
    first = rates[0]
    head = f"{first.method} preferred to {first.other} | 95 % interval | answers | participants | pairs"
    rows = [f"| Fidelity to | {head} |", "|---|---:|---:|---:|---:|---:|"]
    for rate in rates:
        low, high = rate.interval
        counts = f"{rate.answers} | {rate.participants} | {rate.pairs}"
        rows.append(f"| {TITLES[rate.question]} | {rate.rate:.0%} | {low:.0%} to {high:.0%} | {counts} |")
    return "\n".join([*rows, ""])


def write_rates(rates: Sequence[WinRate], folder: Path) -> None:
    """Write `winrate.md` and `winrate.csv` into folder."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["question", "method", "other", "wins", "answers", "rate", "low", "high", "participants", "pairs"])
    for rate in rates:
        shares = [f"{value:.6f}" for value in (rate.rate, *rate.interval)]
        first = [rate.question, rate.method, rate.other, rate.wins, rate.answers]
        writer.writerow([*first, *shares, rate.participants, rate.pairs])
    atomic_write(folder / "winrate.csv", text.getvalue().encode())
    atomic_write(folder / "winrate.md", markdown(rates).encode())


def _of_study(study: str, files: Sequence[Path]) -> list[tuple[Path, dict[str, Any]]]:
    seen: dict[str, Path] = {}
    found = []
    for path in files:
        read = _read(path, ("study", "participant", "answers"))
        if read["study"] != study:
            raise ValueError(f"{path} answers study {read['study']}, not {study}; give the answers of one study")
        if read["participant"] in seen:
            raise ValueError(f"{path} and {seen[read['participant']]} are of one participant; give the later one alone")
        seen[read["participant"]] = path
        found.append((path, read))
    return found


def _answers(key: dict[str, Any], path: Path, read: dict[str, Any]) -> list[dict[str, Any]]:
    for answer in read["answers"]:
        known = answer.get("pair") in key["pairs"] and answer.get("question") in QUESTIONS
        if not known or answer.get("chosen") not in NAMES:
            raise ValueError(f"{path} has an answer that the study did not ask for: {json.dumps(answer)}; leave it out")
    return [{**answer, "participant": read["participant"]} for answer in read["answers"]]


def _read(path: Path, names: Sequence[str]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        gone = [name for name in names if name not in found]
    except (OSError, ValueError, TypeError) as broken:
        raise ValueError(f"{path} is no file of a study ({broken}); give the file as the page saved it") from broken
    if gone:
        raise ValueError(f"{path} is no file of a study, it has no {gone[0]}; give the file as the page saved it")
    return found
