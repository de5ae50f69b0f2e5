"""Commands on a workspace: plan, purge, gc, and the workspace's share of inspect and verify."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from .console import SettingOverrides, WorkerCount, Workspace, err, out, progress_bar, usage_errors

if TYPE_CHECKING:
    from ..flows.engine.plan import RunPlan

commands = typer.Typer()
OnlyStages = Annotated[list[str] | None, Option("--only", metavar="STAGE", help="Run this stage alone; repeatable.")]
ClipPatterns = Annotated[
    list[str] | None, Option("--clips", metavar="PATTERN", help="Ids or names of clips to take, e.g. 'bear*'.")
]
ItemLimit = Annotated[int, Option("--limit", min=0, help="Videos, scenes or captions to take; 0 for all.")]
Yes = Annotated[bool, Option("--yes", help="Do it; without, what would go is listed.")]
LISTED = 20
"""Clips or results of a kind that are listed by name."""


def open_runs(settings: list[Any], workspace: str, workers: int, selection: Any) -> list[Any]:
    """Open a run for each source; to name a stage that one of them does not have is wrong usage."""
    from ..flows.engine.selection import UnknownStage
    from ..flows.sources import open_run

    try:
        return [open_run(source_settings, workspace, workers, selection) for source_settings in settings]
    except UnknownStage as unknown:
        raise typer.BadParameter(str(unknown)) from unknown


@commands.command(epilog="Example: effectpairs plan davis --set effect_mask.threshold_min=4 --workspace work")
def plan(
    source: Annotated[list[str], Argument(metavar="SOURCE...", help="Names of sources, or settings files.")],
    workspace: Workspace = "workspace",
    overrides: SettingOverrides = None,
    workers: WorkerCount = 0,
    only: OnlyStages = None,
    clips: ClipPatterns = None,
    limit: ItemLimit = 0,
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Say what a run would compute, and why. Time and disk are those of past runs; nothing is computed."""
    from ..flows.engine.plan import plan_run
    from ..flows.engine.selection import Selection
    from ..flows.sources import load_any

    selection = Selection(stages=tuple(only or ()), clips=tuple(clips or ()), limit=limit)
    with usage_errors():
        settings = [load_any(name, overrides or ()) for name in source]
    plans = [plan_run(run) for run in open_runs(settings, workspace, workers, selection)]
    if as_json:
        print(json.dumps([_plan_values(run_plan) for run_plan in plans], indent=1, allow_nan=False))
        return
    for run_plan in plans:
        if run_plan.stages:
            out.print(_plan_table(run_plan), soft_wrap=False)
        out.print(str(run_plan), style="bold", markup=False)


@commands.command(epilog="Example: effectpairs purge --licence 'CC-BY-NC*' --workspace work --corpus corpus --yes")
def purge(
    source: Annotated[str | None, Option(help="All clips of the sources of that name.")] = None,
    licence: Annotated[str | None, Option(help="All clips of sources under that licence.")] = None,
    origin: Annotated[str | None, Option(help="All clips of that origin, e.g. 'our camera*'.")] = None,
    clip: Annotated[str | None, Option(help="The clips of that id.")] = None,
    workspace: Workspace = "workspace",
    corpus: Annotated[list[str] | None, Option(help="Corpus to publish again without them; repeatable.")] = None,
    yes: Yes = False,
) -> None:
    """Take clips out of a workspace and its corpora, for good. Lists them first; no later run brings them back.

    A value may be a pattern with * and ?. Footage that lies outside of the workspace is yours and stays.
    """
    from ..datasets.store.location import Location
    from ..flows.purge import plan_purge
    from ..flows.purge import purge as purge_clips

    choices: dict[Any, Any] = {"source": source, "licence": licence, "origin": origin, "clip": clip}
    given_choices = {by: pattern for by, pattern in choices.items() if pattern}
    if len(given_choices) != 1:
        raise typer.BadParameter("say what to purge by one of --source, --licence, --origin and --clip")
    location = Location.of(workspace)
    ((by, pattern),) = given_choices.items()
    purge_plan = plan_purge(location, by, pattern)
    for name, ids in purge_plan.clips.items():
        print_some([f"  {name}: {clip_id}" for clip_id in ids])
    count = sum(map(len, purge_plan.clips.values()))
    results = f"{count} clips, {len(purge_plan.results)} results, {_size(purge_plan.size_bytes)}"
    if not yes:
        out.print(f"would take out {results}; to do it, add --yes", style="bold", markup=False)
        return
    purge_clips(location, purge_plan, corpus or ())
    again = f"; published again: {', '.join(corpus)}" if corpus else "; publish your corpora again (--corpus)"
    out.print(f"took out {results}{again}", style="bold", markup=False)


@commands.command(epilog="Example: effectpairs gc --workspace work; effectpairs gc --workspace work --yes")
def gc(workspace: Workspace = "workspace", yes: Yes = False) -> None:
    """Delete results that no source refers to any more. Lists them first, and how much that frees."""
    from ..datasets.store.location import Location
    from ..datasets.store.upkeep import collect_garbage, list_garbage

    location = Location.of(workspace)
    garbage = list_garbage(location)
    sizes: dict[str, list[int]] = {}
    for result in garbage:
        sizes.setdefault(result.stage, []).append(result.size_bytes)
    for stage, of_stage in sizes.items():
        out.print(f"  {stage}: {len(of_stage)} results, {_size(sum(of_stage))}", markup=False)
    total = f"{len(garbage)} results, {_size(sum(result.size_bytes for result in garbage))}"
    if not yes or not garbage:
        hint = "; to do it, add --yes" if garbage else ""
        out.print(f"would delete {total}{hint}", style="bold", markup=False)
        return
    with progress_bar() as show:
        numbers = iter(range(1, len(garbage) + 1))
        collect_garbage(location, garbage, lambda: show("gc", next(numbers), len(garbage)))
    out.print(f"deleted {total}", style="bold", markup=False)


def inspect_workspace(workspace: str, as_json: bool) -> None:
    """Print what is on a workspace's disk, by source and stage."""
    from rich import box
    from rich.table import Table

    from ..datasets.store.ledger import finished_sources, read_account
    from ..datasets.store.location import Location
    from ..datasets.store.purges import read_purges
    from ..datasets.store.upkeep import disk_use

    location = Location.of(workspace)
    use, purges = disk_use(location), read_purges(location).purges
    accounts = {source: read_account(location, source)[0] for source in finished_sources(location)}
    loose = sum(result.size_bytes for result in use.unreferenced)
    if as_json:
        values = {
            "workspace": location.url,
            "size_bytes": use.size_bytes,
            "unreferenced": {"results": len(use.unreferenced), "size_bytes": loose},
            "sources": {
                source: {s: asdict(cost) for s, cost in costs.items()} for source, costs in use.sources.items()
            },
            "accounts": {source: asdict(account) for source, account in accounts.items()},
            "purged": [{"by": purge.by, "pattern": purge.pattern, "names": len(purge.names)} for purge in purges],
        }
        print(json.dumps(values, indent=1, allow_nan=False))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("source", "stage", "results", "size", "s each"):
        table.add_column(heading, justify="left" if heading in ("source", "stage") else "right")
    for source, costs in use.sources.items():
        for number, (stage, cost) in enumerate(costs.items()):
            seconds = "–" if cost.mean_seconds is None else f"{cost.mean_seconds:.2f}"
            table.add_row(source * (not number), stage, str(cost.results), _size(cost.size_bytes), seconds)
    out.print(table, soft_wrap=False)
    for account in accounts.values():
        out.print(str(account), markup=False)
    for entry in purges:
        out.print(f"purged by {entry.by}: {entry.pattern}", markup=False)
    referred = f"; {len(use.unreferenced)} results of {_size(loose)} that no source refers to: effectpairs gc" * bool(
        loose
    )
    out.print(f"{location.url}: {_size(use.size_bytes)} of results{referred}", style="bold", markup=False)


def verify_workspace_command(workspace: str) -> None:
    """Check every byte of a workspace, and say what is damaged."""
    from ..datasets.store.location import Location
    from ..datasets.store.upkeep import verify_workspace

    total = 0

    def step(done: int, of_all: int) -> None:
        nonlocal total
        total = of_all
        show("verify", done, of_all)

    with progress_bar() as show:
        problems = list(verify_workspace(Location.of(workspace), step))
    for problem in problems:
        err.print(problem, style="red", markup=False)
    if problems:
        raise typer.Exit(1)
    out.print(f"{workspace}: {total} results, every byte is as it was written")


def _plan_table(run_plan: "RunPlan") -> Any:
    from rich import box
    from rich.table import Table

    from ..flows.engine.plan import format_bytes, format_seconds

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("stage", "items", "why", "time", "disk"):
        table.add_column(heading, justify="left" if heading in ("stage", "why") else "right")
    for stage in run_plan.stages:
        why = ", ".join(f"{reason} {count}" for reason, count in stage.reasons.most_common())
        seconds = "?" if stage.seconds is None else format_seconds(stage.seconds / run_plan.workers)
        size = "?" if stage.size_bytes is None else format_bytes(stage.size_bytes)
        table.add_row(stage.stage, f"{'up to ' * stage.is_estimate}{stage.items}", why, seconds, size)
    return table


def _plan_values(run_plan: "RunPlan") -> dict[str, Any]:
    totals = {"seconds": run_plan.seconds, "size_bytes": run_plan.size_bytes, "free_bytes": run_plan.free_bytes}
    stages = [{**asdict(stage), "reasons": dict(stage.reasons)} for stage in run_plan.stages]
    return {"source": run_plan.source, "workers": run_plan.workers, **totals, "stages": stages}


def print_some(lines: list[str]) -> None:
    """Print the first lines of a list, and how many more there are."""
    for line in lines[:LISTED]:
        out.print(line, markup=False)
    if len(lines) > LISTED:
        out.print(f"  and {len(lines) - LISTED} more", markup=False)


def _size(size_bytes: int) -> str:
    from ..flows.engine.plan import format_bytes

    return format_bytes(size_bytes)
