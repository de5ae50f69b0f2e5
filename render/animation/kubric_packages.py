"""Kubric for an installation that has none: its packages in a folder of the user's, made once.

Kubric asks for much that it never imports (TensorFlow, Google's clouds), so no extra can bring it, and an installation
of pipx is thrown away after use. The packages lie in `$XDG_DATA_HOME/effectpairs`, beside Blender's environment, but
not what they ask for: all else that they import is there. Those of the installation itself come first.
"""

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ...requirements import is_installed

PACKAGES = (
    *("kubric-nightly==2023.12.27", "pybullet==3.2.7", "absl-py==2.5.1", "etils==1.15.0", "munch==4.0.0"),
    *("pypng==0.20220715.0", "pyquaternion==0.9.9", "singledispatchmethod==1.0", "traitlets==5.16.1"),
)


class KubricNotMade(RuntimeError):
    """Kubric's packages cannot be had here; the message says why, and what to do."""

    is_sentence = True


def packages_folder() -> Path:
    """Folder of the packages, for this Python alone: PyBullet is compiled."""
    data_home = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
    return data_home / "effectpairs" / f"{PACKAGES[0]}-{sys.implementation.cache_tag}"


def find_kubric() -> bool:
    """Whether Kubric and PyBullet can be imported; those of the folder are on the path from now on."""
    folder = packages_folder()
    if not (is_installed("kubric") and is_installed("pybullet")) and folder.is_dir() and str(folder) not in sys.path:
        sys.path.append(str(folder))
        importlib.invalidate_caches()
    return is_installed("kubric") and is_installed("pybullet")


def make_kubric() -> None:
    """Bring the packages into their folder, unless Kubric is there; 100 MB.

    Raises:
        KubricNotMade: there is no network, no space or no pip.
    """
    if find_kubric():
        return
    folder = packages_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        target = Path(scratch) / "packages"
        options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--target", str(target))
        command = [sys.executable, "-m", "pip", "install", *options, *PACKAGES]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            line = (result.stderr.strip().splitlines() or [f"status {result.returncode}"])[-1].strip()
            raise KubricNotMade(f"{folder} gets no Kubric ({line}); look at disk and network, then try again")
        shutil.rmtree(folder, ignore_errors=True)
        target.rename(folder)
    find_kubric()
