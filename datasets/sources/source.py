"""A source: one small file of settings that says what comes in, whose it is, and which flow reads it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from ...licences import check_licence
from ...settings import nearest, read_values, settings_from
from ...untrusted_input import check_pattern, shortened

SOURCES = Path(__file__).parent
S = TypeVar("S", bound="Source")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Settings that every source has."""

    name: str
    """First part of its clips' ids; by default the name of the settings file."""
    flow: Literal["real-pairs", "synthetic-pairs", "unpaired"] = "real-pairs"
    """Flow that reads it; the truth of rendered sets is known, so their clips are synthetic."""
    licence: str = "unknown"
    """SPDX expression, such as CC-BY-4.0, or the name of a text: "LicenseRef-NAME", or words."""
    origin: str = "unknown"
    """Author and place of origin."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}", self.name):
            raise ValueError(
                f"name={shortened(self.name)!r} is not a plain name; use up to 50 letters, digits, '.', '_' and '-'"
            )
        check_licence(self.licence)

    @property
    def kind(self) -> str:
        """Kind of its clips, as in the corpus's column."""
        return self.flow.removesuffix("-pairs")


@dataclass(frozen=True, kw_only=True)
class FootageSource(Source):
    """Settings of footage: its folder, its layout, and what is known of it beforehand."""

    root: str
    """Folder of the footage; ~ and ${VARIABLE} are expanded when it is listed, never before."""
    layout: Literal["davis", "gen-omnimatte", "videos", "movies", "kubric-pairs", "void", "metadata"]
    resolution: str | None = None
    """Layout "davis": which folder under JPEGImages; None takes 480p, or the only one there is."""
    image_fps: float = 24.0
    """Frames per second of image sequences, which do not say it themselves (DAVIS: 24)."""
    video: str = "**/*.mp4"
    """Layout "videos": a glob pattern under root; a folder of images counts as one video."""
    masks: tuple[str, ...] = ()
    """Layout "videos": mask videos or folders, one per subject, beside each video; {stem} is the video's name."""
    mask_meaning: Literal["subject", "quadmask", "trimask", "inverted"] | None = None
    """Meaning of the masks' values: subject, white on black; quadmask, 0 and 63 are the subject; trimask, 0 is;
    inverted, black on white. Left out, white is the subject, and what looks like another is refused by its name."""
    metadata: str = "metadata.csv"
    """Layout "metadata": the table, a .csv, .json or .jsonl file in root; `video`, `masks`, `background`, `foreground`
    and `alpha` are then names of its columns."""
    caption_column: str | None = None
    """Layout "metadata": column of words that describe the video; they stay as they are and are only augmented."""
    keys: str | None = None
    """Layout "videos": a prompts file (points, boxes, masks, nouns of several subjects; `datasets/footage/prompts.py`),
    a polygons JSON or a folder of FRAME.png, beside each video; {stem} as above."""
    background: str | None = None
    """Layouts "videos" and "movies": a clean plate that another tool made, beside each video; {stem} as above."""
    foreground: str | None = None
    """Layout "videos": the subject with its effects, straight colour, by that tool; a video or a folder of images."""
    alpha: str | None = None
    """Layout "videos": its matte, of grey levels; a folder of images with an alpha of their own may be named twice."""
    include: tuple[str, ...] = ()
    """Names to take, as shell patterns; empty takes all."""
    exclude: tuple[str, ...] = ()
    """Names to leave out, as shell patterns."""
    effects: tuple[str, ...] = ()
    """Effects that its clips may show: a hint, which frames and captions outweigh. Words of the vocabulary, or any
    other as "other: WORD"; none for a data set whose clips differ."""
    fixed_caption: str | None = None
    """A person's words for each of its clips; they stay as they are and are only augmented."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.image_fps <= 1000:
            raise ValueError(f"image_fps={self.image_fps} is not in (0, 1000]; give frames per second, e.g. 24")
        if not self.root:
            raise ValueError("root='' names no folder; set it to the folder of the footage")
        check_pattern(self.video)
        check_pattern(self.metadata)
        if self.video.startswith(".."):
            raise ValueError(f"pattern {shortened(self.video)!r} leads out of root; write it from there")
        for pattern in (*self.masks, self.keys, self.background, self.foreground, self.alpha):
            if pattern is not None:
                check_pattern(pattern, "stem")


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
    path, values = read_source(name_or_path, overrides)
    return settings_from(into, values, file=path)


def read_source(name_or_path: str | Path, overrides: Iterable[str] = ()) -> tuple[Path, dict[str, Any]]:
    """Return a source's settings file and its values with the overrides applied, unchecked.

    Raises:
        ValueError: there is no such source, or its file or an override cannot be read.
    """
    name, names = str(name_or_path), source_names()
    path = SOURCES / f"{name}.toml"
    if name.endswith(".toml") or "/" in name:
        path = Path(name).expanduser()
        if not path.is_file():
            raise ValueError(f"{name}: there is no such settings file; give a .toml file or one of {', '.join(names)}")
    elif name not in names:
        raise ValueError(f"{name!r} is not a source{nearest(name, names)} There are: {', '.join(names)}")
    return path, {"name": path.stem} | read_values(path, overrides)
