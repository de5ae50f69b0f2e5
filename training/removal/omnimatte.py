"""Omnimatte: alpha and foreground of a clip over a clean background, found by optimising a net for this one clip.

Generative Omnimatte's second step. The net sees a frame and its distance from the background and answers with straight
colour and opacity; it learns to rebuild the clip from them, with as little opacity as that takes, led by the subject's
mask at first. What the clip shows of the subject itself then comes from the clip (`transfer_detail`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import cv2
import numpy as np

from ...arrays import Mask, Matte, Rgb
from ...extras import require
from ...settings import CheckedSettings, InRange

OPAQUE = 0.98
"""Opacity from which a pixel's foreground is the clip's own pixel."""
SPARSITY_SLOPE = 5.0
"""Slope of the smooth count of pixels that are not transparent, 2 sigmoid(5 alpha) - 1."""


@dataclass(frozen=True, kw_only=True)
class OmnimatteSettings(CheckedSettings):
    """Optimisation of alpha and foreground: steps, learning rates and weights of the losses, as published."""

    steps: Annotated[int, InRange(1, 100_000)] = 2500
    """Steps of the optimiser; the published 6,000 take the last 4,000 at a thousandth of the first rate."""
    batch: Annotated[int, InRange(1, 256)] = 16
    """Consecutive frames of a step; shorter clips are taken whole."""
    learning_rate: Annotated[float, InRange(0.0, 1.0)] = 5e-4
    milestones: tuple[int, ...] = (500, 1000, 2000)
    """Steps after which the learning rate falls to a tenth."""
    mask_steps: Annotated[int, InRange(0, 100_000)] = 1000
    """Steps in which alpha follows the subject's mask inside and outside; later it is only held up inside."""
    mask_weight: Annotated[float, InRange(0.0, 1000.0)] = 10.0
    inside_weight: Annotated[float, InRange(0.0, 1000.0)] = 0.1
    """Weight of the mask inside the subject after `mask_steps`."""
    count_weight: Annotated[float, InRange(0.0, 1000.0)] = 0.075
    """Weight of the smooth count of pixels that are not transparent, times the subject's share of the clip."""
    opacity_weight: Annotated[float, InRange(0.0, 1000.0)] = 0.75
    """Weight of the mean opacity, times the subject's share of the clip."""
    erode_px: Annotated[int, InRange(0, 64)] = 2
    """The subject's mask is shrunk by this much before it leads alpha, in pixels of the clip: few masks are exact."""
    seed: int = 43


@dataclass(frozen=True, kw_only=True)
class Omnimatte:
    """Alpha and straight foreground of a clip, at its size."""

    alpha: Matte
    foreground: Rgb
    reconstruction_psnr_db: float
    """Peak signal-to-noise ratio of alpha·foreground + (1 - alpha)·background to the clip, before detail transfer."""


def optimise(
    gt: Rgb, background: Rgb, subject_mask: Matte, settings: OmnimatteSettings, *, device: str = "cpu"
) -> Omnimatte:
    """Find alpha and foreground so that gt is rebuilt over background.

    Frames go to the device a batch at a time, so memory beyond the clip itself does not grow with its length. Equal
    inputs and seeds give equal results on one machine.
    """
    torch = require("torch", extra="train")
    from .unet import SIDE_MULTIPLE, OmnimatteUNet  # torch's classes stand in its head

    mask = _erode(subject_mask >= 128, settings.erode_px)
    clip = _Frames(gt, background, mask, SIDE_MULTIPLE, device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        net = OmnimatteUNet()
    net = net.to(device)
    _fit(net, clip, settings, float(mask.mean()))
    return _evaluate(net.eval(), clip, settings.batch)


def transfer_detail(gt: Rgb, omnimatte: Omnimatte, subject_mask: Matte) -> Rgb:
    """Foreground with the clip's own pixels where alpha is near one and in the subject: the net's are a little soft."""
    own = (omnimatte.alpha > OPAQUE * 255) | (subject_mask >= 128)
    return np.where(own[..., None], gt, omnimatte.foreground)


class _Frames:
    """The clip's frames as float tensors on the device, a batch at a time, padded to the net's size."""

    def __init__(self, gt: Rgb, background: Rgb, mask: Mask, multiple: int, device: str) -> None:
        self.gt, self.background, self.mask, self.device = gt, background, mask, device
        height, width = gt.shape[1:3]
        self.padding = (0, -width % multiple, 0, -height % multiple)

    def __len__(self) -> int:
        return len(self.gt)

    def read(self, start: int, stop: int) -> tuple[Any, Any, Any]:
        """Frames and background [n, 3, H, W] and mask [n, 1, H, W], in [0, 1]."""
        torch = require("torch", extra="train")
        colour = [torch.from_numpy(layer[start:stop]).permute(0, 3, 1, 2) for layer in (self.gt, self.background)]
        mask = torch.from_numpy(self.mask[start:stop].view(np.uint8))[:, None] * 255
        pad = torch.nn.functional.pad
        gt, background, coverage = (
            pad(layer.to(self.device).float() / 255, self.padding, mode="replicate") for layer in (*colour, mask)
        )
        return gt, background, coverage

    def batches(self, size: int) -> Iterator[tuple[int, int]]:
        """First and last frame of consecutive batches."""
        for start in range(0, len(self), size):
            yield start, min(start + size, len(self))


def _fit(net: Any, clip: _Frames, settings: OmnimatteSettings, subject_share: float) -> None:
    torch = require("torch", extra="train")
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, list(settings.milestones), gamma=0.1)
    rng, size = np.random.default_rng(settings.seed), min(settings.batch, len(clip))
    for step in range(settings.steps):
        # Starts before the first frame and after the last count as those, so that the clip's ends come up as often.
        start = int(np.clip(rng.integers(-size, len(clip)), 0, len(clip) - size))
        gt, background, mask = clip.read(start, start + size)
        layer = net(torch.cat([gt, (gt - background).abs()], dim=1))
        loss = _loss(layer, gt, background, mask, settings, subject_share, supervised=step < settings.mask_steps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def _loss(
    layer: Any, gt: Any, background: Any, mask: Any, settings: OmnimatteSettings, subject_share: float, *,
    supervised: bool,
) -> Any:  # fmt: skip
    torch = require("torch", extra="train")
    colour, alpha = layer[:, :3], layer[:, 3:]
    rebuilt = alpha * colour + (1 - alpha) * background
    count = (2 * torch.sigmoid(SPARSITY_SLOPE * alpha) - 1).mean()
    loss = (rebuilt - gt).square().mean()
    loss = loss + subject_share * (settings.count_weight * count + settings.opacity_weight * alpha.abs().mean())
    error = (alpha - mask).square()
    inside = (error * mask).sum() / (mask.sum() + 1e-9)
    if not supervised:
        return loss + settings.inside_weight * inside
    outside = (error * (1 - mask)).sum() / ((1 - mask).sum() + 1e-9)
    return loss + settings.mask_weight * (inside + outside)


def _evaluate(net: Any, clip: _Frames, batch: int) -> Omnimatte:
    torch = require("torch", extra="train")
    alpha = np.empty(clip.mask.shape, np.uint8)
    foreground, error = np.empty_like(clip.gt), 0.0
    height, width = clip.mask.shape[1:]
    for start, stop in clip.batches(batch):
        gt, background, _ = clip.read(start, stop)
        with torch.no_grad():
            layer = net(torch.cat([gt, (gt - background).abs()], dim=1))
        opacity, colour = layer[:, 3:], layer[:, :3]
        rebuilt = opacity * colour + (1 - opacity) * background
        error += float((rebuilt - gt)[..., :height, :width].square().sum())
        levels = (layer[..., :height, :width] * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        alpha[start:stop], foreground[start:stop] = levels[..., 3], levels[..., :3]
    error /= clip.gt.size
    psnr = 10 * float(np.log10(1 / error)) if error > 1e-10 else 100.0
    return Omnimatte(alpha=alpha, foreground=foreground, reconstruction_psnr_db=psnr)


def _erode(mask: Mask, radius_px: int) -> Mask:
    """Shrink a mask by a square; a subject that would vanish from a frame stays as it is there."""
    kernel = np.ones((2 * radius_px + 1,) * 2, np.uint8)
    shrunk = [cv2.erode(frame.view(np.uint8), kernel).view(bool) for frame in mask]
    return np.stack([small if small.any() else frame for small, frame in zip(shrunk, mask, strict=True)])
