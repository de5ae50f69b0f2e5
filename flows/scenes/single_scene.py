"""One scene, here and now: a frame of it in seconds, or the whole clip, its layers written as files to look at."""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2

from ...datasets.store import codec
from ...datasets.store.atomic_io import atomic_write, json_bytes
from ...datasets.store.codec import Frames
from ...render.blender import plan
from ...render.blender.plan import Pass
from ...render.blender.process import render_frames
from ...render.compositing.contact_sheet import Picture, contact_sheet, difference
from ...render.compositing.layers import compose_scene
from ...render.generators.assets import check_files
from ...render.scene.scene import Scene, dump_scene, parse_scene, read_scene
from ...settings import apply_override
from ...stages.quality_gates import Verdict
from ...untrusted_input import path_within
from ..engine.run import ReportProgress
from .source import SceneSource
from .stages import judge_variant

EXAMPLE = Path(__file__).parents[2] / "render" / "examples" / "dusty_car.json"


@dataclass(frozen=True, kw_only=True)
class SceneOutput:
    """Verdicts on a scene's variants, and where to look at them."""

    sheet: Path
    verdicts: dict[str, Verdict]
    """Verdict by variant."""
    refused: dict[str, str]
    """Why a variant cannot be used, by variant."""


def read_changed_scene(path: Path, overrides: Sequence[str]) -> Scene:
    """Read a scene's description and change some of its values.

    Raises:
        ValueError: naming the file or override, the key and the rule.
    """
    values = dump_scene(read_scene(path))
    for text in overrides:
        apply_override(values, text)
    try:
        return parse_scene(json_bytes(values))
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from problem


def option_overrides(samples: int | None, size: str | None) -> list[str]:
    """Overrides that the command's own options stand for.

    Raises:
        ValueError: the size is none.
    """
    if size is not None and not re.fullmatch(r"\d+x\d+", size):
        raise ValueError(f"--size {size!r} is not HEIGHTxWIDTH; write for example --size 192x336")
    values = [("rendering.samples", samples), ("rendering.mask_samples", samples), ("size", size)]
    return [f"{key}={value}" for key, value in values if value is not None]


def write_example(path: Path) -> None:
    """Write a scene to start from, as JSON.

    Raises:
        ValueError: there is such a file already.
    """
    if path.exists():
        raise ValueError(f"{path}: is there already; name another file, or delete it first")
    atomic_write(path, EXAMPLE.read_bytes())


def render_preview(
    scene: Scene, frame: int, out: Path, source: SceneSource, report_progress: ReportProgress
) -> SceneOutput:
    """Render one frame: every layer as `<layer>.png`, and `sheet.png` with all of them.

    Raises:
        ValueError: there is no such frame, or the scene cannot be used.
        BlenderNotFound, RenderFailed: it cannot be rendered.
    """
    if not 0 <= frame < scene.frames:
        raise ValueError(f"frame {frame} is not in the clip; give one from 0 to {scene.frames - 1}")
    passes = tuple(replace(render_pass, frames=(frame,)) for render_pass in plan.passes_of(scene))
    layers: dict[str, Frames] = {}
    with _frames_folder(out) as folder:
        variants = _render(scene, passes, (frame,), folder, source, layers.__setitem__, report_progress)
    pictures = {name: _as_picture(frames[0]) for name, frames in layers.items()}
    for name, picture in pictures.items():
        _write_png(path_within(out, f"{name}.png"), picture)
    return _output(scene, _write_sheet(out, pictures, variants), variants, source)


def render_clip(scene: Scene, out: Path, source: SceneSource, report_progress: ReportProgress) -> SceneOutput:
    """Render the whole clip: every layer as `<layer>.mkv`, of each variant in a folder with `pair.json`.

    `sheet.png` shows the frame in the middle. Killed in between, the same call goes on frame by frame.

    Raises:
        ValueError: the scene cannot be used.
        BlenderNotFound, RenderFailed: it cannot be rendered.
    """
    middle: dict[str, Picture] = {}

    def write_layer(name: str, frames: Frames) -> None:
        atomic_write(path_within(out, f"{name}.mkv"), codec.encode(frames, fps=scene.fps))
        middle[name] = _as_picture(frames[len(frames) // 2])

    with _frames_folder(out) as folder:
        variants = _render(
            scene, plan.passes_of(scene), range(scene.frames), folder, source, write_layer, report_progress
        )
    output = _output(scene, _write_sheet(out, middle, variants), variants, source)
    for name, facts in variants.items():
        atomic_write(
            path_within(out, f"{name}/pair.json"), json_bytes(_pair_record(scene, facts, output.verdicts.get(name)))
        )
    return output


def _output(scene: Scene, sheet: Path, variants: Mapping[str, Any], source: SceneSource) -> SceneOutput:
    refused = {name: facts["refused"] for name, facts in variants.items() if "refused" in facts}
    usable = {name: facts for name, facts in variants.items() if name not in refused}
    verdicts = {name: judge_variant(facts, source, scene.size) for name, facts in usable.items()}
    return SceneOutput(sheet=sheet, verdicts=verdicts, refused=refused)


def _render(
    scene: Scene,
    passes: tuple[Pass, ...],
    frames: Sequence[int],
    folder: Path,
    source: SceneSource,
    add: Callable[[str, Frames], None],
    report_progress: ReportProgress,
) -> dict[str, Any]:
    """Render the passes, reporting how far it is, and compose them to layers."""
    total, drawn_frames = sum(len(render_pass.frames) for render_pass in passes), 0

    def count_frame(name: str, frame: int, seconds: float) -> None:
        nonlocal drawn_frames
        drawn_frames += 1
        report_progress("draw", drawn_frames, total)

    check_files(scene)
    render_frames(plan.make_plan(scene, folder, passes), folder, source.blender, count_frame)
    return compose_scene(scene, folder, frames, source.truth, source.effect_mask, add)


@contextmanager
def _frames_folder(out: Path) -> Iterator[Path]:
    """A folder for frame files below out; it is deleted when all is done, and stays where something failed."""
    folder = out / ".frames"
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _write_sheet(out: Path, pictures: Mapping[str, Picture], variants: Mapping[str, Any]) -> Path:
    """Write the contact sheet: a row of shared layers, and a row for each variant."""
    names = ("over", "background", "foreground", "subject_mask")
    rows = [{name.replace("_", " "): pictures[name] for name in names}]
    for variant, facts in variants.items():
        if "refused" in facts:
            continue
        gt = pictures[f"{variant}/gt"]
        row = {f"{variant}: gt": gt, "difference x3": difference(gt, pictures["over"])}
        row["effect mask"] = pictures[f"{variant}/effect_mask"]
        row |= {f"truth: {kind}": pictures[f"{variant}/truth_{kind}"] for kind in facts["white_steps"]}
        rows.append(row)
    path = out / "sheet.png"
    _write_png(path, contact_sheet(rows))
    return path


def _pair_record(scene: Scene, facts: Mapping[str, Any], verdict: Verdict | None) -> dict[str, Any]:
    record = {
        "num_frames": scene.frames,
        "height": scene.size[0],
        "width": scene.size[1],
        "fps": scene.fps,
        "composite": scene.rendering.composite,
        "effects": facts["effects"],
        "facts": facts["facts"],
    }
    if verdict is None:
        return record | {"verdict": "fail", "reasons": [facts["refused"]]}
    return record | {"quality": facts["numbers"], "verdict": verdict.verdict, "reasons": list(verdict.reasons)}


def _as_picture(layer: Any) -> Picture:
    """A frame of a layer as 8-bit picture; a hard mask in black and white."""
    picture: Picture = layer.astype("uint8") * 255 if layer.dtype == bool else layer
    return picture


def _write_png(path: Path, picture: Picture) -> None:
    _, encoded = cv2.imencode(".png", picture[..., ::-1] if picture.ndim == 3 else picture)
    atomic_write(path, encoded.tobytes())
