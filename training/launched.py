"""The programs of a training run as a flow starts them: they end when whoever started them is gone.

`python -m effectpairs.training.launched {tiny FOLDER | precompute ... | train ... | sample ... | measure ...}`

A flow that is killed leaves its children behind, and a second run would train into the same folder beside them. The
flow therefore holds the other end of their standard input; when it closes, they end. A checkpoint is whole or not at
all, so nothing is lost by that.
"""

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from ..extras import require

ABANDONED = 4
"""Exit status of a program whose starter is gone."""
_OWN = {"sample": "sample_clips", "measure": "measure"}
"""Programs that are modules of their own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of them; return the exit status."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    what, *rest = sys.argv[1:] if arguments is None else arguments
    if what == "tiny":
        require(f"{__package__}.base.tiny", extra="train").write_tiny_model(Path(rest[0]))
        return 0
    if what in _OWN:
        return int(require(f"{__package__}.{_OWN[what]}", extra="train").main(rest))
    return int(require(f"{__package__}.train", extra="train").main([what, *rest]))


def _end_with_input() -> None:
    while os.read(0, 1024):
        pass
    os._exit(ABANDONED)  # from a thread, nothing else ends the main one in the middle of a step


if __name__ == "__main__":
    sys.exit(main())
