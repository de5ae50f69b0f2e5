"""Fitting of a clip to what a trainer takes: rate, length, size and words; or the reason why it does not fit."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from ...arrays import Mask, Matte, Rgb
from ..corpus.clip import Clip
from ..gallery.thumbnails import encode_mp4
from ..store import codec
from .settings import ExportSettings, Fit

COMPACT_CRF = 12
SAME_RATE = 0.01
"""Difference of rates, as a share, that counts as none: 23.976 frames a second are shown as 24."""
AnyLayer = UInt8[np.ndarray, "T H W *c"] | Bool[np.ndarray, "T H W"]
FittedLayer = UInt8[np.ndarray, "t h w *c"] | Bool[np.ndarray, "t h w"]


class DoesNotFit(Exception):
    """A clip that an export leaves out; the message is the reason, the same for all clips with that reason."""


@dataclass(frozen=True, kw_only=True)
class FitPlan:
    """Frames to take of a clip, and the size and words that it gets."""

    indices: tuple[int, ...]
    fps: float
    size: tuple[int, int]
    """Height and width."""
    scale_to: tuple[int, int] | None
    """Height and width to which frames are scaled before they are cropped to `size`; None: they are not scaled."""
    captions: tuple[str, ...]


def plan_fit(clip: Clip, fit: Fit, settings: ExportSettings) -> FitPlan:
    """Plan how a clip is fitted, by its words and numbers alone.

    Raises:
        DoesNotFit: it is of another kind or split, too slow, short or small, or has no such caption.
    """
    row = clip.row
    split = settings.split or ("all" if fit.keeps_splits else "train")
    if split not in ("all", row["split"]):
        raise DoesNotFit(f"split {row['split']}, not {split}; --split all takes every one")
    if row["kind"] == "unpaired":
        raise DoesNotFit("unpaired: it has no video without its effect")
    fps, indices = _sample_times(row["num_frames"], row["fps"], fit.fps if settings.fps is None else settings.fps)
    count = settings.frames or fit.rule.longest(len(indices))
    if not count or count > len(indices):
        rule = f"fewer than --frames {settings.frames}" if settings.frames else f"not {fit.rule}"
        raise DoesNotFit(f"{len(indices)} frames at {fps:g} fps, {rule}")
    size, scale_to = _plan_size((row["height"], row["width"]), fit.multiple, settings.size)
    captions = _captions(clip, settings.caption_choice(fit))
    return FitPlan(indices=indices[:count], fps=fps, size=size, scale_to=scale_to, captions=captions)


def check_settings(fit: Fit, settings: ExportSettings) -> None:
    """Check that the format can honour the settings at all.

    Raises:
        ValueError: a length, size or choice of captions that its readers do not take.
    """
    if settings.frames is not None and fit.rule.longest(settings.frames) != settings.frames:
        usable = fit.rule.longest(settings.frames) or fit.rule.least
        raise ValueError(f"frames={settings.frames} is not {fit.rule}; use {usable}")
    if settings.size is not None and any(side % fit.multiple for side in settings.size):
        height, width = settings.size
        raise ValueError(
            f"size={height}x{width} is not two multiples of {fit.multiple}, which this format's models take"
        )
    if settings.caption == "all" and not fit.several_captions:
        raise ValueError("caption='all' is for formats that hold several captions a clip; name one, e.g. augmented-1")


def _sample_times(count: int, own_fps: float, fps: float) -> tuple[float, tuple[int, ...]]:
    """Rate of the export, and the frame nearest to each of its instants; of two equally near, the earlier."""
    if not fps or abs(fps - own_fps) <= SAME_RATE * own_fps:
        return fps or own_fps, tuple(range(count))
    if fps > own_fps:
        raise DoesNotFit(
            f"{own_fps:g} fps, fewer than {fps:g}, and frames are never doubled; --fps {own_fps:g} takes it"
        )
    instants = np.arange(np.floor((count - 0.5) / own_fps * fps + 1e-6) + 1) / fps
    nearest = np.ceil(instants * own_fps - 0.5 - 1e-6).astype(int).clip(0, count - 1)
    return fps, tuple(nearest.tolist())


def _plan_size(
    clip_size: tuple[int, int], multiple: int, size: tuple[int, int] | None
) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """Size of the fitted frames, and the one to which they are scaled first."""
    if size is None:
        size = clip_size[0] // multiple * multiple, clip_size[1] // multiple * multiple
        if not min(size):
            raise DoesNotFit(f"{clip_size[0]}x{clip_size[1]}, smaller than {multiple} a side")
        return size, None
    if clip_size[0] < size[0] or clip_size[1] < size[1]:
        raise DoesNotFit(f"{clip_size[0]}x{clip_size[1]}, smaller than {size[0]}x{size[1]}")
    scale = max(size[0] / clip_size[0], size[1] / clip_size[1])
    scaled = max(round(clip_size[0] * scale), size[0]), max(round(clip_size[1] * scale), size[1])
    return size, None if scaled == clip_size else scaled


def _captions(clip: Clip, choice: str) -> tuple[str, ...]:
    if choice == "none":
        return ("",)
    if choice.startswith("text:"):
        return (choice.removeprefix("text:"),)
    if choice == "dense":
        texts = [clip.row["caption_dense"]]
    else:
        record = clip.record("captions") if choice != "caption" else {}
        augmented = [] if "before" in record else record.get("augmented", [])  # those of a corrected one tell the old
        texts = [clip.row["caption"], *augmented]
        if choice.startswith("augmented-"):
            number = int(choice.removeprefix("augmented-"))
            texts = augmented[number - 1 : number] or [None]
        elif choice == "caption":
            texts = texts[:1]
    if not texts or not texts[0]:
        raise DoesNotFit(f"it has no {choice.replace('dense', 'dense caption').replace('all', 'caption')}")
    return tuple(text for text in texts if text)


@dataclass(frozen=True, kw_only=True)
class ExportClip:
    """A clip as a format takes it; its layers are decoded when they are asked for, and not kept."""

    clip: Clip
    plan: FitPlan
    number: int
    storage: str

    @property
    def clip_id(self) -> str:
        """Id in the corpus."""
        return str(self.clip.row["clip_id"])

    @property
    def split(self) -> str:
        """Split in the corpus."""
        return str(self.clip.row["split"])

    @property
    def num_frames(self) -> int:
        """Frames of the export."""
        return len(self.plan.indices)

    @property
    def fps(self) -> float:
        """Frames per second of the export."""
        return self.plan.fps

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the export."""
        return self.plan.size

    @property
    def captions(self) -> tuple[str, ...]:
        """Captions of the export, at least one."""
        return self.plan.captions

    @property
    def row(self) -> dict[str, Any]:
        """Plain columns of the corpus."""
        return self.clip.row

    def has(self, layer: str) -> bool:
        """Whether the clip has a layer."""
        return self.clip.encoded(layer) is not None

    def frames(self, layer: str) -> Rgb | Matte | Mask:
        """Decode a layer, at the export's rate, length and size.

        Raises:
            DoesNotFit: the clip has no such layer.
        """
        frames = self.clip.decode(layer)
        if frames is None:
            raise DoesNotFit(f"it has no {layer}")
        return fit_frames(frames, self.plan)

    def video(self, frames: AnyLayer) -> bytes:
        """Encode frames as an MP4; colour by the export's storage, masks and mattes lossless in each."""
        if self.storage == "compact" and frames.ndim == 4:
            return encode_mp4(frames, fps=self.fps, crf=COMPACT_CRF)
        return codec.encode_h264(frames, fps=self.fps)


def fit_frames(frames: AnyLayer, plan: FitPlan) -> FittedLayer:
    """Take the plan's frames of a layer, scale and crop them; a mask stays one, cut at one half of a pixel."""
    if len(plan.indices) != len(frames) or plan.indices != tuple(range(len(frames))):
        frames = frames[list(plan.indices)]
    if plan.scale_to is not None:
        height, width = plan.scale_to
        pixels = frames.view(np.uint8) * np.uint8(255) if frames.dtype == bool else frames
        scaled = np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in pixels])
        frames = scaled > 127 if frames.dtype == bool else scaled
    top, first_column = ((length - side) // 2 for length, side in zip(frames.shape[1:3], plan.size, strict=True))
    return np.ascontiguousarray(frames[:, top : top + plan.size[0], first_column : first_column + plan.size[1]])
