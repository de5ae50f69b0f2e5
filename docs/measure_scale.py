"""Figures for `scale.py`, measured: seconds and bytes of a clip's stages, requests, planning, Prefect.

CPU seconds are of one thread. Requests are counted where the S3 client sends them, to a server in this process.
"""

import logging
import os
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TINY = ("normalise.max_frames=13", "normalise.size=48x80")
"""Settings under which requests are counted and plans weighed: neither depends on how large a clip is."""


def measure(footage: str) -> dict[str, Any]:
    """Measure all figures."""
    import cv2

    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return {
            **_measure_stages(footage, folder),
            "plan": _measure_plan(footage, folder / "tiny"),
            "requests": _count_requests(footage),
            "prefect": _measure_prefect(),
        }


def _open(footage: str, workspace: str, overrides: Sequence[str] = ()) -> Any:
    from effectpairs.flows.sources import load_any, open_run

    source = load_any("gen-omnimatte", [f"root={footage}", *overrides])
    return open_run(source, workspace, workers=1)


def _run(run: Any) -> tuple[dict[str, float], int]:
    """Take a source through its stages in this process; CPU seconds of each stage, and clips."""
    from effectpairs.flows.engine.batches import run_batch
    from effectpairs.flows.engine.report import write_report

    seconds: Counter[str] = Counter()
    for phase in run.iter_phases():
        for batch in run.write_pending_batches(phase):
            for stage in phase.stages:
                start = time.process_time()
                failures = run_batch(run.kind, run.source, run.workspace, stage.name, batch)
                seconds[stage.name] += time.process_time() - start
                assert not failures, failures
    return dict(seconds), write_report(run).inputs


def _tasks(run: Any) -> float:
    """Prefect's task runs for a clip where batches are full: one for a batch, and one for each stage of several."""
    from effectpairs.flows.engine.batches import BATCH_CLIPS

    counts = [(len(phase.stages), phase.stages[0].batch_items or BATCH_CLIPS) for phase in run.phases]
    return sum((stages + (stages > 1)) / size for stages, size in counts)


def _measure_stages(footage: str, folder: Path) -> dict[str, Any]:
    """Seconds and bytes of a clip of the working size: stages, publishing in two storages, verifying."""
    import effectpairs
    from effectpairs.datasets.corpus.selection import PublishSettings
    from effectpairs.datasets.corpus.verify import verify
    from effectpairs.flows.engine.local_runner import publish_locally

    _open(footage, str(folder / "imports"))
    start = time.process_time()
    run = _open(footage, str(folder / "full"))
    seconds = {"list": time.process_time() - start}
    stages, clips = _run(run)
    seconds |= stages
    sizes = {"footage": _size(Path(footage), "input_video.mp4"), "store": _size(folder / "full/store", "*")}
    for storage in ("exact", "fast"):
        place, settings = (
            str(folder / storage),
            PublishSettings(include=("accept", "review", "reject"), storage=storage),
        )
        start = time.process_time()
        publish_locally(place, str(folder / "full"), settings)
        seconds[f"publish, {storage}"] = time.process_time() - start
        start = time.process_time()
        assert not verify(effectpairs.open(place))
        seconds[f"verify, {storage}"] = time.process_time() - start
        sizes[f"corpus, {storage}"] = _size(folder / storage, "*")
    return {
        "clips": clips,
        "cpu_s": {name: round(value / clips, 3) for name, value in seconds.items()},
        "bytes": {name: round(value / clips) for name, value in sizes.items()},
        "tasks": round(_tasks(run), 2),
    }


def _measure_plan(footage: str, workspace: Path) -> dict[str, float]:
    """Seconds and memory of finding that a clip is done."""
    run = _open(footage, str(workspace), TINY)
    _, clips = _run(run)
    start = time.process_time()
    _open(footage, str(workspace), TINY).check_done()
    seconds = (time.process_time() - start) / clips
    tracemalloc.start()
    again = _open(footage, str(workspace), TINY)
    assert again.check_done()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    ledger = next((workspace / "sources" / run.source.name).glob("ledger-*"))
    return {"clips": clips, "cpu_s": seconds, "bytes": held / clips, "ledger_bytes": ledger.stat().st_size / clips}


def _count_requests(footage: str) -> dict[str, dict[str, float]]:
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

        run = _open(footage, "s3://bench/work", TINY)
        _, clips = _run(run)
        take("run")
        assert _open(footage, "s3://bench/work", TINY).check_done()
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


def _measure_prefect(tasks: int = 200) -> dict[str, float]:
    """CPU seconds and bytes of database of a task run, in the flow's process and in the server."""
    os.environ |= {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_LOGGING_LEVEL": "ERROR"}
    import psutil
    from effectpairs.datasets.store.location import Location
    from effectpairs.flows.engine.batches import Batch
    from effectpairs.flows.prefect_runner import run_stage, task_runner
    from prefect import flow
    from prefect.settings import get_current_settings
    from prefect.testing.utilities import prefect_test_harness

    @flow(task_runner=task_runner())
    def many(count: int) -> None:
        batches = [Batch(name=f"{number:04}", folder=Location("none"), sha256="") for number in range(count)]
        for future in [run_stage.submit(batch, "none", list) for batch in batches]:
            future.wait()

    with prefect_test_harness(server_startup_timeout=240):
        url = get_current_settings().server.database.connection_url.get_secret_value()
        database = Path(url.split("///")[1])

        def now() -> tuple[float, float, int]:
            time.sleep(5)  # the server writes its events a little later
            children = psutil.Process().children(recursive=True)
            served = sum(sum(child.cpu_times()[:2]) for child in children)
            held = sum(file.stat().st_size for file in database.parent.glob(f"{database.name}*"))
            return time.process_time(), served, held

        many(10)
        before = now()
        many(tasks)
        client, server, held = ((b - a) / tasks for a, b in zip(before, now(), strict=True))
    return {"client_cpu_s": client, "server_cpu_s": server, "database_bytes": held}


def _size(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())
