"""Words for colours, as a caption says them."""

from .render_data import Colour

NAMED_COLOURS: dict[str, Colour] = {
    "black": (0.06, 0.06, 0.06), "charcoal": (0.16, 0.16, 0.17), "dark grey": (0.28, 0.28, 0.28),
    "grey": (0.50, 0.50, 0.50), "light grey": (0.74, 0.74, 0.74), "white": (0.95, 0.95, 0.95),
    "red": (0.78, 0.12, 0.10), "dark red": (0.42, 0.07, 0.07), "rust-red": (0.62, 0.27, 0.15),
    "orange": (0.95, 0.52, 0.12), "amber": (0.98, 0.74, 0.36), "yellow": (0.93, 0.85, 0.20),
    "cream": (0.96, 0.91, 0.76), "sandy": (0.80, 0.69, 0.50), "tan": (0.64, 0.53, 0.40),
    "brown": (0.42, 0.29, 0.18), "dark brown": (0.23, 0.15, 0.10), "olive": (0.45, 0.45, 0.20),
    "green": (0.20, 0.58, 0.24), "dark green": (0.10, 0.28, 0.13), "teal": (0.10, 0.50, 0.50),
    "pale blue": (0.75, 0.86, 0.96), "blue": (0.16, 0.36, 0.80), "dark blue": (0.08, 0.14, 0.38),
    "purple": (0.46, 0.22, 0.62), "pink": (0.94, 0.55, 0.68),
}  # fmt: skip


def nearest_colour_name(colour: Colour) -> str:
    """The word nearest to a display colour, as an eye would judge: hue errors show more in saturated colours."""

    def away(other: Colour) -> float:
        red, green, blue = (mine - theirs for mine, theirs in zip(colour, other, strict=True))
        warm = (colour[0] + other[0]) / 2  # an eye tells blues apart less well beside much red
        return (2 + warm) * red**2 + 4 * green**2 + (3 - warm) * blue**2

    return min(NAMED_COLOURS, key=lambda word: away(NAMED_COLOURS[word]))
