"""A program that answers questions in JSON lines, watched: any number of threads ask, one thread reads.

Its standard error goes to a file without a name, of which the last line is told when the program ends unasked. It ends
with us: its input closes when we do.
"""

import contextlib
import json
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from .chat import ModelUnavailable


class Child:
    """A running program. The first line in is `start`, the first line out says that it is ready, or why it is not."""

    def __init__(self, command: Sequence[str], start: Mapping[str, Any], *, who: str, startup_timeout_s: float) -> None:
        self._who, self._waiting, self._lock = who, dict[int, Future[dict[str, Any]]](), threading.Lock()
        self._asked, self.gone = 0, False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._program = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, start_new_session=True
            )
        except OSError as error:
            raise ModelUnavailable(
                f"{who} needs the Python of an environment with vLLM, and {command[0]} cannot be started "
                f"({error.strerror}); make one (python -m venv DIR; DIR/bin/pip install vllm) and name its python"
            ) from error
        ready: Future[dict[str, Any]] = Future()
        self._waiting[0] = ready
        threading.Thread(target=self._read, daemon=True).start()
        self._send(dict(start))
        self.said = self._wait(ready, startup_timeout_s, "did not get ready")

    def ask(self, question: Mapping[str, Any], *, deadline_s: float) -> dict[str, Any]:
        """The answer to one question.

        Raises:
            Unavailable: the program ended, or gave no answer in time, or says what is wrong.
        """
        answer: Future[dict[str, Any]] = Future()
        with self._lock:
            if self.gone:
                raise ModelUnavailable(self._end())
            self._asked += 1
            number = self._asked
            self._waiting[number] = answer
        self._send({"id": number, **question})
        return self._wait(answer, deadline_s, "gave no answer")

    def close(self) -> None:
        """End the program: first by the end of its input, then for good."""
        if self._program.stdin:
            with contextlib.suppress(OSError):
                self._program.stdin.close()
        try:
            self._program.wait(5)
        except subprocess.TimeoutExpired:
            self._program.kill()
            self._program.wait()

    def _wait(self, answer: "Future[dict[str, Any]]", most_s: float, failure: str) -> dict[str, Any]:
        try:
            found = answer.result(most_s)
        except TimeoutError:
            self.gone = True
            self.close()
            raise ModelUnavailable(
                f"{self._who} {failure} in {most_s:g} s; allow it more, or see whether it hangs"
            ) from None
        if "error" in found:
            raise ModelUnavailable(f"{self._who} says: {' '.join(str(found['error']).split())[:300]}; {_remedy(found)}")
        return found

    def _send(self, line: Mapping[str, Any]) -> None:
        coded = (json.dumps(line) + "\n").encode()
        try:
            assert self._program.stdin is not None
            with self._lock:
                self._program.stdin.write(coded)
                self._program.stdin.flush()
        except (OSError, ValueError):
            self._fail_all()  # it has ended; the reader finds out too, later

    def _read(self) -> None:
        assert self._program.stdout is not None
        for line in self._program.stdout:
            try:
                found = json.loads(line)
            except ValueError:
                continue  # something printed past the protocol
            with self._lock:
                answer = self._waiting.pop(found.get("id", 0), None)
            if answer is not None:
                answer.set_result(found)
        self._fail_all()

    def _fail_all(self) -> None:
        with self._lock:
            self.gone, left, self._waiting = True, list(self._waiting.values()), {}
        sentence = self._end()
        for answer in left:
            answer.set_exception(ModelUnavailable(sentence))

    def _end(self) -> str:
        try:
            code = self._program.wait(5)
        except subprocess.TimeoutExpired:
            code = None
        self._errors.seek(0)
        lines = self._errors.read()[-20_000:].decode(errors="replace").strip().splitlines()
        last = " ".join(lines[-1].split())[:300] if lines else "no word of why"
        return f"{self._who} ended (exit code {code}): {last}; see whether vLLM and the model fit this machine"


def _remedy(found: Mapping[str, Any]) -> str:
    text = str(found["error"]).lower()
    if "no module named" in text:
        return "name the python of an environment that has vLLM"
    if "context" in text or "max_model_len" in text or "longer than" in text:
        return "lower max_frames, or raise max_model_len"
    if "memory" in text:
        return "lower max_model_len or gpu_memory_utilization, or choose a smaller model"
    return "see whether vLLM knows this model, and whether its weights are on this machine"
