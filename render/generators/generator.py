"""Format of generated clips, and the settings, checks and assets that all scene generators share."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from ...settings import CheckedSettings, InRange
from ..scene.scene import Fps, RenderSettings, Scene, check_clip_format
from .assets import Asset, list_files

CameraKind = Literal["still", "pan", "handheld", "follow"]


@dataclass(frozen=True, kw_only=True)
class ClipFormat(CheckedSettings):
    """Frames, size (height, width), frame rate and quality of every scene."""

    frames: int = 85
    size: tuple[int, int] = (384, 672)
    fps: Fps = 16.0
    rendering: RenderSettings = RenderSettings()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_clip_format(self.frames, self.size)

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the last."""
        return (self.frames - 1) / self.fps


@dataclass(frozen=True, kw_only=True)
class SceneGenerator(CheckedSettings):
    """Scenes by number: each depends on the generator's settings, a seed, the clip's format and its number alone."""

    cameras: tuple[CameraKind, ...]
    """Kinds of camera; name one twice and it is drawn twice as often."""
    variants: tuple[int, int] = (1, 3)
    """Least and greatest number of `gt` of each scene."""
    focal_mm: tuple[float, float]
    """Shortest and longest focal length."""
    models: str | None = None
    """A folder of .blend, .glb, .obj, .usd ... files, which take the place of procedural subjects."""
    model_probability: Annotated[float, InRange(0, 1)]
    """Probability of a user's model, if there are some."""
    skies: str | None = None
    """A folder of .hdr or .exr panoramas, in place of those that come with Blender."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.cameras or any(kind not in get_args(CameraKind) for kind in self.cameras):
            raise ValueError(f"generator.cameras={list(self.cameras)}: name some of {', '.join(get_args(CameraKind))}")
        if not 1 <= self.variants[0] <= self.variants[1] <= 4:
            raise ValueError(f"generator.variants={self.variants}: give at least and at most, within 1 to 4")
        if not 8 <= self.focal_mm[0] <= self.focal_mm[1] <= 400:
            raise ValueError(f"generator.focal_mm={self.focal_mm}: give shortest and longest, within 8 to 400")

    def check(self, clip_format: ClipFormat) -> None:
        """Refuse a format for which no scene can be generated.

        Raises:
            ValueError: the clip is too short.
        """

    @abstractmethod
    def scene_at(self, index: int, seed: int, clip_format: ClipFormat) -> Scene:
        """Generate scene number `index`; it does not depend on the number of other scenes.

        Raises:
            ValueError: assets are missing, or no draw brings the subject into the picture.
            ImportError: Kubric is needed, and not installed.
        """

    def assets(self) -> tuple[Asset, ...]:
        """List the users' models and skies; nothing is fetched.

        Raises:
            ValueError: a folder or a manifest cannot be read, or holds none.
        """
        return (*self.user_models(), *self.user_skies())

    def user_models(self) -> tuple[Asset, ...]:
        """List the users' models, by path."""
        return () if self.models is None else list_files(Path(self.models).expanduser(), "model")

    def user_skies(self) -> tuple[Asset, ...]:
        """List the users' panoramas, by path."""
        return () if self.skies is None else list_files(Path(self.skies).expanduser(), "sky")
