"""Plain names of measured colours."""

import colorsys
from collections.abc import Sequence

GREY_SATURATION = 0.14
"""Saturation below which a colour is a grey; very dark colours are too, for their hue is hardly visible."""
HUES = (
    (12, "red"), (40, "orange"), (68, "yellow"), (160, "green"), (195, "cyan"), (255, "blue"),
    (290, "violet"), (345, "pink"), (361, "red"),
)  # fmt: skip
"""Names of hues, each with the upper end of its range in degrees."""


def colour_name(rgb: Sequence[float | int]) -> str:
    """Return a plain, undisputed name for a colour in display space, each channel 0 to 255."""
    red, green, blue = (min(max(float(channel), 0.0), 255.0) / 255 for channel in rgb)
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    if value < 0.13:
        return "black"
    if saturation < GREY_SATURATION or (value < 0.25 and saturation < 0.35):
        return "white" if value > 0.86 else "pale grey" if value > 0.68 else "grey" if value > 0.36 else "dark grey"
    degrees = hue * 360
    if saturation < 0.32 and 180 <= degrees <= 260:
        return "pale blue" if value > 0.8 else "blue-grey"
    is_bright = (saturation > 0.85 and value > 0.6) or (saturation > 0.5 and value > 0.85)
    if 12 <= degrees <= 50 and not is_bright:
        if value > 0.62:
            return "tan" if saturation > 0.3 else "beige"
        return "brown" if value > 0.35 else "dark brown"
    name = next(name for upper_end, name in HUES if degrees < upper_end)
    if name == "red" and saturation < 0.5 and value > 0.7:
        return "pink"
    if value < 0.4:
        return f"dark {name}"
    return f"pale {name}" if saturation < 0.4 and value > 0.75 and name != "pink" else name


def tint_name(rgb: Sequence[float]) -> str | None:
    """Return the tint of a mirror image, whose colours are many; None for a neutral or an ambiguous one."""
    tints = {"blue": "bluish", "blue-grey": "bluish", "green": "greenish", "brown": "brownish", "tan": "brownish"}
    return tints.get(colour_name(rgb).split()[-1])
