"""Many at once, few in memory: a generator in, a generator out."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def abreast(items: Iterable[Item], do: Callable[[Item], Result], *, at_once: int) -> Iterator[tuple[Item, Result]]:
    """Each item and what do made of it, in the order in which they are ready; at_once run at a time.

    Items are taken from the iterable as there is room: at most an eighth more than at_once (and always one more) are
    held, so that no worker waits while the caller stores a result. When do raises, nothing new is begun, what was in
    flight is finished and handed out (it has been paid for), and then the error is raised.
    """
    if at_once < 1:
        raise ValueError(f"at_once={at_once} does nothing; give at least 1")
    source, trouble = iter(items), None
    waiting: dict[Future[Result], Item] = {}
    with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="abreast") as pool:
        try:
            while True:
                room = 0 if trouble else at_once + max(1, at_once // 8) - len(waiting)
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
