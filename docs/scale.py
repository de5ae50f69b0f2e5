"""Cost of 1, 100 and 10,000 hours of footage on 1, 10 and 1,000 machines: `python docs/scale.py` writes docs/scale.md.

It computes from docs/scale.json; `python docs/scale.py --measure FOLDER` measures that first. FOLDER holds clips in the
layout `gen-omnimatte`: a folder a clip, with input_video.mp4 and a mask for each subject.
"""

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FRAMES, FPS, SIZE = 85, 16, "384x672"
"""Clips as the default settings normalise them."""
HOURS, MACHINES = (1, 100, 10_000), (1, 10, 1_000)
CORES, MEMORY_GB = 32, 128
"""Assumed machine."""
DISK_MB_S = 2_000
"""Assumed: sequential writing of one NVMe disk (makers' sheets say 2,000 to 7,000)."""
DISK_TB = 8
"""Assumed: that disk's capacity."""
NETWORK_MB_S = 1_250
"""Assumed: a machine's 10 Gbit/s."""
PUTS_S, GETS_S = 3_500, 5_500
"""Requests a second that S3 serves for one prefix before it answers 503 (Amazon S3 User Guide, "Optimizing
performance"); PUT, POST, DELETE and LIST count as the former, GET and HEAD as the latter."""
READ_BLOCK_BYTES = 5 * 2**20
"""Bytes of a request when a large file is read through, by s3fs's default; requests were counted on small clips."""
WRITES = ("PUT", "POST", "DELETE", "LIST")
REMEDIES = {
    "compute": "more or faster cores; it scales with machines, so nothing has to change",
    "disk space": "a workspace on object storage, or more disks",
    "disk": "a second disk, or object storage",
    "network": "machines with 25 Gbit/s or more; layers that neighbouring stages share stay in a worker already",
    "S3 requests": "S3 splits a prefix under load, and the keys' first two digits let it; fewer listings a result",
    "Prefect's server": "larger batches, PostgreSQL with several servers, or `--no-prefect` for parts of a source",
    "planning": "a source a day's footage; a planner that reads keys from one index instead of a result a stage",
    "publishing": "tasks of shards on several machines (Dask or Ray) in place of one machine's threads",
}
"""What would have to change, by the resource that is the bottleneck."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """So many hours of footage on so many machines."""

    measured: Mapping[str, Any]
    hours: int
    machines: int

    @property
    def clips(self) -> float:
        """Clips of one subject each."""
        return self.hours * 3600 / (FRAMES / FPS)

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all stages, publishing and verifying."""
        return self.clips * _of_storage(self.measured["cpu_s"])

    @property
    def stored_bytes(self) -> float:
        """Bytes in store and corpus."""
        return self.clips * (self.measured["bytes"]["store"] + self.measured["bytes"]["corpus, exact"])

    @property
    def tasks(self) -> float:
        """Prefect's task runs."""
        return self.clips * self.measured["tasks"]

    @property
    def requests(self) -> dict[str, float]:
        """Requests to object storage: those that write or list, and those that read. One machine uses its disk."""
        verbs = sum((Counter(self.measured["requests"][name]) for name in ("run", "publish", "verify")), Counter())
        writes = sum(count for verb, count in verbs.items() if verb in WRITES)
        reads = verbs.total() - writes + self.measured["bytes"]["corpus, exact"] / READ_BLOCK_BYTES
        remote = self.clips * (self.machines > 1)
        return {"writes": remote * writes, "reads": remote * reads}

    @property
    def times_s(self) -> dict[str, float]:
        """Seconds that each resource is busy at least; the largest is the bottleneck."""
        moved = self.stored_bytes * 2  # written, and read again by a later stage or to be verified
        seconds, plan = self.measured["cpu_s"], self.measured["plan"]
        times = {
            "compute": self.cpu_s / (self.machines * CORES),
            "Prefect's server": self.tasks * self.measured["prefect"]["server_cpu_s"],
            "planning": self.clips * (seconds["list"] + 4 * plan["cpu_s"]),  # before each of 3 phases, and to report
            "publishing": self.clips * seconds["publish, exact"] / CORES,
        }
        if self.machines == 1:
            return times | {"disk": moved / (DISK_MB_S * 1e6)}
        rates = {"writes": PUTS_S, "reads": GETS_S}
        return times | {
            "network": moved / (self.machines * NETWORK_MB_S * 1e6),
            "S3 requests": max(self.requests[kind] / rate for kind, rate in rates.items()),
        }

    @property
    def bottlenecks(self) -> list[str]:
        """Resources, the scarcest first."""
        times = self.times_s
        full = self.machines == 1 and self.stored_bytes > DISK_TB * 1e12
        return ["disk space"] * full + sorted(times, key=lambda name: -times[name])


def _of_storage(by_step: Mapping[str, float]) -> float:
    return sum(value for name, value in by_step.items() if not name.endswith(", fast"))


def page(measured: Mapping[str, Any]) -> list[str]:
    """The page."""
    cells = [Cell(measured=measured, hours=hours, machines=machines) for hours in HOURS for machines in MACHINES]
    per_hour = Cell(measured=measured, hours=1, machines=1)
    plan, prefect, size = measured["plan"], measured["prefect"], measured["bytes"]
    lines = [
        "# What large corpora cost",
        "",
        f"Computed by `docs/scale.py` from `scale.json`, which it measured on real footage (clips: "
        f"{measured['clips']}) of {FRAMES} frames of {SIZE} at {FPS} fps; an hour is {per_hour.clips:.0f} of them. "
        "Each has one subject. The backends are those that need no weights.",
        "",
        "## Measured, a clip",
        "",
        "| step | CPU s |",
        "|---|---|",
        *(f"| {name} | {seconds:.2f} |" for name, seconds in measured["cpu_s"].items()),
        f"| **all, stored exactly** | **{_of_storage(measured['cpu_s']):.1f}** |",
        "",
        "| what lies there | MB |",
        "|---|---|",
        *(f"| {name} | {count / 1e6:.1f} |" for name, count in size.items()),
        "",
        "| requests to object storage | "
        + " | ".join(verbs := ("GET", "HEAD", "LIST", "PUT", "POST", "DELETE"))
        + " |",
        "|---|" + "---|" * len(verbs),
        *(
            f"| {name} | " + " | ".join(f"{of.get(verb, 0):.1f}" for verb in verbs) + " |"
            for name, of in measured["requests"].items()
        ),
        "",
        f"Planning, where a clip is done: {plan['cpu_s'] * 1e3:.1f} ms and {plan['bytes'] / 1e3:.0f} kB of memory "
        f"(measured on {plan['clips']} clips). A clip takes {measured['tasks']:.1f} task runs of Prefect; each costs "
        f"{prefect['client_cpu_s'] * 1e3:.0f} ms of CPU in the flow's process, "
        f"{prefect['server_cpu_s'] * 1e3:.0f} ms in the server, and {prefect['database_bytes'] / 1e3:.1f} kB of data.",
        "",
        "## Assumed",
        "",
        f"- A machine has {CORES} cores of the measured speed, {MEMORY_GB} GB, one NVMe disk of {DISK_TB} TB that "
        f"writes {DISK_MB_S:,} MB/s (makers' sheets), and {NETWORK_MB_S:,} MB/s of network (10 Gbit/s). "
        "One machine keeps its workspace on its disk, several on object storage.",
        f"- S3 serves {PUTS_S:,} writes or listings and {GETS_S:,} reads a second for a prefix (Amazon S3 User Guide).",
        "- Each byte is moved twice: written, and read once by a later stage or to be verified.",
        "- One process plans, one Prefect server runs on one core, one machine's threads publish; all cores compute.",
        "",
        "## Computed",
        "",
        "| hours | clips | CPU hours | store and corpus | task runs | database | memory of planning |",
        "|---|---|---|---|---|---|---|",
    ]
    for hours in HOURS:
        cell = Cell(measured=measured, hours=hours, machines=1)
        lines.append(
            f"| {hours:,} | {cell.clips:,.0f} | {cell.cpu_s / 3600:,.0f} | {_bytes(cell.stored_bytes)} "
            f"| {cell.tasks:,.0f} | {_bytes(cell.tasks * prefect['database_bytes'])} "
            f"| {_bytes(cell.clips * plan['bytes'])} |"
        )
    names = ("compute", "disk", "network", "S3 requests", "Prefect's server", "planning", "publishing")
    lines += [
        "",
        "Hours that each resource is busy; the largest is the first bottleneck, and about the time of the whole.",
        "",
        "| footage, h | machines | " + " | ".join(names) + " | requests | next | first bottleneck |",
        "|---|---|" + "---|" * (len(names) + 3),
    ]
    for cell in cells:
        times = cell.times_s
        busy = " | ".join(_hours(times[name]) if name in times else "-" for name in names)
        first, then = cell.bottlenecks[:2]
        requests = sum(cell.requests.values())
        lines.append(f"| {cell.hours:,} | {cell.machines:,} | {busy} | {requests:,.0f} | {then} | **{first}** |")
    named = dict.fromkeys(name for cell in cells for name in cell.bottlenecks[:2])
    lines += ["", "What would have to change:", "", *(f"- {name}: {REMEDIES[name]}." for name in named)]
    return lines


def _bytes(count: float) -> str:
    unit, name = next(
        ((u, n) for u, n in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB")) if count >= u), (1e3, "kB")
    )
    return f"{count / unit:.3g} {name}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.0f}" if seconds >= 36_000 else f"{seconds / 3600:.2g}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", metavar="FOLDER", help="measure on this footage first; takes minutes a clip")
    figures = Path(__file__).with_suffix(".json")
    if (footage := parser.parse_args().measure) is not None:
        from measure_scale import measure

        figures.write_text(json.dumps(measure(footage), indent=1) + "\n")
    Path(__file__).with_suffix(".md").write_text("\n".join(page(json.loads(figures.read_text()))) + "\n")
