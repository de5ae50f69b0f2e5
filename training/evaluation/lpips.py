"""LPIPS (AlexNet, version 0.1): distance of deep features, written out from its formula.

The trunk is torchvision's AlexNet, of which only the five convolutions are needed, so torchvision itself is not; the
learned weights of the five layers come with the package lpips. A trunk that is not the one published is refused: any
weights whatever, random ones too, would give numbers that look like a metric.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import Rgb
from ...datasets.store.atomic_io import digest_of_file
from ...extras import require
from .metric import MetricValue, Sample, Unavailable, Weights, known, unavailable

URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
PUBLISHED = "7be5be79"
"""How the SHA-256 of torchvision's AlexNet begins."""
LAYERS = ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1))
"""Of each convolution: its number in torchvision's state, stride, padding."""
POOLED_BEFORE = (3, 6)
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Lpips:
    """LPIPS of each frame; 0 is equal."""

    trunk: Path | None = None
    """AlexNet's weights; None looks where torchvision keeps what it fetched."""
    heads: Path | None = None
    """Weights of the layers; None takes those in the package lpips."""
    trunk_sha256: str = PUBLISHED
    """How the trunk's SHA-256 must begin."""

    def weights(self) -> Weights:
        """The trunk's.

        Raises:
            Unavailable: they are not there.
        """
        return _load(self)[1]

    def score(self, sample: Sample) -> Mapping[str, Sequence[MetricValue]]:
        """One value a frame."""
        try:
            network, weights = _load(self)
        except (Unavailable, ImportError) as missing:
            return {"lpips": [unavailable("lpips", str(missing))]}
        numbers: list[float] = []
        for start in range(0, len(sample.gt), BATCH):
            rows = slice(start, start + BATCH)
            numbers += distances(network, sample.result[rows], sample.gt[rows])
        return {"lpips": [known("lpips", number, weights=weights) for number in numbers]}


def distances(network: Mapping[str, Any], first: Rgb, second: Rgb) -> list[float]:
    """LPIPS of frame pairs by a network of `trunk` (AlexNet's state) and `heads` (the layers' weights)."""
    torch = require("torch", extra="train")
    with torch.inference_mode():
        total = torch.zeros(len(first), dtype=torch.float64)
        for one, other, head in zip(
            _features(network["trunk"], first), _features(network["trunk"], second), network["heads"], strict=True
        ):
            apart = (_unit(one) - _unit(other)) ** 2
            total += torch.nn.functional.conv2d(apart, head).mean(dim=(1, 2, 3)).double()
    return [float(value) for value in total]


def _features(trunk: Mapping[str, Any], frames: Rgb) -> list[Any]:
    torch = require("torch", extra="train")
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1
    value = (pixels - torch.tensor(_SHIFT).view(3, 1, 1)) / torch.tensor(_SCALE).view(3, 1, 1)
    found = []
    for number, stride, padding in LAYERS:
        if number in POOLED_BEFORE:
            value = torch.nn.functional.max_pool2d(value, 3, 2)
        weight, bias = trunk[f"features.{number}.weight"], trunk[f"features.{number}.bias"]
        value = torch.relu(torch.nn.functional.conv2d(value, weight, bias, stride=stride, padding=padding))
        found.append(value)
    return found


def _unit(features: Any) -> Any:
    return features / ((features**2).sum(dim=1, keepdim=True).sqrt() + 1e-10)


@cache
def _load(settings: Lpips) -> tuple[Mapping[str, Any], Weights]:
    torch = require("torch", extra="train")
    trunk = settings.trunk or Path(torch.hub.get_dir(), "checkpoints", URL.rsplit("/", 1)[-1])
    if not trunk.is_file():
        raise Unavailable(f"the weights of AlexNet are not at {trunk}; get them with: curl -o {trunk} {URL}")
    digest = digest_of_file(trunk)
    if not settings.trunk_sha256 or not digest.startswith(settings.trunk_sha256):
        raise Unavailable(
            f"{trunk} has SHA-256 {digest[:8]}..., not {settings.trunk_sha256 or 'one that is named'}..., so it is "
            f"not the published AlexNet; get it with: curl -o {trunk} {URL}"
        )
    heads = torch.load(settings.heads or _packaged_heads(), map_location="cpu", weights_only=True)
    layers = [heads[f"lin{number}.model.1.weight"] for number in range(len(LAYERS))]
    state = torch.load(trunk, map_location="cpu", weights_only=True)
    return {"trunk": state, "heads": layers}, Weights(id=f"lpips-0.1-alex/{trunk.name}", sha256=digest)


def _packaged_heads() -> Path:
    """Found without importing the package, which would import torchvision."""
    package = importlib.util.find_spec("lpips")
    if package is None or package.origin is None:
        raise Unavailable("the package lpips is not installed; get it with: pip install 'effectpairs[evaluate]'")
    return Path(package.origin).parent / "weights" / "v0.1" / "alex.pth"
