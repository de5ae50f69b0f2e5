"""Runs that are disturbed on purpose, beside one that nobody disturbed, and what must hold after each of them."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from effectpairs.datasets.store.ledger import read_account
from effectpairs.datasets.store.location import Location
from effectpairs.tests.fixtures_processes import Victim, is_alive, wait_until, whole_group
from effectpairs.tests.fixtures_workspaces import read_files

_SCRIPT = """
import sys
from effectpairs.cli.app import main
source, workspace, corpus, *options = sys.argv[1:]
for words in (
    ["run", source, "--workspace", workspace, *options],
    ["publish", corpus, "--workspace", workspace, "--include", "accept,review,reject", "--no-prefect"],
):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""


Disturbance = Callable[[subprocess.Popen[bytes]], bool]
"""Disturbs a run, given its process; returns whether it came in time."""


@dataclass(kw_only=True)
class Trial:
    """One source that is run and published again and again, each time disturbed, after a first time that is not."""

    source: Path
    folder: Path
    """Local files of the trial."""
    place: str = ""
    """Folder or URL of workspace and corpus; the trial's folder if not given."""
    options: Sequence[str] = ("--no-prefect", "--workers", "2")
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.place = self.place or str(self.folder)
        begun = time.monotonic()
        self.finish()
        self.whole_s = time.monotonic() - begun
        self.clean, self.clean_store = read_files(f"{self.place}/corpus"), read_files(f"{self.place}/workspace/store")
        self.clean_account = self.account()

    def start(self) -> subprocess.Popen[bytes]:
        """Run the source and publish it, as a user would, in a process group of its own."""
        words = (self.source, f"{self.place}/workspace", f"{self.place}/corpus", *self.options)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", _SCRIPT, *map(str, words)],
                stdout=log,
                stderr=log,
                env=os.environ | dict(self.environment),
                cwd=self.folder,
                start_new_session=True,
            )

    def finish(self) -> None:
        """Run and publish undisturbed."""
        assert self.start().wait(600) == 0, self.log.read_text()[-3000:]

    def disturb(self, disturb: Disturbance, rng: random.Random) -> bool:
        """Do something at a random moment of a run; return whether it was done, and wait until the run is over."""
        self.forget_something(rng)
        process = self.start()
        time.sleep(rng.uniform(0.2, 0.95) * self.whole_s)
        below: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            below = whole_group(process)
        is_done = bool(below) and bool(disturb(process))
        process.wait(600)
        assert wait_until(lambda: not any(is_alive(one) for one in below), 60.0), "a process outlived its run"
        return is_done

    def forget_something(self, rng: random.Random) -> None:
        """Throw part of the finished work away, so that the next run has something to do."""
        place = Location(self.place)
        for name in place.names():
            is_result = name.startswith("workspace/store/") and name.endswith("/result.json")
            is_shard = name.startswith("corpus/data/")
            if (is_result and rng.random() < 0.4) or (is_shard and rng.random() < 0.5):
                place.remove(name)

    def check(self) -> None:
        """Run to the end; assert that corpus, account and results are those of the undisturbed run, and no more."""
        self.finish()
        assert read_files(f"{self.place}/corpus") == self.clean
        assert self.account() == self.clean_account
        if read_files(f"{self.place}/workspace/store") != self.clean_store:
            # What a killed run left may be swept by the run after the next: its worker can still count as alive before.
            self.finish()
            assert read_files(f"{self.place}/workspace/store") == self.clean_store

    def account(self) -> Any:
        """Sums of the source's account."""
        return read_account(f"{self.place}/workspace", self.source.stem)[0]

    @property
    def log(self) -> Path:
        """File of all that the runs printed."""
        return self.folder / "log.txt"


def kill(victim: Victim) -> Disturbance:
    """A disturbance: `kill -9` of what the victim finds."""

    def disturb(process: subprocess.Popen[bytes]) -> bool:
        victims: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):  # the run has just ended
            victims = victim(process)
        for one in victims:
            with contextlib.suppress(psutil.Error):
                one.send_signal(signal.SIGKILL)
        return bool(victims)

    return disturb
