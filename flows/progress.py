"""How far a flow is, for whoever started it in this process: the command line hangs its bar here."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Reporter = Callable[[str, int, int], None]
"""What is being done, pieces done, pieces in all."""

_reporter: ContextVar[Reporter | None] = ContextVar("reporter", default=None)


def report(what: str, done: int, total: int) -> None:
    """Tell whoever listens."""
    reporter = _reporter.get()
    if reporter is not None:
        reporter(what, done, total)


@contextmanager
def reporting(reporter: Reporter) -> Iterator[None]:
    """Have a reporter told for the length of a `with`."""
    token = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(token)
