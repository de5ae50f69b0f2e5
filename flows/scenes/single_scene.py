"""One scene here and now: a frame of it in seconds, or the whole clip, its layers written as files to look at."""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2

from ...datasets.sources.source import override
from ...datasets.store import codec
from ...datasets.store.atomic_io import atomic_write, json_bytes
from ...datasets.store.codec import Frames
from ...render.blender import plan
from ...render.blender.plan import Pass
from ...render.blender.process import render_frames
from ...render.compositing.contact_sheet import Picture, contact_sheet, difference
from ...render.generators.assets import check_files
from ...render.scene.scene import Scene, dump_scene, parse_scene, read_scene
from ...stages.quality_gates import Verdict
from .account import judged
from .layers import compose
from .source import SceneSource

EXAMPLE = Path(__file__).parents[2] / "render" / "examples" / "dusty_car.json"
Told = Callable[[str, int, int], None]
"""Told of every frame drawn: what is done, how many, how many in all."""


@dataclass(frozen=True, kw_only=True)
class RenderOutput:
    """What came of a scene."""

    sheet: Path
    verdicts: dict[str, Verdict]
    """By variant."""
    refused: dict[str, str]
    """Variants that cannot be used, and why."""


def described(path: Path, overrides: Sequence[str]) -> Scene:
    """A scene's description with some of its values changed.

    Raises:
        ValueError: naming the file or override, the key and the rule.
    """
    if not overrides:
        return read_scene(path)
    values = dump_scene(read_scene(path))
    for text in overrides:
        override(values, text)
    try:
        return parse_scene(json_bytes(values))
    except ValueError as wrong:
        raise ValueError(f"{path}: {wrong}") from wrong


def changes(samples: int | None, size: str | None) -> list[str]:
    """The command's own options as overrides.

    Raises:
        ValueError: the size is none.
    """
    if size is not None and not re.fullmatch(r"\d+x\d+", size):
        raise ValueError(f"--size {size!r} is not HEIGHTxWIDTH; write for example --size 192x336")
    given = [("rendering.samples", samples), ("rendering.mask_samples", samples), ("size", size)]
    return [f"{key}={value}" for key, value in given if value is not None]


def settings_for(path: Path) -> SceneSource:
    """What decides masks and verdicts of a single scene: the defaults of a source."""
    return SceneSource(name="scene", scenes=str(path))


def write_example(path: Path) -> None:
    """A scene to start from, as JSON.

    Raises:
        ValueError: there is such a file already.
    """
    if path.exists():
        raise ValueError(f"{path}: is there already; name another file, or delete it first")
    atomic_write(path, EXAMPLE.read_bytes())


def preview(scene: Scene, frame: int, out: Path, source: SceneSource, told: Told) -> RenderOutput:
    """One frame: every layer as `<layer>.png`, and `sheet.png` with all of them.

    Raises:
        ValueError: there is no such frame, or the scene cannot be used.
        BlenderNotFound, RenderFailed: it cannot be drawn.
    """
    if not 0 <= frame < scene.frames:
        raise ValueError(f"frame {frame} is not in the clip; give one from 0 to {scene.frames - 1}")
    passes = tuple(replace(one, frames=(frame,)) for one in plan.passes_of(scene))
    held: dict[str, Frames] = {}
    with _frames_in(out) as folder:
        made = _drawn(scene, passes, (frame,), folder, source, held.__setitem__, told)
    layers: dict[str, Any] = {name: frames[0] for name, frames in held.items()}
    for name, layer in layers.items():
        _write_png(out / f"{name}.png", _grey(layer))
    return _rendered(scene, _write_sheet(out, layers, made), made, source)


def clip(scene: Scene, out: Path, source: SceneSource, told: Told) -> RenderOutput:
    """The whole clip: every layer as `<layer>.mkv`, of each variant in a folder with `pair.json`; `sheet.png` shows the
    frame in the middle. Killed in between, the same call goes on frame by frame.

    Raises:
        ValueError: the scene cannot be used.
        BlenderNotFound, RenderFailed: it cannot be drawn.
    """
    middle: dict[str, Picture] = {}

    def keep(name: str, frames: Frames) -> None:
        atomic_write(out / f"{name}.mkv", codec.encode(frames, fps=scene.fps))
        middle[name] = frames[len(frames) // 2]

    with _frames_in(out) as folder:
        made = _drawn(scene, plan.passes_of(scene), range(scene.frames), folder, source, keep, told)
    rendered = _rendered(scene, _write_sheet(out, middle, made), made, source)
    for name, found in made.items():
        atomic_write(out / name / "pair.json", json_bytes(_record(scene, found, rendered.verdicts.get(name))))
    return rendered


def _rendered(scene: Scene, path: Path, made: Mapping[str, Any], source: SceneSource) -> RenderOutput:
    verdicts = {name: judged(found, source, scene.size) for name, found in made.items() if "refused" not in found}
    refused = {name: found["refused"] for name, found in made.items() if "refused" in found}
    return RenderOutput(sheet=path, verdicts=verdicts, refused=refused)


def _drawn(
    scene: Scene,
    passes: tuple[Pass, ...],
    frames: Any,
    folder: Path,
    source: SceneSource,
    add: Callable[[str, Frames], None],
    told: Told,
) -> dict[str, Any]:
    """Draw the passes, telling how far it is, and compose them."""
    total, done = sum(len(one.frames) for one in passes), 0

    def step(name: str, frame: int, seconds: float) -> None:
        nonlocal done
        done += 1
        told("draw", done, total)

    check_files(scene)
    render_frames(plan.make_plan(scene, folder, passes), folder, source.blender, step)
    return compose(scene, folder, frames, source, add)


@contextmanager
def _frames_in(out: Path) -> Iterator[Path]:
    """A folder for frame files below out; it goes when all is done, and stays where something failed."""
    folder = out / ".frames"
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _write_sheet(out: Path, layers: Mapping[str, Any], made: Mapping[str, Any]) -> Path:
    shared = {name.replace("_", " "): layers[name] for name in ("over", "background", "foreground", "subject_mask")}
    rows = [shared]
    for variant, found in made.items():
        if "refused" in found:
            continue
        gt = layers[f"{variant}/gt"]
        row = {f"{variant}: gt": gt, "difference x3": difference(gt, layers["over"])}
        row["effect mask"] = _grey(layers[f"{variant}/effect_mask"])
        for kind in found["white_steps"]:
            row[f"truth: {kind}"] = layers[f"{variant}/truth_{kind}"]
        rows.append(row)
    path = out / "sheet.png"
    _write_png(path, contact_sheet(rows))
    return path


def _record(scene: Scene, found: Mapping[str, Any], verdict: Verdict | None) -> dict[str, Any]:
    record = {
        "num_frames": scene.frames,
        "height": scene.size[0],
        "width": scene.size[1],
        "fps": scene.fps,
        "composite": scene.rendering.composite,
        "effects": found["effects"],
        "facts": found["facts"],
    }
    if verdict is None:
        return record | {"verdict": "fail", "reasons": [found["refused"]]}
    return record | {"quality": found["numbers"], "verdict": verdict.verdict, "reasons": list(verdict.reasons)}


def _grey(picture: Any) -> Picture:
    """A hard mask as black and white."""
    shown: Picture = picture.astype("uint8") * 255 if picture.dtype == bool else picture
    return shown


def _write_png(path: Path, picture: Any) -> None:
    _, encoded = cv2.imencode(".png", picture[..., ::-1] if picture.ndim == 3 else picture)
    atomic_write(path, encoded.tobytes())
