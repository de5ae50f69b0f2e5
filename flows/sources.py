"""The sources there are: which class reads a settings file, and as which kind of item its flow takes it.

Only the modules of the kind in question are imported; those of all three are half of what a run costs that has nothing
to do.
"""

from collections.abc import Iterable
from pathlib import Path

from ..datasets.sources.source import read_source
from ..datasets.store.location import Place
from ..settings import settings_from
from .captions.stages import CaptionedSource
from .engine.run import Run
from .engine.selection import Selection


def load_any(name_or_path: str | Path, overrides: Iterable[str] = ()) -> CaptionedSource:
    """Read a source's settings: of captions or scenes where they are for those flows, else of footage.

    Raises:
        ValueError: naming the file, the key, the value and the rule.
    """
    path, values = read_source(name_or_path, overrides)
    if values.get("flow") == "unpaired":
        from .prompts.source import UnpairedSource

        return settings_from(UnpairedSource, values, file=path)
    is_rendered = values.get("flow") == "synthetic-pairs" and "layout" not in values
    if is_rendered or values.keys() & {"generator", "maker", "scenes"}:  # maker: refused there, by its present name
        from .scenes.source import SceneSource

        return settings_from(SceneSource, values, file=path)
    from .footage.source import RealSource

    return settings_from(RealSource, values, file=path)


def load_for(flow: str, name_or_path: str | Path, overrides: Iterable[str] = ()) -> CaptionedSource:
    """Read the settings of a source that the flow of that name takes.

    Raises:
        ValueError: as above, or the source belongs to another flow.
    """
    source = load_any(name_or_path, overrides)
    if source.flow != flow:
        raise ValueError(f"source '{source.name}' is for {source.flow}; run it as {source.flow}/{source.name}")
    return source


def open_run(source: CaptionedSource, workspace: Place, workers: int = 0, selection: Selection = Selection()) -> Run:
    """List what a source holds, and delete what an earlier, killed run left half-made.

    Raises:
        ValueError: the source as a whole cannot be read, e.g. its root is missing.
    """
    match type(source).__name__:
        case "UnpairedSource":
            from .prompts.stages import PROMPTS

            return Run(PROMPTS, source, workspace, workers, selection)
        case "SceneSource":
            from .scenes.stages import SCENES

            return Run(SCENES, source, workspace, workers, selection)
        case _:
            from .footage.stages import FOOTAGE

            return Run(FOOTAGE, source, workspace, workers, selection)
