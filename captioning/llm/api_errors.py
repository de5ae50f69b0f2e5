"""Error responses of OpenAI-compatible servers: whether to try again, what to leave out, and what a user can do."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TRANSIENT_STATUSES = frozenset({408, 409, 425, 429, *range(500, 600)})
"""Statuses of servers that are busy, starting, or failing for the moment."""
OPTIONAL_PARAMETERS = ("response_format", "temperature", "seed", "max_tokens", "max_completion_tokens")
"""Parameters that a request can do without; some servers and models refuse one or other."""
_SCHEMA_WORDS = ("json_schema", "structured", "guided", "grammar")
_CONTEXT_OVERFLOW = re.compile(
    r"context.{0,20}(length|window|size)|too (many|long).{0,30}token|prompt is too long|longer than the maximum", re.I
)
_FRAMES_REFUSED = re.compile(r"video_url|image_url|image input|multimodal|content.{0,12}type", re.I)


@dataclass(frozen=True, kw_only=True)
class ApiError:
    """An error response of a server."""

    status: int
    message: str
    """The server's own words in one line, without the key."""
    retry_after_s: float | None = None
    parameter: str = ""
    """The part of the request that it names."""

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in TRANSIENT_STATUSES and "insufficient_quota" not in self.message

    @property
    def is_context_overflow(self) -> bool:
        """Whether the question is longer than the model's context."""
        return bool(_CONTEXT_OVERFLOW.search(self.message))

    def remedy(self, model: str, served_models: str) -> str:
        """Return what to do about it; served_models names those that the server has, where it says so."""
        if self.status in (401, 403):
            return "check the key: api_key_env names the environment variable that holds it"
        if self.status == 404:
            if served_models:
                return f"name a model it has ({served_models})"
            return "check model, and that base_url ends in /v1"
        if self.is_context_overflow:
            return (
                "the question is longer than the context: lower max_frames, or raise max_model_len where it is served"
            )
        if self.status == 400 and _FRAMES_REFUSED.search(self.message):
            return (
                'this endpoint takes frames in another way: try frame_encoding = "images" or "video", or a vision model'
            )
        if "insufficient_quota" in self.message:
            return "the account has nothing left to spend: top it up, or choose another endpoint"
        return "see the server's log" if self.status >= 500 else f"check the settings of {model}"

    def refused_parameter(self, parameters: Mapping[str, Any]) -> str | None:
        """Return the optional parameter that the server refuses; response_format, where it does not say."""
        if self.status not in (400, 422) or self.is_context_overflow:
            return None
        words = f"{self.parameter} {self.message}".lower()
        for name in OPTIONAL_PARAMETERS:
            is_schema = name == "response_format" and any(word in words for word in _SCHEMA_WORDS)
            if name in parameters and (name in words or is_schema):
                return name
        return "response_format" if "response_format" in parameters else None


class RequestError(Exception):
    """A request without an answer: by an error response, or without any response at all."""

    def __init__(
        self, sentence: str, remedy: str, *, is_final: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(sentence)
        self.remedy, self.is_final, self.retry_after_s = remedy, is_final, retry_after_s
