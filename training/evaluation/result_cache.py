"""What a clip came to, kept on disk, so that an evaluation that was cut off goes on where it was.

A result is named by the digest of all that it hangs on: the pixels of the videos, caption and frame rate, the metric's
settings and the weights that it takes. What is unavailable is never kept: it may be there the next time.
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
Values = dict[str, list[MetricValue]]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A folder of results; without one nothing is kept."""

    folder: Path | None = None

    def scored(self, scorer: Scorer, sample: Sample) -> Values:
        """A scorer's values of a sample, computed once."""
        try:
            weights = scorer.weights()
        except (Unavailable, ImportError):
            return _score(scorer, sample)  # it says itself what is missing
        asked = [repr(scorer), asdict(weights) if weights else None, sample_key(sample)] if self.folder else []
        found = self.read(asked)
        if found is None:
            found = _score(scorer, sample)
            self.write(asked, found)
        return found

    def features(self, frames: Rgb, weights: Weights, make: Callable[[Rgb], np.ndarray]) -> np.ndarray:
        """A video's features by a network, computed once."""
        place = self._place(["features", weights.sha256, pixels_key(frames)], "npy")
        if place is None:
            return make(frames)
        try:
            found: np.ndarray = np.load(place, allow_pickle=False)
        except (OSError, ValueError):
            found, written = make(frames), io.BytesIO()
            np.save(written, found, allow_pickle=False)
            atomic_write(place, written.getvalue())
        return found

    def read(self, asked: Sequence[Any]) -> Values | None:
        """What was kept of this, if anything."""
        place = self._place(asked, "json")
        try:
            said = json.loads(place.read_text()) if place is not None else None
            return None if said is None else {name: [_value(one) for one in said[name]] for name in said}
        except (OSError, ValueError, TypeError, KeyError):
            return None  # not there, or damaged: it is measured again

    def write(self, asked: Sequence[Any], found: Values) -> None:
        """Keep this, unless some of it is unavailable."""
        place = self._place(asked, "json")
        if place is not None and all(one.status != "unavailable" for values in found.values() for one in values):
            atomic_write(place, json_bytes({name: [asdict(one) for one in found[name]] for name in found}))

    def _place(self, asked: Sequence[Any], suffix: str) -> Path | None:
        if self.folder is None:
            return None
        key = digest_of([FORMAT, *asked])
        return self.folder / key[:2] / f"{key}.{suffix}"


def sample_key(sample: Sample) -> list[Any]:
    """All of a sample that a metric may look at."""
    return [*(pixels_key(video) for video in (sample.gt, sample.over, sample.result)), sample.caption, sample.fps]


def pixels_key(frames: Rgb) -> str:
    """SHA-256 of a video's shape and pixels."""
    digest = hashlib.sha256(str(frames.shape).encode())
    for frame in frames:
        digest.update(frame.tobytes())
    return digest.hexdigest()


def _score(scorer: Scorer, sample: Sample) -> Values:
    return {name: list(values) for name, values in scorer.score(sample).items()}


def _value(said: dict[str, Any]) -> MetricValue:
    weights = Weights(**said["weights"]) if said["weights"] is not None else None
    return MetricValue(**{**said, "weights": weights})
