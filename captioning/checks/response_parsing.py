"""Lenient parsing of models' answers; what is read is checked afterwards.

The package `json-repair` is no help here: it would complete an answer that was cut off, and so hide that it was.
"""

import json
import re
import unicodedata
from typing import Any

_THOUGHTS = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"^\s*```\w*\s*|\s*```\s*$")
_NUMBERING = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.):])\s+")
_LEAD_IN = re.compile(
    r"^\s*(?:here (?:is|are)[^:\n]{0,60}:|(?:(?:the|my|final) )*(?:caption|prompt|answer|output)(?: is)?\s*:?)\s*"
    r"(?=[\"“])",
    re.IGNORECASE,
)
"""Words before a caption in quotation marks."""
_QUOTED = re.compile(r"^(?:\"([^\"]*)\"|“([^“”]*)”|'([^']*)'|‘([^‘’]*)’)([.!?]?)$")
"""A caption in quotation marks; those within a sentence stay, and unpaired ones are left to the checks."""


def clean_answer(text: str) -> str:
    """Return an answer without a reasoning model's thoughts, control characters, invisible marks and double spaces."""
    text = _THOUGHTS.sub(" ", text)
    visible = (character for character in text if character in "\n\t" or unicodedata.category(character)[0] != "C")
    return re.sub(r"[ \t]+", " ", "".join(visible)).strip()


def parse_caption(text: str) -> str:
    """Return the caption of an answer that should be {"caption": ...}; of any other answer, its words as they are."""
    value = _parse_json(text)
    if isinstance(value, dict):
        value = next((item for item in [value.get("caption"), *value.values()] if isinstance(item, str)), None)
    return _one_line(value if isinstance(value, str) else text)


def parse_captions(text: str) -> list[str]:
    """Return the captions of an answer that should be {"captions": [...]}; of any other answer, its lines."""
    value = _parse_json(text)
    if isinstance(value, dict):
        value = next((item for item in [value.get("captions"), *value.values()] if isinstance(item, list)), None)
    if isinstance(value, list):
        texts = [item.get("caption", "") if isinstance(item, dict) else item for item in value]
        captions = [_one_line(item) for item in texts if isinstance(item, str)]
    else:
        captions = [_one_line(_NUMBERING.sub("", line)) for line in _FENCE.sub("", clean_answer(text)).splitlines()]
    return [caption for caption in captions if caption]


def whole_sentences(text: str) -> str:
    """Return a text that was cut off up to its last full stop; as it is, where it has none."""
    ends = [match.end() for match in re.finditer(r"[.!?][\"'”’]?(?=\s|$)", text)]
    return text[: ends[-1]] if ends else text


def _parse_json(text: str) -> Any:
    """Return the JSON in an answer, whatever surrounds it; None where there is none."""
    text = clean_answer(text)
    starts = [index for index in (text.find("{"), text.find("[")) if index >= 0]
    if not starts:
        return None
    end = max(text.rfind("}"), text.rfind("]"))
    try:
        return json.loads(text[min(starts) : end + 1], strict=False)  # guided decoding lets raw control characters in
    except ValueError:
        return None


def _one_line(text: str) -> str:
    line = " ".join(_LEAD_IN.sub("", _FENCE.sub("", clean_answer(text))).split())
    if len(re.findall('["“”]', line)) == 1:
        return line.strip('"“” ')  # a quotation that is opened and not closed, or the other way round
    quoted = _QUOTED.match(line)
    return "".join(part for part in quoted.groups() if part).strip() if quoted else line
