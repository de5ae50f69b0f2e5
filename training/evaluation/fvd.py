"""Debiased FVD: the Frechet distance between features of VideoMAE v2, by the package cd-fvd.

It compares two sets of videos, here all windows of 16 consecutive frames of the results and of the truths. With few
windows it is strongly biased upwards, so their number stands with the value; compare rows of equal numbers alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import linalg

from ...arrays import Rgb
from ...datasets.store.atomic_io import digest_of_file
from ...extras import require
from .metric import MetricValue, Unavailable, Weights, known, undefined

WINDOW = 16
"""Frames that the network sees at once."""
FILE = "vit_g_hybrid_pt_1200e_ssv2_ft.pth"
Features = Float[np.ndarray, "_ _"]


@dataclass(frozen=True, kw_only=True)
class Fvd:
    """Features of videos, and the distance between two sets of them."""

    weights: Path | None = None
    """VideoMAE v2's weights; None looks where cd-fvd keeps them. They are never fetched here."""

    def load(self) -> Weights:
        """Load the network, or say why it cannot be.

        Raises:
            Unavailable: package or weights are missing, or were never trained.
        """
        return _load(self.weights)[1]

    def features(self, frames: Rgb) -> Features:
        """One row for each whole window of a video; none for a video shorter than a window."""
        torch = require("torch", extra="train")
        model, _, prepare = _load(self.weights)
        rows = []
        for start in range(0, len(frames) - WINDOW + 1, WINDOW):
            with torch.inference_mode():
                found = model.forward_features(prepare(np.ascontiguousarray(frames[None, start : start + WINDOW])))
            rows.append(found.double().numpy()[0])
        return np.stack(rows) if rows else np.zeros((0, 0))


def distance(truth: Sequence[Features], made: Sequence[Features], weights: Weights) -> MetricValue:
    """FVD between two sets of videos, given the features of each video."""
    ours, theirs = (np.concatenate(rows) if (rows := [row for row in found if len(row)]) else None
                    for found in (truth, made))  # fmt: skip
    if ours is None or theirs is None or min(len(ours), len(theirs)) < 2:
        return undefined("fvd", f"it needs at least two windows of {WINDOW} frames", weights=weights)
    return known("fvd", frechet(ours, theirs), weights=weights, n=len(theirs))


def frechet(first: Features, second: Features) -> float:
    """Frechet distance between the Gaussians fitted to two sets of rows, in float64; 0 for equal sets.

    The trace of the root of a product of covariances is taken from the eigenvalues of the symmetric form, which stays
    real where there are fewer rows than columns.
    """
    gap = first.mean(axis=0) - second.mean(axis=0)
    one, other = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (first, second))
    values, vectors = linalg.eigh(one)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    mixed = linalg.eigvalsh(root @ other @ root)
    spread = np.trace(one) + np.trace(other) - 2 * np.sqrt(np.maximum(mixed, 0)).sum()
    return max(0.0, float(gap @ gap + spread))


@cache
def _load(given: Path | None) -> tuple[Any, Weights, Any]:
    try:
        package = require("cdfvd.third_party.VideoMAEv2.utils", extra="evaluate")
    except (ImportError, RuntimeError) as missing:
        raise Unavailable(str(missing)) from missing
    path = given or Path(package.__file__).parent / FILE
    if not path.is_file():
        raise Unavailable(f"the weights of VideoMAE v2 are not at {path}; put {FILE} there")
    torch = require("torch", extra="train")
    model = package.load_videomae_model(torch.device("cpu"), str(path)).eval()
    if bool((model.blocks[0].norm1.weight == 1).all()):  # as a layer norm begins, and no training leaves it
        raise Unavailable(f"{path} holds weights that were never trained; put {FILE} there")
    return model, Weights(id=f"videomae-v2-g/{path.name}", sha256=digest_of_file(path)), package.preprocess_videomae
