"""User study of two methods: a static page with the three questions of the paper's Sec. 4.3, and the count of answers.

`page/` is what participants get (from any web server, or as a folder); `key.json` beside it says which video is whose
and stays here. Nothing in the page tells: names are drawn for each pair, sides for each participant.

The confidence interval of a win rate is Wilson's. It takes answers as independent; those of one participant are not
quite, so the numbers of participants and pairs stand beside it.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from ...arrays import Mask, Rgb
from ...datasets.corpus.reader import Corpus
from ...datasets.gallery.thumbnails import encode_mp4
from ...datasets.store.atomic_io import atomic_write, digest_of, json_bytes
from ...untrusted_input import csv_text, markdown_text, parse_json
from ..evaluation.videos import Method, crop_to_even, find_video, list_clip_ids, read_video

QUESTIONS = {
    "text": "Which video's effects and details best match the editing prompt?",
    "mask": "Which video's effects and details better align with the masked regions?",
    "content": "Which video best preserves the appearance and motion of the original content while adding new effects?",
}
"""The three of the paper, in its words and order."""
TITLES = {"text": "Text", "mask": "Mask", "content": "FG & BG"}
SIDES = ("x", "y")
"""Names of the two videos of a pair in the page."""


@dataclass(frozen=True, kw_only=True)
class WinRate:
    """Number of answers that preferred a method to its opponent, for one question."""

    question: str
    method: str
    opponent: str
    wins: int
    answers: int
    participants: int
    pairs: int

    @property
    def rate(self) -> float:
        """Share of answers won, in [0, 1]."""
        return self.wins / self.answers


def wilson_interval(wins: int, answers: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share; it stays within [0, 1] and has a width at 0 and 1 too.

    Raises:
        ValueError: there are no answers, or more wins than answers.
    """
    from scipy.stats import binomtest

    if not 0 <= wins <= answers or not answers:
        raise ValueError(f"{wins} wins of {answers} answers are no share; there must be at least one answer")
    interval = binomtest(wins, answers).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def write_study(
    methods: tuple[Method, Method],
    corpus: Corpus,
    folder: Path,
    report: Callable[[int, int], None] = lambda *_: None,
    *,
    masks: bool = True,
    seed: int = 0,
) -> Path:
    """Write page and key for the clips that both methods have; return the page.

    Prompt, input and mask come from the corpus. Videos are cut to the shorter of the two. With `masks`, which is not
    for methods that take none, the mask is asked about where a clip has one. The seed is that of the names; sides are
    drawn anew by each participant's page.

    Raises:
        ValueError: the methods share a name or no clip, or their videos differ in size.
    """
    clip_ids = _shared_clip_ids(methods, corpus)
    rng = np.random.default_rng(seed)
    pairs: list[dict[str, Any]] = []
    key: dict[str, dict[str, str]] = {}
    for number, clip_id in enumerate(clip_ids):
        report(number, len(clip_ids))
        order = [methods[int(index)] for index in rng.permutation(2)]
        pair = f"p{number + 1:03d}"
        key[pair] = {"clip": clip_id, **{side: method.name for side, method in zip(SIDES, order, strict=True)}}
        pairs.append(_write_pair(corpus[clip_id], order, folder / "page" / "videos" / pair, masks))
    study = digest_of(key)[:16]
    atomic_write(folder / "key.json", json_bytes({"study": study, "pairs": key}))
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    template = jinja2.Environment(loader=loader, autoescape=True).get_template("page.html.j2")
    data = json.dumps({"study": study, "pairs": pairs, "questions": QUESTIONS}).replace("<", "\\u003c")
    page = folder / "page" / "index.html"
    atomic_write(page, template.render(data=data).encode())
    report(len(clip_ids), len(clip_ids))
    return page


def tint_mask(over: Rgb, mask: Mask) -> Rgb:
    """Tint the mask's region of the input, so that the question about it can be answered."""
    tinted = over.copy()
    tint = np.array([255, 64, 160], np.float32)
    for frame, region in zip(tinted, mask, strict=True):
        frame[region] = np.rint(0.6 * frame[region] + 0.4 * tint).astype(np.uint8)
    return tinted


def count_win_rates(key_file: Path, answer_files: Sequence[Path]) -> list[WinRate]:
    """Count the answers of all participants, for the first method of the key in alphabetical order.

    Raises:
        ValueError: a file is no key or no answers, is of another study, or a participant comes twice.
    """
    key = _read_json(key_file, ("study", "pairs"))
    answers = _read_answers(key, answer_files)
    method, opponent = sorted({pair[side] for pair in key["pairs"].values() for side in SIDES})
    rates = []
    for question in QUESTIONS:
        matches = [answer for answer in answers if answer["question"] == question]
        if matches:
            wins = sum(key["pairs"][answer["pair"]][answer["chosen"]] == method for answer in matches)
            participants, pairs = ({answer[name] for answer in matches} for name in ("participant", "pair"))
            counts = {"answers": len(matches), "participants": len(participants), "pairs": len(pairs)}
            rates.append(WinRate(question=question, method=method, opponent=opponent, wins=wins, **counts))
    return rates


def win_rate_table(rates: Sequence[WinRate]) -> str:
    """The paper's Table 2 in Markdown, for two methods."""
    if not rates:
        return "No answers.\n"
    method, opponent = markdown_text(rates[0].method), markdown_text(rates[0].opponent)
    head = f"{method} preferred to {opponent} | 95 % interval | answers | participants | pairs"
    rows = [f"| Fidelity to | {head} |", "|---|---:|---:|---:|---:|---:|"]
    for rate in rates:
        low, high = wilson_interval(rate.wins, rate.answers)
        counts = f"{rate.answers} | {rate.participants} | {rate.pairs}"
        rows.append(f"| {TITLES[rate.question]} | {rate.rate:.0%} | {low:.0%} to {high:.0%} | {counts} |")
    return "\n".join([*rows, ""])


def write_win_rates(rates: Sequence[WinRate], folder: Path) -> None:
    """Write `winrate.md` and `winrate.csv` into folder."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["question", "method", "other", "wins", "answers", "rate", "low", "high", "participants", "pairs"])
    for rate in rates:
        shares = [f"{value:.6f}" for value in (rate.rate, *wilson_interval(rate.wins, rate.answers))]
        names = [csv_text(name) for name in (rate.question, rate.method, rate.opponent)]
        writer.writerow([*names, rate.wins, rate.answers, *shares, rate.participants, rate.pairs])
    atomic_write(folder / "winrate.csv", text.getvalue().encode())
    atomic_write(folder / "winrate.md", win_rate_table(rates).encode())


def _shared_clip_ids(methods: tuple[Method, Method], corpus: Corpus) -> Sequence[str]:
    first, second = methods
    if first.name == second.name:
        raise ValueError(f"both methods are called {first.name}; name the folders differently")
    clip_ids = sorted(set(list_clip_ids(first.folder)) & set(list_clip_ids(second.folder)) & set(corpus.ids))
    if not clip_ids:
        raise ValueError(
            f"{first.folder} and {second.folder} have no clip of {corpus.location.url} in common; name the videos by "
            "clip_id, such as " + ", ".join(f"{clip_id}.mp4" for clip_id in corpus.ids[:2])
        )
    return clip_ids


def _write_pair(clip: Any, order: Sequence[Method], folder: Path, masks: bool) -> dict[str, Any]:
    """Write a pair's films; return its entry in the page's data."""
    videos = {}
    for side, method in zip(SIDES, order, strict=True):
        path = find_video(method.folder, clip.clip_id)
        assert path is not None, "both have it"
        videos[side] = read_video(path)
    if videos["x"].shape[1:] != videos["y"].shape[1:]:
        sizes = ["x".join(map(str, videos[side].shape[1:3])) for side in SIDES]
        raise ValueError(f"{clip.clip_id}: the two videos have frames of {sizes[0]} and {sizes[1]}; scale one of them")
    over, mask = clip.over, clip.effect_mask if masks else None
    if over is not None:
        videos["input"] = over
        if mask is not None:
            videos["mask"] = tint_mask(over, mask)
    length = min(len(video) for video in videos.values())
    for name, video in videos.items():
        atomic_write(folder / f"{name}.mp4", encode_mp4(crop_to_even(video[:length]), fps=clip.fps))
    answerable = {"text": bool(clip.caption.strip()), "mask": "mask" in videos, "content": True}
    questions = [name for name in QUESTIONS if answerable[name]]
    return {"id": folder.name, "prompt": clip.caption, "questions": questions, "input": "input" in videos}


def _read_answers(key: dict[str, Any], paths: Sequence[Path]) -> list[dict[str, Any]]:
    participants: dict[str, Path] = {}
    answers = []
    for path in paths:
        saved = _read_json(path, ("study", "participant", "answers"))
        participant = saved["participant"]
        if saved["study"] != key["study"]:
            raise ValueError(
                f"{path} answers study {saved['study']}, not {key['study']}; give the answers of one study"
            )
        if participant in participants:
            raise ValueError(f"{path} and {participants[participant]} are of one participant; give the later one alone")
        participants[participant] = path
        for answer in saved["answers"]:
            is_question = answer.get("pair") in key["pairs"] and answer.get("question") in QUESTIONS
            if not is_question or answer.get("chosen") not in SIDES:
                text = json.dumps(answer)
                raise ValueError(f"{path} has an answer that the study did not ask for: {text}; leave it out")
            answers.append({**answer, "participant": participant})
    return answers


def _read_json(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    try:
        content: dict[str, Any] = parse_json(path.read_bytes())
        missing = [key for key in keys if key not in content]
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is no file of a study ({error}); give the file as the page saved it") from error
    if missing:
        raise ValueError(f"{path} is no file of a study, it has no {missing[0]}; give the file as the page saved it")
    return content
