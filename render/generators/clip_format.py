"""What all scenes of one making have in common: the picture's format, and how well it is drawn."""

from dataclasses import dataclass

from ..scene.scene import RenderSettings, check_clip_format


@dataclass(frozen=True, kw_only=True)
class ClipFormat:
    """Frames, size (height, width), frame rate and quality of every scene."""

    frames: int = 85
    size: tuple[int, int] = (384, 672)
    fps: float = 16.0
    rendering: RenderSettings = RenderSettings()

    def __post_init__(self) -> None:
        check_clip_format(self)

    @property
    def lasts_s(self) -> float:
        """From the first frame to the last."""
        return (self.frames - 1) / self.fps
