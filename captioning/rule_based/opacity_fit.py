"""Opacity and colour of an effect: the line gt = a·over + b through its pixels, how well it fits, and its edge.

By the matting equation 1 − a is the effect's opacity and b / (1 − a) its colour: a shadow has b near 0, dust and smoke
do not, and what breaks or bends light (a splash, ripples) fits no line at all. The residual tells how far to trust it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from ...arrays import Mask, Matte, Rgb
from ..interface.captioner import even_indices

Colours = Float32[np.ndarray, "N 3"]
Frame = Float32[np.ndarray, "H W 3"]
FrameMask = Bool[np.ndarray, "H W"]
Windows = Float32[np.ndarray, "windows 5 3"]
MAX_FRAMES = 16
"""Frames that are measured, evenly spaced over the clip."""
MAX_SAMPLES = 40_000
MIN_PIXELS = 60
"""Pixels below which nothing is measured."""
MIN_TEXTURE = 2.5
"""Standard deviation of `over` in small windows, in 8-bit steps, from which slope and offset can be told apart."""


@dataclass(frozen=True, kw_only=True)
class OpacityFit:
    """Measures of the pixels under the effect and outside the subject. Steps are of 8 bits."""

    opacity_rgb: tuple[float, float, float]
    """1 − a of each channel, clipped to 0 to 1."""
    colour: tuple[float, float, float]
    """b / (1 − a), 0 to 255; meaningful only where `is_reliable`."""
    explained_share: float
    """Share of the variance inside small windows that their lines explain, 0 to 1; the rest is texture or error."""
    fine_share: float
    """Share of the change that is finer than a hundredth of the picture and fits no line: broken water has much."""
    mean_gt: tuple[float, float, float]
    """Mean colour of gt, 0 to 255; `mean_over` that of over."""
    mean_over: tuple[float, float, float]
    mean_change: float
    """Mean of gt − over in grey, in steps."""
    darker_share: float
    """Share of the pixels that the effect darkens by more than 3 steps; `lighter_share` likewise."""
    lighter_share: float
    relative_change: float
    """Mean of (gt − over) / over in grey: −0.4 takes away 40 % of the light."""
    loss_similarity: float
    """Cosine between the mean loss and the mean ground as colours: near 1 where light is merely missing."""
    texture_std: float
    """Standard deviation of `over` inside the windows, in steps."""
    window_count: int

    @property
    def opacity(self) -> float:
        """Mean over the channels."""
        return sum(self.opacity_rgb) / 3

    @property
    def is_reliable(self) -> bool:
        """Whether captions may mention opacity and colour."""
        enough = self.window_count >= 20 and self.texture_std >= MIN_TEXTURE
        return enough and self.explained_share >= 0.6 and self.opacity >= 0.1


def outside_subject(effect_mask: Mask, subject_mask: Matte | None) -> Mask:
    """Return the effect where it is not seen through or on the subject."""
    return effect_mask if subject_mask is None else effect_mask & (subject_mask < 26)


def fit_opacity(gt: Rgb, over: Rgb, effect: Mask) -> OpacityFit | None:
    """Fit the line in evenly spaced frames; None where the effect covers too few pixels.

    An effect is not equally dense everywhere, so one line through all its pixels would bend: small windows have a line
    each, whose opacity varies, and together they have one colour.
    """
    windows, changes, grounds, fine_shares = [], [], [], []
    rim = np.ones((2 * max(1, min(effect.shape[1:]) // 96) + 1,) * 2, np.uint8)
    for frame in even_indices(len(gt), MAX_FRAMES):
        inner = cv2.erode(effect[frame].astype(np.uint8), rim) > 0
        # Without the soft rim, unless hardly anything would remain.
        core = inner if inner.sum() >= max(MIN_PIXELS, 0.2 * effect[frame].sum()) else effect[frame]
        if core.sum() >= MIN_PIXELS:
            # Blurred alike, both sides keep the matting equation and lose grain, which would flatten the slope.
            top, ground = (cv2.blur(video[frame].astype(np.float32), (3, 3)) for video in (gt, over))
            windows.append(_window_statistics(top, ground, core))
            changes.append((top - ground)[core])
            grounds.append(ground[core])
            fine_shares.append(_fine_share(gt[frame], over[frame], core))
    if not windows:
        return None
    stride = max(1, sum(map(len, changes)) // MAX_SAMPLES)
    return _summarize(
        np.concatenate(windows),
        np.concatenate(changes)[::stride],
        np.concatenate(grounds)[::stride],
        float(np.mean(fine_shares)),
    )


def _window_statistics(top: Frame, ground: Frame, core: FrameMask) -> Windows:
    """Return the columns mean, mean of ground, variance of ground, covariance, variance of one frame's windows."""
    size = (max(5, min(core.shape) // 20),) * 2
    weight = core.astype(np.float32)
    count = cv2.boxFilter(weight, -1, size, normalize=False)
    step = max(2, size[0] // 3)
    centres = np.zeros_like(core)
    centres[::step, ::step] = True
    centres &= core & (count >= 0.4 * size[0] ** 2)

    def mean(values: np.ndarray) -> np.ndarray:
        total = cv2.boxFilter(values * weight[..., None], -1, size, normalize=False)
        return np.asarray(total[centres] / count[centres][:, None])

    offset = ground[core].mean(axis=0)  # float32 keeps its digits near zero
    x, y = ground - offset, top - offset
    mean_x, mean_y = mean(x), mean(y)
    covariance = mean(x * y) - mean_x * mean_y
    columns = [mean_y + offset, mean_x + offset, mean(x * x) - mean_x**2, covariance, mean(y * y) - mean_y**2]
    return np.stack(columns, axis=1)


def pool_windows(windows: Windows) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Return opacity and colour of each channel, and the share of the windows' variance that their lines explain.

    Windows with more texture under the effect know their slope better and weigh more; those whose colour is far from
    the others' (bisquare weights) weigh nothing.
    """
    opacities, colours = [], []
    explained = total = 0.0
    for channel in range(3):
        y, x, variance_x, covariance, variance_y = windows[:, :, channel].T
        textured = variance_x > 1.0
        weight = np.where(textured, variance_x, 0.0)
        opacity = np.clip(1 - covariance / np.maximum(variance_x, 1.0), -0.2, 1.2)
        offset = y - (1 - opacity) * x
        colour = 0.0
        for _ in range(8):
            colour = float((weight * opacity * offset).sum() / max(float((weight * opacity**2).sum()), 1e-6))
            error = np.abs(offset - opacity * colour)
            scale = 4.685 * max(1.4826 * float(np.median(error[textured])) if textured.any() else 1.0, 2.0)
            weight = np.where(textured, variance_x, 0.0) * np.clip(1 - (error / scale) ** 2, 0, None) ** 2
        opacities.append(float(np.clip((weight * opacity).sum() / max(float(weight.sum()), 1e-6), 0, 1)))
        colours.append(float(np.clip(colour, 0, 255)))
        explained += float((covariance**2 / np.maximum(variance_x, 1.0))[textured].sum())
        total += float(variance_y[textured].sum())
    return tuple(opacities), tuple(colours), explained / max(total, 1e-6)


def measure_edge_width(gt: Rgb, over: Rgb, effect: Mask) -> float | None:
    """Return the width of the effect's border, as a share of the picture's shorter side; None without a clear border.

    Where the relative change is about half of its full strength, its gradient tells how far it is from none to full.
    """
    widths = []
    for frame in even_indices(len(gt), 8):
        if effect[frame].sum() < MIN_PIXELS:
            continue
        ground = cv2.blur(over[frame].astype(np.float32).mean(axis=2), (3, 3))
        change = np.abs(cv2.blur(gt[frame].astype(np.float32).mean(axis=2), (3, 3)) - ground) / (ground + 8)
        full = float(np.percentile(change[effect[frame]], 80))
        slope = np.hypot(cv2.Sobel(change, -1, 1, 0, scale=0.125), cv2.Sobel(change, -1, 0, 1, scale=0.125))
        border = effect[frame] & (change > 0.35 * full) & (change < 0.65 * full)
        if border.sum() >= 20 and full > 0.04:
            widths.append(full / max(float(np.percentile(slope[border], 70)), 1e-6))
    return float(np.median(widths)) / min(gt.shape[1:3]) if widths else None


def _fine_share(gt: np.ndarray, over: np.ndarray, core: FrameMask) -> float:
    """Return the share of one frame's change that is fine-grained and does not come from the ground's own grain."""
    ground = over.astype(np.float32).mean(axis=2)
    change = gt.astype(np.float32).mean(axis=2) - ground
    size = max(1.0, min(change.shape) / 100)
    fine = (change - cv2.GaussianBlur(change, (0, 0), size))[core]
    grain = (ground - cv2.GaussianBlur(ground, (0, 0), size))[core]
    fine = fine - grain * (fine @ grain) / max(float(grain @ grain), 1e-3)
    return float(np.sqrt((fine**2).mean()) / max(float(np.sqrt((change[core] ** 2).mean())), 1.0))


def _summarize(windows: Windows, change: Colours, ground: Colours, fine_share: float) -> OpacityFit:
    opacity, colour, explained = pool_windows(windows) if len(windows) else ((0.0,) * 3, (0.0,) * 3, 0.0)
    grey, grey_ground = change.mean(axis=1), ground.mean(axis=1)
    loss, base = -change.mean(axis=0), ground.mean(axis=0)
    mean_gt = base - loss
    similarity = float(loss @ base / max(float(np.linalg.norm(loss) * np.linalg.norm(base)), 1e-6))
    return OpacityFit(
        opacity_rgb=(opacity[0], opacity[1], opacity[2]),
        colour=(colour[0], colour[1], colour[2]),
        explained_share=float(np.clip(explained, 0, 1)),
        fine_share=fine_share,
        mean_gt=(float(mean_gt[0]), float(mean_gt[1]), float(mean_gt[2])),
        mean_over=(float(base[0]), float(base[1]), float(base[2])),
        mean_change=float(grey.mean()),
        darker_share=float((grey < -3).mean()),
        lighter_share=float((grey > 3).mean()),
        relative_change=float((grey / np.maximum(grey_ground, 16)).mean()),
        loss_similarity=similarity,
        texture_std=float(np.sqrt(windows[:, 2].mean())) if len(windows) else 0.0,
        window_count=len(windows),
    )
