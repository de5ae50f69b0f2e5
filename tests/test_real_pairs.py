"""The Prefect flows: the same bytes as without, named tasks, artifacts, retries only where a second try can pass."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from effectpairs.datasets.corpus.selection import PublishSettings
from effectpairs.datasets.sources.source import load_source, source_names
from effectpairs.flows.deployments import FLOWS
from effectpairs.flows.engine.batches import Failure, is_transient
from effectpairs.flows.engine.local_runner import publish_locally
from effectpairs.flows.engine.workers import WorkerDied
from effectpairs.flows.footage.source import RealSource
from effectpairs.flows.sources import load_any
from effectpairs.tests.fixtures_processes import wait_until
from effectpairs.tests.fixtures_workspaces import read_files, run_source

EVERYTHING = PublishSettings(include=("accept", "review", "reject"))


def test_the_flow_gives_the_bytes_of_the_plain_loop(prefect_server, source_file, tmp_path):
    from effectpairs.flows.corpus import publish
    from effectpairs.flows.real_pairs import real_pairs

    start = datetime.now(UTC)
    with_prefect = real_pairs(str(source_file), str(tmp_path / "a"), None, 2)
    publish(str(tmp_path / "a-out" / "corpus"), str(tmp_path / "a"), EVERYTHING)
    source = load_source(source_file, into=RealSource)
    without = run_source(source, tmp_path / "b", workers=1)
    day = json.loads((tmp_path / "a-out" / "corpus" / "croissant.json").read_text())["datePublished"]
    assert date.today() - date.fromisoformat(day) < timedelta(days=2)
    publish_locally(str(tmp_path / "b-out" / "corpus"), tmp_path / "b", replace(EVERYTHING, date_published=day))
    assert with_prefect == vars(without)
    assert read_files(tmp_path / "a" / "store") == read_files(tmp_path / "b" / "store")
    assert read_files(tmp_path / "a-out") == read_files(tmp_path / "b-out")

    tags_by_name, artifacts, finished = _seen_by_the_server(start)
    names = set(tags_by_name)
    assert tags_by_name["decompose-clips-0001"] == [], "no tag has a limit"
    assert finished["resource"]["effectpairs.failures"] == "no"
    assert finished["payload"] == with_prefect
    assert {
        "scan-videos-0000",
        "normalise-planned-0000",
        "subject-clips-0000",
        "decompose-clips-0001",
        "quality-clips-0000",
    } <= names
    assert any(name.startswith("shard-data/train/real-") for name in names)
    assert {"tiny-pairs", "tiny-account", "corpus-counts"} <= artifacts


def _seen_by_the_server(since: datetime) -> tuple[dict[str, list[str]], set[str], dict[str, Any]]:
    """Tags of the tasks by their names, keys of the artifacts, and the event of the source's end, from then on.

    Other tests run the same source on the same server.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterStartTime

    with get_client(sync_client=True) as client:
        started = TaskRunFilterStartTime(after_=since)
        runs = client.read_task_runs(task_run_filter=TaskRunFilter(start_time=started), limit=200)
        artifacts = client.request("POST", "/artifacts/filter", json={"limit": 200}).json()
        event: dict[str, Any] = {}
        query = {
            "event": {"name": ["effectpairs.run.finished"]},
            "resource": {"id": ["effectpairs.source.tiny"]},
            "occurred": {"since": since.isoformat()},
        }

        def has_event() -> bool:
            events = client.request("POST", "/events/filter", json={"filter": query, "limit": 1}).json()["events"]
            event.update(next(iter(events), {}))
            return bool(event)

        assert wait_until(has_event, 60.0), "no event of the run's end"
    return {run.name: sorted(run.tags) for run in runs}, {artifact["key"] for artifact in artifacts}, event


@pytest.mark.parametrize(
    ("transient", "tries"), [(True, 2), (False, 1)], ids=["a dead worker is tried again", "bad input is not"]
)
def test_only_what_can_pass_is_tried_again(prefect_server, source_file, tmp_path, monkeypatch, transient, tries):
    from effectpairs.flows import prefect_runner
    from effectpairs.flows.real_pairs import real_pairs

    seen: list[str] = []

    real = prefect_runner.run_in_worker

    def run_in_worker(kind, source, workspace, stage, batch, worker):
        if stage.phase != "pairs":
            return real(kind, source, workspace, stage, batch, worker)
        seen.append(stage.name)
        failure = Failure(item="x", stage=stage.name, reason="because", transient=transient)
        return [failure] if stage.name == "subject" else []

    monkeypatch.setattr(prefect_runner, "run_in_worker", run_in_worker)
    account = real_pairs(str(source_file), str(tmp_path / "w"), ["include=['first']"], 1)
    chunks = seen.count("quality")
    assert seen.count("subject") == tries * chunks
    assert seen.count("decompose") == chunks
    assert account["failed"] == account["inputs"]


@pytest.mark.parametrize(
    ("problem", "transient"),
    [
        (WorkerDied("gone"), True),
        (MemoryError(), True),
        (OSError(5, "Input/output error"), True),
        (OSError(28, "No space left on device"), False),
        (PermissionError(13, "Permission denied"), False),
        (ValueError("bad input"), False),
        (TypeError("a fault of ours"), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_what_can_pass_on_a_second_try(problem, transient):
    assert is_transient(problem) is transient


def test_importing_the_flow_loads_nothing_heavy():
    code = "import sys, effectpairs.flows.real_pairs; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "diffusers", "bpy", "pandas", "matplotlib", "duckdb"} & set(loaded)


def test_every_source_has_a_deployment():
    declared = yaml.safe_load((Path(__file__).parents[1] / "prefect.yaml").read_text())["deployments"]
    of_sources = [one for one in declared if "source" in one["parameters"]]
    assert sorted(one["name"] for one in of_sources) == sorted(source_names())
    for one in of_sources:
        assert one["parameters"] == {"source": one["name"]}
        flow = FLOWS[load_any(one["name"]).flow]
        assert one["entrypoint"] == f"{flow.fn.__module__}.{flow.fn.__name__}"
    for one in declared:
        module, _, name = one["entrypoint"].rpartition(".")
        assert callable(getattr(__import__(module, fromlist=[name]), name))
