"""Shared parts of the commands: options, errors as sentences, a progress bar, values and settings from words."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from typer import Argument, Option

from ..untrusted_input import printable

if TYPE_CHECKING:
    from ..datasets.footage.types import VideoPrompts
    from ..flows.engine.workers import Engine


class PlainConsole(Console):
    """Console on which no text of data, be it a name, a caption or an error, can steer the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as its parent does, with the signs that steer written out; its own colours come later."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


out = PlainConsole(highlight=False, soft_wrap=True)
err = PlainConsole(stderr=True, highlight=False, soft_wrap=True)

CorpusPlace = Annotated[str, Argument(metavar="CORPUS", help="Folder or fsspec URL of the corpus.")]
Workspace = Annotated[str, Option(help="Folder or fsspec URL of results; a later run goes on there.")]
SettingOverrides = Annotated[list[str] | None, Option("--set", metavar="KEY=VALUE", help="Override a setting.")]
NoPrefect = Annotated[bool, Option("--no-prefect", help="Run without Prefect: same steps, same result.")]
EngineOption = Annotated[str, Option("--engine", help="What runs the work: local, dask or ray.")]
EngineAddress = Annotated[str, Option(help="Address of a Dask scheduler or Ray head that runs.")]
ProcessCount = Annotated[int, Option("--processes", min=0, help="Programs side by side; 0 for one a GPU, or one.")]
WorkerCount = Annotated[int, Option("--workers", min=0, help="Worker processes; 0 for what the machine carries.")]


def user_message(problem: Exception) -> str:
    """Return an error as one sentence: what is wrong with which file, and what to do."""
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror if problem.filename is None else f"{problem.filename}: {problem.strerror}"
    if isinstance(problem, (ValueError, OSError, ImportError)) or getattr(problem, "is_sentence", False):
        return str(problem)
    return f"{type(problem).__name__}: {problem}; run again with --debug to see where"


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn a ValueError about options or settings into wrong usage, which ends with status 2."""
    try:
        yield
    except ValueError as problem:
        raise typer.BadParameter(printable(str(problem))) from problem


def choose_engine(name: str, address: str, no_prefect: bool) -> "Engine | None":
    """Return the engine that --engine and --engine-address name; None for a run without Prefect."""
    from ..flows.engine.workers import Engine

    with usage_errors():
        engine = Engine(name=name, address=address)
    if no_prefect and name != "local":
        raise typer.BadParameter(f"--engine {name} needs Prefect; leave out --no-prefect")
    return None if no_prefect else engine


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show progress on standard error; yields a function of task, pieces done and pieces in all."""
    from rich import progress as bars

    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), bars.MofNCompleteColumn())
    times = bars.TimeElapsedColumn(), bars.TimeRemainingColumn()
    # A piece may take minutes, such as a step of training: speed is that of the last hour.
    with bars.Progress(*columns, *times, console=err, speed_estimate_period=3600) as progress:
        tasks: dict[str, bars.TaskID] = {}

        def show(task: str, done_count: int, total: int) -> None:
            if task not in tasks:
                tasks[task] = progress.add_task(task, total=total, completed=done_count)  # not part of the speed
            progress.update(tasks[task], completed=done_count, total=total)

        yield show


def prepare_prefect(*, quiet: bool) -> None:
    """Set what Prefect reads when it is first imported; a variable that the user has set stays."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    # A first start migrates its database, which takes longer than the default 20 s on a busy machine.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
    if quiet:
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
        err.print("starting Prefect", style="dim")


def read_prompts_of_options(
    points: list[str], not_points: list[str], boxes: list[str], text: str, frame: int
) -> "VideoPrompts":
    """Return the prompts that --point, --not-point, --box and --text give; frame is that of those that name none."""
    from ..datasets.footage.types import VideoPrompts

    by_frame: dict[str, dict[int, tuple[tuple[float, ...], ...]]] = {}
    for option, values, form in (
        ("point", points, "X,Y"),
        ("not-point", not_points, "X,Y"),
        ("box", boxes, "X,Y,W,H"),
    ):
        by_frame[option] = {}
        for value in values:
            numbers, _, at = value.partition("@")
            try:
                coordinates, key = tuple(float(part) for part in numbers.split(",")), int(at or frame)
            except ValueError:
                coordinates, key = (), 0
            if len(coordinates) != len(form.split(",")):
                raise typer.BadParameter(f"--{option} {value} is not {form} or {form}@FRAME in pixels of the video")
            by_frame[option][key] = (*by_frame[option].get(key, ()), coordinates)
    doubled = next((key for key, several in by_frame["box"].items() if len(several) > 1), None)
    if doubled is not None:
        raise typer.BadParameter(f"--box is there twice for frame {doubled}; keep one, or name frames: X,Y,W,H@FRAME")
    return VideoPrompts(
        points=by_frame["point"],  # type: ignore[arg-type]
        not_points=by_frame["not-point"],  # type: ignore[arg-type]
        boxes={key: several[0] for key, several in by_frame["box"].items()},  # type: ignore[misc]
        text=text.strip(),
    )


@contextmanager
def key_folder(key_masks: list[str]) -> Iterator[Path | None]:
    """Lay the masks of --key out as the folder of FRAME.png that the reader takes."""
    if not key_masks:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        for key_mask in key_masks:
            frame, _, mask = key_mask.partition("=")
            if not frame.isdigit() or not mask:
                raise typer.BadParameter(f"--key {key_mask} is not FRAME=MASK.png")
            if not Path(mask).is_file():
                raise typer.BadParameter(f"--key {key_mask}: there is no file {mask}")
            Path(folder, f"{int(frame):06d}.png").symlink_to(Path(mask).resolve())
        yield Path(folder)


def write_gallery(corpus: str, out_dir: Path | None) -> Path:
    """Write the gallery of a corpus, beside it if no folder is given; return its page."""
    from ..datasets.corpus.reader import open_corpus
    from ..datasets.gallery.report import write_report

    published = open_corpus(corpus)
    local = published.location.local
    folder = out_dir or (local.parent / f"{local.name}-gallery" if local else Path("gallery"))
    with progress_bar() as show:
        page: Path = write_report(published, folder, step=partial(show, "gallery"))
    return page
