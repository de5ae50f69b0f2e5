"""Captions by vLLM without a server: in an environment and a process of its own, batched.

vLLM pins its own torch, so it never shares our environment: `python_path` names the one it lives in. Questions that
wait while it works go into its next batch, so it is asked by many threads at once.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..interface.concurrency import map_unordered
from ..interface.frame_sampling import FrameEncoding
from .chat import ChatRequest, ChatResponse, ModelUnavailable, messages_of
from .child import Child
from .llm_captioner import LlmCaptioner

VARIABLE = "EFFECTPAIRS_VLLM"
"""Environment variable that names the python to use where the setting does not."""
PROGRAM = Path(__file__).with_name("offline_worker.py")


@dataclass(frozen=True, kw_only=True)
class VllmCaptioner(LlmCaptioner):
    """Caption through vLLM's own engine."""

    kind: Literal["vllm"] = "vllm"
    model: str = "openbmb/MiniCPM-V-2_6"
    revision: str = ""
    python_path: str = ""
    """Of the environment with vLLM; empty: what EFFECTPAIRS_VLLM says."""
    max_concurrency: int = 32
    """Questions in flight, and so the most in one batch."""
    max_model_len: int | None = 8192
    """Tokens of question and answer; None is the model's own."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    gpu_memory_utilization: float = 0.9
    """Of a GPU's memory."""
    trust_remote_code: bool = False
    """Let the model's folder bring code: MiniCPM-V 2.6 needs it, for its image processor. Pin revision with it."""
    enforce_eager: bool = False
    """No compilation: starts faster, runs slower; wise on a CPU."""
    startup_timeout_s: float = 1800.0
    timeout_s: float = 600.0
    frame_encoding: FrameEncoding = "video"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_concurrency < 1:
            raise ValueError(f"max_concurrency={self.max_concurrency} asks nothing; give at least 1")
        if not 0 < self.gpu_memory_utilization <= 1:
            raise ValueError(
                f"gpu_memory_utilization={self.gpu_memory_utilization} is not in (0, 1]; 0.9 leaves some for others"
            )
        if min(self.startup_timeout_s, self.timeout_s) <= 0:
            raise ValueError("startup_timeout_s and timeout_s must be positive; a large model takes minutes to start")

    def chat(self, ask: ChatRequest) -> ChatResponse:
        """VLLM's answer.

        Raises:
            Unavailable: no environment, no model, a program that ended, or a question that it refuses.
        """
        python = self.python_path or os.environ.get(VARIABLE, "")
        if not python:
            raise ModelUnavailable(
                f"{self.model} runs in vLLM, and no environment is named; make one (python -m venv DIR; DIR/bin/pip "
                f"install vllm) and set python_path or {VARIABLE} to DIR/bin/python"
            )
        child = _engine(self, python)
        question = {
            "messages": messages_of(ask, self.frame_encoding),
            "temperature": ask.temperature,
            "seed": ask.seed % 2**31,
            "max_tokens": ask.max_tokens,
            "schema": dict(ask.schema) if ask.schema is not None else None,
        }
        found = child.ask(question, deadline_s=self.timeout_s)
        return ChatResponse(
            text=str(found["text"]),
            model=self.model,
            revision=self.revision or None,
            tokens_in=int(found["tokens_in"]),
            tokens_out=int(found["tokens_out"]),
            whole=found["finish"] != "length",
        )

    def many(self, asks: Iterable[ChatRequest]) -> Iterator[tuple[ChatRequest, ChatResponse]]:
        """Each question with its answer, as they come; max_concurrency in flight, few held."""
        return map_unordered(asks, self.chat, max_concurrency=self.max_concurrency)

    def close(self) -> None:
        """End this process's engine, if there is one; the next question starts another."""
        with _starting:
            for key in [key for key in _engines if key[0] == self]:
                _engines.pop(key).close()


_starting = threading.Lock()
_engines: dict[tuple[VllmCaptioner, str, int], Child] = {}


def _engine(settings: VllmCaptioner, python: str) -> Child:
    """The engine of these settings in this process; one that has ended is started anew."""
    key = (settings, python, os.getpid())
    with _starting:
        if key not in _engines or _engines[key].gone:
            _engines[key] = _start(settings, python)
        return _engines[key]


def _start(settings: VllmCaptioner, python: str) -> Child:
    per_clip = {"video": 1} if settings.frame_encoding == "video" else {"image": settings.max_frames}
    engine = {
        "dtype": settings.dtype,
        "max_model_len": settings.max_model_len,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "trust_remote_code": settings.trust_remote_code,
        "enforce_eager": settings.enforce_eager,
        "limit_mm_per_prompt": per_clip,
        "media_io_kwargs": {"video": {"num_frames": settings.max_frames}},
    }
    start = {"model": settings.model, "revision": settings.revision, "engine": engine}
    # -I: neither our folders nor PYTHONPATH reach the other environment.
    command = [python, "-I", str(PROGRAM)]
    return Child(command, start, who=f"{settings.model} in vLLM", startup_timeout_s=settings.startup_timeout_s)
