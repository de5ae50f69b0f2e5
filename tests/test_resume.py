"""Killed at any moment, a run goes on where it was and ends with the bytes of a run that nobody disturbed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

KILLS = 20


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def start(source: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Run the source and publish it, as a user's script would, in a process group of its own."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from effectpairs.datasets.corpus.publish import PublishSettings\n"
        "from effectpairs.datasets.sources.source import load_source\n"
        "from effectpairs.flows.engine.local_runner import publish_locally, run_locally\n"
        "from effectpairs.flows.sources import open_run\n"
        "from effectpairs.flows.footage.source import RealSource\n"
        "if __name__ == '__main__':\n"
        "    source, folder = load_source(sys.argv[1], into=RealSource), Path(sys.argv[2])\n"
        "    run_locally(open_run(source, folder / 'workspace', workers=2))\n"
        "    everything = PublishSettings(include=('accept', 'review', 'reject'), shard_bytes=1)\n"
        "    publish_locally(str(folder / 'corpus'), folder / 'workspace', everything)\n"
    )
    folder.mkdir(exist_ok=True)
    script = folder / "script.py"
    script.write_text(code)
    return subprocess.Popen([sys.executable, str(script), str(source), str(folder)], start_new_session=True)


@pytest.mark.slow
def test_killed_at_twenty_random_moments_it_ends_with_the_same_bytes(source_file, tmp_path):
    begun = time.monotonic()
    assert start(source_file, tmp_path / "clean").wait() == 0
    whole_s = time.monotonic() - begun
    rng = random.Random(0)
    kills = 0
    for _ in range(4 * KILLS):
        process = start(source_file, tmp_path / "killed")
        time.sleep(rng.uniform(0.3, 0.95) * whole_s)
        if process.poll() is None:
            # The main process alone: its workers must see to their own end.
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
        if kills == KILLS:
            break
        _forget_something(tmp_path / "killed", rng)
    assert kills == KILLS
    # A worker of the killed run may outlive the sweep at the start of the next; then the one after that sweeps for it.
    for _ in range(2):
        assert start(source_file, tmp_path / "killed").wait() == 0
    assert files_of(tmp_path / "killed" / "corpus") == files_of(tmp_path / "clean" / "corpus")
    assert files_of(tmp_path / "killed" / "workspace" / "store") == files_of(tmp_path / "clean" / "workspace" / "store")


def _forget_something(folder: Path, rng: random.Random) -> None:
    """Throw part of the finished work away, so that the next run has something to be killed in."""
    for stage in sorted((folder / "workspace").glob("store/*")):
        if rng.random() < 0.4:
            _remove(stage)
    for shard in sorted((folder / "corpus").glob("data/*/*.parquet")):
        if rng.random() < 0.5:
            shard.unlink()


def _remove(folder: Path) -> None:
    """Workers see to their end within half a second of their parent's; until then one may still finish a result."""
    deadline = time.monotonic() + 20
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)
    assert not folder.exists()
