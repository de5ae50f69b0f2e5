"""An engine's workers as a run sees them: what they have, what none has, and what becomes of a task that is lost."""

import errno
import sys
import time
from contextlib import nullcontext
from types import MappingProxyType, SimpleNamespace

import pytest
from effectpairs.datasets.sources.source import load_source
from effectpairs.datasets.store.location import Location
from effectpairs.datasets.store.remote_calls import StorageError
from effectpairs.flows import cluster, cluster_runner, task_runners
from effectpairs.flows.cluster import GIB, MAX_LOSSES, Cluster, EngineUnusable, api_for_workers, fit_worker
from effectpairs.flows.cluster_runner import check_here, run_phase
from effectpairs.flows.engine.report import software
from effectpairs.flows.engine.run import Run, ignore_progress
from effectpairs.flows.engine.run_lease import RunEnded, hold_lease
from effectpairs.flows.engine.workers import Demand, Engine
from effectpairs.flows.footage.source import RealSource
from effectpairs.flows.task_runners import open_cluster
from effectpairs.tests.toy_kind.source import ToySource
from effectpairs.tests.toy_kind.stages import TOY
from prefect.settings import PREFECT_API_URL, temporary_settings


class Lost(Exception):
    """A worker died."""


class Future:
    def __init__(self, outcome: object) -> None:
        self.outcome = outcome

    def result(self) -> object:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Workers(Cluster):
    """Workers by their resources; a task's outcomes come one after another."""

    title = "toy"
    remedies = MappingProxyType({"": "start", "BLENDER": "start -b", "GPU": "start -g", "MEMORY": "start -m"})

    def __init__(self, *workers: dict, outcomes: dict | None = None) -> None:
        super().__init__("there", SimpleNamespace(submit=self.submit))
        self.workers, self.outcomes, self.submitted = list(workers), outcomes or {}, []

    def submit(self, task, parameters):
        self.submitted.append(parameters["name"])
        return Future(self.outcomes[parameters["name"]].pop(0))

    def fit_workers(self, demand):
        return [
            fit_worker(
                demand, worker.get("tasks", 1), worker, worker.get("MEMORY", 8 * GIB), is_shared="MEMORY" in worker
            )
            for worker in self.workers
        ]

    def submit_options(self, demand):
        return nullcontext()

    def finished(self, futures):
        return list(futures)

    def is_loss(self, problem):
        return isinstance(problem, Lost)


def run(workers: Workers, demand: Demand = Demand()) -> dict:
    return dict(workers.run_tasks(run_phase, {name: {"name": name} for name in workers.outcomes}, demand))


@pytest.mark.parametrize(
    ("demand", "workers", "slots", "lack"),
    [
        (Demand(), [{"tasks": 4}, {}], 5, ""),
        (Demand(memory_bytes=3 * GIB), [{"tasks": 4, "MEMORY": 7 * GIB}, {}], 3, ""),
        (Demand(blender=True), [{"tasks": 4, "BLENDER": 2}, {"tasks": 9}], 2, ""),
        (Demand(blender=True), [{}], 1, "no worker of the toy cluster at there has BLENDER among its resources"),
        (Demand(gpu=True, blender=True), [{"BLENDER": 1}, {}], 1, "has GPU among its resources"),
        (
            Demand(memory_bytes=9 * GIB),
            [{}, {"MEMORY": GIB}],
            1,
            "has the 9.0 GiB of memory that a clip takes, but 8.0",
        ),
        (Demand(), [], 1, "the toy cluster at there has no worker; start one with: start"),
    ],
)
def test_what_workers_have_and_what_none_has(demand, workers, slots, lack):
    toy = Workers(*workers)
    assert toy.count_slots(demand) == slots
    assert lack in toy.describe_lack(demand)
    assert bool(lack) == bool(toy.describe_lack(demand))


def test_a_run_begins_where_workers_may_still_come_and_not_where_none_suits():
    Workers().check([Demand(gpu=True)])
    with pytest.raises(EngineUnusable, match="GPU among its resources, which a stage needs; start one with"):
        Workers({}).check([Demand(), Demand(gpu=True)])


def test_an_engine_that_does_not_start_is_a_sentence():
    class Late(nullcontext):
        def __enter__(self):
            raise Exception("The current node timed out during startup.")

    toy = Workers({})
    toy.address, toy.runner = "", Late()
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:4200/api"}),
        pytest.raises(
            EngineUnusable, match=r"does not answer \(The current node timed out during startup\.\); start it"
        ),
        toy,
    ):
        pass


def test_a_lost_task_is_submitted_again_and_one_that_fails_is_not():
    outcomes = {"well": [1], "lost": [Lost(), RunEnded("silent"), 2], "failed": [ValueError("its own")]}
    workers = Workers({}, outcomes=outcomes)
    results = run(workers)
    assert (results["well"], results["lost"]) == (1, 2)
    assert str(results["failed"]) == "its own"
    assert workers.submitted.count("failed") == 1
    workers = Workers({}, outcomes={"always": [Lost()] * (MAX_LOSSES + 1)})
    assert isinstance(run(workers)["always"], Lost)


def test_a_storage_that_is_gone_ends_a_run_at_its_first_batch(tmp_path, monkeypatch):
    gone, asked = StorageError(errno.ECONNABORTED, "s3://b/w: the storage does not answer; run again"), []

    class Silent(Workers):
        __enter__, __exit__ = lambda self: self, lambda *problem: None

        def run_tasks(self, task, calls, demand):
            for name in calls:
                asked.append(name)
                yield name, gone

    monkeypatch.setattr(cluster_runner, "open_cluster", lambda *of: Silent({}))
    monkeypatch.setattr(cluster_runner, "tagged", lambda task, stages: task)
    monkeypatch.setattr(cluster_runner, "progress_artifact", lambda *of: lambda: None)
    run = Run(TOY, ToySource(name="toys", lines=("red sun", "bee")), tmp_path, workers=2)
    assert cluster_runner.run_on_cluster(run, Engine(name="dask"), ignore_progress) is gone
    assert len(asked) == 1
    assert [failure.reason for failure in run.failures.values()] == [str(gone)] * 2, "and each item says why"


def test_a_run_waits_for_a_worker_and_says_so_and_not_for_ever(monkeypatch):
    said = []
    monkeypatch.setattr(cluster, "get_run_logger", lambda: SimpleNamespace(warning=lambda *words: said.append(words)))
    monkeypatch.setattr(cluster, "WAIT_FOR_WORKERS_S", 0.5)
    monkeypatch.setattr(cluster, "POLL_EVERY_S", 0.05)
    with pytest.raises(EngineUnusable, match="has no worker; start one with: start; then run again to go on"):
        run(Workers(outcomes={"waits": [1]}))
    monkeypatch.setattr(cluster, "OWN_WORKERS_S", 0.5)
    own = Workers(outcomes={"waits": [1]})
    own.address, own.name = "", "local toy cluster"
    with pytest.raises(EngineUnusable, match=r"^the local toy cluster lost its workers; run again to go on$"):
        run(own)
    assert len(said) == 2
    workers = Workers(outcomes={"waits": [1]})
    monkeypatch.setattr(
        cluster, "get_run_logger", lambda: SimpleNamespace(warning=lambda *_: workers.workers.append({}))
    )
    assert run(workers) == {"waits": 1}


def test_workers_elsewhere_need_a_server_that_they_reach():
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:4200/api"}):
        for address in ("tcp://10.0.0.7:8786", "10.0.0.7:6379"):
            with pytest.raises(EngineUnusable, match="cannot reach the Prefect server at"), api_for_workers(address):
                pass
        for address in ("", "auto", "tcp://127.0.0.1:8786", "localhost:6379"):
            with api_for_workers(address):
                pass


@pytest.mark.parametrize(("engine", "module"), [("dask", "prefect_dask"), ("ray", "ray")])
def test_an_engine_that_is_not_installed_is_named_with_its_extra(monkeypatch, engine, module):
    monkeypatch.setitem(sys.modules, module, None)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "token")
    with pytest.raises(ImportError, match=rf"pip install 'effectpairs\[{engine}\]'"):
        open_cluster(Engine(name=engine), 1)


def test_a_ray_head_that_is_not_there_is_said_at_once(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    begun = time.monotonic()
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:4200/api"}),
        pytest.raises(
            EngineUnusable, match=r"the Ray cluster at 127.0.0.1:9 does not answer \(.*refused.*start it, or"
        ),
        open_cluster(Engine(name="ray", address="127.0.0.1:9"), 1),
    ):
        pass
    assert time.monotonic() - begun < 20


def test_a_worker_is_checked_for_the_workspace_and_the_software(source_file, tmp_path):
    source = load_source(source_file, into=RealSource)
    with hold_lease(Location.of(tmp_path)) as lease:
        assert check_here(source, lease) == software()
    with pytest.raises(FileNotFoundError, match="is not to be seen there; choose a workspace that all machines share"):
        check_here(source, lease)


def test_dask_divides_a_memory_limit_among_threads_and_shares_what_is_declared():
    worker = {"nthreads": 4, "memory_limit": 8 * GIB, "resources": {}}
    assert task_runners._fit_dask_worker(worker, Demand(memory_bytes=3 * GIB)).lacks == ("MEMORY",)
    declared = worker | {"resources": {"MEMORY": 8.0 * GIB}}
    assert task_runners._fit_dask_worker(declared, Demand(memory_bytes=3 * GIB)).slots == 2
    assert task_runners._fit_dask_worker(worker | {"memory_limit": 0}, Demand(memory_bytes=3 * GIB)).slots == 4
