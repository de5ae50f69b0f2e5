"""Workers of an engine that run a flow's tasks in processes of their own: what they have, and what becomes of a task.

A task waits for no worker that is not there without a word: what none has is one sentence. A task whose worker, node or
scheduler was lost is submitted again; where the engine itself is gone, the run ends with its account.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from prefect import Task, get_run_logger
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from .engine.run_lease import RunEnded
from .engine.workers import Demand

K = TypeVar("K")
POLL_EVERY_S = 0.2
CHECK_EVERY_S = 5.0
WAIT_FOR_WORKERS_S = 3600.0
"""Time for which a run waits for a worker where there is none: a queue or an autoscaler may bring it."""
OWN_WORKERS_S = 120.0
"""The same for a cluster that was made for the run: nobody else brings it one, but Dask restarts those that died."""
MAX_LOSSES = 5
"""Times that a task is submitted again because its worker was lost; the engine itself tries it four times each."""
GIB = 2**30


class EngineUnusable(RuntimeError):
    """An engine cannot run the tasks: it is not there, is gone, or no worker of it has what they need."""

    is_sentence = True


@dataclass(frozen=True, kw_only=True)
class WorkerFit:
    """Capacity of a worker of an engine (of Ray: a node) for tasks of one demand."""

    slots: int
    """Tasks that it runs at once."""
    lacks: tuple[str, ...]
    memory_bytes: int | float
    """Memory that it has for the task."""


def fit_worker(
    demand: Demand, tasks: int, devices: Mapping[str, int | float], memory: int | float, *, is_shared: bool
) -> WorkerFit:
    """Capacity of a worker that runs a number of tasks at once, which share its memory or have so much each."""
    needed = [name for name, is_needed in demand.devices.items() if is_needed]
    lacks = [name for name in needed if devices.get(name, 0) < 1]
    slots = min([tasks, *(int(devices.get(name, 0)) for name in needed)])
    if memory < demand.memory_bytes:
        lacks.append("MEMORY")
    elif is_shared and demand.memory_bytes:
        slots = min(slots, int(memory // demand.memory_bytes))
    return WorkerFit(slots=slots, lacks=tuple(lacks), memory_bytes=memory)


@contextmanager
def api_for_workers(address: str) -> Iterator[None]:
    """Let tasks report to the Prefect server of this flow: a worker that is told of none starts one of its own.

    Raises:
        EngineUnusable: the server is one of this machine alone, and the cluster is elsewhere.
    """
    url = str(get_client(sync_client=True).api_url)
    place = address if "://" in address else f"//{address}"
    if address not in ("", "auto") and _is_loopback(url) and not _is_loopback(place):
        raise EngineUnusable(
            f"workers of {address} cannot reach the Prefect server at {url}; start one for all machines with "
            "'prefect server start --host 0.0.0.0', and set PREFECT_API_URL to its address"
        )
    with temporary_settings({PREFECT_API_URL: url}):
        yield


def _is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "localhost") in ("localhost", "127.0.0.1", "::1")


class Cluster(ABC):
    """Workers of an engine, connected for the length of a `with`.

    Attributes:
        runner: Prefect's task runner for it.
        name: what messages call it.
    """

    title: ClassVar[str]
    remedies: ClassVar[Mapping[str, str]]
    """Command that starts a worker, by what none has."""

    def __init__(self, address: str, runner: Any) -> None:
        self.address, self.runner = address, runner
        self._stack = ExitStack()
        self.name = f"{self.title} cluster at {address}" if address else f"local {self.title} cluster"

    def __enter__(self) -> "Cluster":
        try:
            self._stack.enter_context(api_for_workers(self.address))
            self.probe()
            self._stack.enter_context(self.runner)
            self.fit_workers(Demand())
        except EngineUnusable:
            self._stack.close()
            raise
        except Exception as problem:  # Ray raises no more than that where a node does not start in time
            self._stack.close()
            why = (str(problem).strip() or type(problem).__name__).splitlines()[0]
            raise EngineUnusable(f"the {self.name} does not answer ({why}); start it, or correct its address") from None
        return self

    def __exit__(self, *problem: object) -> None:
        self._stack.close()

    def probe(self) -> None:  # noqa: B027 - not every engine needs it
        """Raise an OSError where nobody listens at the address, for an engine whose own client takes long to say so."""

    @abstractmethod
    def fit_workers(self, demand: Demand) -> list[WorkerFit]:
        """Capacity for that demand of each worker that there is now.

        Raises:
            EngineUnusable: the engine is gone.
        """

    @abstractmethod
    def submit_options(self, demand: Demand) -> AbstractContextManager[Any]:
        """Let tasks that are submitted inside ask for this."""

    @abstractmethod
    def finished(self, futures: Sequence[Any]) -> list[Any]:
        """Return the tasks that have ended, well or not."""

    @abstractmethod
    def is_loss(self, problem: Exception) -> bool:
        """Whether a task failed because its worker, node or scheduler was lost, and not by itself."""

    def count_slots(self, demand: Demand) -> int:
        """Number of tasks with that demand that can run at once, at least 1."""
        return max(1, sum(fit.slots for fit in self.fit_workers(demand) if not fit.lacks))

    def describe_lack(self, demand: Demand) -> str:
        """One sentence about what no worker has, or nothing where one has all."""
        fits = self.fit_workers(demand)
        if any(not fit.lacks for fit in fits):
            return ""
        if not fits and not self.address:
            return f"the {self.name} lost its workers"
        if not fits:
            return f"the {self.name} has no worker; start one with: {self.remedies['']}"
        name = min((fit.lacks for fit in fits), key=len)[0]
        what = f"{name} among its resources, which a stage needs"
        if name == "MEMORY":
            most = max(fit.memory_bytes for fit in fits) / GIB
            what = f"the {demand.memory_bytes / GIB:.1f} GiB of memory that a clip takes, but {most:.1f} at most"
        return f"no worker of the {self.name} has {what}; start one with: {self.remedies[name]}"

    def check(self, demands: Iterable[Demand]) -> None:
        """Check at the start of a run that no task of it would wait for what no worker has.

        Raises:
            EngineUnusable: there are workers, but for one of the demands none that has all.
        """
        for demand in demands:
            if self.fit_workers(demand) and (lack := self.describe_lack(demand)):
                raise EngineUnusable(lack)

    def run_tasks(
        self, task: Task[..., Any], calls: Mapping[K, Mapping[str, Any]], demand: Demand = Demand()
    ) -> Iterator[tuple[K, Any]]:
        """Run a task for each of the calls; yield the key of each with its result, or its exception, as they end.

        Raises:
            EngineUnusable: the engine is gone, or had no worker for long; the calls not yielded are not done.
        """
        losses = dict.fromkeys(calls, 0)
        waiting, futures = list(calls), dict[Any, K]()
        watch = _WorkerWatch(self, demand)
        while waiting or futures:
            if watch.check(anew=bool(waiting)) and waiting:
                with self.submit_options(demand):
                    futures |= {self.runner.submit(task, parameters=dict(calls[key])): key for key in waiting}
                waiting = []
            for future in self.finished(list(futures)):
                key = futures.pop(future)
                try:
                    outcome = future.result()
                except Exception as problem:
                    outcome = problem
                    if isinstance(problem, RunEnded) or self.is_loss(problem):
                        losses[key] += 1
                        if losses[key] <= MAX_LOSSES:
                            waiting.append(key)
                            continue
                yield key, outcome
            time.sleep(POLL_EVERY_S)


class _WorkerWatch:
    """A look at a cluster's workers every few seconds; their lack is logged once, and ends the run after a while."""

    def __init__(self, cluster: Cluster, demand: Demand) -> None:
        self._cluster, self._demand = cluster, demand
        self._checked_at, self._lack, self._lacking_since = -CHECK_EVERY_S, "", 0.0

    def check(self, *, anew: bool) -> bool:
        """Return whether some worker can take a task, as of a look now or a few seconds ago."""
        now = time.monotonic()
        if now - self._checked_at >= (POLL_EVERY_S if anew else CHECK_EVERY_S):
            self._checked_at = now
            lack = self._cluster.describe_lack(self._demand)
            if lack and not self._lack:
                self._lacking_since = now
                get_run_logger().warning("waiting: %s", lack)
            is_own = not self._cluster.address
            if lack and now - self._lacking_since > (OWN_WORKERS_S if is_own else WAIT_FOR_WORKERS_S):
                raise EngineUnusable(f"{lack}; {'' if is_own else 'then '}run again to go on")
            self._lack = lack
        return not self._lack
