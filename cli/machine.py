"""Command on this machine: doctor."""

import json
import os
import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from .console import SettingOverrides, err, out, usage_errors

if TYPE_CHECKING:
    from ..flows.doctor import BackendState

commands = typer.Typer()
LACK_TITLES = {"gpu": "GPU", "blender": "Blender"}
COLOURS = {"ready": "green", "slow": "yellow", "lacks": "red"}


@commands.command(epilog="Example: effectpairs doctor; effectpairs doctor davis --set caption.kind=default")
def doctor(
    source: Annotated[
        list[str] | None, Argument(metavar="[SOURCE...]", help="Sources to check; every backend if not given.")
    ] = None,
    overrides: SettingOverrides = None,
    as_json: Annotated[bool, Option("--json", help="Print JSON instead of a table.")] = False,
    make: Annotated[bool, Option("--make", help="Make what Blender and Kubric lack: up to 1 GB, minutes.")] = False,
) -> None:
    """Say what can run on this machine, and what the rest lacks.

    Ends with status 0 if the embedded defaults can run, or the sources that are given; else with 1.
    """
    from ..flows.doctor import can_run, survey_machine, survey_source
    from ..flows.sources import load_any

    if make:
        make_renderers()
    with usage_errors():
        sources = [load_any(name, overrides or ()) for name in source or ()]
    states = [state for settings in sources for state in survey_source(settings)] if sources else survey_machine()
    passes = can_run(states, embedded_alone=not sources)
    if as_json:
        backends = [{**asdict(state), "state": state.state} for state in states]
        print(json.dumps({"machine": _machine_facts(), "backends": backends, "can_run": passes}, indent=1))
    else:
        _print_states(states)
        subject = ", ".join(settings.name for settings in sources) or "the embedded defaults"
        out.print(f"{subject} can run here" if passes else f"{subject} cannot run here", style="bold", markup=False)
    if not passes:
        raise typer.Exit(1)


def make_renderers() -> None:
    """Make the environment that Blender runs in, and bring Kubric's packages, unless they are there."""
    from ..render.animation.kubric_packages import find_kubric, make_kubric, packages_folder
    from ..render.blender.environment import environment_folder, make_environment
    from ..render.blender.process import BlenderNotFound, find_python

    try:
        find_python()
    except BlenderNotFound:
        if os.environ.get("EFFECTPAIRS_BLENDER"):
            raise  # the user named another one
        with err.status(f"making Blender's environment in {environment_folder()}: 1 GB, some minutes"):
            make_environment()
    if not find_kubric():
        with err.status(f"bringing Kubric to {packages_folder()}: 100 MB"):
            make_kubric()


def _machine_facts() -> dict[str, Any]:
    import psutil

    from ..requirements import GIB, gpu_memory_bytes

    memory = psutil.virtual_memory()
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory.total / GIB, 1),
        "memory_free_gib": round(memory.available / GIB, 1),
        "gpus_gib": [round(size / GIB, 1) for size in gpu_memory_bytes()],
        "python": platform.python_version(),
    }


def _print_states(states: "list[BackendState]") -> None:
    """Print the machine in a line, the backends as a table, and below it each lack once, with what mends it.

    The commands stand in lines of their own, which no table breaks, so that they can be copied.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    facts = _machine_facts()
    gpus = ", ".join(f"GPU of {size:g} GiB" for size in facts["gpus_gib"]) or "no NVIDIA GPU"
    memory = f"{facts['memory_gib']:g} GiB of memory ({facts['memory_free_gib']:g} free)"
    out.print(f"{facts['cores']} cores, {memory}, {gpus}, Python {facts['python']}", markup=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("for", "backend", "state", "lacks"):
        table.add_column(heading, overflow="fold")
    for before, state in zip([None, *states], states, strict=False):
        task = "" if before is not None and before.task == state.task else state.task
        kinds = ", ".join(dict.fromkeys(LACK_TITLES.get(lack.kind, lack.kind) for lack in state.lacks))
        table.add_row(task, state.name, Text(state.state, COLOURS[state.state]), kinds)
    out.print(table, soft_wrap=False)
    lacks = list(dict.fromkeys(lack for state in states for lack in state.lacks))
    for lack in lacks:
        owners = list(dict.fromkeys(state.name for state in states if lack in state.lacks))
        out.print(Text.assemble((", ".join(owners), "bold"), f": {lack.fault}\n  ", (lack.remedy, "cyan")))
    if lacks:
        out.print()
