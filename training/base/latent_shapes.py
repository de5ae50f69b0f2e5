"""Lengths and sizes of clips that the model takes, and the latent frames that come of them; needs no torch."""

from typing import Literal

FRAMES_PER_LATENT = 4
PIXELS_PER_LATENT = 8
SIDE_MULTIPLE = 16
"""Pixels: a latent is 8 wide, and the transformer takes patches of 2."""
SHORTEST = 5
Downsample = Literal["trilinear", "area", "max"]
"""Resize of a mask to the latents: trilinear is what the base model learnt with; max keeps thin strokes alive."""


def is_valid_length(frames: int) -> bool:
    """Return whether the length is 8k+5, so that the latent frames pair up."""
    return frames >= SHORTEST and frames % 8 == SHORTEST


def check_shape(frames: int, height: int, width: int, *, label: str) -> None:
    """Refuse a clip that the model cannot take.

    Raises:
        ValueError: with the label, the shape, the rule and the nearest shape that goes.
    """
    if not is_valid_length(frames):
        shorter, longer = longest_valid_length(frames) or SHORTEST, padded_length(frames)
        raise ValueError(f"{label}: {frames} frames are not 8k+5; take {shorter} or {longer}")
    if height % SIDE_MULTIPLE or width % SIDE_MULTIPLE or min(height, width) < SIDE_MULTIPLE:
        rows, columns = (max(SIDE_MULTIPLE, round(side / SIDE_MULTIPLE) * SIDE_MULTIPLE) for side in (height, width))
        raise ValueError(
            f"{label}: {height}x{width} pixels do not divide by {SIDE_MULTIPLE}; resize it, to {rows}x{columns} say"
        )


def longest_valid_length(frames: int) -> int:
    """The longest length of 8k+5 that is not longer than this; 0 where there is none."""
    return frames - (frames - SHORTEST) % 8 if frames >= SHORTEST else 0


def padded_length(frames: int) -> int:
    """The shortest length of 8k+5 that is not shorter than this."""
    return max(SHORTEST, frames + (SHORTEST - frames) % 8)


def latent_frames(frames: int) -> int:
    """Number of latent frames of a clip: the first frame alone makes one, every four after it make another."""
    return (frames - 1) // FRAMES_PER_LATENT + 1


def pixel_frames(latents: int) -> int:
    """Number of frames that so many latent frames decode to."""
    return FRAMES_PER_LATENT * (latents - 1) + 1


def latent_index(frame: int) -> int:
    """Number of the latent frame that holds a frame."""
    return 0 if frame == 0 else (frame - 1) // FRAMES_PER_LATENT + 1


def frame_range(latent: int) -> range:
    """The frames that a latent frame holds."""
    return range(1) if latent == 0 else range(FRAMES_PER_LATENT * (latent - 1) + 1, FRAMES_PER_LATENT * latent + 1)
