"""What the command line says and reads: a sentence for an error, a progress bar, words into values and settings."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from ..flows.footage.source import RealSource
    from ..flows.sources import AnySource

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def sentence(problem: Exception) -> str:
    """An error as one sentence: what is wrong with which file, and what to do."""
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror if problem.filename is None else f"{problem.filename}: {problem.strerror}"
    if isinstance(problem, (ValueError, OSError, ImportError)) or getattr(problem, "is_sentence", False):
        return str(problem)
    return f"{type(problem).__name__}: {problem}; run again with --debug to see where"


@contextmanager
def bar() -> Iterator[Any]:
    """A progress bar on standard error, started by the first thing it is told."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err) as progress:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield show


def prepare_prefect(*, quiet: bool) -> None:
    """Settings that Prefect reads when it is first imported; what the user has set already stays."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    # A first start migrates its database, which takes longer than the default 20 s on a busy machine.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
    if quiet:
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
        err.print("starting Prefect", style="dim")


def four(box: str) -> tuple[int, int, int, int]:
    """The value of --box."""
    try:
        x, y, width, height = (int(part) for part in box.split(","))
    except ValueError as wrong:
        raise typer.BadParameter(f"--box {box} is not X,Y,W,H in whole pixels") from wrong
    return x, y, width, height


@contextmanager
def key_folder(keys: list[str]) -> Iterator[Path | None]:
    """The masks of --key as the folder of FRAME.png that the reader takes."""
    if not keys:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        for given in keys:
            frame, _, mask = given.partition("=")
            if not frame.isdigit() or not mask:
                raise typer.BadParameter(f"--key {given} is not FRAME=MASK.png")
            if not Path(mask).is_file():
                raise typer.BadParameter(f"--key {given}: there is no file {mask}")
            Path(folder, f"{int(frame):06d}.png").symlink_to(Path(mask).resolve())
        yield Path(folder)


def gallery(corpus: str, out_dir: Path | None) -> Path:
    """Write a corpus's gallery; return its page."""
    from ..datasets.corpus.reader import open_corpus
    from ..datasets.gallery.report import write_report

    found = open_corpus(corpus)
    local = found.place.local
    folder = out_dir or (local.parent / f"{local.name}-gallery" if local else Path("gallery"))
    with bar() as show:
        page: Path = write_report(found, folder, step=lambda done, total: show("gallery", done, total))
    return page


def any_settings(name: str, overrides: list[str] | None) -> "AnySource":
    """The same for any source, of footage or of scenes."""
    from ..flows.sources import load_any

    try:
        return load_any(name, tuple(overrides or ()))
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from wrong


def settings_of(name: str, overrides: list[str] | None) -> "RealSource":
    """A source's settings; what is wrong with them is wrong usage."""
    from ..datasets.sources.source import load_source
    from ..flows.footage.source import RealSource

    try:
        return load_source(name, tuple(overrides or ()), into=RealSource)
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from wrong
