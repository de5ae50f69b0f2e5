"""Commands on a published corpus: inspect, verify, report, review, caption, push."""

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

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
from .workspace import inspect_workspace, verify_workspace_command

commands = typer.Typer()


MaybeCorpus = Annotated[str | None, Argument(metavar="[CORPUS]", help="Folder or fsspec URL of the corpus.")]
WorkspaceInstead = Annotated[str | None, Option("--workspace", help="Look at this workspace instead of a corpus.")]


@commands.command(
    epilog="Example: effectpairs inspect corpus --json | jq .counts; effectpairs inspect --workspace workspace"
)
def inspect(
    corpus: MaybeCorpus = None,
    workspace: WorkspaceInstead = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Print a corpus as tables, or the disk use of a workspace. No video is read."""
    if _only_one(corpus, workspace) is None:
        inspect_workspace(str(workspace), as_json)
        return
    from ..datasets.corpus.reader import open_corpus
    from ..datasets.gallery.tables import as_tables, as_values

    published = open_corpus(str(corpus))
    if as_json:
        values = as_values(published)
        clips = values.pop("clips")
        # A line a clip: with an indent of its own in each, 100,000 of them take a minute.
        print(f'{json.dumps(values, indent=1, allow_nan=False)[:-2]},\n "clips": [')
        print(",\n".join(f"  {json.dumps(clip, allow_nan=False)}" for clip in clips) + "\n ]\n}")
        return
    for table in as_tables(published):
        out.print(table)


@commands.command(epilog="Example: effectpairs verify corpus; effectpairs verify --workspace workspace")
def verify(corpus: MaybeCorpus = None, workspace: WorkspaceInstead = None) -> None:
    """Check every byte of a corpus or a workspace. Names the first thing wrong in each file.

    A damaged result of a workspace counts as not there from then on, so that running its source re-makes it.
    """
    if _only_one(corpus, workspace) is None:
        verify_workspace_command(str(workspace))
        return
    from ..datasets.corpus.publish import listed_files
    from ..datasets.corpus.reader import open_corpus
    from ..datasets.corpus.verify import verify as verify_corpus

    published = open_corpus(str(corpus))
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


@commands.command(
    epilog="Example: effectpairs review workspace; effectpairs review corpus --merge from-ana/decisions.jsonl"
)
def review(
    place: Annotated[str, Argument(metavar="CORPUS|WORKSPACE", help="Folder of a corpus or of a workspace.")],
    port: Annotated[int, Option(min=0, max=65535, help="Port to listen on; 0 for a free one.")] = 0,
    host: Annotated[str, Option(help="Address to listen on; by default only this machine can connect.")] = "127.0.0.1",
    merge: Annotated[list[Path] | None, Option(help="Take in this file of decisions, and end; repeatable.")] = None,
) -> None:
    """Serve a page on which people accept and reject clips. Their decisions are honoured by publish.

    They lie in decisions.jsonl in the corpus or workspace. Several people may use the page at once; Ctrl-C ends it.
    """
    from ..datasets.review.clips import open_place
    from ..datasets.review.server import serve
    from ..datasets.store.decision_log import merge_files

    if merge:
        count = merge_files(merge, open_place(place).folder)
        out.print(f"{place}: {count} decisions are new", style="bold", markup=False)
        return
    serve(place, host=host, port=port, announce=lambda url: out.print(f"review: {url}", markup=False))


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


@commands.command(epilog="Example: effectpairs push corpus OWNER/NAME --dry-run; effectpairs push corpus OWNER/NAME")
def push(
    corpus: CorpusPlace,
    repository: Annotated[str, Argument(metavar="OWNER/NAME", help="Data set repository of the hub.")],
    private: Annotated[bool, Option("--private", help="Make a new repository private.")] = False,
    endpoint: Annotated[str | None, Option(help="Address of the hub; HF_ENDPOINT or Hugging Face's if none.")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
) -> None:
    """Push a corpus to a Hugging Face hub. What is there already is not sent again; corpus.json comes last.

    The token is that of `hf auth login` or HF_TOKEN.
    """
    from ..datasets.corpus.hub import plan_push
    from ..datasets.corpus.hub import push as push_corpus
    from ..datasets.corpus.reader import open_corpus
    from ..flows.engine.plan import format_bytes

    published = open_corpus(corpus)
    plan = plan_push(published, repository, endpoint)
    place = f"{plan.endpoint}/datasets/{plan.repository}"
    for note in plan.notes:
        err.print(f"note: {note}", markup=False)
    parts = f"{len(plan.shards) + len(plan.documents)} files, {format_bytes(plan.size_bytes)}"
    parts += f", {len(plan.stale)} old ones go" * bool(plan.stale) + ", in a new repository" * plan.is_new
    if dry_run:
        for path in (*plan.shards, *plan.documents):
            out.print(f"  send {path}", markup=False)
        for path in plan.stale:
            out.print(f"  take away {path}", markup=False)
        out.print(f"would push {parts} to {place}", style="bold", markup=False)
        return
    with progress_bar() as show:
        push_corpus(published, plan, private=private, step=lambda done, total: show("push", done, total))
    out.print(f"pushed {parts} to {place}", style="bold", markup=False)


def _only_one(corpus: str | None, workspace: str | None) -> str | None:
    """Check that one of both is named; return the corpus, or None for the workspace."""
    if (corpus is None) == (workspace is None):
        raise typer.BadParameter("name a corpus, or a workspace by --workspace")
    return corpus
