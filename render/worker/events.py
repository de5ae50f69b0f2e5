"""Events of the worker: JSON lines on the real standard output; Blender's own chatter goes to a log."""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any


class Refused(ValueError):
    """The plan asks for what cannot be drawn; doing it again would not help."""


class Reporter:
    """Takes over the standard streams: lines for the parent on one side, a log file on the other."""

    def __init__(self, log: Path) -> None:
        self._parent = os.getppid()
        self._lines = os.fdopen(os.dup(1), "w", buffering=1)
        sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for stream in (1, 2):
            os.dup2(sink, stream)
        os.close(sink)
        if sys.platform == "linux":
            library, pr_set_pdeathsig, unbuffered = ctypes.CDLL(None), 1, 2
            # SIGKILL when the parent dies; elsewhere the check at each report has to do.
            library.prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
            # Blender's own lines are in the log at once: a crash would lose the last ones.
            library.setvbuf(ctypes.c_void_p.in_dll(library, "stdout"), None, unbuffered, ctypes.c_size_t(0))

    def report(self, event: str, **facts: Any) -> None:
        """Write one line for the parent; end this process when that is gone, which not every system sees to."""
        try:
            self._lines.write(json.dumps({"event": event, **facts}) + "\n")
            self._lines.flush()
        except OSError:
            raise SystemExit(1) from None
        sys.stdout.flush()
        if os.getppid() != self._parent:
            raise SystemExit(1)
