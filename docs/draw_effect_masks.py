"""Draw docs/effect_masks.png from docs/effect_masks.json, which `tests/benchmarks/effect_masks.py --json` writes."""

import json
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt  # after the choice of a backend that needs no screen

HERE = Path(__file__).parent
COLOURS = {"paper": "#8c8c8c", "default": "#4c78a8", "external": "#e4572e"}
LABELS = {
    "paper": "plain recipe (preset paper)",
    "default": "default recipe, plate as it is",
    "external": "layers placed and toned first, default recipe",
}
MEASURES = {"iou": "intersection over union", "boundary_f": "boundary F"}


def draw() -> None:
    """Draw one panel a measure: a bar for each recipe on each rung, a dot for each clip."""
    measured = json.loads((HERE / "effect_masks.json").read_text(encoding="utf-8"))
    rungs = list(measured["scores"])
    figure, panels = plt.subplots(1, len(MEASURES), figsize=(12, 5.2), sharey=True, layout="constrained")
    rows = np.arange(len(rungs))[::-1]
    for panel, (name, title) in zip(panels, MEASURES.items(), strict=True):
        for place, recipe in enumerate(COLOURS):
            values = [measured["scores"][rung][recipe][name] for rung in rungs]
            heights = rows + 0.26 * (1 - place)
            means = [float(np.mean(clips)) for clips in values]
            panel.barh(heights, means, height=0.24, color=COLOURS[recipe], label=LABELS[recipe], alpha=0.85)
            for height, clips in zip(heights, values, strict=True):
                panel.plot(clips, np.full(len(clips), height), ".", color="black", markersize=2.5, alpha=0.5)
        panel.set_title(title, loc="left")
        panel.set_xlim(0, 1)
        panel.grid(axis="x", alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(rows, rungs)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(HERE / "effect_masks.png", dpi=110)


if __name__ == "__main__":
    draw()
