"""Runs and publishings on Dask and Ray: real clusters, the bytes of a plain run, lacks as sentences; then disturbed.

All stand in one file, so that one process goes through them: clusters side by side get in each other's way.
"""

import json
import os
import signal
import subprocess
import sys
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
from effectpairs.datasets.corpus.selection import PublishSettings
from effectpairs.datasets.corpus.verify import verify
from effectpairs.datasets.sources.source import load_source
from effectpairs.datasets.store.atomic_io import CorruptFile
from effectpairs.datasets.store.ledger import read_account, read_ledger
from effectpairs.datasets.store.location import Location, Place
from effectpairs.datasets.store.store import DamagedLayer
from effectpairs.datasets.store.upkeep import list_garbage
from effectpairs.flows.captions.stages import CaptionedSource
from effectpairs.flows.engine.local_runner import publish_locally, run_locally
from effectpairs.flows.engine.run import Run
from effectpairs.flows.engine.workers import Demand, Engine
from effectpairs.flows.footage.source import RealSource
from effectpairs.flows.purge import plan_purge, purge
from effectpairs.flows.sources import load_any, open_run
from effectpairs.tests import fixtures_s3
from effectpairs.tests.benchmarks.scale import write_source
from effectpairs.tests.fixtures_engines import TOKEN, DaskProcesses, dask_cluster, ray_cluster
from effectpairs.tests.fixtures_processes import wait_until
from effectpairs.tests.fixtures_workspaces import is_memory, read_files, run_source
from effectpairs.tests.test_synthetic_pairs import SCENE
from effectpairs.tests.test_synthetic_pairs import source_file as scene_file
from effectpairs.tests.toy_kind.source import ToySource
from effectpairs.tests.toy_kind.stages import TOY

TIMES_SLOWER = 3
"""A busy machine may take so many times the ten seconds."""
EVERYTHING = PublishSettings(include=("accept", "review", "reject"))
ONE_VIDEO = ["include=['first']"]


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    with dask_cluster(tmp_path_factory.mktemp("dask")) as processes:
        yield processes


@pytest.fixture(scope="module", autouse=True)
def ray_token():
    """Ray reads the token once in a process: all tests use the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", TOKEN)
        yield


@pytest.fixture(scope="module")
def ray_address():
    with ray_cluster() as processes:
        yield processes.address


def run_toys(workspace: Path, line: str, engine: Engine, workers: int = 2) -> dict:
    """Take words through their stages on an engine, in a flow."""
    from effectpairs.flows.prefect_runner import run_in_flow, run_with_prefect

    run = Run(TOY, ToySource(name="toys", lines=tuple(line.split(";"))), workspace, workers)
    return run_in_flow("toys", "toys", partial(run_with_prefect, run, engine=engine))


def when_busy(workspace: Path, act: Callable[[], object], *, tasks: int = 1) -> threading.Thread:
    """Act in another thread once that many tasks of a run are in the middle of their words."""

    def wait_and_act() -> None:
        deadline = time.monotonic() + 180
        while len(list(workspace.glob("sources/toys/lease*/spell-*.tries.json"))) < tasks:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1)
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


@pytest.mark.parametrize("limit", [None, 1])
def test_a_limit_on_a_tag_holds_for_the_tasks_that_use_it_and_others_carry_no_tag(prefect_server, tmp_path, limit):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter

    with get_client(sync_client=True) as client:
        if limit:
            client.create_concurrency_limit("cpu", limit)
        run_toys(tmp_path, "wait1 wait1 wait1;wait1 wait1 wait1", Engine(name="local"))
        if limit:
            client.delete_concurrency_limit_by_tag("cpu")
        newest = max(client.read_flow_runs(), key=lambda flow_run: flow_run.start_time)
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id={"any_": [newest.id]}))
    spelling = sorted((task.start_time, task.end_time) for task in tasks if task.name.startswith("spell"))
    assert {tag for task in tasks for tag in task.tags} == ({"cpu"} if limit else set())
    assert (spelling[1][0] >= spelling[0][1]) == bool(limit)


def failure_reasons(workspace: Path) -> set[str]:
    return {clip.reasons[0] for clip in read_ledger(workspace, "toys") if clip.outcome == "fail"}


def kill_one(is_victim: Callable[[psutil.Process], bool]) -> None:
    """Kill the first such process with -9."""
    next(filter(is_victim, psutil.process_iter(["cmdline"]))).kill()


def is_worker_of(processes: DaskProcesses, name: str):
    """Whether a process is the one that works in a nanny's place."""
    nanny = psutil.Process(processes.by_name[name].pid)
    return lambda process: process.ppid() == nanny.pid and "spawn_main" in " ".join(process.info["cmdline"] or ())


def run_here(source: CaptionedSource, workspace: Place, corpus: Place, engine: Engine) -> dict:
    """Run and publish on an engine, as the commands do."""
    from effectpairs.flows.corpus import publish_with_prefect
    from effectpairs.flows.prefect_runner import run_in_flow, run_with_prefect

    run = open_run(source, workspace, 2)
    summary = run_in_flow("real-pairs", "tiny", partial(run_with_prefect, run, engine=engine))
    publishing = partial(publish_with_prefect, str(corpus), str(workspace), EVERYTHING, None, engine=engine)
    run_in_flow("corpus", "tiny", publishing)
    return summary


def run_deployed(source_file: Path, workspace: Path, corpus: Path, engine: Engine) -> dict:
    """Run and publish by the flows that are deployed, in a process of their own."""
    from prefect.settings import get_current_settings

    options = {"workspace": str(workspace), "engine": engine.name, "engine_address": engine.address}
    code = (
        "import sys, json\n"
        "from effectpairs.flows.corpus import PublishSettings, publish\n"
        "from effectpairs.flows.real_pairs import real_pairs\n"
        "source, overrides, corpus, verdicts, options = map(json.loads, sys.argv[1:])\n"
        "print('summary', json.dumps(real_pairs(source, overrides=overrides, **options)))\n"
        "publish(corpus, settings=PublishSettings(include=tuple(verdicts)), **options)\n"
    )
    arguments = [str(source_file), ONE_VIDEO, str(corpus), EVERYTHING.include, options]
    flows = subprocess.run(
        [sys.executable, "-c", code, *map(json.dumps, arguments)],
        env=os.environ | {"PREFECT_API_URL": get_current_settings().api.url},
        capture_output=True,
        text=True,
    )
    assert flows.returncode == 0, flows.stderr
    return json.loads(flows.stdout.split("summary", 1)[1].splitlines()[0])


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["dask", "dask with an address", "ray", "ray with an address"])
def test_every_engine_gives_the_bytes_of_a_plain_run(prefect_server, source_file, tmp_path, request, engine):
    source = load_source(source_file, ONE_VIDEO, into=RealSource)
    plain = run_source(source, tmp_path / "plain", workers=1)
    name, _, elsewhere = engine.partition(" ")
    workspace, corpus = tmp_path / "engine", tmp_path / "out-engine" / "corpus"
    if elsewhere:
        address = request.getfixturevalue("ray_address") if name == "ray" else request.getfixturevalue("dask").address
        summary = run_deployed(source_file, workspace, corpus, Engine(name=name, address=address))
    else:
        summary = run_here(source, workspace, corpus, Engine(name=name))
    day = open_corpus(str(corpus)).manifest["settings"]["publishing"]["date_published"]
    assert bool(day) == bool(elsewhere), "the flow that is deployed takes the day"
    dated = replace(EVERYTHING, date_published=day)
    publish_locally(str(tmp_path / "out-plain" / "corpus"), tmp_path / "plain", dated)
    assert summary == vars(plain)
    assert read_files(tmp_path / "engine" / "store") == read_files(tmp_path / "plain" / "store")
    assert read_files(tmp_path / "out-engine") == read_files(tmp_path / "out-plain")


@pytest.mark.slow
def test_on_dask_a_killed_worker_costs_nothing_and_what_kills_workers_itself_alone(prefect_server, dask, tmp_path):
    engine = Engine(name="dask", address=dask.address)
    killing = when_busy(tmp_path / "killed", lambda: kill_one(is_worker_of(dask, "one")), tasks=2)
    summary = run_toys(tmp_path / "killed", "wait4 wait5;sun wait6", engine)
    killing.join()
    assert (summary["accepted"], summary["failed"]) == (4, 0), failure_reasons(tmp_path / "killed")
    summary = run_toys(tmp_path / "deadly", "red deadly bee deadly", engine)
    assert (summary["accepted"], summary["failed"]) == (2, 2)
    assert failure_reasons(tmp_path / "deadly") == {
        "the worker process died 3 times: out of memory, or a crash in a library"
    }


@pytest.mark.slow
def test_on_dask_a_scheduler_may_restart_and_one_that_is_gone_ends_the_run_with_its_account(
    prefect_server, tmp_path, monkeypatch
):
    from effectpairs.flows import task_runners
    from effectpairs.flows.cluster import EngineUnusable

    with dask_cluster(tmp_path / "dask") as processes:
        engine = Engine(name="dask", address=processes.address)

        def restart() -> None:
            processes.kill("scheduler")
            processes.start_scheduler()
            processes.start_worker("three")  # the others ended with their scheduler

        restarting = when_busy(tmp_path / "restarted", restart)
        summary = run_toys(tmp_path / "restarted", "wait4 wait5;sun wait6", engine)
        restarting.join()
        assert (summary["accepted"], summary["failed"]) == (4, 0), failure_reasons(tmp_path / "restarted")
        monkeypatch.setattr(task_runners, "CONNECT_S", 5)
        ending = when_busy(tmp_path / "gone", lambda: processes.kill("scheduler"))
        with pytest.raises(
            EngineUnusable, match=r"scheduler of the Dask cluster at .* is gone; start it, and run again"
        ):
            run_toys(tmp_path / "gone", "red wait20;sun", engine)
        ending.join()
    account, _ = read_account(tmp_path / "gone", "toys")
    assert account.inputs == account.failed + account.accepted == 3
    assert account.failed > 0
    source = ToySource(name="toys", lines=("red wait20", "sun"))
    assert run_locally(Run(TOY, source, tmp_path / "gone", workers=2)).accepted == 3


@pytest.mark.slow
def test_on_dask_a_cancelled_run_stops_its_workers_and_a_new_one_gets_them(prefect_server, dask, tmp_path):
    from effectpairs.flows.cluster import EngineUnusable
    from effectpairs.flows.prefect_runner import run_with_prefect

    engine = Engine(name="dask", address=dask.address)
    busy = [psutil.Process(dask.by_name[name].pid) for name in ("one", "two")]
    when_busy(tmp_path, lambda: os.kill(os.getpid(), signal.SIGINT), tasks=2)
    with pytest.raises(KeyboardInterrupt):
        run_toys(tmp_path, "wait300 wait300;wait300 wait300", engine)
    began = time.monotonic()
    assert run_toys(tmp_path, "red bee", engine)["accepted"] == 2, "the workers are free"
    assert time.monotonic() - began < 60
    assert all(process.is_running() for process in busy)
    with pytest.raises(EngineUnusable, match=r"no worker of the Dask cluster .* has BLENDER among its resources"):
        _run_needing_blender(tmp_path, engine, run_with_prefect)


def _run_needing_blender(workspace: Path, engine: Engine, run_with_prefect) -> None:
    from effectpairs.flows.prefect_runner import run_in_flow

    run = Run(TOY, ToySource(name="toys", lines=("a b",)), workspace)
    run.demand = lambda phase: Demand(blender=True)  # type: ignore[method-assign]
    run_in_flow("toys", "toys", partial(run_with_prefect, run, engine=engine))


@pytest.mark.slow
def test_on_ray_a_killed_worker_costs_nothing_and_what_kills_workers_itself_alone(
    prefect_server, ray_address, tmp_path
):
    engine = Engine(name="ray", address=ray_address)
    killing = when_busy(tmp_path / "killed", lambda: kill_one(is_ray_task))
    summary = run_toys(tmp_path / "killed", "wait4 deadly;sun wait6", engine)
    killing.join()
    assert (summary["accepted"], summary["failed"]) == (3, 1), failure_reasons(tmp_path / "killed")


def is_ray_task(process: psutil.Process) -> bool:
    """Whether a process is a Ray worker that is in one of our tasks; it carries its name."""
    return "ray::call_phase" in " ".join(process.info["cmdline"] or ())


def test_an_address_needs_an_engine_and_an_engine_prefect(tmp_path):
    from effectpairs.cli.app import app
    from typer.testing import CliRunner

    with pytest.raises(ValueError, match="engine 'spark' is not one of local, dask, ray"):
        Engine(name="spark")
    with pytest.raises(ValueError, match=r"that of Ray's client, .* name the head, head:6379, and start the run on a"):
        Engine(name="ray", address="ray://head:10001")
    for words, sentence in (
        (["--engine-address", "tcp://there:8786"], "of no use to engine 'local'"),
        (["--engine", "dask", "--no-prefect"], "--engine dask needs Prefect"),
    ):
        result = CliRunner().invoke(app, ["run", "davis", "--workspace", str(tmp_path), *words])
        assert result.exit_code == 2
        assert sentence in " ".join(result.output.replace("│", " ").split())


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
        assert read_files(f"{workspace.url}/store") == read_files(tmp_path / "plain" / "store")
        assert read_files(corpus.url) == read_files(tmp_path / "out" / "corpus")
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


@pytest.mark.slow
@pytest.mark.blender
def test_blender_stops_with_a_served_deployment_that_is_cancelled_on_dask(prefect_server, tmp_path):
    from prefect.deployments import run_deployment
    from prefect.settings import PREFECT_API_URL

    workspace = tmp_path / "workspace"
    long = replace(SCENE, frames=85, rendering=replace(SCENE.rendering, samples=256))
    with started("dask", tmp_path / "cluster", "--resources", "BLENDER=1") as engine:
        words = ("serve", scene_file(tmp_path, long), "--workspace", workspace, "--corpus", tmp_path / "corpus")
        places = {"PREFECT_API_URL": PREFECT_API_URL.value(), "EFFECTPAIRS_PLACES": f"{tmp_path},{engine.address}"}
        command = [sys.executable, "-m", "effectpairs", *map(str, words)]
        with (tmp_path / "log.txt").open("wb") as log:
            served = subprocess.Popen(command, env=os.environ | places, cwd=tmp_path, stdout=log, stderr=log)
        try:
            assert wait_until(lambda: "deployment run" in (tmp_path / "log.txt").read_text(), 120.0)
            parameters = {"engine": "dask", "engine_address": engine.address}
            run_deployment("synthetic-pairs/tiny-scenes", parameters=parameters, timeout=0)
            cancelled_at: list[float] = []
            cancel_in_prefect(workspace, cancelled_at)
            assert wait_until(lambda: not drawing(workspace), 60.0), (tmp_path / "log.txt").read_text()
            assert time.monotonic() - cancelled_at[0] < 10 * TIMES_SLOWER
            assert wait_until(lambda: not list(workspace.glob("sources/*/lease*")), 60.0)
        finally:
            served.terminate()
            served.wait(60)


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
    place, ended, problems = Location.of(workspace), threading.Event(), []

    def attempt(act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as problem:
            problems.append(problem)

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
    for problem in problems:
        assert isinstance(problem, (CorruptFile, DamagedLayer)), problems
        assert "publish again" in str(problem), problems
    assert verify(open_corpus(corpus)) == []
    publish_locally(corpus, workspace, wide)
    assert [clip.clip_id for clip in open_corpus(corpus)] == sorted(names)
    publish_locally(str(tmp_path / "anew" / "corpus"), workspace, wide)
    assert read_files(tmp_path / "corpus") == read_files(tmp_path / "anew" / "corpus")
    assert not list(workspace.glob("*.partial-*"))
