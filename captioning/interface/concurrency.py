"""Concurrency with bounded memory: a function mapped over an iterable, with few items held at a time."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_unordered(
    items: Iterable[Item], function: Callable[[Item], Result], *, max_concurrency: int
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with the function's result, in the order in which they are ready.

    Items are taken as there is room: at most an eighth more than max_concurrency (and always one more) are held, so
    that no thread waits while the caller stores a result. When the function raises, nothing new is started, results of
    calls in flight are still yielded (they have been paid for), and then the error is raised.
    """
    if max_concurrency < 1:
        raise ValueError(f"max_concurrency={max_concurrency} does nothing; give at least 1")
    source, first_error = iter(items), None
    pending: dict[Future[Result], Item] = {}
    with ThreadPoolExecutor(max_workers=max_concurrency, thread_name_prefix="captions") as pool:
        try:
            while True:
                room = 0 if first_error else max_concurrency + max(1, max_concurrency // 8) - len(pending)
                pending |= {pool.submit(function, item): item for item in islice(source, room)}
                if not pending:
                    break
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    item = pending.pop(future)
                    if not future.cancelled() and (error := future.exception()) is not None:
                        first_error = first_error or error
                        _cancel(pending)
                    elif not future.cancelled():
                        yield item, future.result()
        finally:
            _cancel(pending)
    if first_error:
        raise first_error


def _cancel(pending: Iterable[Future[Result]]) -> None:
    for future in pending:
        future.cancel()
