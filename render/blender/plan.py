"""Plan of a render: all that Blender has to know of a scene, as `plan.json` with the effects' arrays beside it.

Every pose is a matrix per frame, every figure is a list of simple meshes, every picture to render is a pass. The worker
that reads the plan decides nothing and has no randomness of its own.

    {"version": 3,
     "size": [H, W], "frames": T, "fps": f, "seed": n,     seed of frame t: n if holds_still, else n + t
     "holds_still": bool, "device": "CPU" | "OPTIX" | ...,
     "camera": {"matrices": [T or 1][16], "focal_mm": f, "sensor_mm": 36},
                                                           row-major camera to world; looks along -z, y is up
     "sky", "sun", "ground", "walls":                      as in the scene's JSON; sky.hdri a name or an absolute path
     "bodies": [{"name", "role": "subject" | "prop",
                 "parts": [{"mesh": "sphere" | "box" | "capsule" | "cylinder" | "cone" | "torus" | "monkey" | "rock"
                                    | "hull" | "prism" | "asset",
                            "size": [x, y, z],             full extents of the mesh before its matrix, metres
                            "bevel_m": f,                  0 for sharp edges
                            "outline": [[x, z], ...] or null,
                                                           prism: its side view, in shares of its size, -0.5 to 0.5,
                                                           counter-clockwise seen from -y; extruded along y
                            "taper": f,                    prism: how much narrower (along y) it is at its top, 0 to 1
                            "asset": path or null,         its largest extent is scaled to max(size), it stands on z = 0
                            "look": {...},                 as in the scene's JSON
                            "matrices": [T or 1][16]}]}],  row-major, mesh to world
     "variants": [{"name", "softness_deg": f or null,      of the sun, where the variant has its own
                   "rays": ["shadow", "reflection"],       those of the two that the variant shows
                   "media": [{"effect": "dust", "kind": "cloud" | "drops" | "sheets" | "waves" | "lamp",
                              "file": "dust.npz", ...}]}], the other fields of the medium in effects/render_data.py
     "passes": [{"name": "background",                     frame files: <name>/<frame:04d>.exr, linear, half float RGBA
                 "kind": "plate" | "whole" | "subject" | "front",
                 "variant": index or null, "off": effect kind or null,
                 "samples": n, "denoise": bool, "scale": f, "crop": bool, "frames": [t, ...]}]}

Meshes are centred on their origin (an asset stands on z = 0): capsule, cylinder, cone and torus turn around z (a cone's
tip is up), a hull's bow is at +x and its deck on top, a monkey looks along +x. Round ones are shaded smoothly.

Content of a pass by its kind:
    plate    neither subject nor media; water is calm. With a variant: under that variant's sun.
    whole    everything of the variant, less the effect `off`.
    subject  the subject alone, premultiplied, with exact alpha: everything else is held out, media are hidden; lit by
             the whole scene. Cropped to the subject's box of that frame.
    front    the variant's clouds, drops and sheets alone, with everything else, the subject too, held out: alpha says
             how much of them lies before what is solid. Cropped to the subject's box.

With `crop` a pass of a variant is rendered only where the variant differs from its plate:
areas/<variant:02d>-<frame:04d>.npz holds its `box` [x0, y0, x1, y1] in pixels of the full size, rounded outwards for a
pass of another scale, and `share` [rows, columns], 8 bit, of the whole picture at a small size: 255 where the variant
shows, 0 where only its noise would.

Effects switched off: "shadow" and "reflection" by the subject's ray visibility, the others by hiding their media
("wake" and "ripple" make the water calm again). A variant without "shadow" in its rays is drawn as if shadow were off.

`file` holds the medium's `render_data.medium_arrays`, the plan's entry its `medium_fields`: cloud
`points` [N, 4], `strength` [N], `phase` [N], `ends` [T] (frame t owns ends[t-1]:ends[t]); drops `points`, `moves`
[N, 3], `ends`; sheets `positions` [T, sheets, rows, columns, 3], `cover` [T, sheets, rows, columns]; waves `heights`
[T, rows, columns] and maybe `foam`; lamp `at` [T, 3], `power_w` [T]. All float32, ends int64.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..animation.camera import SENSOR_MM, camera_matrices
from ..animation.motion import compute_poses, compute_track, pose_body
from ..effects.registry import EFFECTS
from ..effects.render_data import medium_arrays, medium_fields
from ..scene.objects import Body
from ..scene.scene import Scene, dump_scene

OWN_PLATE_SCALE = 0.5
"""Size of a variant's plate under its own sun, where every frame needs one, as a share of the picture's."""
VERSION = 3
RAYS = ("shadow", "reflection")


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One kind of picture, and the frames of it to render."""

    name: str
    kind: Literal["plate", "whole", "subject", "front"]
    variant: int | None = None
    off: str | None = None
    samples: int
    denoise: bool
    scale: float = 1.0
    crop: bool = False
    """Render only the region in which the variant differs from its plate."""
    frames: tuple[int, ...]


def make_plan(scene: Scene, folder: Path, passes: Sequence[Pass]) -> dict[str, Any]:
    """Describe a scene to Blender in values for JSON; the media's arrays are written into folder.

    Raises:
        ValueError: the scene asks for what does not go together.
        ImportError: bodies are tossed, and Kubric is not installed.
    """
    values = dump_scene(scene)
    sky = values["sky"]
    if sky["hdri"] and "/" in sky["hdri"]:
        sky["hdri"] = str(Path(sky["hdri"]).expanduser().absolute())
    return {
        "version": VERSION,
        "size": scene.size,
        "frames": scene.frames,
        "fps": scene.fps,
        "seed": scene.seed,
        "holds_still": scene.static_background,
        "device": scene.rendering.device,
        "camera": {
            "matrices": camera_matrices(scene, compute_poses(scene, scene.subject).foot).reshape(-1, 16).tolist(),
            "focal_mm": scene.camera.focal_mm,
            "sensor_mm": SENSOR_MM,
        },
        **{key: values[key] for key in ("sky", "sun", "ground", "walls")},
        "bodies": [
            _body(scene, body, role)
            for body, role in ((scene.subject, "subject"), *((prop, "prop") for prop in scene.props))
        ],
        "variants": _variants(scene, folder),
        "passes": [asdict(render_pass) for render_pass in passes],
    }


def passes_of(scene: Scene) -> tuple[Pass, ...]:
    """Every pass that a clip needs: its layers at full quality, and those that its effects' own masks come from."""
    rendering, frames = scene.rendering, tuple(range(scene.frames))
    best = Pass(name="", kind="whole", samples=rendering.samples, denoise=rendering.denoise, frames=frames)
    plate = replace(best, kind="plate", frames=frames[:1] if scene.static_background else frames)
    passes = [replace(plate, name="background"), replace(best, name="subject", kind="subject")]
    for number, variant in enumerate(scene.variants):
        whole = replace(best, name=f"v{number:02d}", variant=number, crop=rendering.crop)
        passes.append(whole)
        if any(effect.kind in ("dust", "smoke", "splash", "spray", "glow") for effect in variant.effects):
            passes.append(replace(whole, name=f"{whole.name}-front", kind="front", crop=False))
        if any(getattr(effect, "softness_deg", None) is not None for effect in variant.effects):
            own_plate = replace(plate, name=f"{whole.name}-plate", variant=number)
            # Only how it differs from the shared plate is used, which is smooth: a small one will do for each frame.
            if not scene.static_background:
                own_plate = replace(own_plate, crop=rendering.crop, scale=OWN_PLATE_SCALE)
            passes.append(own_plate)
    for number, variant in enumerate(scene.variants):
        if len(variant.effects) > 1:  # a single effect is measured on gt and over
            truth = replace(
                best, name=f"v{number:02d}-truth", variant=number, crop=rendering.crop,
                samples=rendering.mask_samples, denoise=True, scale=rendering.mask_scale,
            )  # fmt: skip
            without = [(f"v{number:02d}-without-{effect.kind}", effect.kind) for effect in variant.effects]
            passes += [truth, *(replace(truth, name=name, off=kind) for name, kind in without)]
    return tuple(passes)


def _body(scene: Scene, body: Body, role: str) -> dict[str, Any]:
    parts, way = pose_body(scene, body)
    entries = [
        asdict(part)
        | {
            "size": [float(side) for side in part.size],
            "asset": None if part.asset is None else str(Path(part.asset).expanduser().absolute()),
            "matrices": (way.matrices @ part.matrices).reshape(-1, 16).tolist(),
        }
        for part in parts
    ]
    return {"name": body.name, "role": role, "parts": entries}


def _variants(scene: Scene, folder: Path) -> list[dict[str, Any]]:
    track = compute_track(scene)
    kinds = [effect.kind for effect in EFFECTS]
    entries = []
    for number, variant in enumerate(scene.variants):
        media = []
        for effect in variant.effects:
            # The same effect has the same chances in every variant: what differs between two of them is settings alone.
            rng = np.random.default_rng([scene.seed, kinds.index(effect.kind)])
            for count, medium in enumerate(effect.media(track, rng)):
                name = f"v{number:02d}-{effect.kind}-{count}.npz"
                np.savez(folder / name, allow_pickle=False, **medium_arrays(medium))
                media.append({"effect": effect.kind, "file": name, **medium_fields(medium)})
        soft = [effect.softness_deg for effect in variant.effects if effect.kind == "shadow"]
        rays = [effect.kind for effect in variant.effects if effect.kind in RAYS]
        entries.append({"name": variant.name, "softness_deg": soft[0] if soft else None, "rays": rays, "media": media})
    return entries
