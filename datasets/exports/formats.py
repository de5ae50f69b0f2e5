"""All formats of an export, by name."""

from ...settings import nearest
from .exr import Exr
from .format import Format
from .lerobot import LeRobot
from .neutral import VideoFolder, WebDataset
from .object_removal import GEN_OMNIMATTE, VOID
from .trainers import TRAINERS

FORMATS: dict[str, Format] = {
    layout.name: layout for layout in (GEN_OMNIMATTE, VOID, *TRAINERS, VideoFolder(), WebDataset(), LeRobot(), Exr())
}


def find_format(name: str) -> Format:
    """Return the format of a name.

    Raises:
        ValueError: there is none; the message names those that there are.
    """
    if name not in FORMATS:
        raise ValueError(f"{name!r} is not a format{nearest(name, FORMATS)} There are: {', '.join(FORMATS)}")
    return FORMATS[name]
