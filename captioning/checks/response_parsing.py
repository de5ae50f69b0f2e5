"""Reading what a model answered: leniently, for what is read is checked afterwards."""

import json
import re
import unicodedata
from typing import Any

_THOUGHTS = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"^\s*```\w*\s*|\s*```\s*$")
_NUMBERING = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.):])\s+")
_LEAD = re.compile(
    r"^\s*(?:here (?:is|are)[^:\n]{0,60}:|(?:(?:the|my|final) )*(?:caption|prompt|answer|output)(?: is)?\s*:?)\s*"
    r"(?=[\"“])",
    re.IGNORECASE,
)
"""What comes before a caption in quotation marks."""
_QUOTED = re.compile(r"^(?:\"([^\"]*)\"|“([^“”]*)”|'([^']*)'|‘([^‘’]*)’)([.!?]?)$")
"""A whole caption in quotation marks; within a sentence they stay, and one without its other is the check's affair."""


def clean_answer(text: str) -> str:
    """The answer without a reasoning model's thoughts, control characters and invisible marks; spaces run together."""
    text = _THOUGHTS.sub(" ", text)
    kept = (character for character in text if character in "\n\t" or unicodedata.category(character)[0] != "C")
    return re.sub(r"[ \t]+", " ", "".join(kept)).strip()


def parse_caption(text: str) -> str:
    """The caption of an answer that should be {"caption": ...}; of any other answer, its words as they are."""
    found = _json_in(text)
    if isinstance(found, dict):
        found = next((value for value in [found.get("caption"), *found.values()] if isinstance(value, str)), None)
    return _one_line(found if isinstance(found, str) else text)


def parse_captions(text: str) -> list[str]:
    """The captions of an answer that should be {"captions": [...]}; of any other answer, its lines."""
    found = _json_in(text)
    if isinstance(found, dict):
        found = next((value for value in [found.get("captions"), *found.values()] if isinstance(value, list)), None)
    if isinstance(found, list):
        texts = [item.get("caption", "") if isinstance(item, dict) else item for item in found]
        captions = [_one_line(item) for item in texts if isinstance(item, str)]
    else:
        captions = [_one_line(_NUMBERING.sub("", line)) for line in _FENCE.sub("", clean_answer(text)).splitlines()]
    return [caption for caption in captions if caption]


def whole_sentences(text: str) -> str:
    """The text up to its last full stop, for an answer that was cut off; as it is, where no sentence is whole."""
    ends = [match.end() for match in re.finditer(r"[.!?][\"'”’]?(?=\s|$)", text)]
    return text[: ends[-1]] if ends else text


def _json_in(text: str) -> Any:
    """The JSON of an answer, whatever stands around it; None where there is none."""
    text = clean_answer(text)
    starts = [place for place in (text.find("{"), text.find("[")) if place >= 0]
    if not starts:
        return None
    end = max(text.rfind("}"), text.rfind("]"))
    try:
        return json.loads(text[min(starts) : end + 1], strict=False)  # guided decoding lets raw controls through
    except ValueError:
        return None


def _one_line(text: str) -> str:
    line = " ".join(_LEAD.sub("", _FENCE.sub("", clean_answer(text))).split())
    if len(re.findall('["“”]', line)) == 1:
        return line.strip('"“” ')  # begun as a quotation and not ended, or the other way round
    quoted = _QUOTED.match(line)
    return "".join(part for part in quoted.groups() if part).strip() if quoted else line
