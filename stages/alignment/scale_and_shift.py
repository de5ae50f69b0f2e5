"""Place of a layer of another size in the clip: a scale and a shift per axis, found blind.

Tools that remove objects work at a size of their own and crop or stretch to it, and none writes down how. The fit
starts from every usual way (stretched, or cropped at either end or both) and goes from coarse to fine pictures; the
start whose detail agrees best with the clip's wins. One fit holds for all frames: a tool treats all frames alike.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Shaped, UInt8

from ...arrays import Matte, Rgb

AnyImage = UInt8[np.ndarray, "h w 3"] | UInt8[np.ndarray, "h w"] | Float32[np.ndarray, "h w"]
"""Colour, a matte or luma, of the layer's own size."""
LayerImage = UInt8[np.ndarray, "h w 3"]
LayerPlane = Float32[np.ndarray, "h w"]
Plane = Float32[np.ndarray, "H W"]
Region = Bool[np.ndarray, "H W"]

FRAMES = 8
"""Frames that take part, evenly spaced."""
MARGIN_PX = 24
"""So close to the subject, in pixels of a picture whose shorter side is 384, its effect may be."""
REDUCTIONS, MIN_SIDE_PX = (16, 8, 4, 2, 1), 20
"""Reductions of the pictures, from coarse to fine, and the least side of a reduced one."""
COARSE_LEVELS = 3
"""So many of the coarsest are fitted from every start; the others from the best."""
DETAIL_PX = 8.0
"""Standard deviation of the blur that is taken away to leave detail; for coarse pictures a quarter of it."""
STRETCH_LOSS = 0.002
"""Correlation that a placement has to gain over the plain stretch."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Position in the layer of each position in the clip: scale · position + shift, from the left and upper border."""

    scale_x: float
    scale_y: float
    shift_x: float
    """In pixels of the layer, as shift_y."""
    shift_y: float
    correlation: float = 0.0
    """Correlation of detail in clip and layer, median over the frames: good layers have 0.75 to 0.98, unregistered ones
    0 to 0.25."""

    def reduced(self, factor: float) -> "Placement":
        """The same placement for a clip and a layer that are both smaller by that factor."""
        return replace(self, shift_x=self.shift_x / factor, shift_y=self.shift_y / factor)

    def covered(self, layer_size: tuple[int, int], size: tuple[int, int]) -> Region:
        """Pixels of a clip of that size that the layer shows."""
        rows = self.scale_y * (np.arange(size[0]) + 0.5) + self.shift_y
        columns = self.scale_x * (np.arange(size[1]) + 0.5) + self.shift_x
        inside_rows, inside_columns = (rows >= 0) & (rows <= layer_size[0]), (columns >= 0) & (columns <= layer_size[1])
        return np.asarray(inside_rows[:, None] & inside_columns)


def warp_layer(layer: AnyImage, placement: Placement, size: tuple[int, int]) -> Shaped[np.ndarray, "H W *c"]:
    """Resample a frame of the layer to the clip's (height, width); beyond the layer its border is repeated."""
    matrix = np.array(
        [
            [placement.scale_x, 0, 0.5 * placement.scale_x + placement.shift_x - 0.5],
            [0, placement.scale_y, 0.5 * placement.scale_y + placement.shift_y - 0.5],
        ]
    )
    if max(placement.scale_x, placement.scale_y) > 1.5:  # or detail finer than the clip's pixels turns into moire
        blur = (max(placement.scale_x**2 - 1, 0.01) ** 0.5 / 2, max(placement.scale_y**2 - 1, 0.01) ** 0.5 / 2)
        layer = cv2.GaussianBlur(layer, (0, 0), sigmaX=blur[0], sigmaY=blur[1])
    return np.asarray(
        cv2.warpAffine(
            layer,
            matrix,
            (size[1], size[0]),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )


def find_placement(gt: Rgb, layer: Sequence[LayerImage], subject_mask: Matte) -> Placement:
    """Fit where the layer's frames lie in the clip's, away from the subject.

    Args:
        gt: the clip.
        layer: as many frames, of one size, which may be any.
        subject_mask: the subject, which the layer need not show.

    The plain stretch is taken unless another placement agrees better by STRETCH_LOSS: a layer of the clip's own size
    that fits is never resampled.
    """
    views = _views(gt, layer, subject_mask)
    shortest = min(*views[0].clip.shape, *views[0].layer.shape)
    factors = [factor for factor in REDUCTIONS if shortest // factor >= MIN_SIDE_PX] or [1]
    coarse = {factor: _reduce(views, factor) for factor in factors[:COARSE_LEVELS]}
    last = factors[:COARSE_LEVELS][-1]
    fits = []
    for placement in _starts(views[0].layer.shape, gt.shape[1:3]):
        for factor, level in coarse.items():
            placement = _fit(level, placement.reduced(float(factor)), iterations=10).reduced(1 / factor)
        agreement = _correlation(coarse[last], placement.reduced(float(last)), DETAIL_PX / 4)
        fits.append((agreement, placement))
    best = max(fits, key=lambda fit: fit[0])[1]
    for factor in factors[COARSE_LEVELS:] or [1]:
        level = [view.smoothed(1.0) for view in (views if factor == 1 else _reduce(views, factor))]
        best = _fit(level, best.reduced(float(factor)), iterations=6).reduced(1 / factor)
    stretched = next(_starts(views[0].layer.shape, gt.shape[1:3]))
    best, stretched = (replace(fit, correlation=_correlation(views, fit, DETAIL_PX)) for fit in (best, stretched))
    return best if best.correlation > stretched.correlation + STRETCH_LOSS else stretched


def measure_correlation(gt: Rgb, layer: Rgb, subject_mask: Matte) -> float:
    """Correlation of detail in a clip and a layer that lies where the clip does, median over the frames."""
    still = Placement(scale_x=1.0, scale_y=1.0, shift_x=0.0, shift_y=0.0)
    return _correlation(_views(gt, layer, subject_mask), still, DETAIL_PX)


def _views(gt: Rgb, layer: Sequence[LayerImage] | Rgb, subject_mask: Matte) -> list["_View"]:
    margin_px = MARGIN_PX * min(gt.shape[1:3]) / 384
    return [
        _View(clip=_luma(gt[index]), layer=_luma(layer[index]), clear=_clear(subject_mask[index], margin_px))
        for index in np.unique(np.linspace(0, len(gt) - 1, FRAMES).round().astype(int))
    ]


@dataclass(frozen=True, kw_only=True)
class _View:
    """One frame of both, as luma, and the pixels of the clip that are far from the subject."""

    clip: Plane
    layer: LayerPlane
    clear: Region

    def smoothed(self, sigma_px: float) -> "_View":
        clip, layer = (cv2.GaussianBlur(plane, (0, 0), sigma_px) for plane in (self.clip, self.layer))
        return replace(self, clip=clip, layer=layer)


def _luma(image: LayerImage) -> LayerPlane:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)


def _clear(coverage: UInt8[np.ndarray, "H W"], margin_px: float) -> Region:
    distance = cv2.distanceTransform((coverage < 32).view(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(distance > margin_px)


def _starts(layer_size: tuple[int, ...], size: tuple[int, ...]) -> Iterator[Placement]:
    """Stretched to the clip; or evenly scaled by one of the sides, and the other cropped or padded at its ends."""
    scale_y, scale_x = (layer_side / side for layer_side, side in zip(layer_size, size, strict=True))
    yield Placement(scale_x=scale_x, scale_y=scale_y, shift_x=0.0, shift_y=0.0)
    if not np.isclose(scale_x, scale_y):
        for scale in (scale_x, scale_y):
            room_y, room_x = (layer_side - scale * side for layer_side, side in zip(layer_size, size, strict=True))
            for share in (0.0, 0.5, 1.0):
                yield Placement(scale_x=scale, scale_y=scale, shift_x=share * room_x, shift_y=share * room_y)


def _reduce(views: Sequence[_View], factor: int) -> list[_View]:
    """Smaller pictures, blurred so that an offset of a few of their pixels is felt."""

    def small(plane: LayerPlane) -> Plane:
        # Cut to whole cells first: a reduction by just `factor` keeps the placement's scale exact.
        rows, columns = (side // factor for side in plane.shape)
        whole = plane[: rows * factor, : columns * factor]
        reduced = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(reduced, (0, 0), 0.7))

    return [
        _View(clip=small(view.clip), layer=small(view.layer), clear=small(view.clear.astype(np.float32)) > 0.99)
        for view in views
    ]


def _fit(views: Sequence[_View], placement: Placement, iterations: int) -> Placement:
    """Gauss-Newton on clip − gain · layer − bias with Tukey's weights, over scales, shifts, gain and bias.

    A step that makes no sense (a singular system, a scale out of all proportion) ends the fit where it stands.
    """
    height, width = views[0].clip.shape
    across, down = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    gain, bias = 1.0, 0.0
    for _ in range(iterations):
        normal, right = np.zeros((6, 6)), np.zeros(6)
        for view in views:
            terms, error = _linearise(view, placement, gain, bias, across, down)
            weight = _tukey(error)
            weighted = terms * weight[:, None]
            normal += weighted.T @ terms
            right += weighted.T @ error
        normal[np.diag_indices(6)] += 1e-9 * np.trace(normal) + 1e-9
        step = np.linalg.solve(normal, right)
        moved = replace(
            placement,
            scale_x=float(placement.scale_x + step[0] / width),
            scale_y=float(placement.scale_y + step[2] / height),
            shift_x=float(placement.shift_x + step[1]),
            shift_y=float(placement.shift_y + step[3]),
        )
        if not (0.2 < moved.scale_x / placement.scale_x < 5 and 0.2 < moved.scale_y / placement.scale_y < 5):
            return placement
        placement, gain, bias = moved, gain + step[4], bias + step[5]
        if np.abs(step[:4]).max() < 0.005:
            break
    return placement


def _linearise(
    view: _View,
    placement: Placement,
    gain: float,
    bias: float,
    across: Float64[np.ndarray, "H W"],
    down: Float64[np.ndarray, "H W"],
) -> tuple[Float64[np.ndarray, "N 6"], Float64[np.ndarray, "N"]]:
    """Derivatives of gain · layer + bias by scale and shift across, the same down, gain and bias; and the error."""
    shown = warp_layer(view.layer, placement, view.clip.shape)
    slope_x = cv2.Sobel(shown, cv2.CV_32F, 1, 0, scale=1 / 8) / placement.scale_x
    slope_y = cv2.Sobel(shown, cv2.CV_32F, 0, 1, scale=1 / 8) / placement.scale_y
    usable = view.clear & placement.covered(view.layer.shape, view.clip.shape)
    usable[[0, 1, -2, -1]] = False
    usable[:, [0, 1, -2, -1]] = False
    by_x, by_y, level = gain * slope_x[usable], gain * slope_y[usable], shown[usable].astype(np.float64)
    terms = np.stack([by_x * across[usable], by_x, by_y * down[usable], by_y, level, np.ones_like(level)], axis=1)
    return terms, view.clip[usable] - gain * level - bias


def _tukey(error: Float64[np.ndarray, "N"]) -> Float64[np.ndarray, "N"]:
    """Weight of each error: 1 at none, 0 from 4.685 standard deviations on (estimated by the median)."""
    if not len(error):
        return error
    spread = 1.4826 * float(np.median(np.abs(error - np.median(error)))) + 0.5
    return np.asarray((1 - np.minimum((error / (4.685 * spread)) ** 2, 1)) ** 2)


def _correlation(views: Sequence[_View], placement: Placement, detail_px: float) -> float:
    """Correlation of what a blur of detail_px takes away, off the subject, median over the frames."""
    correlations = []
    for view in views:
        shown = warp_layer(view.layer, placement, view.clip.shape)
        usable = view.clear & placement.covered(view.layer.shape, view.clip.shape)
        if usable.mean() < 0.05:
            return -1.0
        clip, layer = ((plane - cv2.GaussianBlur(plane, (0, 0), detail_px))[usable] for plane in (view.clip, shown))
        deviation = float(clip.std() * layer.std())
        correlations.append(float(np.mean((clip - clip.mean()) * (layer - layer.mean()))) / max(deviation, 1e-6))
    return float(np.median(correlations))
