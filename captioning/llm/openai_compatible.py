"""Captions by any OpenAI-compatible endpoint: `vllm serve`, `transformers serve`, OpenAI, others.

The key comes from the environment variable that `api_key_env` names, if that is for the host of `base_url` (see
`permissions.py`), and from nowhere else: it is in no setting, and is cut out of every text before anybody sees it, so
it is in no log, no error and no provenance.
"""

import functools
import os
import re
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from ...permissions import read_api_key
from ...requirements import Lack
from .endpoint_client import CONNECT_TIMEOUT_S, EndpointClient, EndpointSettings
from .llm_captioner import ChatRequest, ChatResponse, LlmCaptioner, ModelUnavailable

_opening = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class OpenAiCaptioner(LlmCaptioner, EndpointSettings):
    """Caption through an endpoint that speaks OpenAI's chat completions."""

    kind: Literal["openai"] = "openai"
    api_key_env: str = ""
    """Name of the environment variable that holds the key; empty where the endpoint asks for none."""

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

    required_packages: ClassVar[Mapping[str, str]] = {"openai": "captions"}

    def missing_programs(self) -> tuple[Lack, ...]:
        """The key, if its variable is not set, and a server of this machine that does not listen."""
        lacks = []
        try:
            if self.api_key_env and not read_api_key(self.api_key_env, self.base_url):
                variable = f"the environment variable {self.api_key_env} is not set"
                fault = f"no key for {self.model} at {self.base_url}: {variable}"
                remedy = "set it, or leave api_key_env empty for a server that asks for no key"
                lacks.append(Lack(kind="program", fault=fault, remedy=remedy))
        except ValueError as refusal:
            lacks.append(Lack.from_sentence("program", str(refusal)))
        address = urlsplit(self.base_url)
        if address.hostname in ("127.0.0.1", "localhost", "::1"):
            try:
                socket.create_connection((address.hostname, address.port or 80), timeout=CONNECT_TIMEOUT_S).close()
            except OSError:
                fault = f"no server listens at {self.base_url}"
                lacks.append(Lack(kind="server", fault=fault, remedy=f"start one, e.g. vllm serve {self.model}"))
        return tuple(lacks)

    def chat(self, request: ChatRequest) -> ChatResponse:
        """Return the endpoint's answer.

        Raises:
            ModelUnavailable: the server is down, refuses, keeps being busy, or answers with something else.
            BudgetSpent: token_budget does not cover another answer.
        """
        try:
            key = read_api_key(self.api_key_env, self.base_url) if self.api_key_env else ""
        except ValueError as refusal:
            raise ModelUnavailable(f"{self.model} at {self.base_url}: {refusal}") from refusal
        if self.api_key_env and not key:
            raise ModelUnavailable(str(self.missing_programs()[0]))
        with _opening:  # two clients would each spend the budget
            client = _client(self, SecretStr(key), os.getpid())
        return client.ask(request)


@functools.cache
def _client(settings: OpenAiCaptioner, key: SecretStr, process_id: int) -> EndpointClient:
    return EndpointClient(settings, key)  # for each process: a forked child opens its own connections
