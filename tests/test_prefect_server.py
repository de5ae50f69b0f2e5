"""Prefect's server beside a run: one of its own, one on PostgreSQL that breaks down, and one that cancels the run."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from effectpairs.datasets.store.ledger import read_account
from effectpairs.flows.prefect_runner import CANCELLATION_POLL_S
from effectpairs.tests.fixtures_processes import (
    PREFECT_SETTINGS,
    PrefectServer,
    child_with,
    command_of,
    is_alive,
    postgres_server,
    wait_until,
    whole_group,
)
from effectpairs.tests.fixtures_scene import sliding_square, write_h264

VIDEOS = 3


@pytest.fixture
def slow_source(tmp_path: Path) -> Path:
    """Some clips that take seconds each, so that there is time to disturb a run."""
    for seed in range(VIDEOS):
        scene = sliding_square(85, 192, 336, seed=seed)
        write_h264(tmp_path / "footage" / f"video{seed}" / "input_video.mp4", scene.gt)
        write_h264(tmp_path / "footage" / f"video{seed}" / "mask_00.mp4", scene.subject_mask)
    path = tmp_path / "slow.toml"
    path.write_text(
        f'root = "{tmp_path / "footage"}"\nlayout = "gen-omnimatte"\nlicence = "CC0"\norigin = "made by the tests"\n'
        "[normalise]\nsize = [192, 336]\n"
    )
    return path


def start_run(source: Path, folder: Path, **settings: str) -> subprocess.Popen[bytes]:
    """`effectpairs run` in a folder, with Prefect settings of its own."""
    environment = os.environ | PREFECT_SETTINGS | {"PREFECT_HOME": str(folder / "prefect")} | settings
    command = [sys.executable, "-m", "effectpairs", "run", str(source), "--workers", "1"]
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)


def all_below(process: subprocess.Popen[bytes], words: str) -> list[psutil.Process]:
    """The process and all that it started, once there is one with these words among them."""
    assert wait_until(lambda: child_with(words)(process) or process.poll() is not None, 240.0)
    assert process.poll() is None, "it ended before its time"
    return whole_group(process)


@pytest.mark.slow
def test_a_killed_run_leaves_no_prefect_server_behind(slow_source, tmp_path):
    process = start_run(slow_source, tmp_path)
    all_below(process, "spawn_main")
    time.sleep(5 * CANCELLATION_POLL_S)  # a second server would take some seconds to come
    everything = whole_group(process)
    assert not any("--factory" in command_of(one) for one in everything), "Prefect started a second server"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert wait_until(lambda: not any(map(is_alive, everything)), 60.0)


@pytest.mark.slow
def test_on_postgresql_a_run_is_cancelled_and_another_outlives_the_database(slow_source, tmp_path):
    with contextlib.ExitStack() as servers:
        postgres = servers.enter_context(postgres_server())
        server = servers.enter_context(PrefectServer(tmp_path, PREFECT_API_DATABASE_CONNECTION_URL=postgres.url))
        cancelled = start_run(slow_source, tmp_path, PREFECT_API_URL=server.url)
        everything = all_below(cancelled, "spawn_main")
        run_id = server.ask("/flow_runs/filter", {})[0]["id"]
        server.ask(f"/flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}})
        assert cancelled.wait(60) == 1
        assert "the run was cancelled; run again to go on where it was" in (tmp_path / "log.txt").read_text()
        assert wait_until(lambda: not any(map(is_alive, everything)), 20.0)
        assert server.ask(f"/flow_runs/{run_id}")["state"]["type"] == "CANCELLED"

        disturbed = start_run(slow_source, tmp_path, PREFECT_API_URL=server.url)
        all_below(disturbed, "spawn_main")
        postgres.kill()
        time.sleep(2)
        postgres.start()
        assert disturbed.wait(240) in (0, 1)  # it went on, or ended with a sentence
        assert start_run(slow_source, tmp_path, PREFECT_API_URL=server.url).wait(240) == 0
        account = read_account(tmp_path / "workspace", "slow")[0]
        assert (account.inputs, account.failed) == (VIDEOS, 0)
        assert wait_until(lambda: server.ask("/flow_runs/count", {}) >= 2, 60.0)
