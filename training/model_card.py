"""The model card: where trained weights come from, how the training went, what they were measured at."""

import json
from pathlib import Path
from typing import Any

import jinja2

from ..datasets.store.atomic_io import atomic_write
from .fitting.step_log import RECORD, SAMPLES, TRAINED, read_step_log

TABLE = "table.md"
"""What the evaluation leaves in its folder."""
POINTS = 10
"""Lines of the table of losses."""


def write_card(output: Path, evaluation: Path | None = None) -> Path:
    """Write `trained/README.md` of a finished run.

    Args:
        output: the run's folder.
        evaluation: a folder with the evaluation's table; None where nothing was measured.

    Raises:
        ValueError: the run is not finished.
    """
    trained = output / TRAINED
    try:
        said: dict[str, Any] = json.loads((trained / RECORD).read_text())
    except (OSError, ValueError) as missing:
        raise ValueError(f"{trained}: holds no {RECORD}; train to the last step first") from missing
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    table = evaluation / TABLE if evaluation is not None else None
    text = environment.get_template("model_card.md.j2").render(
        run=said,
        settings=said["settings"],
        losses=averaged(read_step_log(output)),
        seen=_seen(output),
        samples=sorted(path.name for path in (output / SAMPLES).glob("*.mkv")),
        table=_below(table.read_text()) if table is not None and table.exists() else "",
        tiny="tiny" in Path(said["base"]["id"]).name,
        dumps=json.dumps,
    )
    atomic_write(trained / "README.md", text.encode())
    return trained / "README.md"


def averaged(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The run in at most ten lines: the last step of each stretch, and the stretch's means."""
    size = max(1, -(-len(steps) // POINTS))
    parts = [steps[start : start + size] for start in range(0, len(steps), size)]
    means = ("loss", "grad_norm", "step_s", "wait_s")
    return [
        {"step": part[-1]["step"], **{key: sum(s[key] for s in part) / len(part) for key in means}} for part in parts
    ]


def _below(text: str) -> str:
    """Its headings below those of the card."""
    return "\n".join(f"##{line}" if line.startswith("#") else line for line in text.strip().splitlines())


def _seen(output: Path) -> dict[str, int]:
    steps = read_step_log(output)
    return dict(sorted(steps[-1]["clips_by_kind"].items())) if steps else {}
