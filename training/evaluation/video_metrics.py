"""Metrics of whole videos: debiased FVD by the package cd-fvd, and VBench's overall consistency.

FVD is the Frechet distance between features of VideoMAE v2 of two sets of videos, here all windows of 16 consecutive
frames of the results and of the truths. With few windows it is strongly biased upwards, so their number stands with the
value; compare rows of equal numbers alone.

VBench pins versions that do not go with ours, so a program of a few lines runs in a Python environment of its own: it
reads which videos belong to which captions, and answers with a score for each.
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
from jaxtyping import Float
from scipy import linalg

from ...arrays import Rgb
from ...digests import digest_of_file
from ...extras import require
from ...requirements import Lack
from ...weights import WeightsRef
from ..base.models import exact_inference, select_device
from .metric import MetricValue, Unavailable, Weights, metric_value, unavailable, undefined

FVD_WINDOW = 16
"""Frames that the network sees at once."""
VIDEOMAE_FILE = "vit_g_hybrid_pt_1200e_ssv2_ft.pth"
VBENCH_PYTHON = "EFFECTPAIRS_VBENCH"
"""Environment variable with the Python that has vbench."""
VBENCH_TIMEOUT_S = 6 * 3600
Features = Float[np.ndarray, "_ _"]
"""One row for each window of a video."""
_VBENCH_NAME = "evaluation"
_VBENCH_PROGRAM = """
import json, sys, torch
from pathlib import Path
import vbench
from vbench import VBench
captions = json.loads(Path(sys.argv[1]).read_text())
full = str(Path(vbench.__file__).parent / "VBench_full_info.json")
bench = VBench(torch.device("cuda" if torch.cuda.is_available() else "cpu"), full, sys.argv[3])
bench.evaluate(videos_path=sys.argv[2], name=sys.argv[4], prompt_list=captions,
               dimension_list=["overall_consistency"], local=True, mode="custom_input")
"""


@dataclass(frozen=True, kw_only=True)
class Fvd:
    """Features of videos, for the distance between two sets of them."""

    weights: Path | None = None
    """VideoMAE v2's weights; None looks where cd-fvd keeps them. They are never fetched here."""

    required_packages: ClassVar[Mapping[str, str]] = {"cdfvd": "evaluate", "torch": "train"}

    @property
    def required_weights(self) -> tuple[WeightsRef, ...]:
        """VideoMAE v2's weights."""
        package = importlib.util.find_spec("cdfvd")
        folder = Path(package.origin if package and package.origin else "cdfvd/__init__.py").parent
        path = self.weights or folder / "third_party" / "VideoMAEv2" / VIDEOMAE_FILE
        return (WeightsRef(model=str(path), parts=(), remedy=f"put {VIDEOMAE_FILE} there"),)

    def load(self) -> Weights:
        """Load the network; raises `Unavailable` where package or weights are missing, or were never trained."""
        return _load_videomae(self.weights)[1]

    def features(self, frames: Rgb) -> Features:
        """One row for each complete window of a video; none for a video shorter than a window."""
        model, _, prepare = _load_videomae(self.weights)
        rows = []
        for start in range(0, len(frames) - FVD_WINDOW + 1, FVD_WINDOW):
            window = np.ascontiguousarray(frames[None, start : start + FVD_WINDOW])
            with exact_inference():
                pixels = prepare(window).to(select_device())
                rows.append(model.forward_features(pixels).cpu().double().numpy()[0])
        return np.stack(rows) if rows else np.zeros((0, 0))


def video_distance(truth: Sequence[Features], results: Sequence[Features], weights: Weights) -> MetricValue:
    """FVD between two sets of videos, given the features of each video."""
    first, second = ([row for rows in features for row in rows] for features in (truth, results))
    if min(len(first), len(second)) < 2:
        return undefined("fvd", f"it needs at least two windows of {FVD_WINDOW} frames", weights=weights)
    distance = frechet_distance(np.stack(first), np.stack(second))
    return metric_value("fvd", distance, weights=weights, n=len(second))


def frechet_distance(first: Features, second: Features) -> float:
    """Frechet distance between the Gaussians fitted to two sets of rows, in float64; 0 for equal sets.

    The trace of the root of a product of covariances is taken from the eigenvalues of the symmetric form, which stays
    real where there are fewer rows than columns.
    """
    gap = first.mean(axis=0) - second.mean(axis=0)
    first_cov, second_cov = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (first, second))
    values, vectors = linalg.eigh(first_cov)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    mixed = linalg.eigvalsh(root @ second_cov @ root)
    spread = np.trace(first_cov) + np.trace(second_cov) - 2 * np.sqrt(np.maximum(mixed, 0)).sum()
    return max(0.0, float(gap @ gap + spread))


@cache
def _load_videomae(path: Path | None) -> tuple[Any, Weights, Any]:
    try:
        package = require("cdfvd.third_party.VideoMAEv2.utils", extra="evaluate")
    except (ImportError, RuntimeError) as error:
        raise Unavailable(str(error)) from error
    path = path or Path(package.__file__).parent / VIDEOMAE_FILE
    if not path.is_file():
        raise Unavailable(f"the weights of VideoMAE v2 are not at {path}; put {VIDEOMAE_FILE} there")
    torch = require("torch", extra="train")
    model = package.load_videomae_model(torch.device(select_device()), str(path)).eval()
    if bool((model.blocks[0].norm1.weight == 1).all()):  # as a layer norm begins, and no training leaves it
        raise Unavailable(f"{path} holds weights that were never trained; put {VIDEOMAE_FILE} there")
    return model, Weights(id=f"videomae-v2-g/{path.name}", sha256=digest_of_file(path)), package.preprocess_videomae


@dataclass(frozen=True, kw_only=True)
class VBench:
    """One value for each video, about 0.2 for a good one."""

    python: str | None = None
    """Python of the environment that has vbench; None takes the variable EFFECTPAIRS_VBENCH."""
    weights: Path | None = None
    """ViCLIP's weights, for the record; None takes VBench's own place for them."""

    def missing_programs(self) -> tuple[Lack, ...]:
        """The environment or the weights that it cannot do without."""
        reason = self.missing_reason()
        return (Lack.from_sentence("program", reason),) if reason else ()

    def missing_reason(self) -> str | None:
        """Why it cannot run, before any video is made for it; None where it may."""
        if not self._python:
            return (
                "no environment with vbench is named; make one, pip install vbench==0.1.5 in it, set "
                f"{VBENCH_PYTHON} to its python"
            )
        if not self._weights.is_file():
            return f"the weights of ViCLIP are not at {self._weights}; fetch them as VBench's own page says"
        return None

    def score(self, captions: Mapping[Path, str]) -> dict[Path, MetricValue]:
        """Scores of video files, all in one folder, given the caption of each."""
        values = {path: undefined("vbench", "the clip has no caption") for path in captions}
        captioned = {path: caption for path, caption in captions.items() if caption.strip()}
        return {**values, **(self._score_captioned(captioned) if captioned else {})}

    def _score_captioned(self, captions: Mapping[Path, str]) -> dict[Path, MetricValue]:
        reason = self.missing_reason()
        if reason:
            return {path: unavailable("vbench", reason) for path in captions}
        with tempfile.TemporaryDirectory() as folder:
            captions_file = Path(folder, "captions.json")
            captions_file.write_text(json.dumps({str(path.resolve()): caption for path, caption in captions.items()}))
            arguments = [str(captions_file), str(next(iter(captions)).parent), folder, _VBENCH_NAME]
            command = [self._python, "-c", _VBENCH_PROGRAM, *arguments]
            try:
                process = subprocess.run(command, capture_output=True, text=True, timeout=VBENCH_TIMEOUT_S)
                reason = (process.stderr.strip() or "no word").splitlines()[-1] if process.returncode else None
            except (OSError, subprocess.TimeoutExpired) as error:
                reason = str(error)
            results_file = Path(folder, f"{_VBENCH_NAME}_eval_results.json")
            if reason or not results_file.is_file():
                return {path: unavailable("vbench", f"{self._python}: {reason or 'no answer'}") for path in captions}
            results = json.loads(results_file.read_text())["overall_consistency"][1]
        scores = {Path(result["video_path"]).resolve(): float(result["video_results"]) for result in results}
        weights = Weights(id="viclip", sha256=digest_of_file(self._weights))
        return {
            path: metric_value("vbench", scores[path.resolve()], weights=weights)
            if path.resolve() in scores
            else unavailable("vbench", "VBench gave no score for this video")
            for path in captions
        }

    @property
    def _python(self) -> str:
        return self.python or os.environ.get(VBENCH_PYTHON, "")

    @property
    def _weights(self) -> Path:
        cache_folder = os.environ.get("VBENCH_CACHE_DIR") or str(Path.home() / ".cache" / "vbench")
        return self.weights or Path(cache_folder) / "ViCLIP" / "ViClip-InternVid-10M-FLT.pth"
