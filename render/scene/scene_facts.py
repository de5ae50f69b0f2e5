"""Facts of a rendered clip for its captions: everything that the scene knows of itself, in words and numbers."""

from typing import Any

from .objects import Travel
from .scene import Scene, Variant

OVERCAST_STRENGTH = 0.3
"""A weaker sun throws no shadow that anybody would speak of."""


def scene_facts(scene: Scene, variant: Variant) -> dict[str, Any]:
    """Subject, motion, ground, light, camera, and by effect its own facts; plain JSON values."""
    motion = scene.subject.motion
    motion_facts: dict[str, Any] = {"kind": motion.kind}
    if isinstance(motion, Travel):
        motion_facts |= {"speed_mps": motion.speed_mps, "turns": abs(motion.turn_deg_s) > 5}
    sun_shines = scene.sun.strength > OVERCAST_STRENGTH
    light: dict[str, Any] = {"sky": scene.sky.hdri if scene.sky.kind == "hdri" else scene.sky.kind, "sun": sun_shines}
    if sun_shines:
        elevation = scene.sun.elevation_deg
        height = "low" if elevation < 25 else "high" if elevation > 55 else "middling"
        light |= {"sun_elevation_deg": elevation, "sun_height": height}
    return {
        "subject": scene.subject.name,
        "shape": scene.subject.shape,
        "motion": motion_facts,
        "ground": {"kind": scene.ground.kind, "pattern": scene.ground.look.kind},
        "light": light,
        "camera": scene.camera.kind,
        "beside": [prop.name for prop in scene.props],
        "seconds": round(scene.frames / scene.fps, 3),
        "effects": {effect.kind: dict(effect.facts()) for effect in variant.effects},
    }


def effect_words(variant: Variant) -> list[str]:
    """The variant's effects in the corpus's vocabulary, in its order of naming them."""
    return [effect.kind for effect in variant.effects]
