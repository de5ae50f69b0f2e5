"""What is asked of a model that chats, and what comes back: the door that every model backend opens.

A client is its settings, a frozen value; connection, process or weights live behind a cached function of it. `chat` may
be called from any number of threads; `max_concurrency` says how many calls keep the client busy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ...arrays import Rgb
from ..interface.frame_sampling import FrameEncoding, encode_jpegs, frame_parts


class ModelUnavailable(RuntimeError):
    """No answer is to be had: one sentence that names model or address, what is wrong, and what to do about it."""

    is_sentence = True
    is_unavailable = True


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """One question: house rules (system), the matter (user), pictures."""

    system: str
    user: str
    frames: Rgb | None = None
    """Shown as they are, all of them."""
    schema: Mapping[str, Any] | None = None
    """JSON schema of the answer, for clients that can hold a model to it; the system prompt asks for it too."""
    temperature: float = 0.0
    """0 takes the likeliest word each time."""
    seed: int = 0
    max_tokens: int = 512
    """Longest answer."""


@dataclass(frozen=True, kw_only=True)
class ChatResponse:
    """What the model said, as it said it, and what that took."""

    text: str
    model: str
    """As the server names it; an alias is resolved where the server does so."""
    revision: str | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    whole: bool = True
    """False where the answer was cut off at max_tokens."""


@runtime_checkable
class ChatClient(Protocol):
    """Answers questions; calls from several threads are welcome."""

    @property
    def max_concurrency(self) -> int:
        """How many questions in flight keep it busy."""

    def chat(self, ask: ChatRequest) -> ChatResponse:
        """The answer.

        Raises:
            Unavailable: there is none, and asking again at once would not help.
        """


def messages_of(ask: ChatRequest, frame_encoding: FrameEncoding) -> list[dict[str, Any]]:
    """The question in the chat format that OpenAI-compatible servers and vLLM share; frames before the words."""
    content: Any = ask.user
    if ask.frames is not None:
        content = [*frame_parts(encode_jpegs(ask.frames), frame_encoding), {"type": "text", "text": ask.user}]
    return [{"role": "system", "content": ask.system}, {"role": "user", "content": content}]
