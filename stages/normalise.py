"""Stage 1: footage of any length, rate and shape -> clips of the working size, each within one shot.

Frames and masks are scaled by one and the same geometry.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float64, Int64, UInt8

from ..arrays import Image

VERSION = 5
"""Raise by one when the same footage and settings give other clips."""

Times = Float64[np.ndarray, "N"]
AnyImage = UInt8[np.ndarray, "h w *c"]  # colour [H W 3] or a matte [H W]
Resized = UInt8[np.ndarray, "H W *c"]
LENGTH_STEP, SHORTEST_CLIP = 8, 5
MAX_LAYER_BYTES = 4 * 2**30
"""Size of a clip's colour layer: a worker holds 24 of them at its peak, as measured on `plate`, so 96 GiB."""
"""A clip has 8k+5 frames: the base model's VAE wants 4n+1 and its transformer an even number of latent frames."""


@dataclass(frozen=True, kw_only=True)
class Normalise:
    """Format of the clips of a source, and how footage is cut into them."""

    size: tuple[int, int] = (384, 672)
    """Height and width in pixels, multiples of 16."""
    fps: float = 16.0
    max_frames: int = 85
    """Longest clip, 8k+5 frames."""
    min_frames: int = 5
    """Shots that give fewer frames than this are rejected."""
    min_remainder_frames: int = 21
    """After full clips, the remainder of a shot is a clip of its own only if it has so many frames: a camera and a
    subject need time to uncover what the subject hid."""
    fit: Literal["cover", "pad"] = "cover"
    """Fill the frame and crop what sticks out, or show all and pad with black."""
    split_shots: bool = True
    """Find shot cuts and keep each clip within one shot."""
    cut_threshold: float = 2.7
    """Least ratio of a cut's change to its neighbours'; lower finds more cuts (see `find_cuts`)."""
    max_clips: int | None = None
    """At most so many clips of one video; None takes all."""

    def __post_init__(self) -> None:
        if any(side < 16 or side % 16 for side in self.size):
            raise ValueError(
                f"size={self.size} is not two multiples of 16; the model's grid needs that, e.g. (384, 672)"
            )
        if not 0 < self.fps <= 240:
            raise ValueError(f"fps={self.fps} is not in (0, 240]; the base model was trained at 16")
        if self.max_frames < SHORTEST_CLIP or (self.max_frames - SHORTEST_CLIP) % LENGTH_STEP:
            raise ValueError(
                f"max_frames={self.max_frames} is not 8k+5; use {clip_length(max(self.max_frames, SHORTEST_CLIP))}"
            )
        height, width = self.size
        if self.max_frames * height * width * 3 > MAX_LAYER_BYTES:
            raise ValueError(
                f"max_frames={self.max_frames} of {height}x{width} take {self.max_frames * height * width * 3:,} bytes "
                f"a layer; a worker holds some twenty in memory, so give at most {MAX_LAYER_BYTES:,}"
            )
        if not 1 <= self.min_frames <= self.max_frames:
            raise ValueError(f"min_frames={self.min_frames} is not in [1, max_frames={self.max_frames}]")
        if self.min_remainder_frames < 1:
            raise ValueError(f"min_remainder_frames={self.min_remainder_frames} is not positive; 1 takes every rest")
        if not 1 < self.cut_threshold <= 100:
            raise ValueError(
                f"cut_threshold={self.cut_threshold} is not in (1, 100]; 2.7 parts real cuts from fast movement"
            )
        if self.max_clips is not None and self.max_clips < 1:
            raise ValueError(f"max_clips={self.max_clips} is not positive; leave it out to take all")


@dataclass(frozen=True, kw_only=True)
class ClipPlan:
    """Plan of one clip: its source frames, in order; a slow source repeats some."""

    start_s: float
    source_frames: tuple[int, ...]
    notes: tuple[str, ...] = ()
    """Sentences about repeated frames, and frames that no clip uses."""


@dataclass(frozen=True, kw_only=True)
class UnusableShot:
    """A shot, or one subject of a clip, that gives nothing, and why."""

    where: str
    reason: str


def clip_length(available: int) -> int:
    """Longest 8k+5 not above available; 0 when there is none."""
    return 0 if available < SHORTEST_CLIP else available - (available - SHORTEST_CLIP) % LENGTH_STEP


def clip_lengths(available: int, settings: Normalise) -> list[int]:
    """Split frames into clips: full ones as long as they last, then the longest 8k+5 in the remainder."""
    full, remainder = divmod(available, settings.max_frames)
    last = clip_length(remainder)
    min_length = max(settings.min_frames, SHORTEST_CLIP, settings.min_remainder_frames if full else 0)
    return [settings.max_frames] * full + ([last] if last >= min_length else [])


def sample_indices(times_s: Times, fps: float) -> Int64[np.ndarray, "K"]:
    """For each instant k/fps after the first frame, the nearest frame; of two equally near, the earlier.

    Honours a variable frame rate, because only the times count. The instants end where the last frame's own half
    interval ends, so a steady N-frame source at `fps` gives each frame once.
    """
    if len(times_s) == 1:
        return np.zeros(1, np.int64)
    elapsed_s = times_s - times_s[0]
    half_s = float(np.median(np.diff(elapsed_s))) / 2
    # A microsecond of grace: 1/24 and 1/16 are no exact binary numbers, and ties must not hang on that.
    instants = np.arange(np.floor((elapsed_s[-1] + half_s + 1e-6) * fps) + 1) / fps
    midpoints = (elapsed_s[1:] + elapsed_s[:-1]) / 2
    return np.searchsorted(midpoints, instants - 1e-6, side="left").astype(np.int64)


def plan_clips(times_s: Times, cuts: Sequence[int], settings: Normalise) -> Iterator[ClipPlan | UnusableShot]:
    """Plan which source frames make up which clip, in the order of the video.

    Args:
        times_s: when each source frame is shown, rising.
        cuts: indices of the frames that begin a new shot, rising, without the very first.
        settings: rate, lengths and how many clips at most.
    """
    clip_count = 0
    for start, stop in pairwise([0, *cuts, len(times_s)]):
        for part in _plan_shot(times_s, start, stop, settings):
            if isinstance(part, ClipPlan):
                clip_count += 1
            yield part
            if clip_count == settings.max_clips:
                return


def _plan_shot(times_s: Times, start: int, stop: int, settings: Normalise) -> Iterator[ClipPlan | UnusableShot]:
    frames = start + sample_indices(times_s[start:stop], settings.fps)
    lengths = clip_lengths(len(frames), settings)
    if not lengths:
        yield UnusableShot(
            where=f"frames {start} to {stop - 1} ({times_s[start]:.2f} to {times_s[stop - 1]:.2f} s)",
            reason=f"the shot gives {len(frames)} frames at {settings.fps:g} fps, and a clip needs "
            f"{max(settings.min_frames, SHORTEST_CLIP)}; raise normalise.fps or take a longer shot",
        )
    begin = 0
    for number, length in enumerate(lengths, 1):
        source_frames = frames[begin : begin + length]
        notes = []
        if repeated := int(np.count_nonzero(np.diff(source_frames) == 0)):
            notes.append(
                f"{repeated} of {length} frames repeat the one before, because the source is slower than the clip."
            )
        if number == len(lengths) and (unused := len(frames) - sum(lengths)):
            notes.append(f"Frames left over at the end of the shot: {unused}; a clip has 8k+5 frames.")
        start_s = float(times_s[start] + begin / settings.fps)
        yield ClipPlan(start_s=start_s, source_frames=tuple(map(int, source_frames)), notes=tuple(notes))
        begin += length


MAX_STILL_S = 5.0
"""Longest time that one frame may be shown within a shot: a clip of 85 frames at 16 a second lasts 5.3 s, and in one
that shows a single frame nothing moves. A time stamp gone wrong in a file of 2.8 kB took 7.8 GB."""


def find_gaps(times_s: Times) -> list[int]:
    """Indices of the frames before which one was shown for too long: they begin a new shot."""
    return (np.flatnonzero(np.diff(times_s) > MAX_STILL_S) + 1).tolist()


CUT_WINDOW = 2
"""Neighbours on each side that a frame's change is compared with."""
MIN_CUT_CHANGE = 15.0
"""Least mean change of hue, saturation and value, of 255, that can be a cut."""
CUT_FPS = 25.0
"""Frame numbers go in and come out, so any rate does."""


def find_cuts(frames: Iterable[Image], threshold: float = 2.7) -> Iterator[int]:
    """Yield the index of each first frame of a new shot, rising; small frames (64 rows) do, and are faster.

    A cut is a change that is at least `threshold` times its neighbours' mean. On twelve real shots the steepest
    movement reached 2.0 (a bicycle jump), and the faintest of their 132 splices 3.3; hence 2.7.
    """
    from scenedetect.common import FrameTimecode  # a third of a second that a run without cuts does not pay
    from scenedetect.detectors import AdaptiveDetector

    detector = AdaptiveDetector(
        adaptive_threshold=threshold, min_scene_len=0, window_width=CUT_WINDOW, min_content_val=MIN_CUT_CHANGE
    )
    for number, frame in enumerate(_pad_shots(frames)):
        bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        for cut in detector.process_frame(FrameTimecode(number, CUT_FPS), bgr):
            yield int(cut.frame_num) - CUT_WINDOW


def _pad_shots(frames: Iterable[Image]) -> Iterator[Image]:
    """Repeat the first and the last frame: otherwise the detector is blind to cuts next to them."""
    frame = None
    for number, frame in enumerate(frames):
        yield from repeat(frame, CUT_WINDOW + 1 if number == 0 else 1)
    if frame is not None:
        yield from repeat(frame, CUT_WINDOW)


def resize(image: AnyImage, size: tuple[int, int]) -> Resized:
    """Stretch an image to (height, width): by area to shrink, bicubic (mattes: bilinear) to grow."""
    height, width = size
    if image.shape[:2] == size:
        return image
    grows = height > image.shape[0] or width > image.shape[1]
    smooth = cv2.INTER_CUBIC if image.ndim == 3 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=smooth if grows else cv2.INTER_AREA))


def fit_frame(image: AnyImage, size: tuple[int, int], fit: Literal["cover", "pad"] = "cover") -> Resized:
    """Scale an image evenly to (height, width).

    Args:
        image: colour, or a matte, which stays soft.
        size: height and width of the result.
        fit: "cover" fills the size and crops the longer side around its middle; "pad" shows all of the image, with
            black (for a matte: no subject) on both sides of the shorter one.
    """
    scaled, (y, x) = _placement(image.shape[:2], size, fit)
    image = resize(image, scaled)
    if fit == "cover":
        return np.ascontiguousarray(image[y : y + size[0], x : x + size[1]])
    framed = np.zeros(size + image.shape[2:], np.uint8)
    framed[y : y + image.shape[0], x : x + image.shape[1]] = image
    return framed


def fit_point(
    point: tuple[float | int, float | int],
    picture: tuple[int, int],
    size: tuple[int, int],
    fit: Literal["cover", "pad"] = "cover",
) -> tuple[float, float]:
    """Return where `fit_frame` puts a point of a picture; outside of size where it is cropped away.

    Args:
        point: x and y, counted from the top left corner of the picture; the centre of its first pixel is (0.5, 0.5).
        picture: height and width of the picture.
        size: height and width of the result.
        fit: as for `fit_frame`.
    """
    scaled, offset = _placement(picture, size, fit)
    sign = -1 if fit == "cover" else 1
    x, y = (point[side] * scaled[1 - side] / picture[1 - side] + sign * offset[1 - side] for side in (0, 1))
    return x, y


def _placement(
    picture: tuple[int, int], size: tuple[int, int], fit: Literal["cover", "pad"]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Height and width to scale a picture to, and the rows and columns to crop (cover) or to add (pad) before it."""
    choose = max if fit == "cover" else min
    scale = choose(goal / side for goal, side in zip(size, picture, strict=True))
    # A side that should match exactly does, whatever the rounding; the other is off by half a pixel at most.
    height, width = (max(choose(goal, round(side * scale)), 1) for goal, side in zip(size, picture, strict=True))
    return (height, width), (abs(height - size[0]) // 2, abs(width - size[1]) // 2)
