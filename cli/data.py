"""Commands that make data: run, publish, pair, render, demo, and serve. Heavy modules are imported where needed."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from .console import (
    CorpusPlace,
    EngineAddress,
    EngineOption,
    NoPrefect,
    SettingOverrides,
    WorkerCount,
    Workspace,
    choose_engine,
    err,
    key_folder,
    out,
    prepare_prefect,
    progress_bar,
    read_prompts_of_options,
    usage_errors,
    write_gallery,
)
from .machine import make_renderers
from .workspace import ClipPatterns, ItemLimit, OnlyStages, open_runs, print_some

if TYPE_CHECKING:
    from ..datasets.store.ledger import RunSummary
    from ..flows.engine.run import Run
    from ..flows.engine.workers import Engine

commands = typer.Typer()
Points = Annotated[list[str] | None, Option(metavar="X,Y[@FRAME]", help="Point on the subject; repeatable.")]


@commands.command(epilog="Example: effectpairs run davis --set root=/data/davis --workspace work")
def run(
    source: Annotated[list[str], Argument(metavar="SOURCE...", help="Names of sources, or settings files.")],
    workspace: Workspace = "workspace",
    overrides: SettingOverrides = None,
    workers: WorkerCount = 0,
    no_prefect: NoPrefect = False,
    engine: EngineOption = "local",
    engine_address: EngineAddress = "",
    only: OnlyStages = None,
    clips: ClipPatterns = None,
    limit: ItemLimit = 0,
) -> None:
    """Take every clip of a source through every stage. Running again goes on where it was."""
    from ..flows.engine.selection import Selection
    from ..flows.sources import load_any

    chosen_engine = choose_engine(engine, engine_address, no_prefect)
    selection = Selection(stages=tuple(only or ()), clips=tuple(clips or ()), limit=limit)
    with usage_errors():
        settings = [load_any(name, overrides or ()) for name in source]
    runs = open_runs(settings, workspace, workers, selection)
    for source_run in runs:  # what any of them lacks is said before the first begins
        if not engine_address:
            source_run.check_requirements()
    summaries = [_run_source(source_run, chosen_engine) for source_run in runs]
    stopped = [source_run.stop_reason for source_run in runs if source_run.stop_reason]
    if stopped:
        err.print(f"error: {stopped[0]}", style="red", markup=False)
    if stopped or any(summary.inputs == summary.failed for summary in summaries):
        raise typer.Exit(1)


@commands.command(epilog="Example: effectpairs publish corpus --workspace work --include accept,review")
def publish(
    corpus: CorpusPlace,
    workspace: Workspace = "workspace",
    storage: Annotated[
        str, Option(help="Coding: exact; fast, raw (exact too, but larger, much larger); compact (visually lossless).")
    ] = "exact",
    include: Annotated[str, Option(help="Verdicts to include: accept, review, reject, with commas.")] = "accept",
    validation: Annotated[float, Option(help="Share of groups that go to the validation split.")] = 0.05,
    test: Annotated[float, Option(help="Share of groups that go to the test split.")] = 0.05,
    benchmark: Annotated[
        list[Path] | None, Option(help="Benchmark whose clips, and their like, stay out of training; repeatable.")
    ] = None,
    name: Annotated[str | None, Option(help="Title of the data card; the corpus's folder if not given.")] = None,
    licence_allow: Annotated[
        str, Option(metavar="LICENCE,...", help="Licences to take: SPDX, patterns, or commercial; all if not given.")
    ] = "",
    duplicates: Annotated[
        str, Option(help="Clips of the same footage: group, drop (the rarer copy) or ignore.")
    ] = "group",
    url: Annotated[str, Option(help="Address of the corpus, for croissant.json.")] = "",
    creator: Annotated[str, Option(help="Who publishes it, for croissant.json.")] = "",
    date: Annotated[str, Option(help="Day of publication, YYYY-MM-DD; that of its first publishing.")] = "",
    no_prefect: NoPrefect = False,
    engine: EngineOption = "local",
    engine_address: EngineAddress = "",
) -> None:
    """Publish the finished pairs of a workspace as a corpus. Its corpus.json is written last."""
    from ..datasets.corpus.publish import first_day
    from ..datasets.corpus.selection import PublishSettings
    from ..datasets.store.location import Location
    from ..settings import settings_from

    chosen_engine = choose_engine(engine, engine_address, no_prefect)
    values: dict[str, Any] = {
        "storage": storage,
        "include": include.split(","),
        "validation_share": validation,
        "test_share": test,
    }
    values |= {"duplicates": duplicates, "url": url, "creator": creator}
    values["date_published"] = date or first_day(Location.of(corpus))
    values |= {"licence_allow": [part.strip() for part in licence_allow.split(",") if part.strip()]}
    with usage_errors():
        if benchmark:
            from ..training.benchmark.pinned import read_benchmark

            values["held_out"] = sorted({word for place in benchmark for word in read_benchmark(place).held_out})
        settings = settings_from(PublishSettings, values)
    _publish(corpus, workspace, settings, name, chosen_engine)


@commands.command(epilog="Example: effectpairs pair clip.mp4 --subject-mask mask.mp4 --size 384x672 --out pair")
def pair(
    video: Annotated[Path, Argument(help="Video file or folder of images.")],
    subject_mask: Annotated[Path | None, Option(help="Subject masks: a video or a folder, one mask a frame.")] = None,
    key: Annotated[list[str] | None, Option(metavar="FRAME=MASK.png", help="Mask of one frame.")] = None,
    point: Points = None,
    not_point: Annotated[list[str] | None, Option(metavar="X,Y[@FRAME]", help="Point beside it; repeatable.")] = None,
    box: Annotated[list[str] | None, Option(metavar="X,Y,W,H[@FRAME]", help="Box around it; repeatable.")] = None,
    text: Annotated[str, Option(metavar="NOUN", help="Noun for the subject, e.g. camel: by sam3.")] = "",
    at: Annotated[int, Option(min=0, help="Frame of points and boxes that name none, counted from 0.")] = 0,
    segmenter: Annotated[
        str | None, Option(help="Backend: provided, propagate, sam2 or sam3; by default what suits.")
    ] = None,
    mask_meaning: Annotated[
        str | None, Option(help="Values of the masks: subject (in white), quadmask, trimask or inverted.")
    ] = None,
    other_mask: Annotated[
        list[Path] | None, Option(help="Masks of another subject, which stays in the background; repeatable.")
    ] = None,
    background: Annotated[
        Path | None, Option(help="Clean plate made by another tool: a video or folder, of any size.")
    ] = None,
    foreground: Annotated[Path | None, Option(help="Subject with its effects, by that tool.")] = None,
    alpha: Annotated[Path | None, Option(help="Matte of --foreground; images may hold it as their alpha.")] = None,
    size: Annotated[str, Option(metavar="HxW", help="Size of the clip.")] = "384x672",
    clip: Annotated[int, Option(min=0, help="Number of the clip in the video, counted from 0.")] = 0,
    overrides: SettingOverrides = None,
    out_dir: Annotated[Path, Option("--out", help="Folder for the layers and pair.json.")] = Path("pair"),
) -> None:
    """Make one pair of one video, here and now. Writes layers as lossless .mkv, numbers and verdict as pair.json."""
    from ..datasets.sources.source import load_source
    from ..flows.footage.single_pair import PairRequest, make_pair
    from ..flows.footage.source import RealSource

    prompts = read_prompts_of_options(point or [], not_point or [], box or [], text, at)
    if bool(subject_mask) == bool(key or not prompts.is_empty):
        options = "--subject-mask alone, or some of --key, --box, --point and --text"
        raise typer.BadParameter(f"say where the subject is: {options}")
    kind = segmenter or ("provided" if subject_mask else "sam3" if text else "sam2" if point else "propagate")
    decompose = "external" if background else "plate"
    meaning = [f"mask_meaning={mask_meaning}"] if mask_meaning else []
    changes = [f"normalise.size={size}", f"subject.kind={kind}", f"decompose.kind={decompose}", *meaning]
    changes += overrides or ()
    with usage_errors():
        settings = load_source("videos", ["root=.", *changes], into=RealSource)
    with key_folder(key or []) as keys, err.status("making the pair"):
        request = PairRequest(
            video=video,
            masks=subject_mask,
            keys=keys,
            prompts=prompts,
            background=background,
            foreground=foreground,
            alpha=alpha,
            other_masks=tuple(other_mask or ()),
            clip=clip,
        )
        verdict, (first, last) = make_pair(request, settings, out_dir)
    out.print(f"{verdict.verdict}: {'; '.join(verdict.reasons)}", markup=False)
    out.print(f"made of frames {first} to {last}; layers and pair.json are in {out_dir}", markup=False)


@commands.command(
    epilog="Example: effectpairs render --example scene.json; effectpairs render scene.json --frame 10 --samples 4"
)
def render(
    scene: Annotated[Path, Argument(metavar="SCENE.json", help="Description of the scene.")],
    frame: Annotated[int | None, Option(min=0, help="Render this frame alone, as .png: a preview in seconds.")] = None,
    samples: Annotated[int | None, Option(min=1, help="Rays per pixel; the scene's own if not given.")] = None,
    size: Annotated[str | None, Option(metavar="HxW", help="Size of the video; the scene's own if not given.")] = None,
    overrides: SettingOverrides = None,
    example: Annotated[bool, Option("--example", help="Write a scene to start from to SCENE.json.")] = False,
    out_dir: Annotated[Path, Option("--out", help="Folder for the layers and sheet.png.")] = Path("render"),
) -> None:
    """Render one scene with Blender. Writes all layers and masks of a frame or the whole clip, and a contact sheet."""
    from ..flows.scenes import single_scene
    from ..flows.scenes.source import SceneSource

    if example:
        single_scene.write_example(scene)
        out.print(f"wrote {scene}; look at it with: effectpairs render {scene} --frame 10 --samples 4", markup=False)
        return
    changed_scene = single_scene.read_changed_scene(
        scene, [*(overrides or ()), *single_scene.option_overrides(samples, size)]
    )
    settings = SceneSource(name="scene", scenes=str(scene))  # its defaults decide masks and verdicts
    with progress_bar() as show:
        if frame is None:
            rendered_clip = single_scene.render_clip(changed_scene, out_dir, settings, show)
        else:
            rendered_clip = single_scene.render_preview(changed_scene, frame, out_dir, settings, show)
    for variant, verdict in rendered_clip.verdicts.items():
        out.print(f"{variant}: {verdict.verdict}: {'; '.join(verdict.reasons)}", markup=False)
    for variant, reason in rendered_clip.refused.items():
        out.print(f"{variant}: fail: {reason}", markup=False)
    out.print(f"layers are in {out_dir}; look at {rendered_clip.sheet}", markup=False)
    if not rendered_clip.verdicts:
        raise typer.Exit(1)


@commands.command(epilog="Example: effectpairs serve; then: prefect deployment run real-pairs/davis")
def serve(
    source: Annotated[
        list[str] | None, Argument(metavar="[SOURCE...]", help="Sources to serve; all if not given.")
    ] = None,
    workspace: Workspace = "workspace",
    corpus: Annotated[str, Option(help="Folder or URL that corpus/publish writes to.")] = "corpus",
) -> None:
    """Serve all sources as deployments of a Prefect server. PREFECT_API_URL names the server."""
    prepare_prefect(quiet=False)
    from ..datasets.store.location import Location
    from ..flows.deployments import serve_all

    serve_all(source or [], Location.of(workspace).url, Location.of(corpus).url)


@commands.command(epilog="Example: effectpairs demo --workspace demo/workspace --corpus demo/corpus")
def demo(
    workspace: Workspace = "demo/workspace",
    corpus: Annotated[Path, Option(help="Folder of the corpus.")] = Path("demo/corpus"),
    no_prefect: NoPrefect = False,
) -> None:
    """Make a small corpus and its gallery, start to end. It holds a real clip and rendered scenes and takes minutes.

    Blender's environment and Kubric are made first, where they are missing: 1 GB in the user's data folder.
    """
    from ..datasets.corpus.selection import PublishSettings
    from ..flows.footage.demo import CREDIT, lay_out_footage
    from ..flows.sources import load_any, open_run

    out.print(CREDIT, markup=False)
    make_renderers()
    chosen_engine = choose_engine("local", "", no_prefect)
    settings = [load_any("demo", [f"root={lay_out_footage(workspace)}"]), load_any("demo-scenes")]
    summaries = [_run_source(open_run(source_settings, workspace), chosen_engine) for source_settings in settings]
    if any(summary.inputs == summary.failed for summary in summaries):
        raise typer.Exit(1)
    # One video is one group, one scene another: with shares for the other splits some might have none.
    publishing = PublishSettings(include=("accept", "review"), validation_share=0, test_share=0)
    _publish(str(corpus), workspace, publishing, "effectpairs demo", chosen_engine)
    out.print(f"gallery: {write_gallery(str(corpus), None)}", markup=False)


def _run_source(source_run: "Run", engine: "Engine | None") -> "RunSummary":
    from ..datasets.store.ledger import RunSummary, iter_ledger
    from ..flows.engine.local_runner import run_locally

    settings = source_run.source
    is_done = source_run.check_done()
    if not is_done:
        from ..flows.engine.plan import plan_run

        out.print(str(plan_run(source_run)), markup=False)
    if engine is None or is_done:
        # With nothing left to do there is nothing to schedule: no server is started to say so.
        with progress_bar() as show:
            summary = run_locally(source_run, show)
    else:
        prepare_prefect(quiet=True)
        from ..flows.prefect_runner import run_in_flow, run_with_prefect

        with progress_bar() as show:
            values = run_in_flow(settings.flow, settings.name, partial(run_with_prefect, source_run, show, engine))
        summary = RunSummary(**values)
    for _, clip in iter_ledger(source_run.workspace, summary.source):
        if clip.outcome not in ("accept", "pending"):
            out.print(f"  {clip.outcome} {clip.name}: {'; '.join(clip.reasons)}", markup=False)
    out.print(str(summary), style="bold", markup=False)
    return summary


def _publish(corpus: str, workspace: str, settings: Any, name: str | None, engine: "Engine | None") -> None:
    from ..datasets.corpus.reader import open_corpus
    from ..untrusted_input import printable

    with progress_bar() as show:
        if engine is None:
            from ..flows.engine.local_runner import publish_locally

            counts = publish_locally(corpus, workspace, settings, name, show)
        else:
            prepare_prefect(quiet=True)
            from ..flows.corpus import publish_with_prefect
            from ..flows.prefect_runner import run_in_flow

            body = partial(publish_with_prefect, corpus, workspace, settings, name, show, engine)
            counts = run_in_flow("corpus", Path(corpus).name, body)
    manifest = open_corpus(corpus).manifest
    left_out, near_duplicates = manifest["left_out"], manifest["left_out"]["near_duplicates"]
    for licence, count in left_out["by_licence"].items():
        out.print(printable(f"  {count} left out: licence {licence}"), markup=False)
    fates = ((pair, f"{pair['dropped']} left out" if pair["dropped"] else "one group") for pair in near_duplicates)
    print_some([f"  same footage, {fate}: {', '.join(pair['clips'])}" for pair, fate in fates])
    for warning in manifest["licence_warnings"]:
        err.print(printable(f"warning: {warning}"), style="yellow", markup=False)
    out.print(f"{corpus}: {counts['clips']} clips, {counts['seconds']:g} s", style="bold", markup=False)
