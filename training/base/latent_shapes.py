"""Lengths and sizes of clips that the model takes, and the latent frames that come of them; needs no torch.

F frames become f = 1 + (F - 1) / 4 latent frames, which the transformer pairs up, so f is even: F = 8k+5.
"""

from typing import Literal

FRAMES_PER_LATENT = 4
PIXELS_PER_LATENT = 8
SIDE_MULTIPLE = 16
"""Pixels: a latent is 8 wide, and the transformer takes patches of 2."""
SHORTEST = 5
Downsample = Literal["trilinear", "area", "max"]
"""Resize of a mask to the latents: trilinear is what the base model learnt with; max keeps thin strokes alive."""


def check_shape(frames: int, height: int, width: int, *, label: str) -> None:
    """Refuse a clip that the model cannot take.

    Raises:
        ValueError: with the label, the shape, the rule and the nearest shape that goes.
    """
    if frames != padded_length(frames):
        shorter, longer = longest_valid_length(frames) or SHORTEST, padded_length(frames)
        raise ValueError(f"{label}: {frames} frames are not 8k+5; take {shorter} or {longer}")
    rows, columns = nearest_sides(height, width)
    if (height, width) != (rows, columns):
        raise ValueError(
            f"{label}: {height}x{width} pixels do not divide by {SIDE_MULTIPLE}; resize it, to {rows}x{columns} say"
        )


def nearest_sides(height: int, width: int) -> tuple[int, int]:
    """The nearest height and width that the model takes."""
    rows, columns = (max(SIDE_MULTIPLE, round(side / SIDE_MULTIPLE) * SIDE_MULTIPLE) for side in (height, width))
    return rows, columns


def longest_valid_length(frames: int) -> int:
    """The longest length of 8k+5 that is not longer than this; 0 where there is none."""
    return frames - (frames - SHORTEST) % 8 if frames >= SHORTEST else 0


def padded_length(frames: int) -> int:
    """The shortest length of 8k+5 that is not shorter than this."""
    return max(SHORTEST, frames + (SHORTEST - frames) % 8)


def latent_frames(frames: int) -> int:
    """Number of latent frames of a clip: the first frame alone makes one, every four after it make another."""
    return (frames - 1) // FRAMES_PER_LATENT + 1


def latent_index(frame: int) -> int:
    """Number of the latent frame that holds a frame."""
    return 0 if frame == 0 else (frame - 1) // FRAMES_PER_LATENT + 1


def frame_range(latent: int) -> range:
    """The frames that a latent frame holds."""
    return range(1) if latent == 0 else range(FRAMES_PER_LATENT * (latent - 1) + 1, FRAMES_PER_LATENT * latent + 1)
