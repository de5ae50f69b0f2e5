"""Model card of trained weights: their origin, the course of the training, their measures."""

import json
from pathlib import Path
from typing import Any

import jinja2

from ..datasets.store.atomic_io import atomic_write
from .fitting.step_log import RECORD, SAMPLES, TRAINED, read_step_log

TABLE = "table.md"
"""File of the evaluation's table in its folder."""
MAX_LOSS_ROWS = 10


def write_model_card(output: Path, evaluation: Path | None = None) -> Path:
    """Write `trained/README.md` of a finished run.

    Args:
        output: the run's folder.
        evaluation: a folder with the evaluation's table; None where nothing was measured.

    Raises:
        ValueError: the run is not finished.
    """
    trained = output / TRAINED
    try:
        record: dict[str, Any] = json.loads((trained / RECORD).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{trained}: holds no {RECORD}; train to the last step first") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    table = ""
    if evaluation is not None and (evaluation / TABLE).exists():
        lines = (evaluation / TABLE).read_text().strip().splitlines()
        table = "\n".join(f"##{line}" if line.startswith("#") else line for line in lines)  # below the card's headings
    steps = read_step_log(output)
    text = environment.get_template("model_card.md.j2").render(
        run=record,
        settings=record["settings"],
        losses=average_steps(steps),
        clip_counts=dict(sorted(steps[-1]["clips_by_kind"].items())) if steps else {},
        samples=sorted(path.name for path in (output / SAMPLES).glob("*.mkv")),
        table=table,
        is_tiny="tiny" in Path(record["base"]["id"]).name,
        dumps=json.dumps,
    )
    atomic_write(trained / "README.md", text.encode())
    return trained / "README.md"


def average_steps(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Average the step log over at most ten stretches; each has the number of its last step."""
    size = max(1, -(-len(steps) // MAX_LOSS_ROWS))
    parts = [steps[start : start + size] for start in range(0, len(steps), size)]
    names = ("loss", "grad_norm", "step_s", "wait_s")
    return [
        {"step": part[-1]["step"], **{name: sum(step[name] for step in part) / len(part) for name in names}}
        for part in parts
    ]
