"""Figures for `scale.py`, measured: seconds and bytes of a clip's stages, requests, planning, Prefect.

CPU seconds are of one thread, and of Blender's processes. Requests are counted where the S3 client sends them, to a
server in this process.
"""

import logging
import os
import resource
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

TINY = ("normalise.max_frames=13", "normalise.size=48x80")
"""Settings under which requests are counted and plans weighed: neither depends on how large a clip is."""
SCENES, SCENE_FRAMES = 2, 5
"""Scenes that are drawn, each with a seed of its own, and frames of each: one costs about as much as another."""


def measure(sources: Mapping[str, str]) -> dict[str, Any]:
    """Measure all figures on the footage of sources, each by its name with its root; the first alone gives requests."""
    import cv2

    cv2.setNumThreads(1)
    first = next(iter(sources.items()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = _measure_plan(*first, folder / "tiny")  # first of all: it also imports what the stages need
        requests, prefect = _count_requests(*first), _measure_prefect(folder / "prefect")
        figures = {"rendered": _measure_rendered(folder), "plan": plan, "requests": requests, "prefect": prefect}
        return _measure_footage(sources, folder) | figures


def _open(source: str, root: str, workspace: str, overrides: Sequence[str] = ()) -> Any:
    from effectpairs.flows.sources import load_any, open_run

    return open_run(load_any(source, [f"root={root}", *overrides]), workspace, workers=1)


def _cpu_s() -> float:
    """CPU seconds of this process and of those that it started, once they have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _run(run: Any) -> tuple[dict[str, float], int]:
    """Take a source through its stages in this process; CPU seconds of each stage, and clips."""
    from effectpairs.flows.engine.batches import run_batch
    from effectpairs.flows.engine.report import write_report

    seconds: Counter[str] = Counter()
    for phase in run.iter_phases():
        for batch in run.write_pending_batches(phase):
            for stage in phase.stages:
                start = _cpu_s()
                failures = run_batch(run.kind, run.source, run.workspace, stage.name, batch)
                seconds[stage.name] += _cpu_s() - start
                assert not failures, failures
    return dict(seconds), write_report(run).inputs


def _tasks(run: Any) -> float:
    """Prefect's task runs for a clip where batches are full: one for a batch, and one for each stage of several."""
    from effectpairs.flows.engine.batches import BATCH_CLIPS

    counts = [(len(phase.stages), phase.stages[0].batch_items or BATCH_CLIPS) for phase in run.phases]
    return sum((stages + (stages > 1)) / size for stages, size in counts)


def _measure_footage(sources: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """Seconds and bytes of a clip of the working size, video by video."""
    videos, tasks = [], 0.0
    for source, root in sources.items():
        for item in _open(source, root, str(folder / "listing")).items:
            place = folder / str(len(videos))
            start = _cpu_s()
            run = _open(source, root, str(place), [f"include=['{item.footage.name}']"])
            videos.append(_measure_video(run, place, _cpu_s() - start))
            tasks = _tasks(run)
    clips = [video["clips"] for video in videos]
    return {
        "videos": len(videos),
        "clips": sum(clips),
        "cpu_s": _spread([video["cpu_s"] for video in videos], clips),
        "bytes": _spread([video["bytes"] for video in videos], clips),
        "tasks": round(tasks, 2),
    }


def _measure_video(run: Any, folder: Path, listing_s: float) -> dict[str, Any]:
    """Clips of a video, with seconds and bytes of all of them: stages, publishing in two storages, verifying."""
    import effectpairs
    from effectpairs.datasets.corpus.selection import PublishSettings
    from effectpairs.datasets.corpus.verify import verify
    from effectpairs.flows.engine.local_runner import publish_locally

    stages, clips = _run(run)
    seconds = {"list": listing_s, **stages}
    footage = [path.stat().st_size for item in run.items for _, path in item.footage.files()]
    sizes = {"footage": sum(footage), "store": _size(folder / "store")}
    for storage in ("exact", "fast"):
        place = str(folder / storage)
        settings = PublishSettings(include=("accept", "review", "reject"), storage=storage)
        start = _cpu_s()
        publish_locally(place, str(folder), settings)
        seconds[f"publish, {storage}"] = _cpu_s() - start
        start = _cpu_s()
        assert not verify(effectpairs.open(place))
        seconds[f"verify, {storage}"] = _cpu_s() - start
        sizes[f"corpus, {storage}"] = _size(folder / storage)
    return {"clips": clips, "cpu_s": seconds, "bytes": sizes}


def _measure_rendered(folder: Path) -> dict[str, Any]:
    """Seconds and bytes of a frame of a rendered clip, scene by scene, and the stages that such a clip goes through."""
    from effectpairs.flows.engine.selection import Selection
    from effectpairs.flows.sources import load_any, open_run

    seconds, sizes, frames = [], [], []
    for seed in range(SCENES):
        source = load_any("blender", ["count=1", f"seed={seed}", f"frames={SCENE_FRAMES}"])
        place = folder / f"scene{seed}"
        run = open_run(source, str(place), 1, Selection(stages=("render",)))
        stages, clips = _run(run)
        seconds.append(stages)
        sizes.append({"store": _size(place / "store")})
        frames.append(clips * SCENE_FRAMES)
    return {
        "scenes": SCENES,
        "clips": sum(frames) // SCENE_FRAMES,
        "frames": SCENE_FRAMES,
        "cpu_s": _spread(seconds, frames),
        "bytes": _spread(sizes, frames),
        "stages": [stage.name for stage in run.stages],
    }


def _spread(totals: Sequence[Mapping[str, float]], counts: Sequence[int]) -> dict[str, dict[str, float]]:
    """Mean of each figure for one of all that were counted, and the least and most that it is in one of the totals."""
    spread = {}
    for name in totals[0]:
        each = [of[name] / count for of, count in zip(totals, counts, strict=True)]
        values = {"mean": sum(of[name] for of in totals) / sum(counts), "least": min(each), "most": max(each)}
        spread[name] = {what: round(value, 3) for what, value in values.items()}
    return spread


def _measure_plan(source: str, root: str, workspace: Path) -> dict[str, float]:
    """Seconds and memory of finding that a clip is done."""
    run = _open(source, root, str(workspace), TINY)
    _, clips = _run(run)
    start = time.process_time()
    _open(source, root, str(workspace), TINY).check_done()
    seconds = (time.process_time() - start) / clips
    tracemalloc.start()
    again = _open(source, root, str(workspace), TINY)
    assert again.check_done()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    ledger = next((workspace / "sources" / run.source.name).glob("ledger-*"))
    return {"clips": clips, "cpu_s": seconds, "bytes": held / clips, "ledger_bytes": ledger.stat().st_size / clips}


def _count_requests(source: str, root: str) -> dict[str, dict[str, float]]:
    """Requests to object storage for each clip, by what is done and by method."""
    import effectpairs
    import fsspec
    from effectpairs.datasets.corpus.selection import PublishSettings
    from effectpairs.datasets.corpus.verify import verify
    from effectpairs.flows.engine.local_runner import publish_locally
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it would print every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update({"AWS_ENDPOINT_URL": f"http://{host}:{port}", **keys})
    try:
        filesystem = fsspec.core.url_to_fs("s3://bench", use_listings_cache=False)[0]  # the one that locations share
        filesystem.mkdir("bench")
        sent: Counter[str] = Counter()

        def count(request: Any, **_: Any) -> None:
            sent["LIST" if request.method == "GET" and "list-type" in request.url else request.method] += 1

        filesystem.s3.meta.events.register("before-send.s3", count)
        totals: dict[str, Counter[str]] = {}

        def take(name: str) -> None:
            totals[name] = Counter(sent)
            sent.clear()

        _, clips = _run(_open(source, root, "s3://bench/work", TINY))
        take("run")
        assert _open(source, root, "s3://bench/work", TINY).check_done()
        take("plan")
        publish_locally("s3://bench/corpus", "s3://bench/work", PublishSettings(include=("accept", "review", "reject")))
        take("publish")
        corpus = effectpairs.open("s3://bench/corpus")
        assert not verify(corpus)
        take("verify")
        _ = [clip.gt for clip in corpus]
        take("read a layer")
    finally:
        server.stop()
    return {name: {verb: round(n / clips, 2) for verb, n in sorted(of.items())} for name, of in totals.items()}


def _measure_prefect(home: Path, tasks: int = 200) -> dict[str, float]:
    """CPU seconds and bytes of database of a task run, in the flow's process and in a server with a home of its own."""
    os.environ |= {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_LOGGING_LEVEL": "ERROR"}
    os.environ["PREFECT_HOME"] = str(home)
    import psutil
    from effectpairs.datasets.store.location import Location
    from effectpairs.flows.engine.batches import Batch
    from effectpairs.flows.prefect_runner import run_in_flow, run_stage
    from effectpairs.flows.prefect_server import prefect_server

    def submit(count: int) -> None:
        batches = [Batch(name=f"{number:04}", folder=Location("none"), sha256="") for number in range(count)]
        for future in [run_stage.submit(batch, "none", list) for batch in batches]:
            future.wait()

    def now() -> tuple[float, float, int]:
        time.sleep(5)  # the server writes its events a little later
        served = sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children(recursive=True))
        return time.process_time(), served, sum(file.stat().st_size for file in home.glob("prefect.db*"))

    with prefect_server():
        run_in_flow("few", "few", partial(submit, 10))
        before = now()
        run_in_flow("many", "many", partial(submit, tasks))
        client, server, held = ((b - a) / tasks for a, b in zip(before, now(), strict=True))
    return {"client_cpu_s": client, "server_cpu_s": server, "database_bytes": held}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
