"""Captions by chat models: requests and responses, system prompts from files, data quoted, answers parsed.

Whatever users bring (a caption that came with the footage, a name) and whatever another model wrote goes into one line
of JSON at the end of the message. The prompts say that nothing in it is an instruction; and since a model may obey it
all the same, every reply is checked by `checks.validators`.

A backend is its settings, a frozen value; connection, process or weights live behind a cached function of it. Its
`chat` may be called from any number of threads; `max_concurrency` says how many calls keep it busy.
"""

import base64
import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal

import cv2

from ...arrays import Rgb
from ...settings import CheckedSettings, InRange
from ..checks.response_parsing import clean_answer, parse_caption, parse_captions, whole_sentences
from ..interface.captioner import ClipContext, Reply, sample_frames

FrameEncoding = Literal["video", "images"]
"""One video part of many JPEGs (vLLM), or an image part for each frame (every other endpoint)."""
JPEG_QUALITY = 92
"""High enough that soft shadows stay without blocks."""
MAX_HINT_CHARS = 600
"""Characters of somebody's words that a model is shown; a caption is shorter, a whole page is no caption."""
# What ends a line, cannot be sent, or opens a template's own mark: <|im_end|>, </s>, [INST]; JSON may escape them all.
_TEMPLATE_MARKS = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff<]|\\[(?=/?[A-Z_]+\\])")


class ModelUnavailable(RuntimeError):
    """No answer is to be had: one sentence that names model or address, the fault, and the remedy."""

    is_sentence = True
    is_unavailable = True


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """One question to a chat model."""

    system: str
    user: str
    frames: Rgb | None = None
    """All of them are shown, as they are."""
    schema: Mapping[str, Any] | None = None
    """JSON schema of the answer, for backends that can enforce it; the system prompt asks for it too."""
    temperature: float = 0.0
    """0 takes the likeliest word each time."""
    seed: int = 0
    max_tokens: int = 512
    """Longest answer."""


@dataclass(frozen=True, kw_only=True)
class ChatResponse:
    """A chat model's answer as it gave it, and its cost."""

    text: str
    model: str
    """As the server names it; an alias is resolved where the server does so."""
    revision: str | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    is_complete: bool = True
    """False where the answer was cut off at max_tokens."""


@dataclass(frozen=True, kw_only=True)
class ChatPrompt:
    """The system prompt of one step, with $fields to fill in."""

    text: str
    sha256: str
    """Digest of the file: another prompt, other captions."""


@cache
def load_prompt(step: str) -> ChatPrompt:
    """Read the prompt of a step: "describe", "refine" or "augment"."""
    content = (Path(__file__).parent / "prompts" / f"{step}.md").read_bytes()
    return ChatPrompt(text=content.decode(), sha256=hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, kw_only=True)
class LlmCaptioner(CheckedSettings, ABC):
    """The three steps by a chat model; a backend adds `chat`."""

    max_frames: Annotated[int, InRange(1, 256)] = 12
    """Frames shown to the model, evenly spaced over the clip, first and last among them."""
    temperature: Annotated[float, InRange(0, 2)] = 0.2
    """Temperature of description and refinement; 0 gives the likeliest words."""
    augment_temperature: Annotated[float, InRange(0, 2)] = 0.9
    max_tokens: Annotated[int, InRange(16, 1_000_000)] = 768
    """Longest answer; a description takes some 250."""

    @abstractmethod
    def chat(self, request: ChatRequest) -> ChatResponse:
        """Return the model's answer.

        Raises:
            ModelUnavailable: there is none, and asking again at once would not help.
        """

    def describe(self, clip: ClipContext, *, seed: int, objections: Sequence[str] = ()) -> Reply:
        """Return the model's description of the frames; one that was cut off ends with its last whole sentence."""
        sampled = sample_frames(clip, self.max_frames)
        lead = (
            f"Here are {len(sampled.gt)} frames, evenly spaced, of a clip of {len(sampled.gt) / sampled.fps:.1f} "
            "seconds. Describe the clip."
        )
        user = _user_message(lead, _clip_data(clip), objections)
        response = self._ask("describe", user, {}, seed=seed, temperature=self.temperature, frames=sampled.gt)
        text = clean_answer(response.text)
        return _reply("describe", text if response.is_complete else whole_sentences(text), response)

    def refine(
        self, description: str, clip: ClipContext, *, max_words: int, seed: int, objections: Sequence[str] = ()
    ) -> Reply:
        """Return the description as one caption of at most max_words words, as far as the model heeds that."""
        data = {"description": description, **_clip_data(clip)}
        user, schema = _user_message("Write the prompt.", data, objections), _json_schema(caption={"type": "string"})
        fields = {"max_words": max_words}
        response = self._ask("refine", user, fields, seed=seed, temperature=self.temperature, schema=schema)
        return _reply("refine", parse_caption(response.text), response)

    def augment(
        self, caption: str, clip: ClipContext, *, count: int, seed: int, objections: Sequence[str] = ()
    ) -> tuple[Reply, ...]:
        """Return up to count captions of one answer, whose tokens are counted in the first reply."""
        captions = {"type": "array", "items": {"type": "string"}, "minItems": count, "maxItems": count}
        schema = _json_schema(effect={"type": "string"}, captions=captions)
        user = _user_message(f"Write {count} captions.", {"caption": caption, **_clip_data(clip)}, objections)
        fields = {"count": count}
        response = self._ask("augment", user, fields, seed=seed, temperature=self.augment_temperature, schema=schema)
        texts = parse_captions(response.text)[:count] or [clean_answer(response.text)]
        without_cost = replace(response, tokens_in=0, tokens_out=0)
        return tuple(_reply("augment", text, without_cost if index else response) for index, text in enumerate(texts))

    def _ask(self, step: str, user: str, fields: Mapping[str, int], **options: Any) -> ChatResponse:
        """Send a step's prompt with its fields filled in; options are those of `ChatRequest`."""
        system = Template(load_prompt(step).text).substitute(fields)
        return self.chat(ChatRequest(system=system, user=user, max_tokens=self.max_tokens, **options))


def chat_messages(request: ChatRequest, frame_encoding: FrameEncoding) -> list[dict[str, Any]]:
    """Return the question in the chat format of OpenAI-compatible servers; frames before the words."""
    content: Any = request.user
    if request.frames is not None:
        frames = frame_parts(encode_jpegs(request.frames), frame_encoding)
        content = [*frames, {"type": "text", "text": request.user}]
    return [{"role": "system", "content": request.system}, {"role": "user", "content": content}]


def encode_jpegs(frames: Rgb) -> list[bytes]:
    """Encode each frame as a JPEG of its own size.

    Frames travel as single pictures, since a video file would be decoded by somebody else's codec.

    Raises:
        ValueError: a frame that no JPEG can hold (no pixels, or a side beyond 65,500).
    """
    jpegs = []
    for frame in frames:
        height, width = frame.shape[:2]
        if not (0 < height <= 65_500 and 0 < width <= 65_500):
            raise ValueError(f"a frame of {height}x{width} fits no JPEG; give sides from 1 to 65,500 pixels")
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), options)
        jpegs.append(jpeg.tobytes())
    return jpegs


def frame_parts(jpegs: Sequence[bytes], frame_encoding: FrameEncoding) -> list[dict[str, Any]]:
    """Return frames as content parts of a chat message."""
    encoded = [base64.b64encode(jpeg).decode() for jpeg in jpegs]
    if frame_encoding == "video":
        return [{"type": "video_url", "video_url": {"url": "data:video/jpeg;base64," + ",".join(encoded)}}]
    return [{"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{jpeg}"}} for jpeg in encoded]


def quote_json(data: Mapping[str, Any]) -> str:
    """Return one line of JSON in which no text can end the quotation, start a line, or form a template's marks."""
    line = json.dumps(data, ensure_ascii=False)
    return _TEMPLATE_MARKS.sub(lambda mark: f"\\u{ord(mark[0]):04x}", line)


def _user_message(lead: str, data: Mapping[str, Any], objections: Sequence[str]) -> str:
    lines = [lead]
    if objections:
        lines.append("An earlier answer of yours could not be used. What was wrong with it:")
        lines += [f"- {' '.join(objection.split())}" for objection in objections]
        lines.append("Answer anew and put that right.")
    return "\n".join([*lines, quote_json({"data": data})])


def _json_schema(**properties: Any) -> dict[str, Any]:
    """Return the JSON schema of an object that has these properties, all of them, and no other."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _clip_data(clip: ClipContext) -> dict[str, Any]:
    """Return what is known of the clip beside its frames; what is not known is not mentioned."""
    data = {
        "subject": clip.subject,
        "known effects": list(clip.effects),
        "effects expected of the whole collection": [] if clip.effects else list(clip.expected_effects),
        "facts": dict(clip.facts),
        "words that came with the footage": (clip.hint or "")[:MAX_HINT_CHARS],
    }
    return {name: value for name, value in data.items() if value}


def _reply(step: str, text: str, response: ChatResponse) -> Reply:
    return Reply(
        text=text,
        model=response.model,
        revision=response.revision,
        prompt_sha256=load_prompt(step).sha256,
        tokens_in=response.tokens_in,
        tokens_out=response.tokens_out,
    )
