"""Metrics of each frame against the truth: PSNR and SSIM by scikit-image, LPIPS, and VMAF by libvmaf.

PSNR of two equal frames is infinite, so it is undefined and left out of means, which count it.

LPIPS (AlexNet, version 0.1), the distance of deep features, is written out from its formula. The trunk is torchvision's
AlexNet, of which only the five convolutions are needed, so torchvision itself is not; the learned weights of the five
layers come with the package lpips. A trunk that is not the one published is refused: any weights give numbers, and
numbers of other weights cannot be compared.
It runs on the GPU where there is one.

VMAF runs inside the ffmpeg that imageio-ffmpeg brings. Its model is part of the program, so the weights recorded are
the program's bytes. Brightness it hardly sees: +25 % on the ground of a clip left 99 of 100.
"""

import importlib.util
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...arrays import Rgb
from ...digests import digest_of_file
from ...extras import require
from ...weights import WeightsRef
from ..base.models import exact_inference, select_device
from .metric import MetricValue, Sample, Unavailable, Weights, metric_value, unavailable, undefined

SSIM_WINDOW_PX = 7
ALEXNET_URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
ALEXNET_SHA256 = "7be5be79"
"""First digits of the SHA-256 of torchvision's AlexNet."""
ALEXNET_LAYERS = ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1))
"""Number in torchvision's state, stride and padding of each convolution."""
POOLED_BEFORE = (3, 6)
"""Convolutions that a maximum pooling precedes."""
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
LPIPS_BATCH = 8
VMAF_MODEL = "vmaf_v0.6.1"
VMAF_TIMEOUT_S = 1800


@dataclass(frozen=True, kw_only=True)
class PixelMetrics:
    """PSNR and SSIM, which need no weights and no program."""

    def weights(self) -> None:
        """Return None: no weights are needed."""

    def score(self, sample: Sample) -> Mapping[str, Sequence[MetricValue]]:
        """SSIM in [-1, 1] and PSNR in dB of each frame."""
        from skimage.metrics import structural_similarity

        ssim, psnr = [], []
        is_small = min(sample.gt.shape[1:3]) < SSIM_WINDOW_PX
        for truth, result in zip(sample.gt, sample.result, strict=True):
            error = float(np.mean((truth.astype(np.float64) - result) ** 2))
            if error:
                psnr.append(metric_value("psnr", 10 * np.log10(255.0**2 / error)))
            else:
                psnr.append(undefined("psnr", "the frames are equal, so it is infinite"))
            if is_small:
                ssim.append(undefined("ssim", f"a side is shorter than its window of {SSIM_WINDOW_PX} pixels"))
            else:
                similarity = structural_similarity(truth, result, channel_axis=2, data_range=255)
                ssim.append(metric_value("ssim", float(similarity)))
        return {"ssim": ssim, "psnr": psnr}


@dataclass(frozen=True, kw_only=True)
class Lpips:
    """LPIPS of each frame; 0 is equal."""

    trunk: Path | None = None
    """AlexNet's weights; None looks where torchvision keeps what it fetched."""
    heads: Path | None = None
    """Weights of the layers; None takes those in the package lpips."""
    trunk_sha256: str = ALEXNET_SHA256
    """First digits that the trunk's SHA-256 must have."""

    required_packages: ClassVar[Mapping[str, str]] = {"torch": "train", "lpips": "evaluate"}

    @property
    def trunk_path(self) -> Path:
        """Path to AlexNet's weights: the setting, or torchvision's own place for them."""
        home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
        return self.trunk or Path(home).expanduser() / "hub" / "checkpoints" / ALEXNET_URL.rsplit("/", 1)[-1]

    @property
    def required_weights(self) -> tuple[WeightsRef, ...]:
        """AlexNet's weights."""
        trunk = self.trunk_path
        return (WeightsRef(model=str(trunk), parts=(), remedy=f"get them with: curl -o {trunk} {ALEXNET_URL}"),)

    def weights(self) -> Weights:
        """Return the trunk's weights; raises `Unavailable` where they are missing."""
        return _load_lpips(self)[1]

    def score(self, sample: Sample) -> Mapping[str, Sequence[MetricValue]]:
        """One value a frame."""
        try:
            network, weights = _load_lpips(self)
        except (Unavailable, ImportError) as error:
            return {"lpips": [unavailable("lpips", str(error))]}
        distances: list[float] = []
        for start in range(0, len(sample.gt), LPIPS_BATCH):
            span = slice(start, start + LPIPS_BATCH)
            distances += lpips_distances(network, sample.result[span], sample.gt[span])
        return {"lpips": [metric_value("lpips", distance, weights=weights) for distance in distances]}


def lpips_distances(network: Mapping[str, Any], first: Rgb, second: Rgb) -> list[float]:
    """LPIPS of frame pairs by a network of `trunk` (AlexNet's state) and `heads` (the layers' weights)."""
    torch = require("torch", extra="train")
    with exact_inference():
        total = torch.zeros(len(first), dtype=torch.float64, device=network["heads"][0].device)
        features = (_alexnet_features(network["trunk"], frames) for frames in (first, second))
        for first_layer, second_layer, head in zip(*features, network["heads"], strict=True):
            squares = (_unit_length(first_layer) - _unit_length(second_layer)) ** 2
            total += torch.nn.functional.conv2d(squares, head).mean(dim=(1, 2, 3)).double()
    return [float(value) for value in total]


@dataclass(frozen=True, kw_only=True)
class Vmaf:
    """VMAF of each frame, in [0, 100]."""

    required_packages: ClassVar[Mapping[str, str]] = {"imageio_ffmpeg": "evaluate"}
    program: str | None = None
    """An ffmpeg built with libvmaf; None takes imageio-ffmpeg's."""

    def weights(self) -> Weights:
        """Return the program, which holds the model; raises `Unavailable` where it is missing."""
        return Weights(id=VMAF_MODEL, sha256=digest_of_file(Path(_find_ffmpeg(self.program))))

    def score(self, sample: Sample) -> Mapping[str, Sequence[MetricValue]]:
        """One value a frame."""
        try:
            weights = self.weights()
            scores = _vmaf_scores(_find_ffmpeg(self.program), sample.result, sample.gt)
        except Unavailable as error:
            return {"vmaf": [unavailable("vmaf", str(error))]}
        return {"vmaf": [metric_value("vmaf", score, weights=weights) for score in scores]}


def _alexnet_features(trunk: Mapping[str, Any], frames: Rgb) -> list[Any]:
    torch = require("torch", extra="train")
    device = trunk["features.0.weight"].device
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    shift, scale = (torch.tensor(values, device=device).view(3, 1, 1) for values in (_SHIFT, _SCALE))
    value = (pixels - shift) / scale
    features = []
    for number, stride, padding in ALEXNET_LAYERS:
        if number in POOLED_BEFORE:
            value = torch.nn.functional.max_pool2d(value, 3, 2)
        weight, bias = trunk[f"features.{number}.weight"], trunk[f"features.{number}.bias"]
        value = torch.relu(torch.nn.functional.conv2d(value, weight, bias, stride=stride, padding=padding))
        features.append(value)
    return features


def _unit_length(features: Any) -> Any:
    return features / ((features**2).sum(dim=1, keepdim=True).sqrt() + 1e-10)


@cache
def _load_lpips(settings: Lpips) -> tuple[Mapping[str, Any], Weights]:
    torch = require("torch", extra="train")
    trunk = settings.trunk_path
    if not trunk.is_file():
        raise Unavailable(f"the weights of AlexNet are not at {trunk}; get them with: curl -o {trunk} {ALEXNET_URL}")
    digest = digest_of_file(trunk)
    if not settings.trunk_sha256 or not digest.startswith(settings.trunk_sha256):
        raise Unavailable(
            f"{trunk} has SHA-256 {digest[:8]}..., not {settings.trunk_sha256 or 'one that is named'}..., so it is "
            f"not the published AlexNet; get it with: curl -o {trunk} {ALEXNET_URL}"
        )
    device = select_device()
    heads = torch.load(settings.heads or packaged_lpips_heads(), map_location=device, weights_only=True)
    layers = [heads[f"lin{number}.model.1.weight"] for number in range(len(ALEXNET_LAYERS))]
    state = torch.load(trunk, map_location=device, weights_only=True)
    return {"trunk": state, "heads": layers}, Weights(id=f"lpips-0.1-alex/{trunk.name}", sha256=digest)


def packaged_lpips_heads() -> Path:
    """Path to the layers' weights in the package lpips, which is not imported: it would import torchvision."""
    package = importlib.util.find_spec("lpips")
    if package is None or package.origin is None:
        raise Unavailable("the package lpips is not installed; get it with: pip install 'effectpairs[evaluate]'")
    return Path(package.origin).parent / "weights" / "v0.1" / "alex.pth"


@cache
def _find_ffmpeg(program: str | None) -> str:
    if program is None:
        try:
            program = str(require("imageio_ffmpeg", extra="evaluate").get_ffmpeg_exe())
        except (ImportError, RuntimeError) as error:
            raise Unavailable(str(error)) from error
    try:
        filters = subprocess.run([program, "-hide_banner", "-filters"], capture_output=True, text=True, timeout=60)
    except OSError as error:
        raise Unavailable(f"{program} does not run: {error.strerror}") from error
    if "libvmaf" not in filters.stdout:
        raise Unavailable(f"{program} was built without libvmaf; get one with: pip install 'effectpairs[evaluate]'")
    return program


def _vmaf_scores(program: str, result: Rgb, truth: Rgb) -> list[float]:
    """Score the frames; both videos go to the program raw, so no codec stands between."""
    height, width = truth.shape[1:3]
    raw = ["-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{width}x{height}", "-framerate", "25"]
    with tempfile.TemporaryDirectory() as folder:
        for name, frames in (("result", result), ("truth", truth)):
            with Path(folder, name).open("wb") as file:
                file.writelines(frame.tobytes() for frame in frames)
        to_yuv = "scale=out_color_matrix=bt709:out_range=tv,format=yuv444p"
        libvmaf = "libvmaf=log_fmt=json:log_path=scores.json:n_threads=1"
        graph = f"[0:v]{to_yuv}[result];[1:v]{to_yuv}[truth];[result][truth]{libvmaf}"
        inputs = [*raw, "-i", "result", *raw, "-i", "truth"]
        command = [program, "-hide_banner", "-loglevel", "error", "-nostdin", *inputs, "-lavfi", graph]
        process = subprocess.run(
            [*command, "-f", "null", "-"], cwd=folder, capture_output=True, text=True, timeout=VMAF_TIMEOUT_S
        )
        log = Path(folder, "scores.json")
        if process.returncode or not log.is_file():
            raise Unavailable(f"{program} failed: {(process.stderr.strip() or 'no word').splitlines()[-1]}")
        scores = [float(frame["metrics"]["vmaf"]) for frame in json.loads(log.read_text())["frames"]]
    if len(scores) != len(truth):
        raise Unavailable(f"{program} scored {len(scores)} of {len(truth)} frames")
    return scores
