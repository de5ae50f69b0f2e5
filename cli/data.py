"""The command `effectpairs`: thin words over the flows. Heavy modules are imported by the command that needs them."""

import sys
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import (
    any_settings,
    bar,
    err,
    four,
    gallery,
    key_folder,
    out,
    prepare_prefect,
    sentence,
    settings_of,
)
from .models import models

if TYPE_CHECKING:
    from ..datasets.store.ledger import RunSummary
    from ..flows.sources import AnySource

app = typer.Typer(
    name="effectpairs",
    help="Paired effect datasets: video with its shadow, splash, dust or smoke, and the same video without it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(models)
Workspace = Annotated[Path, typer.Option(help="Where stage results live; a later run goes on there.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting.")]
Direct = Annotated[bool, typer.Option("--direct", help="Without Prefect: the same steps, the same result.")]
WorkerCount = Annotated[int, typer.Option("--workers", min=0, help="Worker processes; 0: what the machine carries.")]


def main() -> None:
    """Run the command line: 0 on success, 2 for wrong usage, else 1 and one sentence on standard error."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(args=arguments, standalone_mode=True)
    except KeyboardInterrupt:
        err.print("stopped; run the same command again to go on")
        sys.exit(130)
    except Exception as problem:
        if debug:
            traceback.print_exc()
        err.print(f"error: {sentence(problem)}", style="red", markup=False)
        sys.exit(1)


@app.command(epilog="Example: effectpairs run davis --set root=/data/davis --workspace work")
def run(
    source: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Names of sources, or settings files.")],
    workspace: Workspace = Path("workspace"),
    overrides: Overrides = None,
    workers: WorkerCount = 0,
    direct: Direct = False,
) -> None:
    """Take every clip of a source through every stage; running again goes on where it was."""
    settings = [(name, any_settings(name, overrides)) for name in source]
    accounts = [_run_source(name, found, workspace, overrides, workers, direct) for name, found in settings]
    if any(account.inputs == account.failed for account in accounts):
        raise typer.Exit(1)


@app.command(epilog="Example: effectpairs publish corpus --workspace work --include accept,review")
def publish(
    corpus: Annotated[str, typer.Argument(help="Folder or fsspec URL of the corpus.")],
    workspace: Workspace = Path("workspace"),
    storage: Annotated[str, typer.Option(help="exact (every bit) or compact (visually lossless).")] = "exact",
    include: Annotated[str, typer.Option(help="Verdicts that get in, with commas.")] = "accept",
    validation: Annotated[float, typer.Option(help="Share of groups in the validation split.")] = 0.05,
    test: Annotated[float, typer.Option(help="Share of groups in the test split.")] = 0.05,
    name: Annotated[str | None, typer.Option(help="Title of the data card.")] = None,
    direct: Direct = False,
) -> None:
    """Publish the finished pairs of a workspace as a corpus; `corpus.json` comes last."""
    from pydantic import TypeAdapter, ValidationError

    from ..datasets.corpus.publish import PublishSettings

    given = {"storage": storage, "include": include.split(","), "validation_share": validation, "test_share": test}
    try:
        settings = TypeAdapter(PublishSettings).validate_python(given)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        raise typer.BadParameter(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from wrong
    _publish(corpus, workspace, settings, name, direct)


@app.command(epilog="Example: effectpairs pair clip.mp4 --subject-mask mask.mp4 --size 384x672 --out pair")
def pair(
    video: Annotated[Path, typer.Argument(help="A video file or a folder of images.")],
    subject_mask: Annotated[Path | None, typer.Option(help="Mask video or folder, one mask a frame.")] = None,
    key: Annotated[list[str] | None, typer.Option(metavar="FRAME=MASK.png", help="Mask of a key frame.")] = None,
    box: Annotated[str | None, typer.Option(metavar="X,Y,W,H", help="Box around the subject; a draft.")] = None,
    at: Annotated[int, typer.Option(help="Frame of the box.")] = 0,
    background: Annotated[Path | None, typer.Option(help="Clean plate that another tool made.")] = None,
    size: Annotated[str, typer.Option(metavar="HxW", help="Size of the clip.")] = "384x672",
    clip: Annotated[int, typer.Option(min=0, help="Which clip of the video, from 0.")] = 0,
    overrides: Overrides = None,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the layers and pair.json.")] = Path("pair"),
) -> None:
    """Make one pair here and now: every layer as a lossless .mkv, numbers and verdict in pair.json."""
    from ..flows.footage.single_pair import PairRequest, make_pair

    ways = [way for way in (subject_mask, key, box) if way]
    if len(ways) != 1:
        raise typer.BadParameter("say where the subject is, in one way: --subject-mask, --key or --box")
    kind = "provided" if subject_mask else "propagate"
    decompose = "external" if background else "plate"
    changes = [f"normalise.size={size}", f"subject.kind={kind}", f"decompose.kind={decompose}", *(overrides or ())]
    settings = settings_of("videos", ["root=.", *changes])
    with key_folder(key or []) as keys, err.status("making the pair"):
        request = PairRequest(
            video=video,
            masks=subject_mask,
            keys=keys,
            box=four(box) if box else None,
            box_frame=at,
            background=background,
            clip=clip,
        )
        verdict, (first, last) = make_pair(request, settings, out_dir)
    out.print(f"{verdict.verdict}: {'; '.join(verdict.reasons)}", markup=False)
    out.print(f"made of frames {first} to {last}; layers and pair.json are in {out_dir}", markup=False)


@app.command(
    epilog="Example: effectpairs render --example scene.json; effectpairs render scene.json --frame 10 --samples 4"
)
def render(
    scene: Annotated[Path, typer.Argument(metavar="SCENE.json", help="A scene's description.")],
    frame: Annotated[int | None, typer.Option(min=0, help="Only this frame, as .png: a preview in seconds.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Rays a pixel, instead of the scene's.")] = None,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Size, instead of the scene's.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override anything of the scene.")
    ] = None,
    example: Annotated[bool, typer.Option("--example", help="Write a scene to start from to SCENE.json.")] = False,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the layers and sheet.png.")] = Path("render"),
) -> None:
    """Draw one scene with Blender: every pass and mask of a frame, or of the whole clip, and a contact sheet."""
    from ..flows.scenes import single_scene as render_one

    if example:
        render_one.write_example(scene)
        out.print(f"wrote {scene}; look at it with: effectpairs render {scene} --frame 10 --samples 4", markup=False)
        return
    described = render_one.read_changed_scene(scene, [*(overrides or ()), *render_one.option_overrides(samples, size)])
    settings = render_one.settings_for(scene)
    with bar() as show:
        if frame is None:
            made = render_one.render_clip(described, out_dir, settings, show)
        else:
            made = render_one.render_preview(described, frame, out_dir, settings, show)
    for variant, verdict in made.verdicts.items():
        out.print(f"{variant}: {verdict.verdict}: {'; '.join(verdict.reasons)}", markup=False)
    for variant, reason in made.refused.items():
        out.print(f"{variant}: fail: {reason}", markup=False)
    out.print(f"layers are in {out_dir}; look at {made.sheet}", markup=False)
    if not made.verdicts:
        raise typer.Exit(1)


@app.command(epilog="Example: effectpairs serve; then: prefect deployment run real-pairs/davis")
def serve(
    source: Annotated[list[str] | None, typer.Argument(metavar="[SOURCE...]", help="Which; all if none.")] = None,
    workspace: Workspace = Path("workspace"),
    corpus: Annotated[str, typer.Option(help="Where corpus/publish writes.")] = "corpus",
) -> None:
    """Serve a deployment for every source, and corpus/publish, to the Prefect server of PREFECT_API_URL."""
    prepare_prefect(quiet=False)
    from ..flows.deployments import serve_all

    serve_all(source or [], str(workspace.resolve()), corpus if "://" in corpus else str(Path(corpus).resolve()))


@app.command(epilog="Example: effectpairs inspect corpus --json | jq .counts")
def inspect(
    corpus: Annotated[str, typer.Argument(help="Folder or fsspec URL of the corpus.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Print a corpus's clips as a table, and its statistics; no video is read."""
    from .. import open as open_corpus
    from ..datasets.gallery.tables import as_tables, as_values

    found = open_corpus(corpus)
    if as_json:
        import json

        print(json.dumps(as_values(found), indent=1, allow_nan=False))
    else:
        for table in as_tables(found):
            out.print(table)


@app.command(epilog="Example: effectpairs verify corpus")
def verify(corpus: Annotated[str, typer.Argument(help="Folder or fsspec URL of the corpus.")]) -> None:
    """Read every byte and decode every video; name the first thing wrong in each file."""
    from .. import open as open_corpus
    from ..datasets.corpus.verify import verify as check

    found = open_corpus(corpus)
    files = [*found.manifest["files"], found.manifest["account"]["clips"]]
    with bar() as show:
        done = iter(range(1, len(files) + 1))
        faults = check(found, step=lambda _: show("verify", next(done), len(files)))
    for fault in faults:
        err.print(str(fault), style="red", markup=False)
    if faults:
        raise typer.Exit(1)
    out.print(f"{corpus}: {len(files)} files, {len(found)} clips, every byte and every video is as published")


@app.command(epilog="Example: effectpairs report corpus --out gallery")
def report(
    corpus: Annotated[str, typer.Argument(help="Folder or fsspec URL of the corpus.")],
    out_dir: Annotated[Path | None, typer.Option("--out", help="Folder for the gallery.")] = None,
) -> None:
    """Write a self-contained static gallery of a corpus: index.html."""
    out.print(f"gallery: {gallery(corpus, out_dir)}", markup=False)


@app.command(epilog="Example: effectpairs demo --workspace demo/workspace --corpus demo/corpus")
def demo(
    workspace: Workspace = Path("demo/workspace"),
    corpus: Annotated[Path, typer.Option(help="Folder of the corpus.")] = Path("demo/corpus"),
    direct: Direct = False,
) -> None:
    """Do the main job on a real clip and on rendered scenes: from there to a corpus, and a gallery to look at."""
    from ..datasets.corpus.publish import PublishSettings
    from ..flows.footage.demo import CREDIT, lay_out_footage

    out.print(CREDIT, markup=False)
    overrides = [f"root={lay_out_footage(workspace)}"]
    accounts = [
        _run_source("demo", any_settings("demo", overrides), workspace, overrides, 0, direct),
        _run_source("demo-scenes", any_settings("demo-scenes", []), workspace, [], 0, direct),
    ]
    if any(account.inputs == account.failed for account in accounts):
        raise typer.Exit(1)
    # One video is one group, one scene another: with shares for the other splits some might have none.
    settings = PublishSettings(include=("accept", "review"), validation_share=0, test_share=0)
    _publish(str(corpus), workspace, settings, "effectpairs demo", direct)
    out.print(f"gallery: {gallery(str(corpus), None)}", markup=False)


def _run_source(
    name: str, settings: "AnySource", workspace: Path, overrides: list[str] | None, workers: int, direct: bool
) -> "RunSummary":
    from ..datasets.store.ledger import RunSummary, read_ledger
    from ..flows.engine.local_runner import run_locally
    from ..flows.sources import open_run

    source_run = open_run(settings, workspace, workers)
    if direct or source_run.is_done:
        # With nothing left to do there is nothing to schedule: no server is started to say so.
        with bar() as show:
            summary = run_locally(source_run, show)
    else:
        prepare_prefect(quiet=True)
        from ..flows.prefect_runner import run_in_flow, run_with_prefect

        with bar() as show:
            values = run_in_flow(settings.flow, Path(name).stem, partial(run_with_prefect, source_run, show))
        summary = RunSummary(**values)
    for clip in read_ledger(workspace, summary.source):
        if clip.outcome != "accept":
            out.print(f"  {clip.outcome} {clip.name}: {'; '.join(clip.reasons)}", markup=False)
    out.print(str(summary), style="bold", markup=False)
    return summary


def _publish(corpus: str, workspace: Path, settings: Any, name: str | None, direct: bool) -> None:
    with bar() as show:
        if direct:
            from ..flows.engine.local_runner import publish_locally

            counts = publish_locally(corpus, workspace, settings, name, show)
        else:
            prepare_prefect(quiet=True)
            from ..flows.corpus import publish_with_prefect
            from ..flows.prefect_runner import run_in_flow

            body = partial(publish_with_prefect, corpus, workspace, settings, name, show)
            counts = run_in_flow("corpus", Path(corpus).name, body)
    out.print(f"{corpus}: {counts['clips']} clips, {counts['seconds']:g} s", style="bold", markup=False)
