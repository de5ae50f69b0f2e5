"""Captions by any OpenAI-compatible endpoint: `vllm serve`, `transformers serve`, OpenAI, others.

The key comes from the environment variable that api_key_env names, and from nowhere else: it is in no setting, so it
is in no log, no error and no provenance.
"""

import os
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from pydantic import SecretStr

from ..interface.concurrency import map_unordered
from .chat import ChatRequest, ChatResponse, ModelUnavailable
from .line import Line
from .llm_captioner import LlmCaptioner
from .wire import EndpointSettings


@dataclass(frozen=True, kw_only=True)
class OpenAiCaptioner(LlmCaptioner, EndpointSettings):
    """Caption through an endpoint that speaks OpenAI's chat completions."""

    kind: Literal["openai"] = "openai"
    model: str
    base_url: str = "http://127.0.0.1:8000/v1"
    """Where `vllm serve` listens by default; OpenAI's own is https://api.openai.com/v1."""
    api_key_env: str = ""
    """Name of the environment variable that holds the key; empty where the endpoint asks for none."""
    max_concurrency: int = 16
    max_attempts: int = 6
    """Of one question, as long as the server is busy, failing or away."""
    timeout_s: float = 120.0
    backoff_initial_s: float = 0.5
    """Before the second try; it doubles with each."""
    backoff_max_s: float = 60.0
    token_budget: int | None = None
    """Tokens, in and out, that one process may spend here; None is no limit."""
    frame_encoding: Literal["video", "images"] = "images"
    """"video" for vLLM with MiniCPM-V: one video part; "images" is what every other endpoint knows."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model.strip():
            raise ValueError("model is empty; name the model as the server does (GET /v1/models lists them)")
        if not re.fullmatch(r"https?://[^/\s@?#]+(/[^\s@?#]*)?", self.base_url):
            raise ValueError(
                "base_url is not a plain http(s) address (its text is not repeated here, it may hold a key); "
                "write it like http://127.0.0.1:8000/v1, and give keys by api_key_env"
            )
        if self.api_key_env and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", self.api_key_env):
            raise ValueError(
                "api_key_env is not the name of an environment variable (its text is not repeated here, it may be a "
                "key); write a name in capitals, such as OPENAI_API_KEY, and put the key into that variable"
            )
        for name, least in (("max_concurrency", 1), ("max_attempts", 1), ("timeout_s", 0.01), ("backoff_initial_s", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is too small; give at least {least}")
        if self.token_budget is not None and self.token_budget < 1:
            raise ValueError(f"token_budget={self.token_budget} buys nothing; give a positive number, or none at all")

    def chat(self, ask: ChatRequest) -> ChatResponse:
        """The endpoint's answer.

        Raises:
            Unavailable: the server is down, refuses, keeps being busy, or answers with something else.
            BudgetSpent: of `Unavailable`, where token_budget does not cover another answer.
        """
        with _opening:  # two lines would each spend the budget
            line = _line(self, self._key(), os.getpid())
        return line.ask(ask)

    def many(self, asks: Iterable[ChatRequest]) -> Iterator[tuple[ChatRequest, ChatResponse]]:
        """Each question with its answer, as they come; max_concurrency in flight, few held."""
        return map_unordered(asks, self.chat, max_concurrency=self.max_concurrency)

    def _key(self) -> SecretStr:
        key = os.environ.get(self.api_key_env, "").strip() if self.api_key_env else ""
        if self.api_key_env and not key:
            raise ModelUnavailable(
                f"no key for {self.model} at {self.base_url}: the environment variable {self.api_key_env} is not set; "
                f"set it, or leave api_key_env empty for a server that asks for no key"
            )
        return SecretStr(key)


_opening = threading.Lock()


@cache
def _line(terms: OpenAiCaptioner, key: SecretStr, process: int) -> Line:  # a forked child opens its own connections
    return Line(terms, key)
