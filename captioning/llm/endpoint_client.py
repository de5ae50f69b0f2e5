"""Client of one OpenAI-compatible endpoint in one process: how many requests go at once, retries, and the budget.

Requests go through the package `openai`, without its own retries, which would lose what holds here: a pause that the
server asks for is kept or refused, never cut to 60 s; one 429 slows down all callers; a spent quota is final; a whole
answer has a time limit, however slowly its bytes come. `tenacity` knows no shared pause and saves no line.
"""

import asyncio
import contextlib
import email.utils
import functools
import os
import random
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import SecretStr

from ...extras import require
from ...settings import InRange
from .api_errors import ApiError, RequestError
from .llm_captioner import ChatRequest, ChatResponse, FrameEncoding, ModelUnavailable, chat_messages

CONNECT_TIMEOUT_S = 10.0
MAX_TIMEOUTS = 2
"""An answer that exceeds its time is requested once more, no oftener: a model that never ends does so again."""
MODEL_REMEDY = "see the server's log, or choose another model"
_starting = threading.Lock()


class BudgetSpent(ModelUnavailable):
    """The tokens that may be spent are spent."""


@dataclass(frozen=True, kw_only=True)
class EndpointSettings:
    """Address of an endpoint, and limits of its use."""

    model: str
    base_url: str = "http://127.0.0.1:8000/v1"
    """Address of the endpoint; the default is that of `vllm serve`, OpenAI's own is https://api.openai.com/v1."""
    max_concurrency: Annotated[int, InRange(1, 4096)] = 16
    max_attempts: Annotated[int, InRange(1, 100)] = 6
    """Requests for one answer, as long as the server is busy, failing or away."""
    timeout_s: Annotated[float, InRange(0.01, 86_400)] = 120.0
    """Limit for one whole answer."""
    backoff_initial_s: Annotated[float, InRange(0, 86_400)] = 0.5
    """Pause before the second attempt; it doubles with each."""
    backoff_max_s: Annotated[float, InRange(0, 86_400)] = 60.0
    token_budget: Annotated[int | None, InRange(1, 10**15)] = None
    """Tokens, in and out, that one process may spend here; None is no limit."""
    frame_encoding: FrameEncoding = "images"
    """"video" for vLLM with MiniCPM-V: one video part; "images" is what every other endpoint knows."""


class EndpointClient:
    """Client of one endpoint and model in one process; asked from any thread, answered on one event loop."""

    def __init__(self, settings: EndpointSettings, key: SecretStr, *, title: str = "") -> None:
        self._settings, self._key = settings, key
        self._title = title or f"{settings.model} at {settings.base_url}"
        self._api = require("openai", extra="captions")
        self._client = self._api.AsyncOpenAI(
            api_key=key.get_secret_value() or "none",  # else the package looks for one in the environment
            base_url=settings.base_url,
            max_retries=0,
            timeout=self._api.Timeout(settings.timeout_s, connect=CONNECT_TIMEOUT_S, pool=None),
        )
        self._slots = asyncio.Semaphore(settings.max_concurrency)
        self._refused: set[str] = set()
        self._resume_time = 0.0
        self._spent_tokens = self._reserved_tokens = 0

    def ask(self, request: ChatRequest) -> ChatResponse:
        """Return the answer.

        Raises:
            ModelUnavailable: there is none; `BudgetSpent`, where the budget does not cover it.
        """
        messages = chat_messages(request, self._settings.frame_encoding)  # encoded here, in the caller's thread
        with _starting:  # two threads would each start a loop, and a client belongs to one
            loop = _event_loop(os.getpid())
        response = asyncio.run_coroutine_threadsafe(self._ask_within_budget(request, messages), loop)
        try:
            return response.result()
        except BaseException:
            response.cancel()
            raise

    async def _ask_within_budget(self, request: ChatRequest, messages: list[dict[str, Any]]) -> ChatResponse:
        async with self._slots:
            budget = self._settings.token_budget
            if budget is not None and self._spent_tokens + self._reserved_tokens + request.max_tokens > budget:
                raise BudgetSpent(
                    f"{self._settings.model} has cost {self._spent_tokens:,} of token_budget={budget:,} in this "
                    f"process, and another answer may take {request.max_tokens:,}; raise the budget, or stay with what "
                    "is captioned"
                )
            self._reserved_tokens += request.max_tokens
            try:
                return await self._ask_with_retries(request, messages)
            finally:
                self._reserved_tokens -= request.max_tokens

    async def _ask_with_retries(self, request: ChatRequest, messages: list[dict[str, Any]]) -> ChatResponse:
        settings, failure, remedy, timeouts = self._settings, "", "", 0
        for attempt in range(settings.max_attempts):
            while (remaining_s := self._resume_time - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(remaining_s * random.uniform(1.0, 1.2))  # not all at the same moment
            retry_after_s = None
            try:
                async with asyncio.timeout(settings.timeout_s):
                    response = await self._send(request, messages)
                self._spent_tokens += response.tokens_in + response.tokens_out
                if response.text.strip():
                    return response
                failure, remedy = "answered with nothing", MODEL_REMEDY
            except RequestError as error:
                failure, remedy, retry_after_s = str(error), error.remedy, error.retry_after_s
                if error.is_final:
                    break
            except TimeoutError:
                failure, timeouts = f"did not finish an answer in {settings.timeout_s:g} s", timeouts + 1
                remedy = "raise timeout_s, lower max_tokens, or see whether the server hangs"
            if timeouts == MAX_TIMEOUTS or attempt + 1 == settings.max_attempts:
                break
            self._back_off(attempt, retry_after_s, failure)
        raise ModelUnavailable(f"{self._title} {failure}; {remedy}")

    def _back_off(self, attempt: int, retry_after_s: float | None, failure: str) -> None:
        """Make all callers pause: as long as the server asks for, else longer with each attempt."""
        longest_s = self._settings.backoff_max_s
        if retry_after_s is not None and retry_after_s > longest_s:
            raise ModelUnavailable(
                f"{self._title} {failure}, and asks to wait {retry_after_s:,.0f} s; come back then, or raise "
                f"backoff_max_s={longest_s:g}"
            )
        backoff_s = min(self._settings.backoff_initial_s * 2**attempt, longest_s) * random.uniform(0.5, 1.0)
        pause_s = backoff_s if retry_after_s is None else retry_after_s
        self._resume_time = max(self._resume_time, asyncio.get_running_loop().time() + pause_s)

    async def _send(self, request: ChatRequest, messages: list[dict[str, Any]]) -> ChatResponse:
        """Send one request, without the parameters that the server was seen to refuse.

        Raises:
            RequestError: no answer.
            TimeoutError: the server was silent for too long.
            ModelUnavailable: the answer is no chat completion.
        """
        parameters, refused = self._parameters(request, messages), set[str]()
        while True:  # ends: every round leaves one parameter out
            try:
                response = self._parse_response(await self._client.chat.completions.create(**parameters))
                self._refused |= refused  # remembered, now that it is seen to help
                return response
            except self._api.APIStatusError as error:
                api_error = self._parse_error(error)
                name = api_error.refused_parameter(parameters)
                if name is None:
                    raise await self._request_error(api_error) from None
                if name == "max_tokens":
                    parameters["max_completion_tokens"] = parameters["max_tokens"]
                del parameters[name]
                refused.add(name)
            except self._api.APITimeoutError:
                raise TimeoutError from None
            except self._api.APIConnectionError as error:
                reason = self._one_line(str(error.__cause__ or error))
                raise RequestError(f"cannot be reached ({reason})", "start the server, or correct base_url") from None
            except ValueError as error:  # a body that says it is JSON and is not
                sentence = f"sent an answer that is not JSON ({self._one_line(str(error))})"
                raise RequestError(sentence, MODEL_REMEDY) from None

    def _parameters(self, request: ChatRequest, messages: list[dict[str, Any]]) -> dict[str, Any]:
        parameters: dict[str, Any] = {
            "model": self._settings.model,
            "messages": messages,
            "temperature": request.temperature,
            "seed": request.seed % 2**31,
            "max_tokens": request.max_tokens,
        }
        if request.schema is not None:
            schema = {"name": "answer", "strict": True, "schema": dict(request.schema)}
            parameters["response_format"] = {"type": "json_schema", "json_schema": schema}
        if "max_tokens" in self._refused:
            parameters["max_completion_tokens"] = request.max_tokens
        return {name: value for name, value in parameters.items() if name not in self._refused}

    def _parse_response(self, body: Any) -> ChatResponse:
        choices = getattr(body, "choices", None)
        if not isinstance(choices, list):
            raise ModelUnavailable(
                f"{self._title} answered with something that is no chat completion ({self._one_line(str(body))}); "
                "base_url should be an OpenAI-compatible endpoint, and usually ends in /v1"
            )
        usage = getattr(body, "usage", None)
        message = choices[0].message if choices else None
        text = getattr(message, "content", None) or getattr(message, "refusal", None) or ""
        return ChatResponse(
            text=self._without_key(str(text)),
            model=body.model or self._settings.model,
            revision=getattr(body, "system_fingerprint", None),
            tokens_in=getattr(usage, "prompt_tokens", 0) or 0,
            tokens_out=getattr(usage, "completion_tokens", 0) or 0,
            is_complete=not choices or choices[0].finish_reason != "length",
        )

    def _parse_error(self, error: Any) -> ApiError:
        body = error.body.get("error", error.body) if isinstance(error.body, dict) else None
        fields = body if isinstance(body, dict) else {}
        message = str(fields.get("message") or fields.get("detail") or body or error.response.text)
        code = str(fields.get("code") or fields.get("type") or "")
        message = self._one_line(message)
        return ApiError(
            status=error.status_code,
            message=self._without_key(f"{message} ({code})" if code else message),
            retry_after_s=_retry_after_s(error.response.headers),
            parameter=str(fields.get("param") or ""),
        )

    async def _request_error(self, error: ApiError) -> RequestError:
        sentence, served_models = f"answered {error.status}: {error.message}", ""
        if error.is_transient:
            remedy = "wait and go on later, or lower max_concurrency"
            return RequestError(sentence, remedy, retry_after_s=error.retry_after_s)
        if error.status == 404:  # the endpoint may tell which models it has
            errors = (self._api.APIError, TimeoutError, ValueError, AttributeError, TypeError)
            with contextlib.suppress(*errors):
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    names = [model.id async for model in self._client.models.list()]
                served_models = self._one_line(", ".join(names[:8]))
        return RequestError(sentence, error.remedy(self._settings.model, served_models), is_final=True)

    def _one_line(self, text: str) -> str:
        """Return a text without the key in one short line; of a web page, its title."""
        text = self._without_key(text)
        if re.match(r"\s*<(!doctype|html|head|body|\?xml)", text, re.I):
            title = re.search(r"<title[^>]*>(.*?)</title>", text, re.I | re.S)
            text = f"a web page titled '{title.group(1).strip()}'" if title else "a web page"
        line = " ".join(text.split())
        return line if len(line) <= 200 else line[:199] + "…"

    def _without_key(self, text: str) -> str:
        key = self._key.get_secret_value()
        return text.replace(key, "***") if key else text


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after-ms") or headers.get("retry-after")
    if not value:
        return None
    try:
        seconds = float(value) / (1000 if headers.get("retry-after-ms") else 1)
    except ValueError:
        date = email.utils.parsedate_tz(value)
        seconds = email.utils.mktime_tz(date) - time.time() if date else 0.0
    return max(seconds, 0.0) if seconds == seconds else None


@functools.cache
def _event_loop(process_id: int) -> asyncio.AbstractEventLoop:
    """Return the event loop of this process, in a thread of its own; a forked child starts its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name=f"captions-{process_id}", daemon=True).start()
    return loop
