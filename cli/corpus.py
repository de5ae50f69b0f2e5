"""Commands on a published corpus: inspect, verify, report, caption."""

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from .console import (
    CorpusPlace,
    SettingOverrides,
    WorkerCount,
    Workspace,
    err,
    out,
    progress_bar,
    usage_errors,
    write_gallery,
)

commands = typer.Typer()


@commands.command(epilog="Example: effectpairs inspect corpus --json | jq .counts")
def inspect(
    corpus: CorpusPlace,
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Print the clips and the statistics of a corpus as tables. No video is read."""
    from ..datasets.corpus.reader import open_corpus
    from ..datasets.gallery.tables import as_tables, as_values

    published = open_corpus(corpus)
    if as_json:
        print(json.dumps(as_values(published), indent=1, allow_nan=False))
        return
    for table in as_tables(published):
        out.print(table)


@commands.command(epilog="Example: effectpairs verify corpus")
def verify(corpus: CorpusPlace) -> None:
    """Check every byte and every video of a corpus. Names the first thing wrong in each file."""
    from ..datasets.corpus.publish import listed_files
    from ..datasets.corpus.reader import open_corpus
    from ..datasets.corpus.verify import verify as verify_corpus

    published = open_corpus(corpus)
    files = listed_files(published.manifest)
    with progress_bar() as show:
        numbers = iter(range(1, len(files) + 1))
        problems = verify_corpus(published, step=lambda _: show("verify", next(numbers), len(files)))
    for problem in problems:
        err.print(str(problem), style="red", markup=False)
    if problems:
        raise typer.Exit(1)
    out.print(f"{corpus}: {len(files)} files, {len(published)} clips, every byte and every video is as published")


@commands.command(epilog="Example: effectpairs report corpus --out gallery")
def report(
    corpus: CorpusPlace,
    out_dir: Annotated[Path | None, Option("--out", help="Folder for the gallery; beside the corpus if none.")] = None,
) -> None:
    """Write a static gallery of a corpus. Its index.html needs no server and no network."""
    out.print(f"gallery: {write_gallery(corpus, out_dir)}", markup=False)


@commands.command(epilog="Example: effectpairs caption corpus --set caption.kind=openai --set caption.model=NAME")
def caption(
    corpus: CorpusPlace,
    overrides: SettingOverrides = None,
    workspace: Workspace = "workspace",
    out_place: Annotated[str | None, Option("--out", help="Where to publish; in place if not given.")] = None,
    workers: WorkerCount = 0,
) -> None:
    """Caption the clips of a published corpus anew. Their videos stay, byte for byte; corpus.json is written last."""
    from ..flows.captions.corpus_captions import caption_corpus
    from ..flows.captions.stages import Captioning
    from ..settings import settings_from

    with usage_errors():
        settings = settings_from(Captioning, overrides or ())
    with progress_bar() as show:
        summary, failures = caption_corpus(
            corpus, workspace, settings, out=out_place, workers=workers, report_progress=show
        )
    for failure in failures:
        out.print(f"  no caption {failure.item}: {failure.reason}", markup=False)
    captioned = summary.inputs - len(failures)
    out.print(f"{out_place or corpus}: {captioned} of {summary.inputs} clips captioned", style="bold", markup=False)
    if failures and not captioned:
        raise typer.Exit(1)
