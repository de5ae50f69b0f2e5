"""What a caption may say of a clip: everything that the scene knows of itself, in words and numbers."""

from typing import Any

from .objects import Travel
from .scene import Scene, Variant

OVERCAST_STRENGTH = 0.3
"""A weaker sun throws no shadow that anybody would speak of."""


def scene_facts(scene: Scene, variant: Variant) -> dict[str, Any]:
    """Subject, motion, ground, light, camera, and by effect its own facts; plain JSON values."""
    return {
        "subject": scene.subject.name,
        "shape": scene.subject.shape,
        "motion": _motion(scene),
        "ground": {"kind": scene.ground.kind, "pattern": scene.ground.look.kind},
        "light": _light(scene),
        "camera": scene.camera.kind,
        "beside": [prop.name for prop in scene.props],
        "seconds": round(scene.frames / scene.fps, 3),
        "effects": {effect.kind: dict(effect.facts()) for effect in variant.effects},
    }


def effect_words(variant: Variant) -> list[str]:
    """The variant's effects in the corpus's vocabulary, each once, in its order of naming them."""
    return list(dict.fromkeys(effect.word for effect in variant.effects))


def _motion(scene: Scene) -> dict[str, Any]:
    motion = scene.subject.motion
    if not isinstance(motion, Travel):
        return {"kind": motion.kind}
    return {"kind": motion.kind, "speed_mps": motion.speed_mps, "turns": abs(motion.turn_deg_s) > 5}


def _light(scene: Scene) -> dict[str, Any]:
    sky = scene.sky.hdri if scene.sky.kind == "hdri" else scene.sky.kind
    found: dict[str, Any] = {"sky": sky, "sun": scene.sun.strength > OVERCAST_STRENGTH}
    if found["sun"]:
        low = scene.sun.elevation_deg
        found |= {"sun_elevation_deg": low, "sun_height": "low" if low < 25 else "high" if low > 55 else "middling"}
    return found
