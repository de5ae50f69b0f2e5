"""Names, documents and texts that came from outside (corpora, settings, footage), before anything is done with them.

Every path that is made of such a name goes through `path_within`, which cannot leave its folder; every document through
`parse_json` or `parse_toml`, which have limits; every text through `printable`, `markdown_text` or `csv_text` on its
way to a terminal, a page or a table; and every pattern through `fill_pattern`, which knows a few words.
"""

import json
import math
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_ID = 200
"""Characters of a clip's id: with a layer's name and the ending of an unfinished file, a file's name has 255 bytes."""
MAX_DOCUMENT_BYTES = 64 * 2**20
"""Size of a JSON document: a `corpus.json` of 100,000 shards of one clip has 33 MB."""
MAX_SETTINGS_BYTES = 2**20
"""Size of a settings file: the largest that comes with the package has 2 kB."""
MAX_DEPTH = 64
"""Tables and lists in each other: ours have up to 9, and Python's own functions give up at some hundreds."""
MAX_TEXT = 10_000
"""Characters of one text in settings, several pages."""
MAX_PATTERN = 500
MAX_WHOLE_NUMBER = 2**63 - 1
"""Largest number that Parquet's and TOML's whole numbers hold."""

_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_ID - 1}}}")
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""Characters that steer a terminal, turn the direction of a line or cannot be seen, and halves of characters."""
_PLAIN_WORDS = re.compile(r"[\w .,;:'()+/%=-]*")


def is_id(name: str) -> bool:
    """Whether it is a clip's id, and so a file's name: letters, digits, '.', '_' and '-', not a sign first."""
    return _ID.fullmatch(name) is not None


def path_within(folder: Path, name: str) -> Path:
    """Path to a name below a folder; the folder itself may be anything, the name never leads out of it.

    Raises:
        ValueError: the name is absolute, has "..", an empty part or a sign that no file's name has, or a symbolic link
            on its way leads out of the folder.
    """
    check_relative(name)
    path = folder / name
    parent = path.parent
    if parent != folder and not parent.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{printable(str(parent))}: leads out of {folder} by a symbolic link; take the link away")
    return path


def check_relative(name: str) -> None:
    """Check that a name of a file below a folder or URL stays there.

    Raises:
        ValueError: it does not.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") or len(part.encode(errors="replace")) > 255 for part in parts):
        raise ValueError(f"{shortened(name)!r} leads out of its folder or names no file; it is not used")
    if "\\" in name or _UNSEEN.search(name):
        raise ValueError(f"{shortened(name)!r} has a sign that no name of a file here has; it is not used")


def parse_json(content: bytes | str) -> Any:
    """Return the value of a JSON document.

    Raises:
        ValueError: it is none, larger or deeper than the limits, or has a number that is not finite.
    """
    if len(content) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"has {len(content):,} bytes, more than {MAX_DOCUMENT_BYTES:,}")
    try:
        value = json.loads(content)
    except RecursionError:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels") from None
    check_values(value, max_text=MAX_DOCUMENT_BYTES)
    return value


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of a settings file.

    Raises:
        ValueError: as `parse_json`, or a text is too long.
    """
    if len(text) > MAX_SETTINGS_BYTES:
        raise ValueError(f"has {len(text):,} characters; settings have up to {MAX_SETTINGS_BYTES:,}")
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels") from None
    check_values(tables)
    return tables


def check_values(values: Any, *, max_text: int = MAX_TEXT) -> None:
    """Check nested values of a document: depth, lengths of texts, and that numbers are finite and hold in 64 bits.

    Raises:
        ValueError: naming the first that is not.
    """
    waiting: list[tuple[str, Any, int]] = [("", values, 0)]
    while waiting:
        path, value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"{shortened(path)} is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, Mapping):
            waiting += [(f"{path}.{key}" if path else str(key), item, depth + 1) for key, item in value.items()]
        elif isinstance(value, (list, tuple)):
            waiting += [(path, item, depth + 1) for item in value]
        elif isinstance(value, str) and len(value) > max_text:
            raise ValueError(f"{shortened(path)} has {len(value):,} characters, more than {max_text:,}")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{shortened(path)}={value} is no finite number")
        elif isinstance(value, int) and abs(value) > MAX_WHOLE_NUMBER:
            raise ValueError(f"{shortened(path)} is a whole number that 64 bits do not hold")


def find_mismatch(value: Any, shape: Any, path: str = "") -> str | None:
    """Return the path to the first part of a document that is not of a shape, or None.

    Args:
        value: a JSON value.
        shape: a type (float takes whole numbers too, object anything); a list of one shape, for each item; or a
            dictionary of shapes, whose key "*" stands for every key, and one with "?" for one that may be absent.
        path: keys that lead to the value.
    """
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return path or "a table"
        for key, part in shape.items():
            name = key.removesuffix("?")
            for item in value if name == "*" else [name] if name in value or name == key else ():
                wrong = find_mismatch(value.get(item), part, f"{path}.{item}" if path else str(item))
                if wrong:
                    return shortened(wrong)
        return None
    if isinstance(shape, list):
        items = value if isinstance(value, list) else [None]
        return next((wrong for item in items if (wrong := find_mismatch(item, shape[0], path))), None)
    types = (int, float) if shape is float else shape
    is_flag = isinstance(value, bool) and shape in (int, float)
    return None if isinstance(value, types) and not is_flag else path


def fill_pattern(pattern: str, **words: str) -> str:
    """Return a pattern with {word} replaced; nothing else in braces has a meaning.

    Raises:
        ValueError: it has another word in braces, or a brace alone.
    """
    check_pattern(pattern, *words)
    return re.sub(r"\{(\w+)\}", lambda word: words[word[1]], pattern)


def check_pattern(pattern: str, *words: str) -> None:
    """Check a setting that is a pattern of files below a folder.

    Raises:
        ValueError: it is empty, absolute, too long, goes up after it went down, or has an unknown word in braces.
    """
    known = ", ".join(f"{{{word}}}" for word in words) or "none"
    rest = re.sub("|".join(rf"\{{{word}\}}" for word in words) or r"(?!)", "", pattern)
    parts = pattern.split("/")
    down = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    problem = None
    if not pattern or len(pattern) > MAX_PATTERN:
        problem = f"has {len(pattern)} characters; write 1 to {MAX_PATTERN}"
    elif "{" in rest or "}" in rest:
        problem = f"has braces around something else than a known word; the words are {known}"
    elif pattern.startswith(("/", "~")) or "\\" in pattern or _UNSEEN.search(pattern):
        problem = "is not a path below the folder of the footage; write it from there"
    elif ".." in parts[down:] or pattern.count("**") > 2 or (down and "**" in pattern):
        problem = "searches too widely; write '..' at its start alone, and '**' at most twice and not beside '..'"
    if problem:
        raise ValueError(f"pattern {shortened(pattern)!r} {problem}")


def expand_variables(text: str) -> str:
    """Return a path with ${VARIABLE} put in, of variables whose name begins with EFFECTPAIRS_, and ~.

    Others may hold a secret, which would stand in the next error and in every account.

    Raises:
        ValueError: another variable is named, or one that is not set.
    """
    for name in re.findall(r"\$\{?(\w+)", text):
        if not name.startswith("EFFECTPAIRS_") or name == "EFFECTPAIRS_API_KEYS":
            raise ValueError(f"${{{name}}} is not put in: its name does not begin with EFFECTPAIRS_; write the path")
        if name not in os.environ:
            raise ValueError(f"needs the environment variable {name}; export {name}=FOLDER, or write the path")
    return os.path.expanduser(re.sub(r"\$\{?(\w+)\}?", lambda match: os.environ[match[1]], text))  # noqa: PTH111


def shortened(text: str, length: int = 80) -> str:
    """Return the start of a long text, fit to be shown."""
    return printable(text if len(text) <= length else f"{text[: length - 1]}…")


def printable(text: str) -> str:
    """Return a text with characters that steer a terminal written out, an escape as its number."""
    return _UNSEEN.sub(lambda sign: sign[0].encode("unicode_escape").decode(), text)


def markdown_text(value: Any) -> str:
    """Return a text that Markdown shows as it is: plain words stay, others become code, which has no links or tags."""
    text = " ".join(printable(str(value)).split())
    is_plain = _PLAIN_WORDS.fullmatch(text) and "://" not in text and "www." not in text.lower()
    return text if is_plain and "__" not in text else f"`{text.replace('`', chr(39)).replace('|', '¦')}`"


def csv_text(value: Any) -> str:
    """Return a text for a cell of CSV, which a spreadsheet would take for a formula after some signs."""
    text = printable(str(value))
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text
