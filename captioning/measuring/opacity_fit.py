"""What an effect does to the pixels it covers: the line gt = a·over + b, how well it fits, and how soft its edge is.

By the matting equation 1 − a is the effect's opacity and b / (1 − a) its colour: a shadow has b near 0, dust and smoke
do not, and what breaks or bends light (a splash, ripples) fits no line at all. The residual is the measure of trust.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from ...arrays import Mask, Matte, Rgb

Colours = Float32[np.ndarray, "N 3"]
Windows = Float32[np.ndarray, "windows 5 3"]
Inside = Bool[np.ndarray, "H W"]
FRAMES = 16
"""So many frames, evenly over the clip, are looked at."""
SAMPLES = 40_000
FEWEST = 60
"""Pixels below which nothing is said."""
VARIED = 2.5
"""Standard deviation of `over` in small windows, in steps, from which slope and offset can be told apart."""


@dataclass(frozen=True, kw_only=True)
class OpacityFit:
    """Of the pixels under the effect and outside the subject. Steps are of 8 bits."""

    opacity_rgb: tuple[float, float, float]
    """1 − a of each channel, clipped to 0 to 1."""
    colour: tuple[float, float, float]
    """b / (1 − a), 0 to 255; means something only where `trusted`."""
    explained: float
    """Share of the variance inside small windows that their lines explain, 0 to 1; the rest is trouble or detail."""
    fine: float
    """Share of the change that is finer than a hundredth of the picture and fits no line: broken water has much."""
    shows: tuple[float, float, float]
    """Mean colour of gt there, 0 to 255; `ground` is that of over."""
    ground: tuple[float, float, float]
    change: float
    """Mean of gt − over in grey, in steps."""
    darker: float
    """Share of the pixels that the effect darkens by more than 3 steps; `lighter` likewise."""
    lighter: float
    relative: float
    """Mean of (gt − over) / over in grey: −0.4 takes away 40 % of the light."""
    proportional: float
    """How alike the mean loss and the mean ground are in colour, as a cosine: near 1 where light is merely missing."""
    varied: float
    """Standard deviation of `over` inside the windows, in steps."""
    windows: int
    """How many of them there were."""

    @property
    def opacity(self) -> float:
        """Mean over the channels."""
        return sum(self.opacity_rgb) / 3

    @property
    def trusted(self) -> bool:
        """May opacity and colour be said?"""
        return self.windows >= 20 and self.varied >= VARIED and self.explained >= 0.6 and self.opacity >= 0.1


def sample_indices(frames: int, most: int = FRAMES) -> list[int]:
    """At most so many of the frames' numbers, evenly over the clip, first and last among them."""
    return sorted({round(place) for place in np.linspace(0, frames - 1, min(frames, most))})


def outside_subject(effect_mask: Mask, subject_mask: Matte | None) -> Mask:
    """The effect where it is not seen through or on the subject."""
    return effect_mask if subject_mask is None else effect_mask & (subject_mask < 26)


def fit_opacity(gt: Rgb, over: Rgb, effect: Mask) -> OpacityFit | None:
    """Fit the line over evenly chosen frames; None where the effect covers too little to say anything.

    An effect is not equally dense everywhere, so one line through all its pixels would bend: small windows have a line
    each, whose opacity varies, and together they have one colour.
    """
    found = []
    for frame in sample_indices(len(gt)):
        where = _core(effect[frame])
        if where.sum() >= FEWEST:
            # Blurred alike, both sides keep the matting equation and lose grain, which would flatten the slope.
            top, ground = (cv2.blur(video[frame].astype(np.float32), (3, 3)) for video in (gt, over))
            found.append(
                (
                    _windows(top, ground, where),
                    (top - ground)[where],
                    ground[where],
                    _finer(gt[frame], over[frame], where),
                )
            )
    if not found:
        return None
    windows, changes, grounds, fine = zip(*found, strict=True)
    every = max(1, sum(map(len, changes)) // SAMPLES)
    return _summed_up(
        np.concatenate(windows),
        np.concatenate(changes)[::every],
        np.concatenate(grounds)[::every],
        float(np.mean(fine)),
    )


def _windows(top: Float32[np.ndarray, "H W 3"], ground: Float32[np.ndarray, "H W 3"], where: Inside) -> Windows:
    """Lines of one frame's windows. Columns: mean, mean of ground, variance of ground, covariance, variance."""
    size = (max(5, min(where.shape) // 20),) * 2
    weight = where.astype(np.float32)
    count = cv2.boxFilter(weight, -1, size, normalize=False)
    step = max(2, size[0] // 3)
    chosen = np.zeros_like(where)
    chosen[::step, ::step] = True
    chosen &= where & (count >= 0.4 * size[0] ** 2)

    def mean(values: np.ndarray) -> np.ndarray:
        total = cv2.boxFilter(values * weight[..., None], -1, size, normalize=False)
        return np.asarray(total[chosen] / count[chosen][:, None])

    centre = ground[where].mean(axis=0)  # float32 keeps its digits near zero
    x, y = ground - centre, top - centre
    mean_x, mean_y = mean(x), mean(y)
    both = mean(x * y) - mean_x * mean_y
    return np.stack([mean_y + centre, mean_x + centre, mean(x * x) - mean_x**2, both, mean(y * y) - mean_y**2], axis=1)


def pool_windows(windows: Windows) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Opacity and colour of each channel, and the share of the variance in windows that their lines explain.

    Windows with more texture under the effect know their slope better and weigh more; those whose colour is far off
    the others' (bisquare weights) weigh nothing.
    """
    opacities, colours = [], []
    kept = total = 0.0
    for channel in range(3):
        y, x, varied, both, varies = windows[:, :, channel].T
        good = varied > 1.0
        weight = np.where(good, varied, 0.0)
        own = np.clip(1 - both / np.maximum(varied, 1.0), -0.2, 1.2)
        offset = y - (1 - own) * x
        colour = 0.0
        for _ in range(8):
            colour = float((weight * own * offset).sum() / max(float((weight * own**2).sum()), 1e-6))
            off = np.abs(offset - own * colour)
            scale = 4.685 * max(1.4826 * float(np.median(off[good])) if good.any() else 1.0, 2.0)
            weight = np.where(good, varied, 0.0) * np.clip(1 - (off / scale) ** 2, 0, None) ** 2
        opacities.append(float(np.clip((weight * own).sum() / max(float(weight.sum()), 1e-6), 0, 1)))
        colours.append(float(np.clip(colour, 0, 255)))
        kept += float((both**2 / np.maximum(varied, 1.0))[good].sum())
        total += float(varies[good].sum())
    return tuple(opacities), tuple(colours), kept / max(total, 1e-6)


def measure_edge_width(gt: Rgb, over: Rgb, effect: Mask) -> float | None:
    """How wide the effect's border is, as a share of the picture's shorter side; None where it has no clear border.

    Where the relative change is about half of its full strength, its gradient tells how far it is from none to full.
    """
    widths = []
    for frame in sample_indices(len(gt), 8):
        if effect[frame].sum() < FEWEST:
            continue
        ground = cv2.blur(over[frame].astype(np.float32).mean(axis=2), (3, 3))
        change = np.abs(cv2.blur(gt[frame].astype(np.float32).mean(axis=2), (3, 3)) - ground) / (ground + 8)
        full = float(np.percentile(change[effect[frame]], 80))
        slope = np.hypot(cv2.Sobel(change, -1, 1, 0, scale=0.125), cv2.Sobel(change, -1, 0, 1, scale=0.125))
        border = effect[frame] & (change > 0.35 * full) & (change < 0.65 * full)
        if border.sum() >= 20 and full > 0.04:
            widths.append(full / max(float(np.percentile(slope[border], 70)), 1e-6))
    return float(np.median(widths)) / min(gt.shape[1:3]) if widths else None


def _core(effect: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """The mask without its soft rim, unless hardly anything is left of it."""
    rim = max(1, min(effect.shape) // 96)
    inner = cv2.erode(effect.astype(np.uint8), np.ones((2 * rim + 1, 2 * rim + 1), np.uint8)) > 0
    return inner if inner.sum() >= max(FEWEST, 0.2 * effect.sum()) else effect


def _finer(gt: np.ndarray, over: np.ndarray, where: Bool[np.ndarray, "H W"]) -> float:
    """Share of one frame's change that is fine-grained and does not come from the ground's own grain."""
    change = gt.astype(np.float32).mean(axis=2) - over.astype(np.float32).mean(axis=2)
    size = max(1.0, min(change.shape) / 100)
    fine = (change - cv2.GaussianBlur(change, (0, 0), size))[where]
    ground = over.astype(np.float32).mean(axis=2)
    grain = (ground - cv2.GaussianBlur(ground, (0, 0), size))[where]
    fine = fine - grain * (fine @ grain) / max(float(grain @ grain), 1e-3)
    return float(np.sqrt((fine**2).mean()) / max(float(np.sqrt((change[where] ** 2).mean())), 1.0))


def _summed_up(windows: Windows, change: Colours, ground: Colours, fine: float) -> OpacityFit:
    opacity, colour, explained = pool_windows(windows) if len(windows) else ((0.0,) * 3, (0.0,) * 3, 0.0)
    grey, below = change.mean(axis=1), ground.mean(axis=1)
    loss, base = -change.mean(axis=0), ground.mean(axis=0)
    shows = base - loss
    alike = float(loss @ base / max(float(np.linalg.norm(loss) * np.linalg.norm(base)), 1e-6))
    return OpacityFit(
        opacity_rgb=(opacity[0], opacity[1], opacity[2]),
        colour=(colour[0], colour[1], colour[2]),
        explained=float(np.clip(explained, 0, 1)),
        fine=fine,
        shows=(float(shows[0]), float(shows[1]), float(shows[2])),
        ground=(float(base[0]), float(base[1]), float(base[2])),
        change=float(grey.mean()),
        darker=float((grey < -3).mean()),
        lighter=float((grey > 3).mean()),
        relative=float((grey / np.maximum(below, 16)).mean()),
        proportional=alike,
        varied=float(np.sqrt(windows[:, 2].mean())) if len(windows) else 0.0,
        windows=len(windows),
    )
