"""Settings: frozen dataclasses, read from TOML and --set by one path, refused in one sentence when they are wrong.

A table is filled from its field's default, as `dataclasses.replace` would; its `kind` chooses among alternatives.
"""

import dataclasses
import difflib
import math
import re
import tomllib
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import TypeAdapter, ValidationError

from .untrusted_input import MAX_DEPTH, MAX_TEXT, check_values, parse_toml, shortened

T = TypeVar("T")
STRICT: Any = {"extra": "forbid"}
"""Value of `__pydantic_config__` in a settings class: pydantic refuses a key that the class does not know."""

MAX_SENTENCE = 1000
"""Characters of a sentence that refuses settings, whose values may be long."""
RENAMED: dict[str, str] = {
    "acts": "scenarios", "answer_deadline_s": "timeout_s", "at_once": "max_concurrency",
    "attachment.high": "peak_threshold", "attachment.largest": "max_area", "attachment.low": "edge_threshold",
    "attachment.reach": "max_distance", "budget_tokens": "token_budget", "cache.compute": "compute_dtype",
    "cache.stored": "storage_dtype", "caption_rules.fill": "fallback_to_rules",
    "effect_mask.floor": "threshold_min", "effect_mask.median_frames": "temporal_median_frames",
    "first_wait_s": "backoff_initial_s",
    "frames_as": "frame_encoding", "gates": "quality_thresholds", "given_caption": "fixed_caption",
    "keep": "keep_checkpoints", "key_variable": "api_key_env", "longest_wait_s": "backoff_max_s", "maker": "generator",
    "memory_share": "gpu_memory_utilization", "min_rest_frames": "min_remainder_frames",
    "model_share": "model_probability", "occluders": "occluder_probability", "optimiser.clip": "max_grad_norm",
    "optimiser.rate": "learning_rate", "prune": "effect_mask", "python": "python_path", "reach_px": "distance_clip_px",
    "ring_px": "background_ring_px", "silent_s": "frame_timeout_s", "split_cuts": "split_shots",
    "start_s": "startup_timeout_s", "tries": "max_attempts", "truth.faint": "soft_threshold",
    "truth.grows": "grow_threshold", "truth.level": "threshold", "truth.sure": "seed_threshold",
    "truth_samples": "mask_samples", "truth_scale": "mask_scale", "use": "prompts_as",
    "validation.every": "every_steps", "video.memory": "offload", "wording": "caption_rules",
}  # fmt: skip
"""First names of settings to present ones; with the present name of their table where that tells them apart."""


@dataclass(frozen=True, kw_only=True)
class ErrorWording:
    """Words in which one kind of settings file is refused."""

    owner: str = "source"
    """Kind of file: source, scene, run."""
    unknown_key: str = "{key!r} is not a setting of {table}"
    """Sentence about a key that does not exist; may use {key}, {path} (tables and key), {table} and {value!r}."""
    no_suggestion: str = "."
    """Its end where no known key is close."""
    wrong_value: str = "{path}={value!r} does not do: {rule}"
    advice: str = ""
    """End of every other sentence."""


@dataclass(frozen=True)
class InRange:
    """Annotation of a number, or a tuple of numbers, that lies in [low, high]: `Annotated[float, InRange(0, 1)]`."""

    low: float | int
    high: float | int


def check_ranges(settings: Any) -> None:
    """Check every field of a settings value that is annotated with `InRange`; serves as `__post_init__`.

    Raises:
        ValueError: naming the value, the range and what to give.
    """
    for name, limits in _ranges(type(settings)):  # type: ignore[arg-type]
        value = getattr(settings, name)
        several = isinstance(value, tuple)
        for number in value if several else (value,):
            if number is not None and not (math.isfinite(number) and limits.low <= number <= limits.high):
                table, span = _table_name(settings), f"[{limits.low:g}, {limits.high:g}]"
                if several:
                    raise ValueError(f"{table}.{name} holds {number:g}, not in {span}; give values between them")
                raise ValueError(f"{table}.{name}={number:g} is not in {span}; give a value between them")


@dataclass(frozen=True, kw_only=True)
class CheckedSettings:
    """Base of settings that refuse unknown keys, and numbers outside the `InRange` of their field, however made."""

    __pydantic_config__: ClassVar[Any] = STRICT
    table: ClassVar[str] = ""
    """Its table's name in error sentences, where that is neither its kind nor its class's name."""

    def __post_init__(self) -> None:
        check_ranges(self)


def _table_name(settings: Any) -> str:
    """Name of settings in error sentences: its table, its kind if the class has but one, or its class."""
    kinds = typing.get_args(_kind_of(type(settings)))
    kind = "" if len(kinds) > 1 else getattr(settings, "kind", "")
    return getattr(settings, "table", "") or kind or type(settings).__name__.lower()


@cache
def _ranges(cls: type[Any]) -> tuple[tuple[str, InRange], ...]:
    hints = typing.get_type_hints(cls, include_extras=True)
    notes = ((name, note) for name, hint in hints.items() for note in getattr(hint, "__metadata__", ()))
    return tuple((name, note) for name, note in notes if isinstance(note, InRange))


def read_settings(
    cls: type[T], path: Path, overrides: Iterable[str] = (), *, wording: ErrorWording = ErrorWording()
) -> T:
    """Read a TOML file, apply overrides, and make settings of it; tables are nested dataclasses.

    Raises:
        ValueError: naming the file, the key, the value and the rule.
    """
    return settings_from(cls, read_values(path, overrides), file=path, wording=wording)


def read_values(path: Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Return the values of a TOML file with overrides applied, unchecked.

    Raises:
        ValueError: the file or an override cannot be read.
    """
    try:
        values = parse_toml(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ValueError(f"{path}: cannot be read ({problem.strerror}); give a TOML file of settings") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ValueError(f"{path.name}: is not valid TOML: {problem}; mend that line") from problem
    except ValueError as problem:
        raise ValueError(f"{path.name}: {problem}; mend it") from problem
    for override in overrides:
        apply_override(values, override)
    return values


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set one value of nested tables by "table.key=value", in place.

    The value is written as in TOML, or is a bare word for a string, or a size as 192x336.

    Raises:
        ValueError: the override has another form, or leads through a value.
    """
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"--set {override!r} is not key=value; write for example --set normalise.fps=12")
    if len(override) > MAX_TEXT:
        raise ValueError(f"--set {shortened(override)!r} has {len(override):,} characters; write up to {MAX_TEXT:,}")
    *tables, last = key.strip().split(".")
    if len(tables) > MAX_DEPTH:
        raise ValueError(f"--set {shortened(override)!r} is nested deeper than {MAX_DEPTH} tables")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise ValueError(f"--set {override!r}: {table!r} is a value, not a table")
    text = text.strip()
    if re.fullmatch(r"\d+x\d+", text):
        values[last] = [int(side) for side in text.split("x")]
        return
    try:
        values[last] = parse_toml(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        values[last] = text
    except ValueError as problem:
        raise ValueError(f"--set {shortened(override)!r}: {problem}") from problem


def settings_from(
    cls: type[T],
    values: Mapping[str, Any] | Iterable[str] = (),
    *,
    file: Path | None = None,
    wording: ErrorWording = ErrorWording(),
) -> T:
    """Check values (of a file, of JSON, of a flow's parameters) or overrides and make settings of them.

    Raises:
        ValueError: naming the file that the values came from, if there is one, the key, the value and the rule.
    """
    tables: dict[str, Any] = dict(values) if isinstance(values, Mapping) else {}
    for override in () if isinstance(values, Mapping) else values:
        apply_override(tables, override)
    try:
        check_values(tables)
        settings: T = _build(cls, tables, path="", default=None, wording=wording)
    except ValueError as problem:
        sentence = shortened(str(problem), MAX_SENTENCE)
        raise ValueError(f"{file.name}: {sentence}" if file else sentence) from problem
    return settings


def explain_validation_error(
    error: ValidationError, cls: type[Any], *, path: str = "", wording: ErrorWording = ErrorWording()
) -> str:
    """Return the first of pydantic's errors as one sentence: key, value, rule, and the nearest known key.

    A misspelt key is compared with those of the class at any depth; path has the tables that lead to it, with dots.
    """
    first = error.errors()[0]
    location = [*filter(None, [path]), *map(str, first["loc"])]
    dotted, message = ".".join(location), str(first["msg"]).removeprefix("Value error, ")
    rule = message[:1].lower() + message[1:]
    if first["type"] == "value_error":  # a check of ours: it says what to do, and mostly names its value
        names_value = re.match(r"\w+(\.\w+)+(=| holds )", message) is not None
        return message if not dotted or names_value else f"[{dotted}] {message}"
    if not dotted:
        return f"is no {wording.owner} ({rule}){wording.advice}"
    if first["type"] == "unexpected_keyword_argument":
        return _unknown_key(dotted, first["input"], all_keys(cls), wording)  # type: ignore[arg-type]
    if first["type"].startswith("missing") and not isinstance(first["loc"][-1], int):
        if wording.advice:
            return f"{dotted} is missing{wording.advice}"
        table, _, key = dotted.rpartition(".")
        return f"{key!r} is missing; every {f'[{table}]' if table else wording.owner} needs it"
    if first["type"].startswith("missing"):  # of a tuple, whose input is the tuple itself
        dotted, rule = ".".join(location[:-1]), "it has too few values"
    if isinstance(first["input"], Mapping):
        return f"{dotted} does not do: {rule}{wording.advice}"
    return wording.wrong_value.format(path=dotted, value=first["input"], rule=rule) + wording.advice


def first_names(values: Mapping[str, Any], table: str = "") -> dict[str, Any]:
    """Return nested settings under their first names, the inverse of `RENAMED`.

    Clip ids and groups are digests of settings under the names that these had first. They are stable by contract: same
    input and settings, same id; so a setting that is renamed must rename no clip. Some names depend on their table's.
    """

    def convert(value: Any, key: str) -> Any:
        if isinstance(value, Mapping):
            return first_names(value, key)
        return type(value)(convert(item, key) for item in value) if isinstance(value, list | tuple) else value

    names = {
        present: first.rpartition(".")[2]
        for first, present in RENAMED.items()
        if first.rpartition(".")[0] in ("", table)
    }
    return {names.get(key, key): convert(value, key) for key, value in values.items()}


def nearest(word: str, known_words: Iterable[str], otherwise: str = ".") -> str:
    """Return "; did you mean 'x'?" with the known word nearest to a misspelt one, or otherwise where none is near."""
    matches = difflib.get_close_matches(word, list(known_words), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else otherwise


@cache
def all_keys(cls: type[Any]) -> tuple[str, ...]:
    """Return every key of a settings class and of the classes in it, sorted."""
    schema = _adapter(cls).json_schema()  # type: ignore[arg-type]
    parts = (schema, *schema.get("$defs", {}).values())
    return tuple(sorted({key for part in parts for key in part.get("properties", {})}))


@cache
def _adapter(cls: type[Any]) -> Any:  # a TypeAdapter, which beartype does not know
    return TypeAdapter(cls)


def _build(cls: type[Any], values: Any, *, path: str, default: Any, wording: ErrorWording) -> Any:
    """Make a settings dataclass out of a table, its own tables first; default fills what the table leaves open."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{path}={values!r} is a value, but {path!r} is a table; write {path}.kind or [{path}]")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    hints = typing.get_type_hints(cls)
    complete = {} if default is None else {name: getattr(default, name) for name in fields}
    for key, value in values.items():
        dotted = f"{path}.{key}" if path else key
        if key not in fields:
            raise ValueError(_unknown_key(dotted, value, fields, wording))
        field_default = complete.get(key, _default(fields[key]))
        complete[key] = _build_field(hints[key], value, path=dotted, default=field_default, wording=wording)
    try:
        return _adapter(cls).validate_python(complete)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ValueError(explain_validation_error(error, cls, path=path, wording=wording)) from error


def _build_field(hint: Any, value: Any, *, path: str, default: Any, wording: ErrorWording) -> Any:
    """Make the dataclass of a field that is a table; leave any other value to the check of its class."""
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    members = typing.get_args(hint) if is_union else (hint,)
    tables: list[Any] = [member for member in members if dataclasses.is_dataclass(member)]
    if not tables or isinstance(value, tuple(tables)) or (value is None and type(None) in members):
        return value
    table = _choose(tables, value, path, default)
    return _build(table, value, path=path, default=default if type(default) is table else None, wording=wording)


def _choose(tables: list[Any], value: Any, path: str, default: Any) -> Any:
    """Choose the alternative that a table means: the one of its kind, else the default's, else the first."""
    if not isinstance(value, Mapping) or "kind" not in value:
        return type(default) if type(default) in tables else tables[0]
    by_kind = {name: table for table in tables for name in typing.get_args(_kind_of(table))}
    if isinstance(value["kind"], str) and value["kind"] in by_kind:
        return by_kind[value["kind"]]
    suggestion = nearest(str(value["kind"]), by_kind)
    raise ValueError(f"{path}.kind={value['kind']!r} is none of {', '.join(by_kind)}{suggestion}")


def _kind_of(table: Any) -> Any:
    return typing.get_type_hints(table).get("kind", str)


def _default(field: "dataclasses.Field[Any]") -> Any:
    """Return the default of a field, or None where it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _unknown_key(path: str, value: Any, known_keys: Collection[str], wording: ErrorWording) -> str:
    table, _, key = path.rpartition(".")
    for first, present in RENAMED.items():
        if key == first.rpartition(".")[2] and present in known_keys:
            return f"{path} is now {present}"
    sentence = wording.unknown_key.format(
        key=key, path=path, table=f"[{table}]" if table else f"a {wording.owner}", value=value
    )
    return sentence + nearest(key, known_keys, wording.no_suggestion)
