"""A corpus of many clips, made through the real writers, and what it takes to plan, publish, verify and look at it.

One small clip goes through all stages. Then every further clip of a source gets a `gt` that shows nothing like the
others (so that near-duplicates are looked for as in real corpora), the same other layers with a mark of its own in
each, and the same facts: the listing, the keys, the store, the index, the report and the publishing are the real ones.

    python -m effectpairs.tests.benchmarks.scale --clips 100000 --folder /tmp/scale
"""

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
from effectpairs.datasets.store import codec
from effectpairs.datasets.store.store import ResultWriter, Store
from effectpairs.flows.engine.batches import make_result
from effectpairs.flows.engine.item import ItemProgress, Stage, StageInput, progress_tree
from effectpairs.flows.engine.report import write_report
from effectpairs.flows.engine.run import Run
from effectpairs.flows.footage import stages as footage
from effectpairs.flows.sources import load_any
from effectpairs.tests.fixtures_videos import encode_video, sliding_clip, square_mask
from effectpairs.tests.fixtures_workspaces import run_source

FRAMES, SIZE = 5, (32, 32)
ENCODE = codec.encode  # before it is replaced while a workspace is filled
Template = dict[str, tuple[dict[str, Any], dict[str, bytes]]]
"""Facts and encoded layers of the clip that was computed, by stage."""
STEPS = {
    "plan": "plan {folder}/many.toml --workspace {folder}/workspace",
    "run again": "run {folder}/many.toml --workspace {folder}/workspace --no-prefect",
    "publish": "publish {folder}/corpus --workspace {folder}/workspace --no-prefect",
    "inspect": "inspect {folder}/corpus",
    "inspect --json": "inspect {folder}/corpus --json",
    "verify": "verify {folder}/corpus",
}
READS = {
    "open": "corpus = effectpairs.open({corpus!r}); print(len(corpus))",
    "table": "print(len(effectpairs.open({corpus!r}).table))",
    "one clip": "corpus = effectpairs.open({corpus!r}); print(corpus[corpus.ids[-1]].gt.shape)",
}


def write_source(folder: Path, name: str, clips: int, *, alike: bool = True) -> Path:
    """Write a source whose videos differ in their pixels, or if alike in a mark at their end; return its settings."""
    root = folder / "footage" / name
    root.mkdir(parents=True, exist_ok=True)
    video = encode_video(folder / "one.mp4", sliding_clip(FRAMES, *SIZE)).read_bytes()
    mask = encode_video(folder / "mask.mp4", np.repeat(square_mask(FRAMES, *SIZE)[..., None], 3, -1)).read_bytes()
    (root / "masks.mp4").write_bytes(mask)
    for number in range(clips):
        stem = f"clip{number:06d}"
        if not (root / f"{stem}_mask.mp4").is_symlink():
            if not alike:
                video = encode_video(folder / "one.mp4", sliding_clip(FRAMES, *SIZE, seed=number)).read_bytes()
            (root / f"{stem}.mp4").write_bytes(video + _mark(f"{name} {stem}", b"free"))
            (root / f"{stem}_mask.mp4").symlink_to("masks.mp4")
    path = folder / f"{name}.toml"
    path.write_text(
        f'root = "{root}"\nlayout = "videos"\nvideo = "clip*[0-9].mp4"\nmasks = ["{{stem}}_mask.mp4"]\n'
        'licence = "CC0"\norigin = "made by the benchmark"\nfixed_caption = "A red square drags a soft shadow."\n'
        f"[normalise]\nsize = [{SIZE[0]}, {SIZE[1]}]\nfps = 24\nmax_frames = {FRAMES}\n[caption_rules]\nvariants = 0\n"
    )
    return path


def compute_template(folder: Path) -> Template:
    """Take one clip through all stages; return what each left."""
    source = load_any(write_source(folder, "single", 1))
    run_source(source, folder / "single", workers=1)
    run = Run(footage.FOOTAGE, source, folder / "single", 1)
    template: Template = {}
    for progress in run.iter_items():
        for stage, result in progress.results.items():
            layers = {name: run.store.read(layer) for name, layer in result.layers.items()}
            template[stage] = (dict(result.facts), layers)
    return template


def fill_workspace(folder: Path, clips: int, jobs: int = 1, template: Template | None = None) -> Run:
    """Make the results of a source of clips by the real engine in some processes, and its ledger; return the run."""
    template = template or compute_template(folder)
    source = load_any(write_source(folder, "many", clips))
    # Results go to the disk when the system finds time: a simulation need not outlive a power cut.
    with patch.object(os, "fsync", lambda descriptor: None), patch.object(codec, "encode", _as_it_is):
        run = Run(footage.FOOTAGE, source, folder / "workspace", 1)
        run.stages = tuple(replace(stage, make=_copier(stage, template)) for stage in run.stages)
        children = [child for job in range(1, jobs) if (child := _fork(partial(_complete_all, run, job, jobs)))]
        _complete_all(run, 0, jobs)
        assert all(os.waitpid(child, 0)[1] == 0 for child in children)
        write_report(run)
    return run


def _fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def _complete_all(run: Run, first: int, step: int) -> None:
    store = Store(run.workspace)
    for number in range(first, len(run.items), step):
        _complete(run, number, store)


def _complete(run: Run, number: int, store: Store) -> None:
    progress = run.read_progress(number)
    while pending := [part for part in progress_tree(progress) if part.next_stage is not None]:
        for part in pending:
            make_result(part, part.next_stage, store)
        assert isinstance(progress, ItemProgress)
        progress.refresh(store)


def _copier(stage: Stage, template: Template) -> Callable[[StageInput, ResultWriter], None]:
    facts, layers = template.get(stage.name, ({}, {}))  # of a stage that does not apply there is none

    def copy(stage_input: StageInput, writer: ResultWriter) -> None:
        writer.facts |= deepcopy(facts)
        if stage.name == "normalise":
            writer.facts["inputs"] = dict(stage_input.item.inputs)
        for name, content in layers.items():
            picture = _encoded_noise(stage_input.key) if name == "gt" else content
            payload = picture + _mark(f"{stage_input.key} {name}", b"\xec")
            writer.add(name, np.frombuffer(payload, np.uint8).reshape(1, 1, -1))

    return copy


def _encoded_noise(key: str) -> bytes:
    """A clip of blurred noise that drifts, another for each key."""
    rng = np.random.default_rng(int(hashlib.sha256(key.encode()).hexdigest()[:16], 16))
    still = cv2.resize(rng.integers(0, 256, (8, 8, 3), np.uint8), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    return ENCODE(np.stack([np.roll(still, number, 1) for number in range(FRAMES)]), fps=24.0)


def _mark(text: str, kind: bytes) -> bytes:
    """A box of an mp4 file, or an element of a Matroska file, that readers pass over."""
    digest = hashlib.sha256(text.encode()).digest()[:16]
    return kind + b"\x90" + digest if len(kind) == 1 else (8 + len(digest)).to_bytes(4, "big") + kind + digest


def _as_it_is(frames: Any, *, fps: float) -> bytes:
    return bytes(frames.tobytes())


def measure(name: str, arguments: list[str]) -> dict[str, Any]:
    """Run a program; return its seconds, CPU seconds and peak memory, and whether it ended well."""
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    body = "import runpy; sys.argv = sys.argv[1:]; runpy.run_module('effectpairs', run_name='__main__')"
    if name in READS:
        body = f"import effectpairs; {READS[name].format(corpus=arguments[0])}"
    # The kernel's mark of this program alone: that of getrusage begins with the memory of the one that started it.
    peak = "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')), file=sys.stderr)"
    program = f"import sys\ntry:\n    {body}\nfinally:\n    {peak}"
    ended = subprocess.run(
        [sys.executable, "-c", program, "effectpairs", *arguments], capture_output=True, text=True, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    peaks = [int(line.split()[1]) for line in ended.stderr.splitlines() if line.startswith("VmHWM")]
    return {
        "step": name,
        "status": ended.returncode,
        "seconds": round(time.perf_counter() - begun, 1),
        "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "peak_mib": peaks[-1] // 1024 if peaks else None,
        "last": (ended.stdout.strip().splitlines() or ended.stderr.strip().splitlines() or [""])[-1][:160],
    }


def main() -> None:
    """Fill a workspace, and measure each step; a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--steps", nargs="*", default=[*STEPS, *READS])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (options.folder / "workspace" / "sources" / "many" / "account.json").exists():
        begun = time.perf_counter()
        fill_workspace(options.folder, options.clips, options.jobs)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        seconds = round(time.perf_counter() - begun)
        print(json.dumps({"step": "fill and report", "seconds": seconds, "peak_mib": peak}), flush=True)
    for step in options.steps:
        if step in STEPS:
            arguments = STEPS[step].format(folder=options.folder).split()
        else:
            arguments = [str(options.folder / "corpus")]
        print(json.dumps(measure(step, arguments)), flush=True)


if __name__ == "__main__":
    main()
