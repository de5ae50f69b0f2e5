"""One source of scenes from its descriptions to its account, in steps that a scheduler puts in order."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from ...captioning.config import CAPTION_STEPS
from ...datasets.store.ledger import RunSummary
from ...datasets.store.store import StageResult, Store
from ...render.blender.process import BlenderNotFound, blender_version, find_python
from ..captions.chunks import caption_chunk, caption_phase, is_captioned
from ..captions.chunks import pending as captions_to_do
from ..captions.job import CaptionJob
from ..engine.batches import WORKING_BYTES, Chunk, Failure, divide, work_off, write_chunk
from ..engine.phases import Phase
from ..engine.workers import Worker, how_many
from .account import SceneRefusal, close_account
from .captions import of_scene
from .listing import list_scenes
from .source import SceneSource
from .steps import STAGE, SceneJob, rendered, scene_work, sweep_frames

BLENDER_BYTES = 1200 * 1024**2
"""A Blender process beside its worker, with users' assets and smoke in it (a plain scene takes 450 MB)."""
CHUNK_SCENES = 8
CHUNK_PIXELS = 400_000
"""Frames times pixels of a chunk: about half a minute of drawing on one core; a scene larger than that is a chunk."""


@dataclass(kw_only=True)
class SceneRun:
    """What one run over a source of scenes knows; the store has all that counts."""

    source: SceneSource
    workspace: Path
    workers: int
    jobs: list[SceneJob | SceneRefusal]
    blender: str | None
    """Blender's version; None where there is no Blender."""
    results: dict[str, StageResult] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)

    def phases(self) -> tuple[Phase, ...]:
        """Scenes to layers, then their captions."""
        return (
            Phase(name=STAGE, stages=(STAGE,), pending=self.pending_scenes),
            caption_phase(self.pending_captions),
        )

    def pending_scenes(self) -> list[Chunk]:
        """The chunks that are still to draw."""
        size = max(1, min(CHUNK_SCENES, CHUNK_PIXELS * 3 // clip_bytes(self.source)))
        runs = divide(self._to_do(), size=size, workers=self.workers)
        return [
            write_chunk(run, f"scenes-{number:04d}", self.source.name, self.workspace)
            for number, run in enumerate(runs)
        ]

    def pending_captions(self) -> list[Chunk]:
        """The chunks of drawn clips that lack words."""
        self._to_do()
        return captions_to_do(
            self._captions(),
            self.source.captioning,
            self.workspace,
            self.source.name,
            workers=self.workers,
            clip_bytes=clip_bytes(self.source),
        )

    def work(self, chunk: Chunk, stage: str, worker: Worker) -> list[Failure]:
        """Draw the scenes of a chunk, or word one step of its clips."""
        if stage in CAPTION_STEPS:
            return caption_chunk(chunk, stage, self.source.captioning, self.workspace, worker)
        jobs = TypeAdapter(list[SceneJob]).validate_json(chunk.path.read_bytes())
        calls = ((job.name, (_render, job, self.source, self.workspace, self.blender)) for job in jobs)
        return work_off(calls, stage, worker)

    def is_done(self) -> bool:
        """Does the store hold a result for every scene, or can nothing be drawn?"""
        return not self._to_do() and is_captioned(self._captions(), self.source.captioning, self.workspace)

    def note(self, failures: Iterable[Failure]) -> None:
        """Keep the first failure of each item."""
        for failure in failures:
            self.failures.setdefault(failure.item, failure)

    def close(self) -> RunSummary:
        """Judge every variant, write the ledger and the account."""
        self._to_do()
        failures = {name: (failure.stage, failure.reason) for name, failure in self.failures.items()}
        return close_account(self.source, Store(self.workspace), self.jobs, self.results, failures)

    def _captions(self) -> list[CaptionJob]:
        drawn = (job for job in self.jobs if isinstance(job, SceneJob) and job.name in self.results)
        usable = (job for job in drawn if self.results[job.name].refused is None)
        return [clip for job in usable for clip in of_scene(job, self.source, self.results[job.name])]

    def _to_do(self) -> list[SceneJob]:
        """Scenes without a result; of those found meanwhile the result is kept."""
        if self.blender is None:
            return []
        store, missing = Store(self.workspace), []
        for job in self.jobs:
            if isinstance(job, SceneRefusal) or job.name in self.results:
                continue
            found = store.find(scene_work(job, self.source, self.blender))
            if found is None:
                missing.append(job)
            else:
                self.results[job.name] = found
        return missing


def begin(source: SceneSource, workspace: Path, workers: int = 0) -> SceneRun:
    """List the scenes and sweep what an earlier, killed run left half-made.

    Raises:
        ValueError: the source as a whole cannot be read, e.g. no scene is where it says.
    """
    store = Store(workspace)
    store.sweep()
    jobs = list(list_scenes(source, store))
    sweep_frames(store)
    run = SceneRun(
        source=source,
        workspace=workspace,
        workers=how_many(max(clip_bytes(source), WORKING_BYTES), workers, beside_bytes=BLENDER_BYTES),
        jobs=jobs,
        blender=None,
    )
    try:
        run.blender = blender_version(find_python(source.blender)) or "unknown"
    except BlenderNotFound as missing:
        run.note(
            Failure(item=job.name, stage=STAGE, reason=str(missing), transient=False)
            for job in jobs
            if isinstance(job, SceneJob)
        )
    return run


def clip_bytes(source: SceneSource) -> int:
    """Size of one colour layer of the source's clips."""
    return source.frames * source.size[0] * source.size[1] * 3


def _render(job: SceneJob, source: SceneSource, workspace: Path, blender: str) -> None:
    rendered(job, source, _store(workspace), blender)


@cache
def _store(workspace: Path) -> Store:
    return Store(workspace)
