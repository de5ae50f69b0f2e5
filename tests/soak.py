"""Everything that breaks, for a while: processes killed at random moments, memory and disks that end, runs that meet.

    python tests/soak.py --minutes 32 --out docs/soak.md        (`make soak`)

After each disturbance the run is started again; its corpus, its account and its results must then be those of a run
that nobody disturbed, with no process left over. A scenario ends with its share of the time; what it could not do here
(no root for a small disk, no Blender) it says. Two scenarios go on at once. `tests/test_resume.py` and others are the
short form.
"""

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from effectpairs.tests.fixtures_damaged_media import run_damaged
from effectpairs.tests.fixtures_faults import Disturbance, Trial, kill
from effectpairs.tests.fixtures_processes import (
    PREFECT_SETTINGS,
    PrefectServer,
    child_with,
    command_of,
    main_process,
    postgres_server,
    whole_group,
)
from effectpairs.tests.fixtures_s3 import BUCKET, s3_server
from effectpairs.tests.fixtures_scene import sliding_square, write_h264

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
BLENDER = Path(__file__).parents[1] / ".venv-blender"


AT_ONCE = 2
"""Scenarios that go on at once, each with runs of its own."""


@dataclass
class Tally:
    """What one scenario did."""

    name: str
    disturbances: int = 0
    started_too_late: int = 0
    seconds: float = 0.0
    remark: str = ""


@dataclass(kw_only=True)
class Soak:
    """One pass over all scenarios."""

    folder: Path
    minutes: float
    rng: random.Random
    tallies: list[Tally] = field(default_factory=list)

    def footage(self) -> Path:
        """Settings of a source of two tiny videos, four clips in all."""
        root, path = self.folder / "footage", self.folder / "tiny.toml"
        if path.exists():
            return path
        for name, seed in (("first", 1), ("second", 2)):
            scene = sliding_square(29, seed=seed)
            write_h264(root / name / "input_video.mp4", scene.gt)
            write_h264(root / name / "mask_00.mp4", scene.subject_mask)
        path.write_text(
            f'root = "{root}"\nlayout = "gen-omnimatte"\nlicence = "CC0"\norigin = "made for tests"\n'
            "[normalise]\nsize = [48, 80]\nmax_frames = 13\n"
        )
        return path

    def scenes(self) -> Path:
        """Settings of a source of three tiny rendered scenes."""
        path = self.folder / "scenes.toml"
        path.write_text(
            'flow = "synthetic-pairs"\nlicence = "CC0"\norigin = "made for tests"\ncount = 3\nframes = 5\n'
            'size = [48, 80]\n[generator]\nkind = "blender"\n'
        )
        return path

    def repeat(self, name: str, trial: Trial, *disturbances: Disturbance, share: float) -> None:
        """Disturb a trial in turn, and check it after each time, until the scenario's share of the time is over."""
        tally, begun = Tally(name), time.monotonic()
        self.tallies.append(tally)
        while time.monotonic() < begun + share * self.minutes * 60 * AT_ONCE:
            disturb = disturbances[(tally.disturbances + tally.started_too_late) % len(disturbances)]
            if trial.disturb(disturb, self.rng):
                tally.disturbances += 1
            else:
                tally.started_too_late += 1
            trial.check()
        tally.seconds = time.monotonic() - begun
        print(f"{name}: {tally.disturbances} in {tally.seconds:.0f} s", flush=True)


def local_kills(soak: Soak) -> None:
    """The main process, its whole group, and single workers, without Prefect."""
    for name, victim in (
        ("kill -9 of the main process", main_process),
        ("kill -9 of the whole group", whole_group),
        ("kill -9 of a worker", child_with("spawn_main")),
    ):
        trial = Trial(source=soak.footage(), folder=soak.folder / name.replace(" ", "-"))
        soak.repeat(name, trial, kill(victim), share=0.10)


def blender_kills(soak: Soak) -> None:
    """Blender in the middle of a render, and the process that started it."""
    if not BLENDER.exists():
        soak.tallies.append(Tally("kill -9 of Blender", remark="not run: make blender"))
        return
    trial = Trial(source=soak.scenes(), folder=soak.folder / "blender")
    soak.repeat("kill -9 of Blender or of the main process", trial, kill(_blender), kill(main_process), share=0.10)


def object_storage(soak: Soak) -> None:
    """A workspace and corpus on S3: the client is killed, and the server, which comes back."""
    folder = soak.folder / "s3"
    folder.mkdir()
    with s3_server(folder) as server:
        trial = Trial(source=soak.footage(), folder=folder, place=f"s3://{BUCKET}/soak")

        def restart(process: subprocess.Popen[bytes]) -> bool:
            server.kill()
            time.sleep(1)
            server.start()
            return True

        name = "S3: kill -9 of the server, which comes back, or of the main process"
        soak.repeat(name, trial, restart, kill(main_process), share=0.10)


def engines(soak: Soak) -> None:
    """A worker of Dask and of Ray, on a cluster of the run."""
    for engine, words in (("dask", "spawn_main"), ("ray", "ray::")):
        options = ("--engine", engine, "--workers", "2")
        environment = PREFECT_SETTINGS | {"PREFECT_HOME": str(soak.folder / engine / "prefect")}
        trial = Trial(source=soak.footage(), folder=soak.folder / engine, options=options, environment=environment)
        soak.repeat(f"kill -9 of a {engine.title()} worker", trial, kill(child_with(words)), share=0.06)


def prefect_and_postgres(soak: Soak) -> None:
    """Prefect's server and its PostgreSQL database in the middle of a run; both come back."""
    folder = soak.folder / "prefect"
    folder.mkdir()
    with contextlib.ExitStack() as servers:
        postgres = servers.enter_context(postgres_server())
        settings = {"PREFECT_API_DATABASE_CONNECTION_URL": postgres.url}
        prefect = servers.enter_context(PrefectServer(folder, **settings))
        environment = PREFECT_SETTINGS | {"PREFECT_HOME": str(folder / "home"), "PREFECT_API_URL": prefect.url}
        trial = Trial(source=soak.footage(), folder=folder, options=("--workers", "2"), environment=environment)

        def restart(server: Any) -> Disturbance:
            def disturb(process: subprocess.Popen[bytes]) -> bool:
                server.kill()
                time.sleep(1)
                server.start()
                return True

            return disturb

        name = "kill -9 of Prefect's server or of PostgreSQL, which come back"
        soak.repeat(name, trial, restart(prefect), restart(postgres), share=0.10)


def memory_and_clock(soak: Soak) -> None:
    """A worker that gets no more memory; and a clock that is ten days behind in every second run."""
    trial = Trial(source=soak.footage(), folder=soak.folder / "memory")
    soak.repeat("a worker gets no more memory", trial, _stop_memory, share=0.04)
    if not FAKETIME.exists():
        soak.tallies.append(Tally("a clock that jumps back", remark="not run: apt-get install faketime"))
        return
    trial.environment = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": "-10d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def forward_again(process: subprocess.Popen[bytes]) -> bool:
        trial.environment = {} if trial.environment else {"LD_PRELOAD": str(FAKETIME), "FAKETIME": "-10d"}
        return kill(main_process)(process)

    soak.repeat("a clock that jumps ten days back and forth, and a kill", trial, forward_again, share=0.04)


def full_disk(soak: Soak) -> None:
    """A disk that is full, and one that turns read-only, in the middle of a run."""
    name = "a disk that is full, or turns read-only"
    with small_disk(soak.folder / "disk") as disk:
        if disk is None:
            soak.tallies.append(Tally(name, remark="not run: it takes root to mount a small disk"))
            return
        trial = Trial(source=soak.footage(), folder=soak.folder / "full", place=str(disk))

        def fill(process: subprocess.Popen[bytes]) -> bool:
            with contextlib.suppress(OSError), (disk / "filler").open("wb") as file:
                while True:
                    file.write(b"0" * 4096)
            process.wait(120)
            (disk / "filler").unlink()
            return True

        def write_protect(process: subprocess.Popen[bytes]) -> bool:
            # A file that is open for writing keeps a file system from turning read-only: try until there is none.
            while process.poll() is None and not _remount(disk, "ro"):
                time.sleep(0.01)
            process.wait(120)
            return _remount(disk, "rw")

        soak.repeat(name, trial, fill, write_protect, share=0.05)


def meetings(soak: Soak) -> None:
    """Two runs of one source, a run and a publishing, two publishings, at the same time."""
    trial = Trial(source=soak.footage(), folder=soak.folder / "meetings")

    def second_run(process: subprocess.Popen[bytes]) -> bool:
        return trial.start().wait(300) in (0, 1)

    name = "two runs and publishings of one source at once"
    soak.repeat(name, trial, second_run, share=0.04)


def damaged_media(soak: Soak) -> None:
    """Three hundred media files of every format, damaged by a seeded mutator, in one source with good ones."""
    figures = run_damaged(soak.folder / "damaged", 300, seed=soak.rng.randrange(1000), timeout_s=1800.0)
    name = f"damaged media files, the most memory of a process {figures['peak_MiB']} MiB"
    soak.tallies.append(Tally(name, disturbances=300, seconds=figures["seconds"]))
    print(f"{name}: 300 in {figures['seconds']:.0f} s", flush=True)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system of a few MB; None where this user may not mount one."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    is_mounted = os.getuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield folder if is_mounted else None
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def _remount(disk: Path, how: str) -> bool:
    return subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], capture_output=True).returncode == 0


def _blender(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return [child for child in whole_group(process) if str(BLENDER) in " ".join(command_of(child)[:1])][:1]


def _stop_memory(process: subprocess.Popen[bytes]) -> bool:
    for worker in child_with("spawn_main")(process):
        worker.rlimit(psutil.RLIMIT_AS, (worker.memory_info().vms + 2**20,) * 2)
        return True
    return False


SCENARIOS: tuple[Callable[[Soak], None], ...] = (
    local_kills,
    prefect_and_postgres,
    engines,
    object_storage,
    blender_kills,
    memory_and_clock,
    full_disk,
    meetings,
    damaged_media,
)
"""The longest first: two at once then end at about the same time."""


def attempt(scenario: Callable[[Soak], None], soak: Soak) -> bool:
    """Go through a scenario; return whether all held. The others go on, and the page names what did not."""
    try:
        scenario(soak)
    except Exception as problem:
        traceback.print_exc()
        soak.tallies.append(Tally(scenario.__name__, remark=f"FAILED: {type(problem).__name__}"))
        return False
    return True


def write_page(soak: Soak, path: Path, took_s: float) -> None:
    """Write the figures as a page."""
    lines = [
        "# What a run survives",
        "",
        f"Measured by `python tests/soak.py --minutes {soak.minutes:g}`, {AT_ONCE} scenarios at a time, in "
        f"{took_s / 60:.0f} minutes. After each disturbance the",
        "same command ran again; then corpus (every byte of every file), account and results in the store were as in",
        "an undisturbed run, and no process was left over. What came after the end of its run is not counted.",
        "",
        "| what happened in the middle of a run | times | seconds |",
        "|---|---:|---:|",
        *(f"| {one.name} | {one.remark or one.disturbances} | {one.seconds:.0f} |" for one in soak.tallies),
        "",
        f"In all {sum(one.disturbances for one in soak.tallies)} disturbances. `make test` holds a short form of each,",
        "besides failing every single write and commit of the store in turn (`tests/test_store.py`).",
    ]
    path.write_text("\n".join(lines) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=32, help="about how long all scenarios take together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="names of scenarios' functions, with commas")
    parser.add_argument("--out", type=Path, help="page for the figures")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else [scenario.__name__ for scenario in SCENARIOS]
    with tempfile.TemporaryDirectory(prefix="effectpairs-soak-") as folder:
        soak = Soak(folder=Path(folder), minutes=options.minutes, rng=random.Random(options.seed))
        soak.footage()
        begun = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as threads:
            chosen = [scenario for scenario in SCENARIOS if scenario.__name__ in names]
            held = list(threads.map(partial(attempt, soak=soak), chosen))
        if options.out:
            write_page(soak, options.out, time.monotonic() - begun)
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
