"""A colour's name, for captions: a plain word that nobody would dispute, or none."""

import colorsys
from collections.abc import Sequence

GREY = 0.14
"""Less saturated colours are greys; so are very dark ones, whose hue is hardly seen."""
HUES = (
    (12, "red"), (40, "orange"), (68, "yellow"), (160, "green"), (195, "cyan"), (255, "blue"),
    (290, "violet"), (345, "pink"), (361, "red"),
)  # fmt: skip
"""Upper ends of the hues' ranges, in degrees."""


def colour_name(rgb: Sequence[float | int]) -> str:
    """Name a colour given as red, green, blue, 0 to 255 in display space."""
    red, green, blue = (min(max(float(value), 0.0), 255.0) / 255 for value in rgb)
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    if value < 0.13:
        return "black"
    if saturation < GREY or (value < 0.25 and saturation < 0.35):
        return _grey(value)
    degrees = hue * 360
    if saturation < 0.32 and 180 <= degrees <= 260:
        return "pale blue" if value > 0.8 else "blue-grey"
    return _brownish(degrees, saturation, value) or _hue(degrees, saturation, value)


def tint_name(rgb: Sequence[float]) -> str | None:
    """The cast of a mirror image, whose colours are many; None for a neutral one, or one between the casts' names."""
    name = colour_name(rgb).split()[-1]
    return {"blue": "bluish", "blue-grey": "bluish", "green": "greenish", "brown": "brownish", "tan": "brownish"}.get(
        name
    )


def _grey(value: float) -> str:
    if value > 0.86:
        return "white"
    return "pale grey" if value > 0.68 else "grey" if value > 0.36 else "dark grey"


def _brownish(degrees: float, saturation: float, value: float) -> str | None:
    if not 12 <= degrees <= 50 or (saturation > 0.85 and value > 0.6):
        return None
    if value > 0.85 and saturation > 0.5:
        return None
    if value > 0.62:
        return "tan" if saturation > 0.3 else "beige"
    return "brown" if value > 0.35 else "dark brown"


def _hue(degrees: float, saturation: float, value: float) -> str:
    name = next(word for end, word in HUES if degrees < end)
    if name == "red" and saturation < 0.5 and value > 0.7:
        return "pink"
    if value < 0.4:
        return f"dark {name}"
    return f"pale {name}" if saturation < 0.4 and value > 0.75 and name != "pink" else name
