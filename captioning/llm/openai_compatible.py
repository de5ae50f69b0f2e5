"""Captions by any OpenAI-compatible endpoint: `vllm serve`, `transformers serve`, OpenAI, others.

The key comes from the environment variable that key_variable names, and from nowhere else: it is in no setting, so it
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

from ..interface.concurrency import abreast
from .chat import Answer, Ask, Unavailable
from .line import Line
from .llm_captioner import Prompted
from .wire import Terms


@dataclass(frozen=True, kw_only=True)
class OpenAi(Prompted, Terms):
    """Caption through an endpoint that speaks OpenAI's chat completions."""

    kind: Literal["openai"] = "openai"
    model: str
    base_url: str = "http://127.0.0.1:8000/v1"
    """Where `vllm serve` listens by default; OpenAI's own is https://api.openai.com/v1."""
    key_variable: str = ""
    """Name of the environment variable that holds the key; empty where the endpoint asks for none."""
    at_once: int = 16
    tries: int = 6
    """Of one question, as long as the server is busy, failing or away."""
    answer_deadline_s: float = 120.0
    first_wait_s: float = 0.5
    """Before the second try; it doubles with each."""
    longest_wait_s: float = 60.0
    budget_tokens: int | None = None
    """Tokens, in and out, that one process may spend here; None is no limit."""
    frames_as: Literal["video", "images"] = "images"
    """"video" for vLLM with MiniCPM-V: one video part; "images" is what every other endpoint knows."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.model.strip():
            raise ValueError("model is empty; name the model as the server does (GET /v1/models lists them)")
        if not re.fullmatch(r"https?://[^/\s@?#]+(/[^\s@?#]*)?", self.base_url):
            raise ValueError(
                "base_url is not a plain http(s) address (its text is not repeated here, it may hold a key); "
                "write it like http://127.0.0.1:8000/v1, and give keys by key_variable"
            )
        if self.key_variable and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", self.key_variable):
            raise ValueError(
                "key_variable is not the name of an environment variable (its text is not repeated here, it may be a "
                "key); write a name in capitals, such as OPENAI_API_KEY, and put the key into that variable"
            )
        for name, least in (("at_once", 1), ("tries", 1), ("answer_deadline_s", 0.01), ("first_wait_s", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is too small; give at least {least}")
        if self.budget_tokens is not None and self.budget_tokens < 1:
            raise ValueError(f"budget_tokens={self.budget_tokens} buys nothing; give a positive number, or none at all")

    def chat(self, ask: Ask) -> Answer:
        """The endpoint's answer.

        Raises:
            Unavailable: the server is down, refuses, keeps being busy, or answers with something else.
            BudgetSpent: of `Unavailable`, where budget_tokens does not cover another answer.
        """
        with _opening:  # two lines would each spend the budget
            line = _line(self, self._key(), os.getpid())
        return line.ask(ask)

    def many(self, asks: Iterable[Ask]) -> Iterator[tuple[Ask, Answer]]:
        """Each question with its answer, as they come; at_once in flight, few held."""
        return abreast(asks, self.chat, at_once=self.at_once)

    def _key(self) -> SecretStr:
        key = os.environ.get(self.key_variable, "").strip() if self.key_variable else ""
        if self.key_variable and not key:
            raise Unavailable(
                f"no key for {self.model} at {self.base_url}: the environment variable {self.key_variable} is not set; "
                f"set it, or leave key_variable empty for a server that asks for no key"
            )
        return SecretStr(key)


_opening = threading.Lock()


@cache
def _line(terms: OpenAi, key: SecretStr, process: int) -> Line:  # a forked child opens its own connections
    return Line(terms, key)
