"""Lengths and sizes of clips that a family of models takes, and the latent frames that come of them; needs no torch.

The first frame alone makes the first latent frame, and every `frames_per_latent` others make another.
"""

from dataclasses import dataclass
from typing import Literal

Downsample = Literal["trilinear", "area", "max"]
"""Resize of a mask to the latents: trilinear is what the base models learnt with; max keeps thin strokes alive."""
UNKNOWN = 0.5
"""Mask of a pixel where the model decides."""


@dataclass(frozen=True, kw_only=True)
class LatentGrid:
    """Frames and pixels behind a latent, and how many of those the transformer takes as one."""

    frames_per_latent: int = 4
    pixels_per_latent: int = 8
    frames_together: int = 1
    """Latent frames that the transformer takes as one."""
    patch: int = 2
    """Latents, along a side, that the transformer takes as one."""

    @property
    def side_multiple(self) -> int:
        """Pixels that height and width divide by."""
        return self.pixels_per_latent * self.patch

    @property
    def shortest(self) -> int:
        """Frames of the shortest clip."""
        return self.frames_per_latent * (self.frames_together - 1) + 1

    @property
    def step(self) -> int:
        """Frames from one length to the next."""
        return self.frames_per_latent * self.frames_together

    @property
    def rule(self) -> str:
        """The lengths as a formula, such as 8k+5."""
        return f"{self.step}k+{self.shortest % self.step}"

    def check_length(self, frames: int, label: str) -> None:
        """Refuse a length that does not go.

        Raises:
            ValueError: with the label, the rule and the nearest lengths that go.
        """
        if frames != self.padded_length(frames):
            shorter, longer = self.longest_length(frames) or self.shortest, self.padded_length(frames)
            lengths = f"{shorter} or {longer}" if shorter != longer else f"{longer} or {longer + self.step}"
            raise ValueError(f"{label}: {frames} frames are not {self.rule}; take {lengths}")

    def check_shape(self, frames: int, height: int, width: int, *, label: str) -> None:
        """Refuse a clip that the model cannot take, some of whose frames or rows it would leave out without a word.

        Raises:
            ValueError: with the label, the shape, the rule and the nearest shape that goes.
        """
        self.check_length(frames, label)
        rows, columns = self.nearest_sides(height, width)
        if (height, width) != (rows, columns):
            raise ValueError(
                f"{label}: {height}x{width} pixels do not divide by {self.side_multiple}; resize it, to "
                f"{rows}x{columns} say"
            )

    def nearest_sides(self, height: int, width: int) -> tuple[int, int]:
        """The nearest height and width that the model takes."""
        unit = self.side_multiple
        rows, columns = (max(unit, round(side / unit) * unit) for side in (height, width))
        return rows, columns

    def longest_length(self, frames: int) -> int:
        """The longest length that goes and is not longer than this; 0 where there is none."""
        return frames - (frames - self.shortest) % self.step if frames >= self.shortest else 0

    def padded_length(self, frames: int) -> int:
        """The shortest length that goes and is not shorter than this."""
        return max(self.shortest, frames + (self.shortest - frames) % self.step)

    def latent_frames(self, frames: int) -> int:
        """Number of latent frames of a clip."""
        return (frames - 1) // self.frames_per_latent + 1

    def latent_index(self, frame: int) -> int:
        """Number of the latent frame that holds a frame."""
        return 0 if frame == 0 else (frame - 1) // self.frames_per_latent + 1

    def frame_range(self, latent: int) -> range:
        """The frames that a latent frame holds."""
        size = self.frames_per_latent
        return range(1) if latent == 0 else range(size * (latent - 1) + 1, size * latent + 1)

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int]:
        """Latent frames, rows and columns of a clip."""
        return self.latent_frames(frames), height // self.pixels_per_latent, width // self.pixels_per_latent
