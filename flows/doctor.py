"""Survey of this machine: every backend that settings can name, whether it can run here, and what each lacks.

Backends are read from the types of the settings that choose them, so one that is added there is listed here.
"""

import dataclasses
import shutil
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from ..datasets.footage.listing import expand_root
from ..datasets.sources.source import FootageSource
from ..render.blender.process import Blender
from ..requirements import Lack, list_lacks
from ..training.base.models import BaseModelRef
from ..training.evaluation.evaluate import EvaluationSettings
from .captions.stages import CaptionedSource, Captioning
from .engine.workers import BASE_BYTES, LAYERS_HELD
from .footage.source import RealSource
from .prompts.source import UnpairedSource
from .scenes.source import SceneSource

State = Literal["ready", "slow", "lacks"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
"""Programs that can load the gallery's page."""
CHOICES: tuple[tuple[str, type[Any], str], ...] = (
    ("subject masks", RealSource, "subject"),
    ("decomposition", RealSource, "decompose"),
    ("captions", Captioning, "caption"),
    ("text to video", UnpairedSource, "video"),
    ("scenes", SceneSource, "generator"),
)
"""Tasks, each with the settings class and the field whose type lists its backends."""


@dataclass(frozen=True, kw_only=True)
class BackendState:
    """One backend on this machine."""

    task: str
    name: str
    lacks: tuple[Lack, ...]
    is_embedded: bool = False
    """Whether it belongs to the defaults, which need no weights and no other program."""

    @property
    def state(self) -> State:
        """ready; slow: all is here but the GPU that is advised; lacks: it cannot run."""
        kinds = {lack.kind for lack in self.lacks}
        return "ready" if not kinds else "slow" if kinds == {"gpu"} else "lacks"


@dataclass(frozen=True, kw_only=True)
class Core:
    """Packages and memory that every run needs."""

    required_packages: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("numpy", "av", "cv2", "skimage", "scipy", "pyarrow", "prefect", "pydantic", "psutil", "OpenEXR"), ""
    )

    @property
    def required_memory_bytes(self) -> int:
        """One worker with one clip of the default size."""
        clip = RealSource(name="default", root=".", layout="videos")
        return BASE_BYTES + LAYERS_HELD * clip.clip_bytes


@dataclass(frozen=True, kw_only=True)
class GalleryBrowser:
    """Browser in which the tests open the gallery; whoever looks at it may take any."""

    required_packages: ClassVar[Mapping[str, str]] = {"websockets": "dev"}

    def missing_programs(self) -> tuple[Lack, ...]:
        """Chromium, under any of its names."""
        if any(shutil.which(name) for name in BROWSERS):
            return ()
        return (Lack(kind="program", fault="there is no Chromium", remedy="apt install chromium"),)


def survey_machine() -> list[BackendState]:
    """List the state of every backend, in the order in which data flows."""
    states = [BackendState(task="core", name="effectpairs", lacks=tuple(list_lacks(Core())), is_embedded=True)]
    for task, owner, field_name in CHOICES:
        default = _default_of(owner, field_name)
        for name, backend in _backends(typing.get_type_hints(owner)[field_name]):
            lacks = list_lacks(backend) + (list_lacks(Blender()) if owner is SceneSource else [])
            is_default = type(backend) is type(default) and owner in (RealSource, Captioning)
            states.append(BackendState(task=task, name=name, lacks=tuple(lacks), is_embedded=is_default))
    states.append(
        BackendState(
            task="training", name=BaseModelRef().id.rpartition("/")[2], lacks=tuple(list_lacks(BaseModelRef()))
        )
    )
    evaluation = EvaluationSettings()
    for metric in (*evaluation.scorers, evaluation.fvd, evaluation.vbench):
        states.append(BackendState(task="metrics", name=type(metric).__name__, lacks=tuple(list_lacks(metric))))
    browser = BackendState(task="gallery's test", name="chromium", lacks=tuple(list_lacks(GalleryBrowser())))
    return [*states, browser]


def survey_source(source: CaptionedSource) -> list[BackendState]:
    """List the state of the backends that one source's settings choose, and of its footage."""
    states = []
    if isinstance(source, FootageSource):
        states.append(BackendState(task=f"{source.name}: footage", name=source.layout, lacks=_footage_lacks(source)))
    for field in dataclasses.fields(source):
        value = getattr(source, field.name)
        lacks = tuple(list_lacks(value)) if dataclasses.is_dataclass(value) else ()
        if lacks or hasattr(value, "kind"):
            name = getattr(value, "kind", type(value).__name__.lower())
            states.append(BackendState(task=f"{source.name}: {field.name}", name=name, lacks=lacks))
    return states


def can_run(states: list[BackendState], *, embedded_alone: bool) -> bool:
    """Whether nothing that is asked for lacks anything: the embedded defaults, or all of the states."""
    return not [state for state in states if state.state == "lacks" and (state.is_embedded or not embedded_alone)]


def _backends(hint: Any) -> Iterator[tuple[str, Any]]:
    """Kind and default settings of every alternative in a field's type; a class, where it has no default settings."""
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    members: tuple[Any, ...] = typing.get_args(hint) if is_union else (hint,)
    backends: list[Any] = [member for member in members if dataclasses.is_dataclass(member)]
    for member in backends:
        for kind in typing.get_args(typing.get_type_hints(member)["kind"]):
            try:
                yield kind, member(kind=kind)
            except TypeError:
                if hasattr(member, "required_packages"):  # else it is put together of others
                    yield kind, member


def _default_of(owner: type[Any], field_name: str) -> Any:
    return next(field.default for field in dataclasses.fields(owner) if field.name == field_name)


def _footage_lacks(source: FootageSource) -> tuple[Lack, ...]:
    try:
        expand_root(source)
    except ValueError as problem:
        return (Lack.from_sentence("footage", str(problem)),)
    return ()
