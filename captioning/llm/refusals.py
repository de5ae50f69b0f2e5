"""What a server's refusal means: whether to ask again, after how long, and what to tell the user.

Bodies of errors may repeat the key they refuse, or be a whole web page: one short line is kept, without the key.
"""

import email.utils
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

AGAIN = frozenset({408, 409, 425, 429, *range(500, 600)})
"""Statuses of servers that are busy, starting, or ill for the moment."""
OPTIONAL = ("response_format", "temperature", "seed", "max_tokens", "max_completion_tokens")
"""What a request can do without; some servers and models refuse one or other."""
_SCHEMA_WORDS = ("json_schema", "structured", "guided", "grammar")
_OVERFLOW = re.compile(r"context.{0,20}(length|window|size)|too (many|long).{0,30}token|prompt is too long", re.I)
_PICTURES = re.compile(r"video_url|image_url|image input|multimodal|content.{0,12}type", re.I)


@dataclass(frozen=True, kw_only=True)
class ApiError:
    """An answer that is none."""

    status: int
    said: str
    """The server's own words, one line."""
    wait_s: float | None = None
    """How long it asks us to wait."""
    about: str = ""
    """The part of the request that it names."""

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in AGAIN and "insufficient_quota" not in self.said

    def remedy(self, model: str, served: str) -> str:
        """What to do about it; served names the models that the server has, where it says so."""
        if self.status in (401, 403):
            return "check the key: api_key_env names the environment variable that holds it"
        if self.status == 404:
            return f"name a model it has ({served})" if served else "check model, and that base_url ends in /v1"
        if _OVERFLOW.search(self.said):
            return "the question is longer than the model's context: lower max_frames, or serve it with a longer one"
        if self.status == 400 and _PICTURES.search(self.said):
            return (
                'this endpoint takes frames in another way: try frame_encoding = "images" or "video", or a vision model'
            )
        if "insufficient_quota" in self.said:
            return "the account has nothing left to spend: top it up, or choose another endpoint"
        return "see the server's log" if self.status >= 500 else f"check the settings of {model}"

    def refused_option(self, request: Mapping[str, Any]) -> str | None:
        """The optional part of the request that the server will not have; response_format, where it does not say."""
        if self.status not in (400, 422) or _OVERFLOW.search(self.said):
            return None
        words = f"{self.about} {self.said}".lower()
        for name in OPTIONAL:
            if name in request and (name in words or (name == "response_format" and _named(words))):
                return name
        return "response_format" if "response_format" in request else None


def parse_api_error(status: int, headers: Mapping[str, str], body: Any, text: str) -> ApiError:
    """What can be read from an error response: its status, headers, decoded body if any, and raw text."""
    error = body.get("error", body) if isinstance(body, dict) else None
    if isinstance(error, dict):
        message = str(error.get("message") or error.get("detail") or error)
        code, about = str(error.get("code") or error.get("type") or ""), str(error.get("param") or "")
    else:
        message, code, about = str(error or text), "", ""
    words = one_line(message)
    return ApiError(
        status=status, said=f"{words} ({code})" if code else words, wait_s=_asked_wait(headers), about=about
    )


def one_line(text: str, longest: int = 200) -> str:
    """The text in one short line; of a web page, its title."""
    if is_web_page(text):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.I | re.S)
        text = f"a web page titled '{title.group(1).strip()}'" if title else "a web page"
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def is_web_page(text: str) -> bool:
    """Whether the text is HTML rather than an answer."""
    return bool(re.match(r"\s*<(!doctype|html|head|body|\?xml)", text, re.I))


def _named(words: str) -> bool:
    return any(word in words for word in _SCHEMA_WORDS)


def _asked_wait(headers: Mapping[str, str]) -> float | None:
    asked = headers.get("retry-after-ms") or headers.get("retry-after")
    if not asked:
        return None
    try:
        seconds = float(asked) / (1000 if headers.get("retry-after-ms") else 1)
    except ValueError:
        when = email.utils.parsedate_tz(asked)
        seconds = email.utils.mktime_tz(when) - time.time() if when else 0.0
    return max(seconds, 0.0) if seconds == seconds else None
