"""Many at once, few in memory: a generator in, a generator out."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_unordered(
    items: Iterable[Item], do: Callable[[Item], Result], *, max_concurrency: int
) -> Iterator[tuple[Item, Result]]:
    """Each item and what do made of it, in the order in which they are ready; max_concurrency run at a time.

    Items are taken as there is room: at most an eighth more than max_concurrency (and always one more) are
    held, so that no worker waits while the caller stores a result. When do raises, nothing new is begun, what was in
    flight is finished and handed out (it has been paid for), and then the error is raised.
    """
    if max_concurrency < 1:
        raise ValueError(f"max_concurrency={max_concurrency} does nothing; give at least 1")
    source, trouble = iter(items), None
    waiting: dict[Future[Result], Item] = {}
    with ThreadPoolExecutor(max_workers=max_concurrency, thread_name_prefix="abreast") as pool:
        try:
            while True:
                room = 0 if trouble else max_concurrency + max(1, max_concurrency // 8) - len(waiting)
                waiting |= {pool.submit(do, item): item for item in islice(source, room)}
                if not waiting:
                    break
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    item = waiting.pop(future)
                    if not future.cancelled() and (error := future.exception()) is not None:
                        trouble = trouble or error
                        _call_off(waiting)
                    elif not future.cancelled():
                        yield item, future.result()
        finally:
            _call_off(waiting)
    if trouble:
        raise trouble


def _call_off(waiting: dict[Future[Result], Item]) -> None:
    """Cancel what has not begun."""
    for future in waiting:
        future.cancel()
