"""A clip as small moving pictures: views for the eye, side by side in one video so that they stay in step."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from jaxtyping import UInt8
from PIL import Image as Pictures

from ...arrays import Image, Mask, Matte, MatteImage, Rgb
from ..corpus.clip import Clip
from ..corpus.schema import TRUTH

Whole = UInt8[np.ndarray, "T rows columns 3"]  # several pictures in one
Small = UInt8[np.ndarray, "h w 3"] | UInt8[np.ndarray, "h w"]
Corner = tuple[int, int]
"""x, y of the left upper corner, in pixels."""

GAIN = 4  # a difference of 16 steps, a light shadow, then shows as a mid grey
TINT = (255, 0, 200)  # of the effect mask; hardly any footage has this magenta
SQUARE_PX = 12  # of the checkerboard
# Of 85 frames of eight views at 336x192 (a camel), crf 25: medium 838 kB in 2.0 s, veryfast 745 kB in 0.9 s.
_X264 = {"preset": "veryfast", "g": "48"}
_BT709 = 1  # the number that the H.264 standard gives to BT.709 for primaries, transfer and matrix alike


@dataclass(frozen=True)
class View:
    """One way to look at a clip."""

    name: str
    title: str
    meaning: str
    needs: tuple[str, ...]
    """Layers it is made of; a clip that lacks one does not have the view."""


VIEWS = (
    View("gt", "gt", "The video with its effects.", ("gt",)),
    View("over", "over", "The same subject over the clean background: no effects.", ("over",)),
    View(
        "difference",
        f"difference ×{GAIN}",
        f"How far gt and over are apart, made {GAIN} times stronger. Black: equal.",
        ("gt", "over"),
    ),
    View("effect", "effect mask on gt", "Where the effect is, in magenta over gt.", ("gt", "effect_mask")),
    View("truth", "effect truth", "Strength of the strongest effect, as its renderer knows it.", (TRUTH,)),
    View("background", "background", "The clean plate: neither the subject nor its effects.", ("background",)),
    View(
        "foreground",
        "foreground",
        "The subject with its effects, cut out by alpha. Checkerboard: nothing is there.",
        ("foreground", "alpha"),
    ),
    View("alpha", "alpha", "How much of each pixel is foreground. White: all of it.", ("alpha",)),
    View("subject_mask", "subject mask", "The subject alone, without its effects.", ("subject_mask",)),
)


def render_views(clip: Clip, *, width_px: int = 336, names: Sequence[str] = ()) -> dict[str, Rgb]:
    """Small frames of each view that the clip has, by name; width and height are even, as video wants them.

    Args:
        clip: decoded here, layer by layer; nothing of it is kept.
        width_px: widest picture; a clip that is smaller keeps its size.
        names: the views to make; all where none are named.

    Raises:
        ValueError: there is no view of such a name.
    """
    view_by_name = {view.name: view for view in VIEWS}
    if strange := [name for name in names if name not in view_by_name]:
        raise ValueError(f"there is no view '{strange[0]}'; the views are {', '.join(view_by_name)}")
    scale = min(1.0, width_px / clip.row["width"])
    size = tuple(max(2, round(clip.row[side] * scale / 2) * 2) for side in ("width", "height"))
    selected = [view_by_name[name] for name in names] or list(VIEWS)
    layers: dict[str, Any] = {}  # decoded once, and held no longer than a view needs them
    frames_by_view = {}
    for index, view in enumerate(selected):
        layers |= {name: _decode(clip, name) for name in view.needs if name not in layers}
        parts = [layers[name] for name in view.needs]
        if all(part is not None for part in parts):
            frames_by_view[view.name] = np.stack(list(_frames(view.name, parts, (size[0], size[1]))))
        needed_later = {name for later in selected[index + 1 :] for name in later.needs}
        layers = {name: layer for name, layer in layers.items() if name in needed_later}
    return frames_by_view


def mosaic(pictures: Mapping[str, Rgb], columns: int = 4) -> tuple[Whole, dict[str, Corner]]:
    """All views in one picture, row by row, and the left upper corner of each in pixels."""
    first = next(iter(pictures.values()))
    frames, height, width = first.shape[:3]
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    mosaic_frames = np.zeros((frames, rows * height, columns * width, 3), np.uint8)
    corners = {}
    for index, (name, picture) in enumerate(pictures.items()):
        x, y = index % columns * width, index // columns * height
        mosaic_frames[:, y : y + height, x : x + width] = picture
        corners[name] = (x, y)
    return mosaic_frames, corners


def encode_mp4(frames: Rgb, *, fps: float, crf: int = 24) -> bytes:
    """Encode frames as H.264 in MP4, BT.709, 4:2:0, which every browser plays; a smaller crf is finer."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        options = {"crf": str(crf), **_X264}
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.thread_count = 1
        # Said in the file, or browsers guess the matrix by the picture's size and colours shift.
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = ColorRange.MPEG
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(picture.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def encode_strip(pictures: Mapping[str, Rgb], *, count: int = 5, width_px: int = 168) -> bytes:
    """A still for paper and for browsers that play nothing: a row a view, evenly spaced frames, as JPEG."""
    rows = []
    for frames in pictures.values():
        sampled = frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]
        scale = min(1.0, width_px / frames.shape[2])
        size = max(1, round(frames.shape[2] * scale)), max(1, round(frames.shape[1] * scale))
        rows.append(np.concatenate([_downscale(frame, size) for frame in sampled], axis=1))
    return jpeg(np.concatenate(rows))


def jpeg(picture: Image) -> bytes:
    """One picture as JPEG."""
    buffer = io.BytesIO()
    Pictures.fromarray(picture).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _frames(name: str, layers: list[Rgb | Matte | Mask], size: tuple[int, int]) -> Iterator[Image]:
    for parts in zip(*layers, strict=True):
        if name == "difference":
            # Taken at full size: shrinking first would hide fine differences.
            yield cv2.multiply(_downscale(cv2.absdiff(*parts), size), (GAIN,) * 4)
        elif name == "effect":
            yield _tint(_downscale(parts[0], size), _downscale(parts[1].view(np.uint8) * np.uint8(255), size))
        elif name == "foreground":
            yield _downscale(_over_checkerboard(*parts), size)
        else:
            small = _downscale(parts[0], size)
            yield small if small.ndim == 3 else np.repeat(small[..., None], 3, axis=2)


def _decode(clip: Clip, layer: str) -> Rgb | Matte | Mask | None:
    return clip.truth_strength() if layer == TRUTH else clip.decode(layer)


def _downscale(picture: Image | MatteImage, size: tuple[int, int]) -> Small:
    return picture if picture.shape[1::-1] == size else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _tint(picture: Image, mask: MatteImage) -> Image:
    """Tint where the mask is and draw its outline."""
    weight = mask[..., None] * np.float32(0.4 / 255)
    colour = np.array(TINT, np.float32)
    tinted: Image = np.rint(picture + weight * (colour - picture)).astype(np.uint8)
    outlines, _ = cv2.findContours((mask > 127).view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(tinted, outlines, -1, TINT, 1)
    return tinted


def _over_checkerboard(picture: Image, alpha: MatteImage) -> Image:
    rows, columns = (np.arange(side) // SQUARE_PX for side in alpha.shape)
    board = np.where((rows[:, None] + columns) % 2, 96, 144)[..., None].astype(np.float32)
    weight = alpha[..., None] / np.float32(255)
    blended: Image = np.rint(board + weight * (picture - board)).astype(np.uint8)
    return blended
