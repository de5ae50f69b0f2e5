"""How far a flow is, for whoever started it in this process: the command line hangs its bar here."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Reporter = Callable[[str, int, int], None]
"""What is being done, pieces done, pieces in all."""

_reporter: ContextVar[Reporter | None] = ContextVar("reporter", default=None)


class Pieces:
    """A count of pieces done that any thread may raise; whoever listened when it was made is told each time."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0
        self._reporter = _reporter.get()
        self._lock = threading.Lock()
        self._tell()

    def one_more(self) -> None:
        """Another piece is done."""
        with self._lock:
            self.done += 1
            self._tell()

    def _tell(self) -> None:
        if self._reporter is not None and self.total:
            self._reporter(self.what, self.done, self.total)


@contextmanager
def reporting(reporter: Reporter) -> Iterator[None]:
    """Have a reporter told for the length of a `with`."""
    token = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(token)
