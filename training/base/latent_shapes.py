"""How many frames a clip may have, and how many latent frames come of them; no arrays, so anything may ask."""

FRAMES_PER_LATENT = 4
PIXELS_PER_LATENT = 8
SIDE_MULTIPLE = 16
"""Pixels: a latent is 8 wide, and the transformer takes patches of 2."""
SHORTEST = 5


def is_valid_length(frames: int) -> bool:
    """Is it 8k+5, so that the latent frames pair up?"""
    return frames >= SHORTEST and frames % 8 == SHORTEST


def check_shape(frames: int, height: int, width: int, *, what: str) -> None:
    """Refuse a clip that the model cannot take.

    Raises:
        ValueError: naming what it is, its shape, the rule and the nearest shape that goes.
    """
    if not is_valid_length(frames):
        shorter, longer = longest_valid_length(frames) or SHORTEST, padded_length(frames)
        raise ValueError(f"{what}: {frames} frames are not 8k+5; take {shorter} or {longer}")
    if height % SIDE_MULTIPLE or width % SIDE_MULTIPLE or min(height, width) < SIDE_MULTIPLE:
        near = [max(SIDE_MULTIPLE, round(side / SIDE_MULTIPLE) * SIDE_MULTIPLE) for side in (height, width)]
        raise ValueError(
            f"{what}: {height}x{width} pixels do not divide by {SIDE_MULTIPLE}; resize it, to {near[0]}x{near[1]} say"
        )


def longest_valid_length(frames: int) -> int:
    """The longest whole length that is not longer; 0 where there is none."""
    return frames - (frames - SHORTEST) % 8 if frames >= SHORTEST else 0


def padded_length(frames: int) -> int:
    """The shortest whole length that is not shorter."""
    return max(SHORTEST, frames + (SHORTEST - frames) % 8)


def latent_frames(frames: int) -> int:
    """The first frame alone makes a latent frame, every four after it make another."""
    return (frames - 1) // FRAMES_PER_LATENT + 1


def pixel_frames(latents: int) -> int:
    """The frames that so many latent frames decode to."""
    return FRAMES_PER_LATENT * (latents - 1) + 1


def latent_index(frame: int) -> int:
    """Which latent frame a frame falls into."""
    return 0 if frame == 0 else (frame - 1) // FRAMES_PER_LATENT + 1


def pixel_frames_of(latent: int) -> range:
    """The frames that fall into a latent frame."""
    return range(1) if latent == 0 else range(FRAMES_PER_LATENT * (latent - 1) + 1, FRAMES_PER_LATENT * latent + 1)
