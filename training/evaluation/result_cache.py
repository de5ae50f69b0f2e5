"""Results of clips on disk, so that an evaluation that was cut off goes on where it was.

A result is named by the digest of all that it depends on: the pixels of the videos, caption and frame rate, the
metric's settings and the weights that it takes. An unavailable value is never kept: it may be available the next time.
"""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import Rgb
from ...datasets.store.atomic_io import atomic_write, digest_of, json_bytes
from .metric import MetricValue, Sample, Scorer, Unavailable, Weights

FORMAT = 1
"""Higher where a metric's code comes to give other numbers; then all is measured anew."""
ClipValues = dict[str, list[MetricValue]]
"""Values of a clip by metric: one a frame, or a single one."""


@dataclass(frozen=True, kw_only=True)
class ResultCache:
    """A folder of results; without one nothing is kept."""

    folder: Path | None = None

    def score(self, scorer: Scorer, sample: Sample) -> ClipValues:
        """Return a scorer's values of a sample, computed once."""
        values = key = None
        try:
            weights = scorer.weights()
            if self.folder is not None:
                key = [repr(scorer), asdict(weights) if weights else None, _sample_key(sample)]
                values = self.read(key)
        except (Unavailable, ImportError):
            pass  # the scorer's own values give the reason
        if values is None:
            values = {name: list(numbers) for name, numbers in scorer.score(sample).items()}
            if key is not None:
                self.write(key, values)
        return values

    def features(self, frames: Rgb, weights: Weights, extract: Callable[[Rgb], np.ndarray]) -> np.ndarray:
        """Return a video's features by a network, computed once."""
        if self.folder is None:
            return extract(frames)
        path = self._path(["features", weights.sha256, pixels_key(frames)], "npy")
        try:
            features: np.ndarray = np.load(path, allow_pickle=False)
        except (OSError, ValueError):
            features, stream = extract(frames), io.BytesIO()
            np.save(stream, features, allow_pickle=False)
            atomic_write(path, stream.getvalue())
        return features

    def read(self, key: Sequence[Any]) -> ClipValues | None:
        """Return the values under a key; None where there are none, or they are damaged."""
        if self.folder is None:
            return None
        try:
            stored = json.loads(self._path(key, "json").read_text())
            return {name: [_from_json(value) for value in values] for name, values in stored.items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def write(self, key: Sequence[Any], values: ClipValues) -> None:
        """Keep values under a key, unless some are unavailable."""
        if self.folder is None or any(value.status == "unavailable" for row in values.values() for value in row):
            return
        stored = {name: [asdict(value) for value in row] for name, row in values.items()}
        atomic_write(self._path(key, "json"), json_bytes(stored))

    def _path(self, key: Sequence[Any], suffix: str) -> Path:
        assert self.folder is not None, "asked only where there is a folder"
        name = digest_of([FORMAT, *key])
        return self.folder / name[:2] / f"{name}.{suffix}"


def pixels_key(frames: Rgb) -> str:
    """SHA-256 of a video's shape and pixels."""
    digest = hashlib.sha256(str(frames.shape).encode())
    for frame in frames:
        digest.update(frame.tobytes())
    return digest.hexdigest()


def _sample_key(sample: Sample) -> list[Any]:
    """Everything of a sample that a metric may look at."""
    return [*(pixels_key(video) for video in (sample.gt, sample.over, sample.result)), sample.caption, sample.fps]


def _from_json(value: dict[str, Any]) -> MetricValue:
    weights = Weights(**value["weights"]) if value["weights"] is not None else None
    return MetricValue(**{**value, "weights": weights})
