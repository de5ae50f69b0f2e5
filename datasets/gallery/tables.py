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
import pyarrow as pa
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from ..corpus.reader import Corpus
from ..corpus.schema import QUALITY_NUMBERS


@dataclass(frozen=True)
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


NUMBERS = {
    "effect_area": Number("effect area", "%", "Share of the picture that the effect covers, mean over the frames."),
    "effect_strength": Number("effect strength", "steps", "How far the effect changes a pixel, in steps of 255."),
    "preservation_psnr_db": Number(
        "preservation", "dB", "How equal gt and over are outside effect and subject. Higher is better."
    ),
    "reconstruction_psnr_db": Number(
        "reconstruction", "dB", "How well the layers, put together again, give gt. Higher is better."
    ),
    "effect_peak_area": Number("peak area", "%", "The same as effect area, in the frame where it is largest."),
    "effect_flicker": Number("flicker", "%", "Share of the effect mask that comes and goes between frames."),
    "edge_effect": Number("edge share", "%", "Share of the effect mask right at the subject's outline: often a halo."),
    "registration_error_px": Number("registration", "px", "How far frames miss each other once aligned."),
    "unseen_share": Number("never seen", "%", "Share of the removed pixels that no frame showed: they are invented."),
    "unseen_detail": Number("unseen detail", "%", "The same, weighed by the detail around: little on calm water."),
    "mover_contact": Number(
        "mover contact", "%", "Share of the frames in which a body without a mask meets the subject."
    ),
    "moving_surroundings": Number("surroundings", "%", "Share of the effect that waves or leaves explain."),
    "subject_leak": Number("subject leak", "%", "Share of the subject's detail that is still in background."),
    "subject_area": Number("subject area", "%", "Share of the picture that the subject covers, mean over the frames."),
    "mask_confidence_min": Number("mask, worst", "%", "How sure the subject mask is in its most doubtful frame."),
    "mask_confidence_mean": Number("mask, mean", "%", "How sure the subject mask is, mean over the frames."),
    "layer_correlation": Number("layer detail", "%", "Correlation of detail in gt and the other tool's clean plate."),
    "layer_psnr_db": Number("layer", "dB", "gt against the other tool's clean plate off subject and effect."),
    "layer_tone": Number("layer tone", "steps", "Largest change of tone that brought the clean plate to gt."),
    "layer_flicker": Number("layer flicker", "steps", "Change between frames of the difference of the two."),
    "layer_missing": Number("layer gaps", "%", "Share of the frames for which the tool returned none."),
    "otsu_iou": Number("truth found", "%", "How far the effect mask agrees with where the renderer knows the effect."),
    "truth_preservation_psnr_db": Number(
        "true preservation", "dB", "How equal gt and over are outside the true mask and the subject."
    ),
    "subject_error": Number("inside", "steps", "Largest difference of gt and over inside the subject; 0 is equal."),
    "firefly_share": Number("fireflies", "%", "Share of the pixels that shine alone, for want of samples."),
}
"""Every quality number, in the order in which it is shown."""
assert set(NUMBERS) == set(QUALITY_NUMBERS)


def format_number(name: str, quality: Mapping[str, float | None]) -> str:
    """One of a clip's numbers as text; a clip without a pair has none, exact or not."""
    is_rendered = quality["firefly_share"] is not None
    if (name == "reconstruction_psnr_db" and is_rendered) or (name == "truth_preservation_psnr_db" and not is_rendered):
        return "–"  # a rendered clip has no matte of its own to be rebuilt with, a real one no true mask
    return NUMBERS[name].text(quality[name]) if any(quality[key] is not None for key in NUMBERS) else "–"


def finite(value: float | None) -> float | None:
    """The number, or None for what JSON cannot hold."""
    return value if value is not None and math.isfinite(value) else None


ROWS = 200  # clips that the table of a terminal lists
COLUMNS = (
    *("clip_id", "kind", "source", "split", "group", "effects", "caption", "num_frames", "height", "width", "fps"),
    *("quality", "provenance.origin", "provenance.licence"),
)
"""Columns that are looked at; the first eleven are listed as they stand."""
MARKS = ("min", "q25", "median", "q75", "max")
Values = dict[str, Any]


def as_values(corpus: Corpus, *, clips: int | None = None) -> Values:
    """All that `inspect` knows as values that JSON can hold: identity, counts, quality, account, clips.

    A number that was not measured, and a PSNR of equal pictures, is None; nothing is NaN or infinite.

    Args:
        corpus: what to look at.
        clips: number of clips that are listed, the first ones; all if None. The statistics are of all.
    """
    table = corpus.columns(COLUMNS)
    quality = table.column("quality").combine_chunks()
    manifest = corpus.manifest
    return {
        "corpus": corpus.location.url,
        **{key: manifest[key] for key in ("name", "version", "schema_version", "software", "counts")},
        "quality": {name: values for name in NUMBERS if (values := _quantiles(quality.field(name)))},
        "account": account_values(corpus),
        "clips": [_clip_values(row) for row in table.slice(0, clips).to_pylist()],
    }


def account_values(corpus: Corpus) -> Values:
    """Table of the outcomes of all clips that were looked at.

    `sources` holds the sums of each source; `not_accepted` counts clips by source, outcome and main reason (the
    gravest), without the numbers and file names in it; `left_out` lists each clip that is not in the corpus.
    """
    account = corpus.manifest["account"]
    entries = corpus.outcomes().to_pylist()
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
    values = as_values(corpus, clips=ROWS)
    counts, clips = values["counts"], values["clips"]
    title = (
        f"{values['name']}, version {values['version']}: {counts['clips']} clips from {counts['groups']} originals, "
        f"{counts['frames']} frames, {counts['seconds']:.1f} s"
    )
    tables: list[Any] = [Text(title, style="bold"), _clips_table(clips)]
    if len(corpus) > ROWS:
        tables.append(Text(f"and {len(corpus) - ROWS} clips more; all of them with --json", style="dim"))
    rows: list[tuple[Any, ...]] = []
    for key in ("kind", "split", "source", "effect", "verdict"):
        rows.append((key, ", ".join(f"{name} {n}" for name, n in counts[f"by_{key}"].items()) or "none named"))
    tables.append(_table("counts", ("by", "clips"), rows, shrinks="clips"))
    headings: tuple[str, ...] = ("smallest", "25 %", "median", "75 %", "largest", "clips")
    rows = [
        (NUMBERS[name].title, *(NUMBERS[name].text(numbers[mark]) for mark in MARKS), str(numbers["clips"]))
        for name, numbers in values["quality"].items()
    ]
    tables.append(_table("quality", ("number", *headings), rows, right=headings))
    headings = ("inputs", "accepted", "review", "rejected", "failed")
    rows = [(name, *(str(sums[key]) for key in headings)) for name, sums in values["account"]["sources"].items()]
    tables.append(_table("account: what became of every clip", ("source", *headings), rows, right=headings))
    if reasons := values["account"]["not_accepted"]:
        headings = ("source", "outcome", "clips", "reason")
        rows = [(row["source"], row["outcome"], str(row["clips"]), Text(row["reason"])) for row in reasons]
        tables.append(_table("not accepted, by main reason", headings, rows, right=("clips",), shrinks="reason"))
    return tables


def _clip_values(row: Mapping[str, Any]) -> Values:
    quality = row["quality"]
    numbers = {name: finite(quality[name]) for name in NUMBERS}
    return {
        **{name: row[name] for name in COLUMNS[:11]},
        "verdict": quality["verdict"],
        "reasons": quality["reasons"],
        "quality": numbers,
        "origin": row["provenance"]["origin"],
        "licence": row["provenance"]["licence"],
    }


def _quantiles(column: pa.Array) -> Values | None:
    numbers = column.drop_null().to_numpy(zero_copy_only=False)
    measured = numbers[np.isfinite(numbers)]
    if not len(measured):
        return None
    values = dict(zip(MARKS, map(float, np.quantile(measured, [0, 0.25, 0.5, 0.75, 1])), strict=True))
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
    rows = []
    for clip in clips:
        numbers = [format_number(name, clip["quality"]) for name in ("effect_area", "preservation_psnr_db")]
        size = f"{clip['height']}x{clip['width']}"
        words = (clip["clip_id"], clip["kind"], clip["split"], str(clip["num_frames"]), size)
        verdict = Text(clip["verdict"], style=_COLOURS.get(clip["verdict"], ""))
        caption = clip["caption"] or ""
        caption = caption if len(caption) <= 48 else f"{caption[:47].rstrip()}…"
        rows.append((*words, ", ".join(clip["effects"]), verdict, *numbers, Text(caption)))
    right = ("frames", "size", "effect area", "preservation")
    clips_table = _table("clips", headings, rows, right=right, shrinks="caption")
    clips_table.table.columns[-1].no_wrap, clips_table.table.columns[-1].min_width = True, 16
    return clips_table


_COLOURS = {"accept": "green", "review": "yellow", "reject": "red", "fail": "red"}


def _table(
    title: str,
    headings: Iterable[str],
    rows: Iterable[tuple[Any, ...]],
    *,
    right: Iterable[str] = (),
    shrinks: str = "",
) -> _NeverCut:
    """A table with some columns to the right, and one that shrinks where the terminal is narrow."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left")
    for row in rows:
        table.add_row(*row)
    for column in table.columns:
        if column.header != shrinks:
            column.min_width = max(cell_len(str(cell)) for cell in (column.header, *column.cells))
    return _NeverCut(table)
