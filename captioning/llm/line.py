"""The line to one endpoint: asked from any thread, answered on one event loop, patient but bounded.

Busy and failing servers are asked again with growing, jittered pauses that all callers share (one 429 slows everybody
down), and an answer has a deadline whatever the server sends meanwhile.
"""

import asyncio
import functools
import os
import random
import threading
from typing import Any

from pydantic import SecretStr

from .chat import ChatRequest, ChatResponse, ModelUnavailable, messages_of
from .wire import EndpointSettings, RequestError, Wire

DEADLINES = 2
"""An answer that misses its deadline is asked for once more, no oftener: a model that never ends does so again."""


class BudgetSpent(ModelUnavailable):
    """The tokens that may be spent are spent."""


class Line:
    """One endpoint and one model, for one process."""

    def __init__(self, terms: EndpointSettings, key: SecretStr) -> None:
        self._terms, self._wire = terms, Wire(terms, key)
        self._slots = asyncio.Semaphore(terms.max_concurrency)
        self._not_before = 0.0
        self._spent = self._promised = 0

    def ask(self, ask: ChatRequest) -> ChatResponse:
        """The answer.

        Raises:
            Unavailable: there is none; `BudgetSpent`, where there shall be none.
        """
        messages = messages_of(ask, self._terms.frame_encoding)  # frames are coded here, in the caller's thread
        answer = asyncio.run_coroutine_threadsafe(self._within_budget(ask, messages), _loop_here())
        try:
            return answer.result()
        except BaseException:
            answer.cancel()
            raise

    async def _within_budget(self, ask: ChatRequest, messages: list[dict[str, Any]]) -> ChatResponse:
        async with self._slots:
            budget = self._terms.token_budget
            if budget is not None and self._spent + self._promised + ask.max_tokens > budget:
                raise BudgetSpent(
                    f"{self._terms.model} has cost {self._spent:,} of token_budget={budget:,} in this process, and "
                    f"another answer may take {ask.max_tokens:,}; raise the budget, or stay with what is captioned"
                )
            self._promised += ask.max_tokens
            try:
                answer = await self._patiently(ask, messages)
            finally:
                self._promised -= ask.max_tokens
            return answer

    async def _patiently(self, ask: ChatRequest, messages: list[dict[str, Any]]) -> ChatResponse:
        trouble, refused, late = "", None, 0
        for attempt in range(self._terms.max_attempts):
            await self._pause()
            refused = None
            try:
                async with asyncio.timeout(self._terms.timeout_s):
                    answer = await self._wire.send(ask, messages)
                self._spent += answer.tokens_in + answer.tokens_out
                if answer.text.strip():
                    return answer
                trouble = "answered with nothing"
            except RequestError as error:
                trouble, refused = str(error), error.refused
                if refused is not None and not refused.passing:
                    break
            except TimeoutError:
                trouble, late = f"did not finish an answer in {self._terms.timeout_s:g} s", late + 1
            if late == DEADLINES or attempt + 1 == self._terms.max_attempts:
                break
            self._wait_longer(attempt, refused.wait_s if refused else None, trouble)
        if refused is not None and not refused.passing:
            served = await self._wire.served() if refused.status == 404 else ""
            raise ModelUnavailable(f"{self._terms.who} {trouble}; {refused.remedy(self._terms.model, served)}")
        raise ModelUnavailable(f"{self._terms.who} {trouble}; {_remedy(trouble)}")

    async def _pause(self) -> None:
        while (left := self._not_before - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(left * random.uniform(1.0, 1.2))  # not all at the same moment

    def _wait_longer(self, attempt: int, asked_s: float | None, trouble: str) -> None:
        if asked_s is not None and asked_s > self._terms.backoff_max_s:
            raise ModelUnavailable(
                f"{self._terms.who} {trouble}, and asks to wait {asked_s:,.0f} s; come back then, or raise "
                f"backoff_max_s={self._terms.backoff_max_s:g}"
            )
        own_s = min(self._terms.backoff_initial_s * 2**attempt, self._terms.backoff_max_s) * random.uniform(0.5, 1.0)
        until = asyncio.get_running_loop().time() + (own_s if asked_s is None else asked_s)
        self._not_before = max(self._not_before, until)


def _remedy(trouble: str) -> str:
    if "reached" in trouble:
        return "start the server, or correct base_url"
    if "finish" in trouble:
        return "raise timeout_s, lower max_tokens, or see whether the server hangs"
    if "nothing" in trouble or "JSON" in trouble:
        return "see the server's log, or choose another model"
    return "wait and go on later, or lower max_concurrency"


_starting = threading.Lock()


def _loop_here() -> asyncio.AbstractEventLoop:
    with _starting:  # two threads that ask for the first time would each begin a loop, and a line belongs to one
        return _loop(os.getpid())


@functools.cache
def _loop(process: int) -> asyncio.AbstractEventLoop:
    """The event loop of this process, in a thread of its own; a forked child makes its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name=f"captions-{process}", daemon=True).start()
    return loop
