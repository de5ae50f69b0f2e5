"""What rendered pairs cost, in processor seconds: prints a Markdown table.

One Blender process, one thread, draws every pass of small clips; the worker says what each frame took, and the median
of a pass counts (other work on the machine disturbs single frames; the first frame's set-up is told apart). A pair is
background, subject and one variant: its picture, and its front where something can lie before the subject. Ratios are
to that variant's picture drawn for itself and in full, the `gt` render.

Run: python tests/benchmarks/render_cost.py [--quick] [--size 192x336 ...] [EFFECT ...]
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from effectpairs.render.blender.plan import make_plan, passes_of
from effectpairs.render.blender.process import find_python, start_worker
from effectpairs.render.effects.registry import (
    AnyEffect,
    CastLight,
    Dust,
    Glow,
    Reflection,
    Shadow,
    Smoke,
    Splash,
    Wake,
)
from effectpairs.render.scene.objects import Body, Camera, Ground, Material, Shape, Sky, Sun, Travel
from effectpairs.render.scene.scene import RenderSettings, Scene, Variant

SIZES = ((96, 168), (192, 336))
AIMS = {"moving": 2.0, "still": 1.4, "variant": 0.5}
FRAMES = 5
LENGTH = 21
"""Frames of the clip that ratios are of: a still camera's background is drawn once for all of them."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A subject and two variants of what it does to the world."""

    shape: Shape
    size_m: float
    ground: Ground
    effects: tuple[AnyEffect, ...]
    other: tuple[AnyEffect, ...]
    sun: float = 3.0
    kind: str = "drive"


LAKE = Ground(kind="water", look=Material(colour=(0.1, 0.22, 0.28)), bumps_m=0.02)
CASES = {
    "shadow": Case(shape="car", size_m=3.0, ground=Ground(), effects=(Shadow(),), other=(Shadow(), Reflection())),
    "shadow, own sun": Case(
        shape="car", size_m=3.0, ground=Ground(), effects=(Shadow(),), other=(Shadow(softness_deg=12),)
    ),
    "reflection": Case(
        shape="walker",
        size_m=1.8,
        ground=Ground(kind="puddles"),
        effects=(Shadow(), Reflection()),
        other=(Reflection(),),
        kind="walk",
    ),
    "dust": Case(
        shape="car",
        size_m=3.0,
        ground=Ground(),
        effects=(Shadow(), Dust()),
        other=(Shadow(), Dust(density=5.0, colour=(0.7, 0.4, 0.25))),
    ),
    "smoke": Case(
        shape="truck",
        size_m=3.5,
        ground=Ground(),
        effects=(Shadow(), Smoke()),
        other=(Shadow(), Smoke(density=10.0, colour=(0.6, 0.1, 0.08))),
    ),
    "wake": Case(
        shape="boat",
        size_m=3.0,
        ground=LAKE,
        effects=(Reflection(), Wake()),
        other=(Reflection(), Wake(height_m=0.1, turbulence=0.8)),
        kind="boat",
    ),
    "splash": Case(
        shape="boat",
        size_m=3.0,
        ground=LAKE,
        effects=(Reflection(), Splash()),
        other=(Reflection(), Splash(amount=3.0)),
        kind="boat",
    ),
    "glow": Case(
        shape="lantern",
        size_m=0.8,
        ground=Ground(kind="wet"),
        effects=(CastLight(), Glow()),
        other=(CastLight(power_w=150.0),),
        sun=0.2,
        kind="fly",
    ),
}


def scene_of(case: Case, size: tuple[int, int], camera: str) -> Scene:
    """The case as a scene of 8 samples with denoising."""
    travel = Travel(kind=case.kind, start=(-1.0, 0.0), speed_mps=2.0, height_m=1.2 if case.kind == "fly" else 0.0)
    look = Material(colour=(0.7, 0.15, 0.1), emission=4.0 if case.shape == "lantern" else 0.0)
    moving = Camera(kind="pan", amount=6.0)
    return Scene(
        name="cost",
        seed=1,
        frames=FRAMES,
        size=size,
        subject=Body(name="red thing", shape=case.shape, size_m=case.size_m, look=look, motion=travel),
        props=(Body(name="post", shape="post", size_m=2.0),),
        ground=case.ground,
        sky=Sky(strength=1.0 if case.sun > 1 else 0.1),
        sun=Sun(strength=case.sun),
        camera=moving if camera == "moving" else replace(moving, kind="still"),
        variants=(Variant(name="one", effects=case.effects), Variant(name="other", effects=case.other)),
        rendering=RenderSettings(samples=8, denoise=True),
    )


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Processor seconds of a frame, by pass."""

    median_s: dict[str, float]
    first_s: float
    """What the first frame took more than its like."""
    static_background: bool

    def of(self, *names: str) -> float:
        """The named passes together, per frame of a clip; those that it does not have cost nothing."""
        return sum(self.median_s.get(name, 0.0) / self._shared_by(name) for name in names)

    def _shared_by(self, name: str) -> int:
        return LENGTH if self.static_background and (name == "background" or name.endswith("plate")) else 1

    @property
    def truth(self) -> float:
        """All passes that are drawn for the effects' own masks."""
        return self.of(*(name for name in self.median_s if is_truth(name)))

    @property
    def pair(self) -> float:
        """The first variant's pair."""
        return self.of("background", "subject", "v00", "v00-front", "v00-plate")

    @property
    def variant(self) -> float:
        """What the second variant adds, over the first one's pair."""
        return self.of("v01", "v01-front", "v01-plate") / self.pair


def is_truth(name: str) -> bool:
    """Is this a pass for the effects' own masks?"""
    return "truth" in name or "without" in name


def measure(case: Case, size: tuple[int, int], camera: str, *, truths: bool, frames: int = FRAMES) -> Cost:
    """Draw the first frames of a clip and take the medians."""
    scene = scene_of(case, size, camera)
    every = [one for one in passes_of(scene) if truths or not is_truth(one.name)]
    passes = [replace(one, frames=one.frames[:frames]) for one in every]
    full = next(one for one in passes if one.name == "v00")
    passes.append(replace(full, name="gt", crop=False))  # the measure: a picture drawn for itself, and in full
    took: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "plan.json").write_text(json.dumps(make_plan(scene, Path(folder), passes)))
        worker = start_worker(find_python(), Path(folder), (1, 1))
        while worker.returncode is None:
            time.sleep(0.2)
            for heard in worker.read_events():
                if heard["event"] == "frame":
                    took[heard["pass"]].append(heard["cpu"])
        if worker.end():
            raise RuntimeError(worker.log_tail())
    median_s = {name: statistics.median(times) for name, times in took.items()}
    first_s = took["background"][0] - median_s["background"]
    return Cost(median_s=median_s, first_s=first_s, static_background=scene.static_background)


def rows(
    names: list[str], sizes: list[tuple[int, int]], *, truths: bool, frames: int
) -> Iterator[tuple[str, dict[str, Cost]]]:
    """Every case at every size, with both cameras."""
    for size in sizes:
        for name in names:
            costs = {
                camera: measure(CASES[name], size, camera, truths=truths, frames=frames)
                for camera in ("moving", "still")
            }
            yield f"{name} | {size[0]}x{size[1]}", costs


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("effects", nargs="*", choices=[*CASES, []], default=[])
    asked.add_argument("--quick", action="store_true", help="one effect, small")
    asked.add_argument("--size", action="append", default=[], help="HxW; may be repeated")
    asked.add_argument("--truths", action="store_true", help="draw the passes of the effects' own masks too")
    asked.add_argument("--frames", type=int, choices=range(1, FRAMES + 1), default=FRAMES, help="how many are drawn")
    given = asked.parse_args()
    sizes = [(int(h), int(w)) for h, w in (size.split("x") for size in given.size)] or list(SIZES)
    names = given.effects or list(CASES)
    if given.quick:
        sizes, names = [(96, 168)], ["shadow"]
    begin, missed = time.perf_counter(), []
    columns = (
        "effect | size | background | subject | front | variant | gt | truths | pair/gt, moving | still | variant/pair"
    )
    print(f"| {columns} |\n{'|---' * 11}|", flush=True)
    for title, costs in rows(names, sizes, truths=given.truths, frames=given.frames):
        moving = costs["moving"]
        ratios = {camera: cost.pair / cost.of("gt") for camera, cost in costs.items()} | {"variant": moving.variant}
        missed += [f"{title}, {aim}: {ratios[aim]:.2f}" for aim in AIMS if ratios[aim] > AIMS[aim] + 0.005]
        parts = [moving.of(name) for name in ("background", "subject", "v00-front", "v00", "gt")]
        told = [f"{value:.2f}" for value in (*parts, moving.truth, *ratios.values())]
        print(f"| {title} | {' | '.join(told)} |", flush=True)
    print(f"\nCPU seconds a frame; 8 samples, denoised; {time.perf_counter() - begin:.0f} s in all.")
    print(f"Over its aim ({AIMS}): {'; '.join(missed) or 'none'}.")


if __name__ == "__main__":
    sys.exit(main())
