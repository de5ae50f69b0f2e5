"""Blender's own environment for a package that was installed: made once, in the user's data folder.

In a checkout `make blender` makes one beside the code. A wheel has no such place, and an installation of pipx is thrown
away after use, so this one lies in `$XDG_DATA_HOME/effectpairs` (`~/.local/share/effectpairs`), for all of them. It is
whole when its stamp is there; one that broke off is made anew.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from ...digests import digest_of_file

REQUIREMENTS = Path(__file__).parents[2] / "constraints-blender.txt"
PYTHON_VERSION = (3, 11)
"""The one that bpy 4.5 is built for."""
STAMP = ".whole"
SYSTEM_PACKAGES = "libxi6 libxrender1 libxfixes3 libxkbcommon0 libsm6 libgl1"
"""Debian's names of libraries that Blender's module links; slim images lack some."""


class EnvironmentNotMade(RuntimeError):
    """Blender's environment cannot be made here; the message says why, and what to do."""

    is_sentence = True


def environment_folder() -> Path:
    """Folder of the environment, by the digest of its requirements: another Blender gets another folder."""
    data_home = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
    return data_home / "effectpairs" / f"blender-{digest_of_file(REQUIREMENTS)[:8]}"


def find_environment() -> Path | None:
    """Path to the environment's Python; None where there is none, or one that is not whole."""
    folder = environment_folder()
    return folder / "bin" / "python" if (folder / STAMP).is_file() else None


def make_environment() -> Path:
    """Make the environment, unless it is there; return the path to its Python. It takes 1 GB and some minutes.

    Raises:
        EnvironmentNotMade: there is no Python 3.11, no network, no space, or a library of the system is missing.
    """
    folder = environment_folder()
    base = sys.executable if sys.version_info[:2] == PYTHON_VERSION else shutil.which("python3.11")
    if base is None:
        raise EnvironmentNotMade("Blender needs Python 3.11, which is not here; install python3.11, then try again")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second one waits, and then finds it made
        if python := find_environment():
            return python
        shutil.rmtree(folder, ignore_errors=True)
        python = folder / "bin" / "python"
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        try:
            _run([base, "-m", "venv", str(folder)], "is not made", "install python3.11-venv")
            _run([*install, "--requirement", str(REQUIREMENTS)], "gets no Blender", "look at disk and network")
            _run([str(python), "-c", "import bpy"], "cannot load Blender", f"apt-get install {SYSTEM_PACKAGES}")
            (folder / STAMP).touch()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)  # 1 GB of no use
            raise
    return python


def _run(command: list[str], fault: str, remedy: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    environment |= {"PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if result.returncode:
        line = (result.stderr.strip().splitlines() or [f"status {result.returncode}"])[-1].strip()
        raise EnvironmentNotMade(f"{environment_folder()} {fault} ({line}); {remedy}, then try again")
