"""Cost of 1, 100 and 10,000 hours of footage on 1, 10 and 1,000 machines: `python docs/scale.py` writes docs/scale.md.

It computes from docs/scale.json; `python docs/scale.py --measure SOURCE=ROOT ...` measures that first, on all videos of
those sources and on scenes that Blender draws.
"""

import argparse
import json
import math
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
SPREAD = ("mean", "least", "most")
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
    def rendered_cpu_s(self) -> float:
        """CPU seconds of as many rendered clips: drawing, their stages, publishing and verifying; NaN if unmeasured."""
        rendered, seconds = self.measured.get("rendered"), self.measured["cpu_s"]
        if rendered is None:
            return math.nan
        others = [name for name in seconds if name in rendered["stages"] or ", " in name]
        drawing = rendered["cpu_s"]["render"]["mean"] * FRAMES
        return self.clips * (drawing + _of_storage({name: seconds[name] for name in others}))

    @property
    def stored_bytes(self) -> float:
        """Bytes in store and corpus."""
        return self.clips * sum(self.measured["bytes"][name]["mean"] for name in ("store", "corpus, exact"))

    @property
    def tasks(self) -> float:
        """Prefect's task runs."""
        return self.clips * self.measured["tasks"]

    @property
    def requests(self) -> dict[str, float]:
        """Requests to object storage: those that write or list, and those that read. One machine uses its disk."""
        verbs = sum((Counter(self.measured["requests"][name]) for name in ("run", "publish", "verify")), Counter())
        writes = sum(count for verb, count in verbs.items() if verb in WRITES)
        reads = verbs.total() - writes + self.measured["bytes"]["corpus, exact"]["mean"] / READ_BLOCK_BYTES
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
            "planning": self.clips
            * (seconds["list"]["mean"] + 4 * plan["cpu_s"]),  # before each of 3 phases, and to report
            "publishing": self.clips * seconds["publish, exact"]["mean"] / CORES,
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


def _of_storage(by_step: Mapping[str, Mapping[str, int | float]], what: str = "mean") -> float:
    return sum(values[what] for name, values in by_step.items() if not name.endswith(", fast"))


def page(measured: Mapping[str, Any]) -> list[str]:
    """The page."""
    return [
        "# What large corpora cost",
        "",
        "Computed by `docs/scale.py` from `scale.json`, which it measured on real footage (videos: "
        f"{measured['videos']}, clips: {measured['clips']}, of {FRAMES} frames of {SIZE} at {FPS} fps, one subject "
        f"each). An hour is {3600 * FPS / FRAMES:.0f} such clips. The backends are those that need no weights.",
        "",
        *_measured_lines(measured),
        *_assumed_lines(),
        *_computed_lines(measured),
        *_bottleneck_lines(measured),
    ]


def _measured_lines(measured: Mapping[str, Any]) -> list[str]:
    plan, prefect, seconds = (measured[name] for name in ("plan", "prefect", "cpu_s"))
    total = {what: _of_storage(seconds, what) for what in SPREAD}
    verbs = ("GET", "HEAD", "LIST", "PUT", "POST", "DELETE")
    return [
        "## Measured, a clip",
        "",
        "Means over all clips; least and most are means over the clips of one video.",
        "",
        *_spread_table("step, CPU s", {**seconds, "**all, stored exactly**": total}, 1.0, 2),
        "",
        *_spread_table("what lies there, MB", measured["bytes"], 1e6, 1),
        "",
        *_rendered_lines(measured.get("rendered")),
        "| requests to object storage | " + " | ".join(verbs) + " |",
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
    ]


def _rendered_lines(rendered: Mapping[str, Any] | None) -> list[str]:
    if rendered is None:
        return []
    drawing = rendered["cpu_s"]["render"]
    return [
        f"A rendered clip takes {drawing['mean']:.1f} CPU s a frame in place of the stages up to `quality` "
        f"({drawing['least']:.1f} to {drawing['most']:.1f}, scene by scene; generator `blender`, {SIZE}, 16 samples, "
        f"{rendered['scenes']} scenes, {rendered['clips']} clips of {rendered['frames']} frames), and "
        f"{rendered['bytes']['store']['mean'] * FRAMES / 1e6:.1f} MB of store for {FRAMES} frames.",
        "",
    ]


def _spread_table(title: str, figures: Mapping[str, Mapping[str, int | float]], unit: float, digits: int) -> list[str]:
    rows = (
        f"| {name} | " + " | ".join(f"{values[what] / unit:.{digits}f}" for what in SPREAD) + " |"
        for name, values in figures.items()
    )
    return [f"| {title} | " + " | ".join(SPREAD) + " |", "|---|" + "---:|" * len(SPREAD), *rows]


def _assumed_lines() -> list[str]:
    return [
        "## Assumed",
        "",
        f"- A machine has {CORES} cores of the measured speed, {MEMORY_GB} GB, one NVMe disk of {DISK_TB} TB that "
        f"writes {DISK_MB_S:,} MB/s (makers' sheets), and {NETWORK_MB_S:,} MB/s of network (10 Gbit/s). "
        "One machine keeps its workspace on its disk, several on object storage.",
        f"- S3 serves {PUTS_S:,} writes or listings and {GETS_S:,} reads a second for a prefix (Amazon S3 User Guide).",
        "- Each byte is moved twice: written, and read once by a later stage or to be verified.",
        "- One process plans, one Prefect server runs on one core, one machine's threads publish; all cores compute.",
        "",
    ]


def _computed_lines(measured: Mapping[str, Any]) -> list[str]:
    seconds, prefect = measured["cpu_s"], measured["prefect"]
    least, most = (_of_storage(seconds, what) / _of_storage(seconds) for what in ("least", "most"))
    lines = [
        "## Computed",
        "",
        "| hours | clips | CPU hours | if all were like the cheapest, the dearest video | if rendered "
        "| store and corpus | task runs | database | memory of planning |",
        "|---" * 9 + "|",
    ]
    for hours in HOURS:
        cell = Cell(measured=measured, hours=hours, machines=1)
        cpu_hours, rendered = cell.cpu_s / 3600, cell.rendered_cpu_s / 3600
        lines.append(
            f"| {hours:,} | {cell.clips:,.0f} | {cpu_hours:,.0f} | {cpu_hours * least:,.0f}, {cpu_hours * most:,.0f} "
            f"| {'-' if math.isnan(rendered) else f'{rendered:,.0f}'} | {_bytes(cell.stored_bytes)} "
            f"| {cell.tasks:,.0f} | {_bytes(cell.tasks * prefect['database_bytes'])} "
            f"| {_bytes(cell.clips * measured['plan']['bytes'])} |"
        )
    return [*lines, ""]


def _bottleneck_lines(measured: Mapping[str, Any]) -> list[str]:
    cells = [Cell(measured=measured, hours=hours, machines=machines) for hours in HOURS for machines in MACHINES]
    names = ("compute", "disk", "network", "S3 requests", "Prefect's server", "planning", "publishing")
    lines = [
        "Hours that each resource is busy, for real footage; the largest is the first bottleneck, and about the time "
        "of the whole.",
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
    return [*lines, "", "What would have to change:", "", *(f"- {name}: {REMEDIES[name]}." for name in named)]


def _bytes(count: float) -> str:
    unit, name = next(
        ((u, n) for u, n in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB")) if count >= u), (1e3, "kB")
    )
    return f"{count / unit:.3g} {name}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.0f}" if seconds >= 36_000 else f"{seconds / 3600:.2g}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    what = "measure on this footage first, and on rendered scenes; takes minutes a clip"
    parser.add_argument("--measure", nargs="+", metavar="SOURCE=ROOT", help=what)
    figures = Path(__file__).with_suffix(".json")
    if footage := parser.parse_args().measure:
        from measure_scale import measure

        figures.write_text(json.dumps(measure(dict(place.split("=", 1) for place in footage)), indent=1) + "\n")
    Path(__file__).with_suffix(".md").write_text("\n".join(page(json.loads(figures.read_text()))) + "\n")
