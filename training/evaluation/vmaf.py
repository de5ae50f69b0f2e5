"""VMAF by libvmaf, inside the ffmpeg that imageio-ffmpeg brings; it runs as a program of its own.

Its model (vmaf_v0.6.1) is part of the program, so the weights recorded are the program's bytes. Brightness it hardly
sees: +25 % on the ground of a clip left 99 of 100.
"""

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ...arrays import Rgb
from ...datasets.store.atomic_io import digest_of_file
from ...extras import require
from .metric import MetricValue, Sample, Unavailable, Weights, known, unavailable

MODEL = "vmaf_v0.6.1"
AT_MOST_S = 1800


@dataclass(frozen=True, kw_only=True)
class Vmaf:
    """VMAF of each frame, in [0, 100]."""

    program: str | None = None
    """An ffmpeg built with libvmaf; None takes imageio-ffmpeg's."""

    def score(self, sample: Sample) -> Mapping[str, Sequence[MetricValue]]:
        """One value a frame."""
        try:
            weights = self.weights()
            numbers = _run(_program(self.program), sample.result, sample.gt)
        except Unavailable as missing:
            return {"vmaf": [unavailable("vmaf", str(missing))]}
        return {"vmaf": [known("vmaf", number, weights=weights) for number in numbers]}

    def weights(self) -> Weights:
        """The program, which holds the model.

        Raises:
            Unavailable: it is not there.
        """
        return Weights(id=MODEL, sha256=_digest(_program(self.program)))


@cache
def _program(given: str | None) -> str:
    if given is None:
        try:
            given = str(require("imageio_ffmpeg", extra="evaluate").get_ffmpeg_exe())
        except (ImportError, RuntimeError) as missing:
            raise Unavailable(str(missing)) from missing
    try:
        shown = subprocess.run([given, "-hide_banner", "-filters"], capture_output=True, text=True, timeout=60)
    except OSError as missing:
        raise Unavailable(f"{given} does not run: {missing.strerror}") from missing
    if "libvmaf" not in shown.stdout:
        raise Unavailable(f"{given} was built without libvmaf; get one with: pip install 'effectpairs[evaluate]'")
    return given


@cache
def _digest(program: str) -> str:
    return digest_of_file(Path(program))


def _run(program: str, made: Rgb, truth: Rgb) -> list[float]:
    """The frames' scores; both videos go to the program raw, so no codec stands between."""
    height, width = truth.shape[1:3]
    raw = ["-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{width}x{height}", "-framerate", "25"]
    with tempfile.TemporaryDirectory() as folder:
        for name, frames in (("made", made), ("truth", truth)):
            with Path(folder, name).open("wb") as file:
                file.writelines(frame.tobytes() for frame in frames)
        as_yuv = "scale=out_color_matrix=bt709:out_range=tv,format=yuv444p"
        compare = "libvmaf=log_fmt=json:log_path=scores.json:n_threads=1"
        graph = f"[0:v]{as_yuv}[made];[1:v]{as_yuv}[truth];[made][truth]{compare}"
        quiet = [program, "-hide_banner", "-loglevel", "error", "-nostdin"]
        command = [*quiet, *raw, "-i", "made", *raw, "-i", "truth", "-lavfi", graph, "-f", "null", "-"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=AT_MOST_S)
        log = Path(folder, "scores.json")
        if done.returncode or not log.is_file():
            raise Unavailable(f"{program} failed: {(done.stderr.strip() or 'no word').splitlines()[-1]}")
        scores = [float(frame["metrics"]["vmaf"]) for frame in json.loads(log.read_text())["frames"]]
    if len(scores) != len(truth):
        raise Unavailable(f"{program} scored {len(scores)} of {len(truth)} frames")
    return scores
