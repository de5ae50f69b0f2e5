"""The three steps asked of a chatting model: system prompts from files, the matter as quoted data, answers read.

Whatever users bring (a caption that came with the footage, a name) and whatever another model wrote goes into one line
of JSON at the end of the message. The prompts say that nothing in it is an instruction; and since a model may obey it
all the same, every reply is checked by `checks.py`.
"""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from ..checks.response_parsing import clean_answer, parse_caption, parse_captions, whole_sentences
from ..interface.captioner import STRICT, ClipContext, Reply
from ..interface.frame_sampling import sample_frames
from .chat import ChatRequest, ChatResponse

LONGEST_HINT = 600
"""Characters of somebody's words that a model is shown; a caption is shorter, a whole page is no caption."""

# What ends a line, cannot be sent, or opens a template's own mark: <|im_end|>, </s>, [INST]; JSON may escape them all.
_MARKS = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff<]|\\[(?=/?[A-Z_]+\\])")


@dataclass(frozen=True, kw_only=True)
class ChatPrompt:
    """The system prompt of one step, with $fields to fill in."""

    text: str
    sha256: str
    """Of the file: another prompt, other captions."""


@cache
def load_prompt(step: str) -> ChatPrompt:
    """The prompt of a step: "describe", "refine" or "augment"."""
    written = (Path(__file__).parent / "prompts" / f"{step}.md").read_bytes()
    return ChatPrompt(text=written.decode(), sha256=hashlib.sha256(written).hexdigest())


@dataclass(frozen=True, kw_only=True)
class LlmCaptioner(ABC):
    """The steps of a captioner, by asking; a backend adds `chat`."""

    __pydantic_config__ = STRICT

    max_frames: int = 12
    """Frames shown to the model, evenly spaced over the clip, first and last among them."""
    temperature: float = 0.2
    """Of description and refinement; 0 gives the likeliest words."""
    augment_temperature: float = 0.9
    max_tokens: int = 768
    """Longest answer; a description takes some 250."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_frames <= 256:
            raise ValueError(f"max_frames={self.max_frames} is not in 1 to 256; 8 to 16 serve most models")
        for name in ("temperature", "augment_temperature"):
            if not 0 <= getattr(self, name) <= 2:
                raise ValueError(f"{name}={getattr(self, name)} is not in 0 to 2; 0 is repeatable, 1 is varied")
        if self.max_tokens < 16:
            raise ValueError(f"max_tokens={self.max_tokens} holds no sentence; give at least 16")

    @abstractmethod
    def chat(self, ask: ChatRequest) -> ChatResponse:
        """The model's answer; see `ChatClient`."""

    def describe(self, seen: ClipContext, *, seed: int, objections: Sequence[str] = ()) -> Reply:
        """The model's description of the frames; an answer that was cut off ends with its last whole sentence."""
        shown = sample_frames(seen, self.max_frames)
        lead = (
            f"Here are {len(shown.gt)} frames, evenly spaced, of a clip of {len(shown.gt) / shown.fps:.1f} seconds. "
            "Describe the clip."
        )
        ask = ChatRequest(
            system=load_prompt("describe").text,
            user=_message(lead, _known(seen), objections),
            frames=shown.gt,
            temperature=self.temperature,
            seed=seed,
            max_tokens=self.max_tokens,
        )
        answer = self.chat(ask)
        text = clean_answer(answer.text)
        return _reply("describe", text if answer.whole else whole_sentences(text), answer)

    def refine(
        self, description: str, seen: ClipContext, *, max_words: int, seed: int, objections: Sequence[str] = ()
    ) -> Reply:
        """The description as one caption of at most max_words words, as far as the model heeds that."""
        ask = ChatRequest(
            system=Template(load_prompt("refine").text).substitute(max_words=max_words),
            user=_message("Write the prompt.", {"description": description, **_known(seen)}, objections),
            schema=_object(caption={"type": "string"}),
            temperature=self.temperature,
            seed=seed,
            max_tokens=self.max_tokens,
        )
        answer = self.chat(ask)
        return _reply("refine", parse_caption(answer.text), answer)

    def augment(
        self, caption: str, seen: ClipContext, *, count: int, seed: int, objections: Sequence[str] = ()
    ) -> tuple[Reply, ...]:
        """What the model gave of count captions, of one answer: its tokens are counted in the first reply."""
        captions = {"type": "array", "items": {"type": "string"}, "minItems": count, "maxItems": count}
        ask = ChatRequest(
            system=Template(load_prompt("augment").text).substitute(count=count),
            user=_message(f"Write {count} captions.", {"caption": caption, **_known(seen)}, objections),
            schema=_object(effect={"type": "string"}, captions=captions),
            temperature=self.augment_temperature,
            seed=seed,
            max_tokens=self.max_tokens,
        )
        answer = self.chat(ask)
        texts = parse_captions(answer.text)[:count] or [clean_answer(answer.text)]
        free = ChatResponse(text="", model=answer.model, revision=answer.revision)
        return tuple(_reply("augment", text, free if place else answer) for place, text in enumerate(texts))


def quote_json(data: Mapping[str, Any]) -> str:
    """One line of JSON in which no text can end the quotation, start a line, or form a chat template's marks."""
    line = json.dumps(data, ensure_ascii=False)
    return _MARKS.sub(lambda mark: f"\\u{ord(mark[0]):04x}", line)


def _message(lead: str, data: Mapping[str, Any], objections: Sequence[str]) -> str:
    lines = [lead]
    if objections:
        lines.append("An earlier answer of yours could not be used. What was wrong with it:")
        lines += [f"- {' '.join(objection.split())}" for objection in objections]
        lines.append("Answer anew and put that right.")
    return "\n".join([*lines, quote_json({"data": data})])


def _known(seen: ClipContext) -> dict[str, Any]:
    """What is known of the clip and not seen in the frames; what is not known is not mentioned."""
    known = {
        "subject": seen.subject,
        "known effects": list(seen.effects),
        "facts": dict(seen.facts),
        "words that came with the footage": (seen.hint or "")[:LONGEST_HINT],
    }
    return {name: value for name, value in known.items() if value}


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _reply(step: str, text: str, answer: ChatResponse) -> Reply:
    return Reply(
        text=text,
        model=answer.model,
        revision=answer.revision,
        prompt_sha256=load_prompt(step).sha256,
        tokens_in=answer.tokens_in,
        tokens_out=answer.tokens_out,
    )
