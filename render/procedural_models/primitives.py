"""Short words for parts (blocks, limbs, side views), and surfaces that many figures share."""

import zlib
from collections.abc import Sequence

import numpy as np

from ..scene.objects import Body, Material, Vec3
from ..scene.transforms import Matrices, translate
from .part import Mesh, Part

Point = tuple[float | int, float | int, float | int]
GLASS = Material(colour=(0.07, 0.10, 0.13), roughness=0.04)
RUBBER = Material(colour=(0.06, 0.06, 0.065), roughness=0.85)
TRIM = Material(colour=(0.10, 0.10, 0.11), roughness=0.5)
CHROME = Material(kind="metal", colour=(0.78, 0.79, 0.80), roughness=0.22)
LAMP = Material(colour=(0.95, 0.95, 0.92), roughness=0.1)
TAIL_LAMP = Material(colour=(0.62, 0.03, 0.03), roughness=0.2)
TIMBER = Material(kind="wood", colour=(0.55, 0.36, 0.20), second=(0.40, 0.25, 0.13), roughness=0.55, scale_m=0.25)
SKIN_TONES = ((0.93, 0.76, 0.65), (0.85, 0.65, 0.50), (0.69, 0.48, 0.34), (0.48, 0.32, 0.22), (0.32, 0.21, 0.15))
HAIR_COLOURS = ((0.10, 0.08, 0.07), (0.25, 0.16, 0.10), (0.45, 0.30, 0.16), (0.72, 0.58, 0.36), (0.55, 0.53, 0.51))


def block(mesh: Mesh, size: Sequence[float], look: Material, place: Matrices | Point, bevel: float = 0.0) -> Part:
    """A mesh of that size, at a point or under matrices."""
    length, width, height = (float(side) for side in size)
    matrices = translate(*place) if isinstance(place, tuple) else place
    return Part(mesh=mesh, size=(length, width, height), look=look, matrices=matrices, bevel_m=bevel)


def profile(
    points: Sequence[tuple[float | int, float | int]],
    width: float,
    look: Material,
    place: Matrices | Point,
    taper: float = 0.0,
) -> Part:
    """A side view (x, z), counter-clockwise seen from -y, given a width; its edges are a little rounded."""
    outline = np.asarray(points, np.float64)
    low, high = outline.min(axis=0), outline.max(axis=0)
    middle, reach = (low + high) / 2, high - low
    matrices = translate(*place) if isinstance(place, tuple) else place
    return Part(
        mesh="prism",
        size=(float(reach[0]), width, float(reach[1])),
        look=look,
        matrices=matrices @ translate(float(middle[0]), 0.0, float(middle[1])),
        outline=tuple((float(x), float(z)) for x, z in (outline - middle) / reach),
        taper=taper,
        bevel_m=0.04 * float(min(reach[0], reach[1], width)),
    )


def limb(joint: Matrices, length: float, thick: float, look: Material) -> tuple[Part, Matrices]:
    """A capsule that hangs from a joint, and the joint at its lower end."""
    part = block("capsule", (thick, thick, length + thick * 0.8), look, joint @ translate(0.0, 0.0, -length / 2))
    return part, joint @ translate(0.0, 0.0, -length)


def plain_material(colour: Vec3, roughness: float = 0.6) -> Material:
    """A surface of one colour."""
    return Material(colour=colour, roughness=roughness)


def scale_colour(colour: Vec3, share: float) -> Vec3:
    """A colour times share."""
    red, green, blue = (min(1.0, channel * share) for channel in colour)
    return red, green, blue


def stable_choice(body: Body, count: int, salt: str = "") -> int:
    """A choice among count that is the body's own, whatever happens around it: which hair, which bonnet."""
    words = f"{salt}|{body.name}|{body.size_m:.6f}|{body.look.colour}"
    return zlib.crc32(words.encode()) % count
