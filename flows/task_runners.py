"""Dask and Ray under a flow, by Prefect's task runners for them: on clusters of others, or on one of this machine.

A setting names the engine, an address the cluster; without an address a cluster of this machine is made for the run.
What a task needs becomes Dask's worker resources and Ray's resources.
"""

import logging
import math
import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ..extras import require
from .cluster import CHECK_EVERY_S, Cluster, EngineUnusable, WorkerFit, fit_worker
from .engine.workers import Demand, Engine

CONNECT_S = 60
"""Time for a Dask scheduler to answer, and for one that was lost to come back."""
RAY_SILENT_S = 30.0
"""Time for Ray's head to come back; after 60 s without it Ray ends the whole process that is connected to it."""
OBJECT_STORE_BYTES = 100 * 1024**2
"""Shared memory of a Ray cluster that is made here: references and small values travel. Ray takes a third otherwise."""


class DaskCluster(Cluster):
    """A Dask scheduler with its workers."""

    title = "Dask"
    remedies: ClassVar[Mapping[str, str]] = {
        "": "dask worker SCHEDULER --nthreads 1",
        "BLENDER": "dask worker SCHEDULER --nthreads 1 --resources BLENDER=1",
        "GPU": "dask worker SCHEDULER --nthreads 1 --resources GPU=1",
        "MEMORY": "dask worker SCHEDULER --nthreads 1 --memory-limit 8GiB",
    }

    def __init__(self, address: str, workers: int) -> None:
        runner = require("prefect_dask", extra="dask").DaskTaskRunner
        self._declares_memory = False
        if address:
            super().__init__(address, runner(address=address, client_kwargs={"timeout": CONNECT_S}))
            return
        logging.getLogger("distributed").setLevel(logging.ERROR)
        resources = {"BLENDER": 1, "GPU": 1}
        local = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None, "resources": resources}
        super().__init__("", runner(cluster_class="distributed.LocalCluster", cluster_kwargs=local))

    def fit_workers(self, demand: Demand) -> list[WorkerFit]:
        """Capacity of each worker; one that declares no MEMORY divides its memory limit among its threads."""
        client = self.runner.client
        if client.status in ("closing", "closed"):
            raise EngineUnusable(f"the scheduler of the {self.name} is gone; start it, and run again to go on")
        try:
            workers = client.scheduler_info(n_workers=-1)["workers"].values() if client.status == "running" else ()
        except OSError:  # lost just now; the client tries to reach it again
            workers = ()
        self._declares_memory = any("MEMORY" in worker["resources"] for worker in workers)
        return [_fit_dask_worker(worker, demand) for worker in workers]

    def submit_options(self, demand: Demand) -> AbstractContextManager[Any]:
        """Ask for BLENDER, GPU and, where workers declare it, MEMORY."""
        resources = {name: 1.0 for name, is_needed in demand.devices.items() if is_needed}
        if self._declares_memory:
            resources["MEMORY"] = demand.memory_bytes
        options: AbstractContextManager[Any] = require("dask", extra="dask").annotate(resources=resources)
        return options if resources else nullcontext()

    def finished(self, futures: Sequence[Any]) -> list[Any]:
        """Return those that have a result or an error, or that the scheduler lost."""
        return [future for future in futures if future.wrapped_future.done()]

    def is_loss(self, problem: Exception) -> bool:
        """Whether workers died in the task, or the scheduler did."""
        killed = require("distributed", extra="dask").KilledWorker
        closed = require("distributed.comm", extra="dask").CommClosedError
        return isinstance(problem, (killed, closed, CancelledError))


class RayCluster(Cluster):
    """A Ray head with its nodes."""

    title = "Ray"
    remedies: ClassVar[Mapping[str, str]] = {
        "": "ray start --address HEAD",
        "BLENDER": """ray start --address HEAD --resources '{"blender": 1}'""",
        "GPU": "ray start --address HEAD --num-gpus 1",
        "MEMORY": "ray start --address HEAD --memory 8000000000",
    }

    def __init__(self, address: str, workers: int, largest: Demand) -> None:
        if not address:
            # Ray's ports are open to all who reach this machine: without a token they could run programs here.
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        # Prefect's runner asks Ray once more when it leaves a head that is gone: that must not connect to another.
        os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
        self._ray = require("ray", extra="ray")
        runner = require("prefect_ray", extra="ray").RayTaskRunner
        self._head: tuple[str, int] | None = None
        self._heard_at = time.monotonic()
        if address:
            super().__init__(address, runner(address=address, init_kwargs={"log_to_driver": False}))
            return
        local = {
            "address": "local",
            "num_cpus": workers,
            "num_gpus": workers if largest.gpu else 0,
            "resources": {"blender": workers},
            "_memory": workers * largest.memory_bytes,
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
            "log_to_driver": False,
        }
        super().__init__("", runner(init_kwargs=local))

    def probe(self) -> None:
        """Raise an OSError where nobody listens at the address; Ray's client would try for minutes."""
        place = urlsplit(self.address if "://" in self.address else f"//{self.address}")
        if place.hostname and place.port:
            socket.create_connection((place.hostname, place.port), timeout=CONNECT_S).close()

    def fit_workers(self, demand: Demand) -> list[WorkerFit]:
        """Capacity of each node."""
        if not self._hears_head():
            return []  # Ray's own question to it would never come back
        fits = []
        for node in self._ray.nodes():
            there = node["Resources"] if node["Alive"] else {}
            if there.get("CPU", 0) >= 1:
                devices = {"BLENDER": there.get("blender", 0), "GPU": there.get("GPU", 0)}
                fits.append(fit_worker(demand, int(there["CPU"]), devices, there.get("memory", 0), is_shared=True))
        return fits

    def submit_options(self, demand: Demand) -> AbstractContextManager[Any]:
        """Ask for a core, memory, a GPU and the resource "blender"."""
        options: dict[str, Any] = {"num_cpus": 1, "memory": demand.memory_bytes}
        if demand.gpu:
            options["num_gpus"] = 1
        if demand.blender:
            options["resources"] = {"blender": 1}
        asking: AbstractContextManager[Any] = require("prefect_ray.context", extra="ray").remote_options(**options)
        return asking

    def finished(self, futures: Sequence[Any]) -> list[Any]:
        """Return those that have a result or an error."""
        by_reference = {future.wrapped_future: future for future in futures}
        ready, _ = self._ray.wait(list(by_reference), num_returns=len(by_reference), timeout=0)
        return [by_reference[reference] for reference in ready]

    def is_loss(self, problem: Exception) -> bool:
        """Whether a worker, its node or the head was lost."""
        errors = self._ray.exceptions
        return isinstance(problem, errors.RayError) and not isinstance(problem, errors.RayTaskError)

    def _hears_head(self) -> bool:
        """Look whether Ray's head answers; leave it before Ray ends this process for its silence."""
        if self._head is None:
            host, _, port = self._ray.get_runtime_context().gcs_address.rpartition(":")
            self._head = (host.strip("[]"), int(port))
        try:
            socket.create_connection(self._head, timeout=CHECK_EVERY_S).close()
            self._heard_at = time.monotonic()
            return True
        except OSError:
            if time.monotonic() - self._heard_at > RAY_SILENT_S:
                os.environ["RAY_ENABLE_AUTO_CONNECT"] = (
                    "0"  # Prefect's runner asks it once more, which would connect anew
                )
                self._ray.shutdown()
                raise EngineUnusable(f"the head of the {self.name} is gone; start it, and run again to go on") from None
            return False


def open_cluster(engine: Engine, workers: int, largest: Demand = Demand()) -> Cluster:
    """Return the workers of an engine, to be entered: those at an address, or as many of this machine.

    Raises:
        ImportError: the engine's packages are not installed.
    """
    if engine.name == "dask":
        return DaskCluster(engine.address, workers)
    return RayCluster(engine.address, workers, largest)


def _fit_dask_worker(worker: Mapping[str, Any], demand: Demand) -> WorkerFit:
    resources, threads = worker["resources"], worker["nthreads"]
    memory = resources.get("MEMORY") or (worker["memory_limit"] or math.inf) / threads
    return fit_worker(demand, threads, resources, memory, is_shared="MEMORY" in resources)
