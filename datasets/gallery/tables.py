"""A corpus at a glance, for `effectpairs inspect`: tables for a terminal, the same facts as plain values for a program.

Nothing here reads a byte of video.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from ..corpus.reader import Corpus
from ..corpus.schema import QUALITY_NUMBERS


@dataclass(frozen=True, kw_only=True)
class Number:
    """A quality number as it is shown."""

    title: str
    unit: str
    """dB, px, % (stored as a share of 1) or steps (of 255)."""
    meaning: str
    """In words for a reader who does not know the pipeline."""

    def text(self, value: float | None) -> str:
        """Value with its unit; `exact` for a PSNR of equal pictures, `–` for what was not measured."""
        if value is None:
            return "exact" if self.unit == "dB" else "–"
        return f"{self.bare(value)} {self.unit}"

    def bare(self, value: float) -> str:
        """Value in its unit, without saying the unit."""
        return f"{100 * value if self.unit == '%' else value:.3g}"


def _number(title: str, unit: str, meaning: str) -> Number:
    return Number(title=title, unit=unit, meaning=meaning)


NUMBERS = {
    "effect_area": _number("effect area", "%", "Share of the picture that the effect covers, mean over the frames."),
    "effect_strength": _number("effect strength", "steps", "How far the effect changes a pixel, in steps of 255."),
    "preservation_psnr_db": _number(
        "preservation", "dB", "How equal gt and over are outside effect and subject. Higher is better."
    ),
    "reconstruction_psnr_db": _number(
        "reconstruction", "dB", "How well the layers, put together again, give gt. Higher is better."
    ),
    "effect_peak_area": _number("peak area", "%", "The same as effect area, in the frame where it is largest."),
    "effect_flicker": _number("flicker", "%", "Share of the effect mask that comes and goes between frames."),
    "edge_effect": _number("edge share", "%", "Share of the effect mask right at the subject's outline: often a halo."),
    "registration_error_px": _number("registration", "px", "How far frames miss each other once aligned."),
    "unseen_share": _number("never seen", "%", "Share of the removed pixels that no frame showed: they are invented."),
    "subject_leak": _number("subject leak", "%", "Share of the subject's detail that is still in background."),
    "subject_area": _number("subject area", "%", "Share of the picture that the subject covers, mean over the frames."),
    "mask_confidence_min": _number("mask, worst", "%", "How sure the subject mask is in its most doubtful frame."),
    "mask_confidence_mean": _number("mask, mean", "%", "How sure the subject mask is, mean over the frames."),
    "otsu_iou": _number("recipe found", "%", "How far the difference recipe agrees with the true mask of this clip."),
    "subject_error": _number("inside", "steps", "Largest difference of gt and over inside the subject; 0 is equal."),
    "firefly_share": _number("fireflies", "%", "Share of the pixels that shine alone, for want of samples."),
}
"""Every quality number, in the order in which it is shown."""
assert set(NUMBERS) == set(QUALITY_NUMBERS)


def format_number(name: str, quality: Mapping[str, float | None]) -> str:
    """One of a clip's numbers as text; a clip without a pair has none, exact or not."""
    if name == "reconstruction_psnr_db" and quality["firefly_share"] is not None:
        return "–"  # a rendered clip has no matte of its own to be rebuilt with
    return NUMBERS[name].text(quality[name]) if any(quality[key] is not None for key in NUMBERS) else "–"


def finite(value: float | None) -> float | None:
    """The number, or None for what JSON cannot hold."""
    return value if value is not None and math.isfinite(value) else None


ROWS = 200  # clips that the table of a terminal lists
Values = dict[str, Any]


def as_values(corpus: Corpus) -> Values:
    """All that `inspect` knows as values that JSON can hold: identity, counts, quality, account, clips.

    A number that was not measured, and a PSNR of equal pictures, is None; nothing is NaN or infinite.
    """
    clips = [_clip_values(row) for row in corpus.table.to_pylist()]
    manifest = corpus.manifest
    return {
        "corpus": corpus.location.url,
        **{key: manifest[key] for key in ("name", "version", "schema_version", "software", "counts")},
        "quality": {name: values for name in NUMBERS if (values := _quantiles(name, clips))},
        "account": account_values(corpus),
        "clips": clips,
    }


def account_values(corpus: Corpus) -> Values:
    """Table of the outcomes of all clips that were looked at.

    `sources` holds the sums of each source; `not_accepted` counts clips by source, outcome and main reason (the
    gravest), without the numbers and file names in it; `left_out` lists each clip that is not in the corpus.
    """
    account = corpus.manifest["account"]
    with corpus.location.open(account["clips"]["path"]) as file:
        entries = pq.read_table(file).to_pylist()
    counts = Counter(
        (entry["source"], entry["outcome"], main_reason(entry["reasons"]))
        for entry in entries
        if entry["outcome"] != "accept"
    )
    keys = ("source", "outcome", "reason")
    return {
        "sources": account["sources"],
        "not_accepted": [{**dict(zip(keys, key, strict=True)), "clips": n} for key, n in counts.most_common()],
        "left_out": [entry for entry in entries if entry["name"] not in corpus],
    }


def main_reason(reasons: Iterable[str]) -> str:
    """The first reason reduced to its kind, so that equal reasons count as one: no file in front, no numbers behind."""
    first = next(iter(reasons), "no reason was given")
    head, colon, tail = first.partition(": ")
    is_file = bool(re.search(r"[/\\]|\.\w{2,5}$", head))
    reason = tail if colon and is_file else head
    return re.sub(r"\d+(\.\d+)?", "…", reason)


def as_tables(corpus: Corpus) -> list[Any]:
    """The same as tables for a terminal; of a large corpus the first clips alone are listed."""
    values = as_values(corpus)
    counts = values["counts"]
    title = (
        f"{values['name']}, version {values['version']}: {counts['clips']} clips from {counts['groups']} originals, "
    )
    title += f"{counts['frames']} frames, {counts['seconds']:.1f} s"
    tables = [Text(title, style="bold"), _clips_table(values["clips"])]
    if len(values["clips"]) > ROWS:
        tables.append(Text(f"and {len(values['clips']) - ROWS} clips more; all of them with --json", style="dim"))
    tables += [_counts_table(counts), _quality_table(values["quality"]), _account_table(values["account"]["sources"])]
    if values["account"]["not_accepted"]:
        tables.append(_reasons_table(values["account"]["not_accepted"]))
    return tables


def _clip_values(row: Mapping[str, Any]) -> Values:
    words = ("clip_id", "kind", "source", "split", "group", "effects", "caption")
    quality = row["quality"]
    numbers = {name: finite(quality[name]) for name in NUMBERS}
    return {
        **{name: row[name] for name in (*words, "num_frames", "height", "width", "fps")},
        "verdict": quality["verdict"],
        "reasons": quality["reasons"],
        "quality": numbers,
        "origin": row["provenance"]["origin"],
        "licence": row["provenance"]["licence"],
    }


def _quantiles(name: str, clips: list[Values]) -> Values | None:
    measured = [value for clip in clips if (value := clip["quality"][name]) is not None]
    if not measured:
        return None
    marks = ("min", "q25", "median", "q75", "max")
    values = dict(zip(marks, map(float, np.quantile(measured, [0, 0.25, 0.5, 0.75, 1])), strict=True))
    return {**values, "clips": len(measured)}


@dataclass(frozen=True)
class _NeverCut:
    """A table that takes its room from one column; ids and numbers stay whole, if need be past the terminal's edge."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        least = self.table.__rich_measure__(console, options.update(max_width=10_000)).minimum
        return console.render(self.table, options.update(width=max(options.max_width, least)))


def _clips_table(clips: list[Values]) -> _NeverCut:
    headings = ("id", "kind", "split", "frames", "size", "effects", "verdict", "effect area", "preservation", "caption")
    table = _table("clips", headings, right=("frames", "size", "effect area", "preservation"))
    for clip in clips[:ROWS]:
        numbers = [format_number(name, clip["quality"]) for name in ("effect_area", "preservation_psnr_db")]
        size = f"{clip['height']}x{clip['width']}"
        words = (clip["clip_id"], clip["kind"], clip["split"], str(clip["num_frames"]), size)
        verdict = Text(clip["verdict"], style=_COLOURS.get(clip["verdict"], ""))
        table.add_row(*words, ", ".join(clip["effects"]), verdict, *numbers, Text(_cut(clip["caption"] or "", 48)))
    table.columns[-1].no_wrap, table.columns[-1].min_width = True, 16
    return _never_cut(table, but="caption")


_COLOURS = {"accept": "green", "review": "yellow", "reject": "red", "fail": "red"}


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def _counts_table(counts: Values) -> _NeverCut:
    table = _table("counts", ("by", "clips"))
    for key in ("kind", "split", "source", "effect", "verdict"):
        values = counts[f"by_{key}"]
        table.add_row(key, ", ".join(f"{name} {n}" for name, n in values.items()) or "none named")
    return _never_cut(table, but="clips")


def _quality_table(quality: Values) -> _NeverCut:
    headings = ("smallest", "25 %", "median", "75 %", "largest", "clips")
    table = _table("quality", ("number", *headings), right=headings)
    for name, values in quality.items():
        marks = [NUMBERS[name].text(values[mark]) for mark in ("min", "q25", "median", "q75", "max")]
        table.add_row(NUMBERS[name].title, *marks, str(values["clips"]))
    return _never_cut(table)


def _account_table(sources: Mapping[str, Values]) -> _NeverCut:
    headings = ("inputs", "accepted", "review", "rejected", "failed")
    table = _table("account: what became of every clip", ("source", *headings), right=headings)
    for name, sums in sources.items():
        table.add_row(name, *(str(sums[heading]) for heading in headings))
    return _never_cut(table)


def _reasons_table(reasons: list[Values]) -> _NeverCut:
    table = _table("not accepted, by main reason", ("source", "outcome", "clips", "reason"), right=("clips",))
    for values in reasons:
        table.add_row(values["source"], values["outcome"], str(values["clips"]), Text(values["reason"]))
    return _never_cut(table, but="reason")


def _table(title: str, headings: Iterable[str], *, right: tuple[str, ...] = ()) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left")
    return table


def _never_cut(table: Table, *, but: str = "") -> _NeverCut:
    for column in table.columns:
        if column.header != but:
            column.min_width = max(cell_len(str(cell)) for cell in (column.header, *column.cells))
    return _NeverCut(table)
