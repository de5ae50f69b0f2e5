"""A source by its deployment, served or from a work pool, on a real Prefect server, as users type the commands."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from effectpairs.datasets.store.ledger import read_account
from effectpairs.tests.fixtures_processes import PREFECT_SETTINGS, PrefectServer

PREFECT = Path(sys.executable).with_name("prefect")
PROJECT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_source_runs_when_its_deployment_is_called_served_or_by_a_work_pool(source_file, tmp_path):
    server = PrefectServer(tmp_path)
    environment = (
        os.environ
        | PREFECT_SETTINGS
        | {"PREFECT_HOME": str(tmp_path / "home"), "PREFECT_API_URL": server.url}
        | {"EFFECTPAIRS_PLACES": str(tmp_path)}
    )
    log = (tmp_path / "log.txt").open("wb")

    def start(*command: object, cwd: Path = tmp_path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([str(part) for part in command], env=environment, cwd=cwd, stdout=log, stderr=log)

    served = worker = None
    try:
        server.start()
        served = start(sys.executable, "-m", "effectpairs", "serve", source_file, "--corpus", "corpus")
        include = 'settings={"include": ["accept", "review", "reject"]}'
        for deployment, parameters in (("real-pairs/tiny", ()), ("corpus/publish", ("--param", include))):
            done = _run_when_served((PREFECT, "deployment", "run", deployment, "--watch", *parameters), environment)
            assert "Completed" in done.stdout, done.stdout + done.stderr + (tmp_path / "log.txt").read_text()
        assert read_account(tmp_path / "workspace", "tiny")[0].inputs == 4
        assert (tmp_path / "corpus" / "corpus.json").is_file()
        refused = [PREFECT, "deployment", "run", "real-pairs/tiny", "--watch", "--param", 'overrides=["root=/etc"]']
        assert subprocess.run(
            [str(part) for part in refused], env=environment, capture_output=True, timeout=300
        ).returncode
        assert "'/etc' is not among the places that deployments may name" in (tmp_path / "log.txt").read_text()

        assert start(PREFECT, "work-pool", "create", "effectpairs", "--type", "process").wait(120) == 0
        assert start(PREFECT, "--no-prompt", "deploy", "--name", "videos", cwd=PROJECT).wait(120) == 0
        worker = start(PREFECT, "worker", "start", "--pool", "effectpairs")
        parameters = ("--param", f"source={source_file}", "--param", f"workspace={tmp_path / 'pooled'}")
        done = _run_when_served(
            (PREFECT, "deployment", "run", "real-pairs/videos", "--watch", *parameters), environment
        )
        assert "Completed" in done.stdout, done.stdout + done.stderr + (tmp_path / "log.txt").read_text()
        assert read_account(tmp_path / "pooled", "tiny")[0].inputs == 4
    finally:
        for process in (worker, served, server.process):
            if process is not None:
                process.terminate()
                process.wait(60)
        log.close()


def _run_when_served(command: tuple[object, ...], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Call a deployment; `serve` needs some seconds until the server knows it."""
    deadline = time.monotonic() + 120
    while True:
        arguments = [str(part) for part in command]
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=300)
        if done.returncode == 0 or time.monotonic() > deadline:
            return done
        time.sleep(1)
