"""VBench's overall consistency, by the official package in a Python environment of its own.

It pins versions that do not go with ours, so a program of a few lines runs there: it reads which videos belong to
which captions, and answers with a score for each.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...datasets.store.atomic_io import digest_of_file
from .metric import MetricValue, Weights, known, unavailable, undefined

VARIABLE = "EFFECTPAIRS_VBENCH"
AT_MOST_S = 6 * 3600
_NAME = "evaluation"
_PROGRAM = """
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
class VBench:
    """One value for each video, about 0.2 for a good one."""

    python: str | None = None
    """Python of the environment that has vbench; None takes the variable EFFECTPAIRS_VBENCH."""
    weights: Path | None = None
    """ViCLIP's weights, for the record; None takes VBench's own place for them."""

    def missing(self) -> str | None:
        """Why it cannot run, before any video is made for it; None where it may."""
        if not self._python:
            return (
                f"no environment with vbench is named; make one, pip install vbench==0.1.5 in it, set {VARIABLE} to "
                "its python"
            )
        if not self._weights.is_file():
            return f"the weights of ViCLIP are not at {self._weights}; fetch them as VBench's own page says"
        return None

    def score(self, videos: Mapping[Path, str]) -> dict[Path, MetricValue]:
        """Scores of video files, all in one folder, given the caption of each."""
        nothing = {path: undefined("vbench", "the clip has no caption") for path in videos if not videos[path].strip()}
        asked = {path: caption for path, caption in videos.items() if path not in nothing}
        return {**nothing, **(self._ask(asked) if asked else {})}

    def _ask(self, videos: Mapping[Path, str]) -> dict[Path, MetricValue]:
        reason = self.missing()
        if reason:
            return {path: unavailable("vbench", reason) for path in videos}
        with tempfile.TemporaryDirectory() as folder:
            asked = Path(folder, "captions.json")
            asked.write_text(json.dumps({str(path.resolve()): caption for path, caption in videos.items()}))
            command = [self._python, "-c", _PROGRAM, str(asked), str(next(iter(videos)).parent), folder, _NAME]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=AT_MOST_S)
                reason = (done.stderr.strip() or "no word").splitlines()[-1] if done.returncode else None
            except (OSError, subprocess.TimeoutExpired) as failed:
                reason = str(failed)
            answer = Path(folder, f"{_NAME}_eval_results.json")
            if reason or not answer.is_file():
                return {path: unavailable("vbench", f"{self._python}: {reason or 'no answer'}") for path in videos}
            found = json.loads(answer.read_text())["overall_consistency"][1]
        return self._matched(videos, {Path(one["video_path"]).resolve(): one["video_results"] for one in found})

    def _matched(self, videos: Mapping[Path, str], scores: Mapping[Path, float]) -> dict[Path, MetricValue]:
        weights = Weights(id="viclip", sha256=digest_of_file(self._weights))
        gone = unavailable("vbench", "VBench gave no score for this video")
        return {
            path: known("vbench", float(scores[path.resolve()]), weights=weights) if path.resolve() in scores else gone
            for path in videos
        }

    @property
    def _python(self) -> str:
        return self.python or os.environ.get(VARIABLE, "")

    @property
    def _weights(self) -> Path:
        cache = os.environ.get("VBENCH_CACHE_DIR") or str(Path.home() / ".cache" / "vbench")
        return self.weights or Path(cache) / "ViCLIP" / "ViClip-InternVid-10M-FLT.pth"
