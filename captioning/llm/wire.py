"""One request to an OpenAI-compatible endpoint and what came back, through the `openai` package.

Parameters that a server refuses are left out from then on. The key is held as a secret and cut out of every text before
anybody sees it.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from pydantic import SecretStr

from ...extras import require
from ..interface.frame_sampling import FrameEncoding
from .chat import ChatRequest, ChatResponse, ModelUnavailable
from .refusals import ApiError, one_line, parse_api_error

CONNECT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class EndpointSettings:
    """How an endpoint is spoken to; what each means stands where users set it, at `OpenAi`."""

    model: str
    base_url: str
    max_concurrency: int
    max_attempts: int
    timeout_s: float
    backoff_initial_s: float
    backoff_max_s: float
    token_budget: int | None
    frame_encoding: FrameEncoding

    @property
    def who(self) -> str:
        """Model and address, for sentences."""
        return f"{self.model} at {self.base_url}"


class RequestError(Exception):
    """A request that came to nothing: a refusal of the server's, or None where there was no response at all."""

    def __init__(self, sentence: str, refused: ApiError | None = None) -> None:
        super().__init__(sentence)
        self.refused = refused


class Wire:
    """Sends single requests; belongs to the event loop that it is used on."""

    def __init__(self, terms: EndpointSettings, key: SecretStr) -> None:
        self._api = require("openai", extra="captions")
        self._terms, self._key = terms, key
        self._left_out: set[str] = set()
        self._client = self._api.AsyncOpenAI(
            api_key=key.get_secret_value() or "none",  # else the package looks for one in the environment
            base_url=terms.base_url,
            max_retries=0,
            timeout=self._api.Timeout(terms.timeout_s, connect=CONNECT_S, pool=None),
        )

    async def send(self, ask: ChatRequest, messages: list[dict[str, Any]]) -> ChatResponse:
        """The answer, which may be empty.

        Raises:
            Trouble: no answer; whoever waits decides whether to ask again.
            TimeoutError: the server was silent for too long.
            Unavailable: there is an answer, and it is not a chat completion.
        """
        request, left_out = self._request(ask, messages), set[str]()
        while True:  # ends: every round leaves one parameter out
            try:
                answer = self._read(await self._client.chat.completions.create(**request))
                self._left_out |= left_out  # remembered now that it is seen to help
                return answer
            except self._api.APIStatusError as error:
                refused = self._refusal(error)
                option = refused.refused_option(request)
                if option is None:
                    raise RequestError(f"answered {refused.status}: {refused.said}", refused) from None
                if option == "max_tokens":
                    request["max_completion_tokens"] = request["max_tokens"]
                del request[option]
                left_out.add(option)
            except self._api.APITimeoutError:
                raise TimeoutError from None
            except self._api.APIConnectionError as error:
                raise RequestError(f"cannot be reached ({self._clean(str(error.__cause__ or error))})") from None
            except ValueError as error:  # a body that says it is JSON and is not
                raise RequestError(f"sent an answer that is not JSON ({self._clean(str(error))})") from None

    async def served(self) -> str:
        """Names of models that the endpoint has; empty where it does not tell."""
        try:
            async with asyncio.timeout(CONNECT_S):
                return self._clean(", ".join([model.id async for model in self._client.models.list()][:8]))
        except (self._api.APIError, TimeoutError, ValueError, AttributeError, TypeError):
            return ""

    def _request(self, ask: ChatRequest, messages: list[dict[str, Any]]) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self._terms.model,
            "messages": messages,
            "temperature": ask.temperature,
            "seed": ask.seed % 2**31,
            "max_tokens": ask.max_tokens,
        }
        if ask.schema is not None:
            schema = {"name": "answer", "strict": True, "schema": dict(ask.schema)}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        if "max_tokens" in self._left_out:
            request["max_completion_tokens"] = ask.max_tokens
        return {name: value for name, value in request.items() if name not in self._left_out}

    def _read(self, found: Any) -> ChatResponse:
        choices = getattr(found, "choices", None)
        if not isinstance(choices, list):
            text = found if isinstance(found, str) else str(found)
            raise ModelUnavailable(
                f"{self._terms.who} answered with something that is no chat completion ({self._clean(text)}); "
                "base_url should be an OpenAI-compatible endpoint, and usually ends in /v1"
            )
        usage = getattr(found, "usage", None)
        message = choices[0].message if choices else None
        text = getattr(message, "content", None) or getattr(message, "refusal", None) or ""
        return ChatResponse(
            text=self._without_key(str(text)),
            model=found.model or self._terms.model,
            revision=getattr(found, "system_fingerprint", None),
            tokens_in=getattr(usage, "prompt_tokens", 0) or 0,
            tokens_out=getattr(usage, "completion_tokens", 0) or 0,
            whole=not choices or choices[0].finish_reason != "length",
        )

    def _refusal(self, error: Any) -> ApiError:
        found = parse_api_error(
            error.status_code, error.response.headers, error.body, self._without_key(error.response.text)
        )
        return replace(found, said=self._clean(found.said))

    def _clean(self, text: str) -> str:
        return one_line(self._without_key(text))

    def _without_key(self, text: str) -> str:
        key = self._key.get_secret_value()
        return text.replace(key, "***") if key else text
