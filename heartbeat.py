"""Signs of life of a worker process: work beats with every frame, and whoever waits for it sees that it goes on."""

import contextlib
import math
import os
import threading
import time
from collections.abc import Iterator
from multiprocessing.sharedctypes import RawArray
from typing import Any

PID, BEATS = 0, 1
"""Places in the shared numbers."""
_shared: Any = RawArray("Q", 2)


def share(numbers: Any) -> None:
    """Take over the numbers of the process that waits; called once, when a worker starts."""
    global _shared
    _shared = numbers


def beat() -> None:
    """Say that the work in hand goes on."""
    _shared[BEATS] += 1


@contextlib.contextmanager
def end_if_silent(silent_s: float) -> Iterator[None]:
    """End this process if the block does not beat for so long; for a process that nobody else watches."""
    done = threading.Event()

    def watch() -> None:
        beats, since = _shared[BEATS], time.monotonic()
        while not done.wait(min(1.0, silent_s / 4)):
            if beats != (beats := _shared[BEATS]):
                since = time.monotonic()
            if time.monotonic() - since > silent_s:
                os._exit(1)

    if math.isfinite(silent_s):
        threading.Thread(target=watch, name="heartbeat", daemon=True).start()
    try:
        yield
    finally:
        done.set()
