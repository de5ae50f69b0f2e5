"""Captions by vLLM without a server: in an environment and a process of its own, batched.

vLLM pins its own torch, so it never shares our environment: `python` names the one it lives in. Questions that wait
while it works go into its next batch, so it is asked by many threads at once.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..interface.concurrency import abreast
from ..interface.frame_sampling import FramesAs
from .chat import Answer, Ask, Unavailable, messages_of
from .child import Child
from .llm_captioner import Prompted

VARIABLE = "EFFECTPAIRS_VLLM"
"""Environment variable that names the python to use where the setting does not."""
PROGRAM = Path(__file__).with_name("offline_worker.py")


@dataclass(frozen=True, kw_only=True)
class Vllm(Prompted):
    """Caption through vLLM's own engine."""

    kind: Literal["vllm"] = "vllm"
    model: str = "openbmb/MiniCPM-V-2_6"
    revision: str = ""
    python: str = ""
    """Of the environment with vLLM; empty: what EFFECTPAIRS_VLLM says."""
    at_once: int = 32
    """Questions in flight, and so the most in one batch."""
    max_model_len: int | None = 8192
    """Tokens of question and answer; None is the model's own."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    memory_share: float = 0.9
    """Of a GPU's memory."""
    trust_remote_code: bool = False
    """Let the model's folder bring code: MiniCPM-V 2.6 needs it, for its image processor. Pin revision with it."""
    enforce_eager: bool = False
    """No compilation: starts faster, runs slower; wise on a CPU."""
    start_s: float = 1800.0
    answer_deadline_s: float = 600.0
    frames_as: FramesAs = "video"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.at_once < 1:
            raise ValueError(f"at_once={self.at_once} asks nothing; give at least 1")
        if not 0 < self.memory_share <= 1:
            raise ValueError(f"memory_share={self.memory_share} is not in (0, 1]; 0.9 leaves some for others")
        if min(self.start_s, self.answer_deadline_s) <= 0:
            raise ValueError("start_s and answer_deadline_s must be positive; a large model takes minutes to start")

    def chat(self, ask: Ask) -> Answer:
        """VLLM's answer.

        Raises:
            Unavailable: no environment, no model, a program that ended, or a question that it refuses.
        """
        python = self.python or os.environ.get(VARIABLE, "")
        if not python:
            raise Unavailable(
                f"{self.model} runs in vLLM, and no environment is named; make one (python -m venv DIR; DIR/bin/pip "
                f"install vllm) and set python or {VARIABLE} to DIR/bin/python"
            )
        child = _engine(self, python)
        question = {
            "messages": messages_of(ask, self.frames_as),
            "temperature": ask.temperature,
            "seed": ask.seed % 2**31,
            "max_tokens": ask.max_tokens,
            "schema": dict(ask.schema) if ask.schema is not None else None,
        }
        found = child.ask(question, deadline_s=self.answer_deadline_s)
        return Answer(
            text=str(found["text"]),
            model=self.model,
            revision=self.revision or None,
            tokens_in=int(found["tokens_in"]),
            tokens_out=int(found["tokens_out"]),
            whole=found["finish"] != "length",
        )

    def many(self, asks: Iterable[Ask]) -> Iterator[tuple[Ask, Answer]]:
        """Each question with its answer, as they come; at_once in flight, few held."""
        return abreast(asks, self.chat, at_once=self.at_once)

    def close(self) -> None:
        """End this process's engine, if there is one; the next question starts another."""
        with _starting:
            for key in [key for key in _engines if key[0] == self]:
                _engines.pop(key).close()


_starting = threading.Lock()
_engines: dict[tuple[Vllm, str, int], Child] = {}


def _engine(settings: Vllm, python: str) -> Child:
    """The engine of these settings in this process; one that has ended is started anew."""
    key = (settings, python, os.getpid())
    with _starting:
        if key not in _engines or _engines[key].gone:
            _engines[key] = _start(settings, python)
        return _engines[key]


def _start(settings: Vllm, python: str) -> Child:
    per_clip = {"video": 1} if settings.frames_as == "video" else {"image": settings.max_frames}
    engine = {
        "dtype": settings.dtype,
        "max_model_len": settings.max_model_len,
        "gpu_memory_utilization": settings.memory_share,
        "trust_remote_code": settings.trust_remote_code,
        "enforce_eager": settings.enforce_eager,
        "limit_mm_per_prompt": per_clip,
        "media_io_kwargs": {"video": {"num_frames": settings.max_frames}},
    }
    start = {"model": settings.model, "revision": settings.revision, "engine": engine}
    # -I: neither our folders nor PYTHONPATH reach the other environment.
    command = [python, "-I", str(PROGRAM)]
    return Child(command, start, who=f"{settings.model} in vLLM", start_s=settings.start_s)
