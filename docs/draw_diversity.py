"""Draw docs/diversity.png: `python docs/draw_diversity.py [--told 200] [--drawn 100]`, with the Blender environment.

Descriptions are measured by projection; of the first few one frame is drawn, tiny, for what needs pixels. What was
measured stays in docs/diversity.json, and with `--drawn 0` the drawn frames of an earlier run are kept.
"""

import argparse
import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from effectpairs.docs import diversity
from effectpairs.render.blender import process
from effectpairs.render.blender.exr_frames import open_render_frames
from effectpairs.render.blender.plan import make_plan, passes_of
from effectpairs.render.compositing import layers
from effectpairs.render.generators.blender_generator import BlenderGenerator
from effectpairs.render.generators.generator import ClipFormat
from effectpairs.render.generators.kubric_generator import KubricGenerator
from effectpairs.render.scene.scene import RenderSettings, Scene

mpl.use("Agg")
from matplotlib import pyplot as plt  # after the choice of a backend that needs no screen

HERE = Path(__file__).parent
CLIP_FORMAT = ClipFormat(frames=21, size=(384, 672))
TINY = ClipFormat(frames=21, size=(64, 112), rendering=RenderSettings(samples=4, mask_samples=1, mask_scale=0.25))
FRAME = 12
COLOURS = {"blender": "#2a6f97", "kubric": "#c8553d", "generator": "#8d99ae"}
NAMES = {"blender": "generator blender", "kubric": "generator kubric", "generator": "Generative Omnimatte (its ranges)"}


def main() -> None:
    """Measure, draw, plot."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scenes", type=int, default=200, help="descriptions to measure")
    parser.add_argument("--frames", type=int, default=100, help="frames to render; 0: those of the last time")
    arguments = parser.parse_args()
    path = HERE / "diversity.json"
    earlier = json.loads(path.read_text()) if path.exists() else {}
    statistics = {}
    for generator in (BlenderGenerator(), KubricGenerator()):
        described = (generator.scene_at(index, 0, CLIP_FORMAT) for index in range(arguments.scenes))
        scenes = [asdict(diversity.measure_scene(scene)) for scene in described]
        frames = [measure_frame(generator.scene_at(index, 0, TINY)) for index in range(arguments.frames)]
        kind = generator.kind
        statistics[kind] = {"scenes": scenes, "frames": frames or earlier.get(kind, {}).get("frames", [])}
    path.write_text(json.dumps(statistics, indent=None, separators=(",", ":")) + "\n")
    plot(statistics)


def measure_frame(scene: Scene) -> dict[str, object]:
    """Render one frame of the first variant, and measure it."""
    with tempfile.TemporaryDirectory() as folder:
        layers_of_first = [
            render_pass
            for render_pass in passes_of(scene)
            if render_pass.name.startswith(("background", "subject", "v00"))
            and not ("without" in render_pass.name or "truth" in render_pass.name)
        ]
        passes = [
            replace(render_pass, frames=render_pass.frames if len(render_pass.frames) == 1 else (FRAME,))
            for render_pass in layers_of_first
        ]
        process.render_frames(make_plan(scene, Path(folder), passes), Path(folder))
        files = open_render_frames(Path(folder))
        shared = layers.compose_shared(files, (FRAME,))
        variant = layers.compose_variant(files, 0, ("all",), shared, shared.over)
    return asdict(diversity.measure_frames(scene, 0, shared, variant))


def plot(statistics: dict[str, dict[str, list[dict[str, object]]]]) -> None:
    """Six small panels."""
    draws = diversity.draw_from_generator(20000, np.random.default_rng(0))
    figure, axes = plt.subplots(2, 3, figsize=(12, 6.4), constrained_layout=True)
    scenes = {
        kind: {key: [scene[key] for scene in parts["scenes"]] for key in draws} for kind, parts in statistics.items()
    }
    scenes["generator"] = {key: list(values) for key, values in draws.items()}
    panels = (
        ("subject_share", "subject's box, share of the picture", np.geomspace(0.003, 0.6, 22), True),
        ("drift", "camera motion, picture widths per frame", np.linspace(0, 0.03, 25), False),
        ("sun_elevation_deg", "sun above the horizon, degrees", np.linspace(0, 90, 25), False),
    )
    for axis, (key, title, bins, log) in zip(axes[0], panels, strict=True):
        _steps(axis, {kind: values[key] for kind, values in scenes.items()}, bins)
        axis.set_title(title, fontsize=10)
        if log:
            axis.set_xscale("log")
    _bars(axes[1, 0], statistics)
    frames = {kind: parts["frames"] for kind, parts in statistics.items()}
    areas = {kind: [max(frame["effect_area"], 1e-3) for frame in parts] for kind, parts in frames.items() if parts}
    _steps(axes[1, 1], areas, np.geomspace(1e-3, 1, 22))
    axes[1, 1].set_xscale("log")
    axes[1, 1].set_title("effect, share of the picture (rendered)", fontsize=10)
    _steps(
        axes[1, 2],
        {kind: [frame["darkening"] for frame in parts] for kind, parts in frames.items()},
        np.linspace(-80, 80, 33),
    )
    axes[1, 2].set_title("effect darkens (+) or lightens (-), of 255 (rendered)", fontsize=10)
    handles = [plt.Line2D([], [], color=colour, lw=3) for colour in COLOURS.values()]
    figure.legend(handles, NAMES.values(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(HERE / "diversity.png", dpi=110)


def _steps(axis, sets, bins) -> None:
    """Outlined histograms, each as shares of its own set."""
    for kind, values in sets.items():
        clipped = np.clip(np.asarray(values, np.float64), bins[0], bins[-1])
        weights = np.full(len(clipped), 100 / max(len(clipped), 1))
        style = {"histtype": "stepfilled", "alpha": 0.35} if kind == "generator" else {"histtype": "step", "lw": 1.8}
        axis.hist(clipped, bins=bins, weights=weights, color=COLOURS[kind], **style)
    axis.set_ylabel("% of scenes", fontsize=8)
    axis.tick_params(labelsize=8)


def _bars(axis, statistics) -> None:
    """Share of the scenes that have each effect."""
    kinds = ("shadow", "reflection", "dust", "smoke", "wake", "ripple", "splash", "spray", "glow", "light")
    for index, (kind, parts) in enumerate(statistics.items()):
        share = [100 * np.mean([name in scene["effects"] for scene in parts["scenes"]]) for name in kinds]
        axis.bar(np.arange(len(kinds)) + 0.4 * index - 0.2, share, width=0.38, color=COLOURS[kind])
    axis.axvspan(-0.5, 1.5, color=COLOURS["generator"], alpha=0.25, lw=0)
    axis.set_xticks(range(len(kinds)), kinds, rotation=40, fontsize=8)
    axis.set_ylabel("% of scenes", fontsize=8)
    axis.tick_params(axis="y", labelsize=8)
    axis.set_title("effects (shaded: those of Generative Omnimatte)", fontsize=10)


if __name__ == "__main__":
    main()
