"""A source: one small file of settings that says what comes in, whose it is, and which flow reads it."""

import dataclasses
import difflib
import re
import tomllib
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

SOURCES = Path(__file__).parent
S = TypeVar("S", bound="Source")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What every source says of itself."""

    name: str
    """What its clips are called by; the settings file's own name unless it says otherwise."""
    flow: Literal["real-pairs", "synthetic-pairs", "unpaired"] = "real-pairs"
    """Which flow reads it; of rendered sets the truth is known, so their clips are synthetic."""
    licence: str = "unknown"
    origin: str = "unknown"
    """Who made it and where it came from."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ValueError(f"name={self.name!r} is not a plain name; use letters, digits, '.', '_' and '-'")

    @property
    def kind(self) -> str:
        """Of its clips, as in the corpus's column."""
        return self.flow.removesuffix("-pairs")


@dataclass(frozen=True, kw_only=True)
class FootageSource(Source):
    """Where footage lies and what is known of it before anyone looks."""

    root: str
    """Folder of the footage; ~ and ${VARIABLE} are expanded when it is listed, never before."""
    layout: Literal["davis", "gen-omnimatte", "videos", "movies", "kubric-pairs"]
    resolution: str | None = None
    """Layout "davis": which folder under JPEGImages; None takes 480p, or the only one there is."""
    image_fps: float = 24.0
    """Frames per second of image sequences, which do not say it themselves (DAVIS: 24)."""
    video: str = "**/*.mp4"
    """Layout "videos": a glob pattern under root; a folder of images counts as one video."""
    masks: tuple[str, ...] = ()
    """Layout "videos": mask videos or folders, one per subject, beside each video; {stem} is the video's name."""
    keys: str | None = None
    """Layout "videos": a polygons JSON or a folder of FRAME.png, beside each video; {stem} as above."""
    background: str | None = None
    """Layouts "videos" and "movies": a clean plate that another tool made, beside each video; {stem} as above."""
    include: tuple[str, ...] = ()
    """Names to take, as shell patterns; empty takes all."""
    exclude: tuple[str, ...] = ()
    """Names to leave out, as shell patterns."""
    effects: tuple[str, ...] = ()
    """What effects its clips show, in the words of the corpus."""
    given_caption: str | None = None
    """A person's words for each of its clips; they stay as they are and are only augmented."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.image_fps <= 1000:
            raise ValueError(f"image_fps={self.image_fps} is not in (0, 1000]; give frames per second, e.g. 24")
        if not self.root:
            raise ValueError("root='' names no folder; set it to the folder of the footage")


def source_names() -> tuple[str, ...]:
    """Names of the sources that come with the package, sorted."""
    return tuple(sorted(path.stem for path in SOURCES.glob("*.toml")))


def load_source(name_or_path: str | Path, overrides: Iterable[str] = (), into: type[S] = FootageSource) -> S:  # type: ignore[assignment]
    """Read a source's settings, change some of them, and check every one.

    Args:
        name_or_path: a name out of `source_names()`, or the path of a TOML file.
        overrides: "key=value" or "table.key=value"; the value as in TOML, a bare word as a string, a size as 192x336.
        into: the settings class, with tables as nested dataclasses.

    Raises:
        ValueError: naming the file, the key, the value and the rule.
    """
    path, data = given(name_or_path, overrides)
    try:
        built: S = _build(into, data, table="", default=None)
    except ValueError as wrong:
        raise ValueError(f"{path.name}: {wrong}") from wrong
    return built


def given(name_or_path: str | Path, overrides: Iterable[str] = ()) -> tuple[Path, dict[str, Any]]:
    """A source's settings file, and what stands in it once the overrides are applied; nothing of it is checked yet.

    Raises:
        ValueError: there is no such source, or its file or an override cannot be read.
    """
    path = _find(str(name_or_path))
    data = {"name": path.stem} | _read(path)
    for change in overrides:
        override(data, change)
    return path, data


def _find(name: str) -> Path:
    if name.endswith(".toml") or "/" in name:
        path = Path(name).expanduser()
        if not path.is_file():
            raise ValueError(f"{name}: there is no such settings file; give a .toml file or one of {_listed()}")
        return path
    if name not in source_names():
        raise ValueError(f"{name!r} is not a source{_meant(name, source_names())} There are: {_listed()}")
    return SOURCES / f"{name}.toml"


def _listed() -> str:
    return ", ".join(source_names())


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        raise ValueError(f"{path.name}: is not valid TOML: {wrong}; mend that line") from wrong
    except OSError as wrong:
        raise ValueError(f"{path.name}: cannot be read: {wrong.strerror}; check its permissions") from wrong


def override(data: dict[str, Any], change: str) -> None:
    """Change one value of nested tables by "table.key=value".

    Raises:
        ValueError: it is not of that form, or leads through a value.
    """
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"--set {change!r} is not key=value; write for example --set normalise.fps=12")
    *tables, last = key.strip().split(".")
    for table in tables:
        data = data.setdefault(table, {})
        if not isinstance(data, dict):
            raise ValueError(f"--set {change!r}: {table!r} is a value, not a table")
    data[last] = _value(text.strip())


def _value(text: str) -> Any:
    if re.fullmatch(r"\d+x\d+", text):
        return [int(side) for side in text.split("x")]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _build(cls: type[Any], data: Any, *, table: str, default: Any) -> Any:
    """Make a settings dataclass out of a table, its own tables first; default fills what the table leaves open."""
    if not isinstance(data, dict):
        raise ValueError(f"{table}={data!r} is a value, but {table!r} is a table; write {table}.kind or [{table}]")
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls) if field.init]
    values: dict[str, Any] = {}
    for key, value in data.items():
        dotted = f"{table}.{key}" if table else key
        if key not in names:
            what = f"of [{table}]" if table else "of a source"
            raise ValueError(f"{key!r} is not a setting {what}{_meant(key, names)}")
        values[key] = _field(hints[key], value, dotted, _default(cls, key, default))
    missing = [field.name for field in dataclasses.fields(cls) if _required(field) and field.name not in values]
    if default is None and missing:
        raise ValueError(f"{missing[0]!r} is missing; every {'[' + table + ']' if table else 'source'} needs it")
    try:
        return cls(**values) if default is None else dataclasses.replace(default, **values)
    except ValueError as wrong:
        raise ValueError(f"[{table}] {wrong}" if table else str(wrong)) from wrong


def _field(hint: Any, value: Any, dotted: str, default: Any) -> Any:
    members = (
        typing.get_args(hint)
        if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
        else (hint,)
    )
    tables = [member for member in members if dataclasses.is_dataclass(member)]
    if tables and not (value is None and type(None) in members):
        chosen = _choose(tables, value, dotted, default)
        return _build(chosen, value, table=dotted, default=default if type(default) is chosen else None)
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        rule = "it has too few values" if first["type"] == "missing" else first["msg"][0].lower() + first["msg"][1:]
        raise ValueError(f"{dotted}={value!r} does not do: {rule}") from wrong


def _choose(tables: list[Any], value: Any, dotted: str, default: Any) -> Any:
    """Which of the alternatives a table means: the one of its kind, else the default's, else the first."""
    if not isinstance(value, dict) or "kind" not in value:
        return type(default) if type(default) in tables else tables[0]
    kinds = {typing.get_args(typing.get_type_hints(table).get("kind", str)): table for table in tables}
    for kind, table in kinds.items():
        if value["kind"] in kind:
            return table
    known = [str(name) for kind in kinds for name in kind]
    raise ValueError(
        f"{dotted}.kind={value['kind']!r} is none of {', '.join(known)}{_meant(str(value['kind']), known)}"
    )


def _default(cls: type[Any], key: str, default: Any) -> Any:
    if default is not None:
        return getattr(default, key)
    field = next(field for field in dataclasses.fields(cls) if field.name == key)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.init and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _meant(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def settings_from(into: type[T], overrides: Iterable[str]) -> T:
    """Settings that stand in no file: the defaults of a settings class, with some changed.

    Raises:
        ValueError: naming the key, the value and the rule.
    """
    data: dict[str, Any] = {}
    for change in overrides:
        override(data, change)
    built: T = _build(into, data, table="", default=None)
    return built
