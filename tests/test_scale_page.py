"""The page of costs is what its script computes from the figures beside it."""

import json
from pathlib import Path

from effectpairs.docs import scale

DOCS = Path(scale.__file__).parent
MEASURED = json.loads((DOCS / "scale.json").read_text())


def test_the_page_is_up_to_date():
    assert (DOCS / "scale.md").read_text() == "\n".join(scale.page(MEASURED)) + "\n"


def test_more_machines_take_less_time_and_more_hours_more():
    cells = {
        (hours, machines): scale.Cell(measured=MEASURED, hours=hours, machines=machines)
        for hours in scale.HOURS
        for machines in scale.MACHINES
    }
    one, many = cells[100, 1], cells[100, 1000]
    assert many.times_s["compute"] * 1000 == one.times_s["compute"]
    assert one.requests == {"writes": 0, "reads": 0}, "one machine keeps its workspace on its disk"
    assert cells[10_000, 10].requests["writes"] == 100 * cells[100, 10].requests["writes"] > 0
    assert cells[1, 1].clips * 85 / 16 == 3600


def test_the_bottleneck_is_what_takes_longest():
    slow = {**MEASURED, "prefect": {**MEASURED["prefect"], "server_cpu_s": 1e6}}
    page = scale.page(slow)
    rows = [line for line in page if line.endswith("** |") and line.startswith("| ")]
    firsts = [line.rsplit("**", 2)[1] for line in rows[-9:]]
    assert sorted(firsts) == ["Prefect's server"] * 7 + ["disk space"] * 2, "a disk that is too small is first of all"
    assert sum(line.startswith("- Prefect's server: ") for line in page) == 1


def test_rendered_clips_cost_their_drawing_and_the_stages_that_they_share():
    drawing = {"mean": 10.0, "least": 8.0, "most": 12.0}
    rendered = {"scenes": 3, "clips": 6, "frames": 5, "stages": ["render", "tags"], "cpu_s": {"render": drawing}}
    measured = MEASURED | {"rendered": rendered | {"bytes": {"store": dict.fromkeys(drawing, 1e6)}}}
    cell = scale.Cell(measured=measured, hours=100, machines=1)
    shared = sum(MEASURED["cpu_s"][name]["mean"] for name in ("tags", "publish, exact", "verify, exact"))
    assert abs(cell.rendered_cpu_s - cell.clips * (850 + shared)) < 1
    page = "\n".join(scale.page(measured))
    assert "takes 10.0 CPU s a frame" in page
    assert "8.0 to 12.0, scene by scene" in page
    assert f"| {cell.rendered_cpu_s / 3600:,.0f} |" in page
