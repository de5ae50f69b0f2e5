"""The sources there are and their runs: footage through the pair chain, scenes through Blender, captions to clips."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from ...datasets.sources.source import given, load_source
from ..footage import run as source_run
from ..footage.source import RealSource
from ..prompts import run as unpaired_run
from ..prompts.source import UnpairedSource
from ..scenes import run as scene_run
from ..scenes.source import SceneSource
from .phases import Run

AnySource = RealSource | SceneSource | UnpairedSource

_begun: ContextVar[list[Run]] = ContextVar("begun")


def load_any(name_or_path: str | Path, overrides: Iterable[str] = ()) -> AnySource:
    """Read a source's settings: of captions or scenes where they are for those flows, else of footage.

    Raises:
        ValueError: naming the file, the key, the value and the rule.
    """
    changes = tuple(overrides)
    _, data = given(name_or_path, changes)
    if data.get("flow") == "unpaired":
        return load_source(name_or_path, changes, into=UnpairedSource)
    if "generator" in data or "scenes" in data or (data.get("flow") == "synthetic-pairs" and "layout" not in data):
        return load_source(name_or_path, changes, into=SceneSource)
    return load_source(name_or_path, changes, into=RealSource)


def load_for(flow: str, name_or_path: str | Path, overrides: Iterable[str] = ()) -> AnySource:
    """The same for a flow of that name, which does not read another's sources.

    Raises:
        ValueError: as above, or the source belongs to another flow.
    """
    source = load_any(name_or_path, overrides)
    if source.flow != flow:
        raise ValueError(f"source '{source.name}' is for {source.flow}; run it as {source.flow}/{source.name}")
    return source


def begin(source: AnySource, workspace: Path, workers: int = 0) -> Run:
    """List what a source holds, and sweep what an earlier, killed run left half-made.

    Raises:
        ValueError: the source as a whole cannot be read, e.g. its root is missing.
    """
    for run in _begun.get([]):
        if (run.source, run.workspace) == (source, workspace):
            _begun.get().remove(run)
            return run
    if isinstance(source, UnpairedSource):
        return unpaired_run.begin(source, workspace, workers)
    if isinstance(source, SceneSource):
        return scene_run.begin(source, workspace, workers)
    return source_run.begin(source, workspace, workers)


@contextmanager
def once_begun(run: Run) -> Iterator[None]:
    """Have the next `begin` of the same source take up this run: footage is listed and hashed once, not twice."""
    token = _begun.set([run])
    try:
        yield
    finally:
        _begun.reset(token)
