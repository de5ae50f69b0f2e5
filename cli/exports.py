"""Command that gives a corpus to other programs: export."""

import re
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from .console import CorpusPlace, out, progress_bar, usage_errors

commands = typer.Typer()
REASONS_SHOWN = 10


@commands.command(
    epilog="Example: effectpairs export diffsynth-vace corpus --out vace --frames 81; formats: docs/exports.md"
)
def export(
    layout: Annotated[str, Argument(metavar="FORMAT", help="Name of the format, e.g. gen-omnimatte or videofolder.")],
    corpus: CorpusPlace,
    out_dir: Annotated[Path, Option("--out", help="Folder for the export; empty, or one that was interrupted.")],
    direction: Annotated[str, Option(help="Direction: add (from without the effect to with it) or remove.")] = "add",
    caption: Annotated[
        str | None,
        Option(metavar="CHOICE", help="Caption to write: caption, dense, augmented-N, all, none, or text:WORDS."),
    ] = None,
    fps: Annotated[float | None, Option(help="Frames per second; 0 keeps each clip's own.")] = None,
    frames: Annotated[int | None, Option(help="Frames of each clip; shorter clips are left out.")] = None,
    size: Annotated[str | None, Option(metavar="HxW", help="Size; smaller clips are left out.")] = None,
    split: Annotated[str | None, Option(help="Split to take: train, validation, test or all.")] = None,
    storage: Annotated[
        str, Option(help="Coding: exact (lossless H.264 in RGB) or compact (what browsers play).")
    ] = "exact",
    alpha: Annotated[str, Option(help="Colour beside an alpha, in exr: straight or premultiplied.")] = "straight",
) -> None:
    """Write a corpus in the layout of a trainer or a program.

    Formats: gen-omnimatte, void, videox-fun, diffsynth-vace, ltx, finetrainers, musubi, simpletuner, videofolder,
    webdataset, lerobot, exr.

    Clips that do not fit are left out and counted, with the reason. After an interruption the same command goes on
    where it was, to the same bytes.
    """
    from ..datasets.corpus.reader import open_corpus
    from ..datasets.exports.engine import export_corpus
    from ..datasets.exports.fitting import check_settings
    from ..datasets.exports.formats import find_format
    from ..datasets.exports.settings import ExportSettings
    from ..settings import apply_override, settings_from

    values: dict[str, Any] = {"direction": direction, "storage": storage, "alpha": alpha}
    optional = {"caption": caption, "fps": fps, "frames": frames, "split": split}
    values |= {name: value for name, value in optional.items() if value is not None}
    if re.match(r"[a-z0-9]+:/", str(out_dir)):
        raise typer.BadParameter(
            f"--out {out_dir} is a URL; exports are written into a folder, from which they are copied"
        )
    with usage_errors():
        if size is not None:
            apply_override(values, f"size={size}")
        settings = settings_from(ExportSettings, values)
        chosen_format = find_format(layout)
        check_settings(chosen_format.fit, settings)
    with progress_bar() as show:
        summary = export_corpus(open_corpus(corpus), chosen_format, settings, out_dir, step=partial(show, "export"))
    for reason, count in list(summary.left_out.items())[:REASONS_SHOWN]:
        out.print(f"  left out {count}: {reason}", markup=False)
    if hidden := list(summary.left_out.values())[REASONS_SHOWN:]:
        out.print(f"  left out {sum(hidden)}: {len(hidden)} more reasons, in effectpairs-export.json", markup=False)
    if summary.captions_of_gt:
        out.print(
            f"  {summary.captions_of_gt} captions describe gt, with the effect that the target lacks; for other words: "
            "--caption none, or text:WORDS",
            markup=False,
        )
    left_out = sum(summary.left_out.values())
    out.print(
        f"{out_dir}: {summary.exported} of {summary.exported + left_out} clips, {summary.frames} frames, for "
        f"{chosen_format.reader}",
        style="bold",
        markup=False,
    )
    out.print(f"use: {summary.usage}", markup=False)
