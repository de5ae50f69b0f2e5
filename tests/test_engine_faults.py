"""Runs and publishings on Dask and Ray that are disturbed: storage, nodes, cancelling, other commands beside them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest
from effectpairs.datasets.corpus.reader import open_corpus
from effectpairs.datasets.corpus.verify import verify
from effectpairs.datasets.sources.source import load_source
from effectpairs.datasets.store.atomic_io import CorruptFile
from effectpairs.datasets.store.ledger import read_ledger
from effectpairs.datasets.store.location import Location
from effectpairs.datasets.store.store import DamagedLayer
from effectpairs.datasets.store.upkeep import list_garbage
from effectpairs.flows.engine.local_runner import publish_locally
from effectpairs.flows.engine.workers import Engine
from effectpairs.flows.footage.source import RealSource
from effectpairs.flows.purge import plan_purge, purge
from effectpairs.flows.sources import load_any
from effectpairs.tests import fixtures_s3
from effectpairs.tests.benchmarks.scale import write_source
from effectpairs.tests.fixtures_engines import TOKEN, dask_cluster, ray_cluster
from effectpairs.tests.fixtures_processes import wait_until
from effectpairs.tests.fixtures_workspaces import is_memory, read_files, run_source
from effectpairs.tests.test_engines import EVERYTHING, ONE_VIDEO, failure_reasons, run_here, run_toys, when_busy
from effectpairs.tests.test_synthetic_pairs import SCENE
from effectpairs.tests.test_synthetic_pairs import source_file as scene_file

TIMES_SLOWER = 3
"""A busy machine may take so many times the ten seconds."""


@pytest.fixture(autouse=True)
def ray_token(monkeypatch):
    """The same for all tests: Ray reads it once in a process."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)


@contextmanager
def started(name: str, folder: Path, *options: str) -> Iterator[Engine]:
    """A cluster of two workers that was started elsewhere."""
    with dask_cluster(folder, *options) if name == "dask" else ray_cluster() as processes:
        yield Engine(name=name, address=processes.address)


def in_thread(act: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dask", "ray"])
def test_on_s3_the_bytes_are_those_of_a_disk_though_the_storage_is_silent_for_longer_than_a_run_may_be(
    prefect_server, source_file, tmp_path, monkeypatch, name
):
    pytest.importorskip("moto", reason="pip install 'moto[server]'")
    source = load_source(source_file, ONE_VIDEO, into=RealSource)
    run_source(source, tmp_path / "plain", workers=1)
    publish_locally(str(tmp_path / "out" / "corpus"), tmp_path / "plain", EVERYTHING)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "s3").mkdir()
    with fixtures_s3.s3_server(tmp_path / "s3") as server, started(name, tmp_path / "engine") as engine:
        fixtures_s3.forget_connections()
        workspace, corpus = (Location(f"s3://{fixtures_s3.BUCKET}/{part}") for part in ("work", "corpus"))

        def silence() -> None:
            assert wait_until(lambda: "result.json" in str(workspace.names("store/subject")), 240.0)
            server.pause(25.0)
            silences.append(time.monotonic())

        silences: list[float] = []
        silencing = in_thread(silence)
        summary = run_here(source, workspace, corpus.url, engine)
        silencing.join()
        assert silences
        assert summary["failed"] == 0
        assert {n: workspace.read(n) for n in workspace.names("store")} == {
            f"store/{n}": content for n, content in read_files(tmp_path / "plain" / "store").items()
        }
        assert {n: corpus.read(n) for n in corpus.names()} == read_files(tmp_path / "out" / "corpus")
        left = [n for n in workspace.names() if not n.startswith(("store/", "sources/tiny/")) and not is_memory(n)]
        assert left == ["fingerprints.parquet"], "no sign of life, no batch is left"
    fixtures_s3.forget_connections()


@pytest.mark.slow
def test_on_ray_a_node_may_be_lost_in_mid_run_and_one_that_is_added_takes_its_work(prefect_server, tmp_path):
    with ray_cluster(head_cpus=0) as processes:

        def exchange() -> None:
            processes.kill("node")
            processes.start_node("third")

        exchanging = when_busy(tmp_path, exchange)
        summary = run_toys(tmp_path, "wait4 wait5;sun wait6", Engine(name="ray", address=processes.address))
        exchanging.join()
        assert (summary["accepted"], summary["failed"]) == (4, 0), failure_reasons(tmp_path)


CLUSTERS = ["dask with an address", "ray"]


@contextmanager
def chosen(engine: str, folder: Path, *options: str) -> Iterator[Engine]:
    """An engine by the words of `CLUSTERS`."""
    name, _, elsewhere = engine.partition(" ")
    if elsewhere:
        with started(name, folder, *options) as somewhere:
            yield somewhere
    else:
        yield Engine(name=name)


def cancel_in_prefect(workspace: Path, begun_at: list[float]) -> None:
    """Ask Prefect to cancel the run that goes on, as its UI does, once Blender draws."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.states import Cancelling

    assert wait_until(lambda: drawing(workspace), 300.0)
    time.sleep(1)
    running = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING"]}}})
    with get_client(sync_client=True) as client:
        begun_at.append(time.monotonic())
        for run in client.read_flow_runs(flow_run_filter=running):
            client.set_flow_run_state(run.id, Cancelling())


def drawing(workspace: Path) -> list[psutil.Process]:
    """Blender's processes that draw for a workspace, anywhere on this machine."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if f"{workspace}/scratch/frames" in " ".join(process.info["cmdline"] or ())
    ]


@pytest.mark.slow
@pytest.mark.blender
@pytest.mark.parametrize("engine", CLUSTERS)
def test_blender_stops_with_a_run_that_is_cancelled_in_prefect_and_the_next_gives_the_bytes_of_a_plain_run(
    prefect_server, tmp_path, engine
):
    from effectpairs.flows.prefect_runner import RunCancelled

    plain, workspace = tmp_path / "plain", tmp_path / "engine"
    long = replace(SCENE, frames=85, rendering=replace(SCENE.rendering, samples=256))
    settings, endless = (
        load_any(scene_file(tmp_path / name, scene)) for name, scene in (("short", SCENE), ("long", long))
    )
    with chosen(engine, tmp_path / "cluster", "--resources", "BLENDER=1") as cluster:
        cancelled_at: list[float] = []
        cancelling = in_thread(partial(cancel_in_prefect, workspace, cancelled_at))
        with pytest.raises(RunCancelled, match="run again to go on where it was"):
            run_here(endless, workspace, tmp_path / "none", cluster)
        assert wait_until(lambda: not drawing(workspace), 60.0)
        took_s = time.monotonic() - cancelled_at[0]
        cancelling.join()
        print(f"{engine}: stopped {took_s:.1f} s after it was cancelled")
        assert took_s < 10 * TIMES_SLOWER
        assert not list(workspace.glob("sources/*/lease*")), "nor is a sign of life left"
        assert run_here(settings, workspace, tmp_path / "engine-out" / "corpus", cluster)["failed"] == 0
    run_source(settings, plain, workers=1)
    publish_locally(str(tmp_path / "out" / "corpus"), plain, EVERYTHING)
    assert read_files(tmp_path / "engine-out") == read_files(tmp_path / "out")


def test_a_flow_that_ends_with_a_sentence_logs_no_traceback(prefect_server, tmp_path, caplog):
    from effectpairs.flows.corpus import publish_with_prefect
    from effectpairs.flows.prefect_runner import run_in_flow

    body = partial(publish_with_prefect, str(tmp_path / "corpus"), str(tmp_path), EVERYTHING, None)
    with pytest.raises(ValueError, match="no finished source is there; run one first: effectpairs run SOURCE"):
        run_in_flow("corpus", "corpus", body)
    assert "Traceback" not in caplog.text


@pytest.mark.slow
def test_publishings_purges_and_collections_at_once_leave_a_whole_corpus(prefect_server, tmp_path):
    """Others publish, collect and purge beside a publishing on an engine: it ends well, or with a sentence."""
    from effectpairs.flows.corpus import publish_with_prefect
    from effectpairs.flows.prefect_runner import run_in_flow

    workspace, corpus = tmp_path / "workspace", str(tmp_path / "corpus")
    run_source(load_any(write_source(tmp_path, "many", 10, alike=False)), workspace)
    names = [entry.name for entry in read_ledger(workspace, "many")]
    wide, narrow = replace(EVERYTHING, shard_bytes=1), replace(EVERYTHING, shard_bytes=1, storage="fast")
    place, ended, sentences = Location.of(workspace), threading.Event(), []

    def attempt(act: Callable[[], object]) -> None:
        try:
            act()
        except (CorruptFile, DamagedLayer) as sentence:
            sentences.append(str(sentence))

    def work_beside(act: Callable[[], object]) -> None:
        while not ended.wait(0.5):
            attempt(act)

    def purge_next() -> None:
        if len(names) > 6:
            purge(place, plan_purge(place, "clip", names.pop()), [corpus])

    publish_locally(corpus, workspace, wide)
    with dask_cluster(tmp_path / "dask") as processes:
        engine = Engine(name="dask", address=processes.address)
        acts = (partial(publish_locally, corpus, workspace, narrow), purge_next, lambda: list_garbage(place))
        others = [in_thread(partial(work_beside, act)) for act in acts]
        publishing = partial(publish_with_prefect, corpus, workspace, wide, None, engine=engine)
        for _ in range(3):
            attempt(partial(run_in_flow, "corpus", "corpus", publishing))
        ended.set()
        for other in others:
            other.join()
    assert all("publish again" in sentence for sentence in sentences), sentences
    assert verify(open_corpus(corpus)) == []
    publish_locally(corpus, workspace, wide)
    assert [clip.clip_id for clip in open_corpus(corpus)] == sorted(names)
    publish_locally(str(tmp_path / "anew" / "corpus"), workspace, wide)
    assert read_files(tmp_path / "corpus") == read_files(tmp_path / "anew" / "corpus")
    assert not list(workspace.glob("*.partial-*"))
