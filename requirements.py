"""Requirements of backends: what their settings need of a machine, and what of it this machine lacks.

A settings class joins by any of five attributes, each of which may be left out:

- `required_packages`: name of a module to the extra that brings it;
- `required_weights`: a tuple of `weights.WeightsRef`;
- `required_memory_bytes` and `required_gpu_bytes`;
- `missing_programs()`: returns a tuple of `Lack`, for programs, keys and servers.

A run checks its source by `check_requirements` before anything is computed; `effectpairs doctor` lists all of them.
Nothing heavy is imported: packages are looked up, not loaded, and a GPU is asked for by its own program.
"""

import contextlib
import dataclasses
import importlib.util
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import psutil

from .weights import WeightsNotFound, find_weights

GIB = 2**30
LackKind = Literal["package", "weights", "program", "server", "blender", "memory", "gpu", "footage"]
AT_START: tuple[LackKind, ...] = ("package", "weights", "program")
"""Lacks that stop a run before it starts: no clip can get past them. A server may come back, and less memory than
advised may do; without Blender or footage a source says so itself, for each of its items."""
NVIDIA_TIMEOUT_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Lack:
    """One thing that a backend needs and this machine has not."""

    kind: LackKind
    fault: str
    """The thing that is missing, e.g. "torch is not installed"."""
    remedy: str
    """A command, or what else mends it."""

    @classmethod
    def from_sentence(cls, kind: LackKind, sentence: str) -> "Lack":
        """Take apart a sentence of the form "fault; remedy", as errors have it."""
        fault, _, remedy = sentence.partition("; ")
        return cls(kind=kind, fault=fault, remedy=remedy)

    def __str__(self) -> str:
        return f"{self.fault}; {self.remedy}"


class RequirementMissing(RuntimeError):
    """Something that a source's settings need is not on this machine; the message says what, and how to get it."""

    is_sentence = True


def list_lacks(settings: Any, *, download: bool = False) -> list[Lack]:
    """List what settings, and the settings in their fields, lack on this machine; each lack once.

    Args:
        settings: a value of a settings class; a class is asked for what it says without a value.
        download: fetch missing weights where EFFECTPAIRS_DOWNLOAD allows it.
    """
    lacks = [lack for part in _parts(settings) for lack in _own_lacks(part, download)]
    return list(dict.fromkeys(lacks))


def check_requirements(*settings: Any) -> None:
    """Check what settings need before a run starts; weights are downloaded where that is allowed.

    Raises:
        RequirementMissing: naming everything that is missing, each with its remedy.
    """
    lacks = [lack for part in settings for lack in list_lacks(part, download=True) if lack.kind in AT_START]
    if lacks:
        raise RequirementMissing(". ".join(dict.fromkeys(map(str, lacks))))


def weights_versions(settings: Any) -> dict[str, str]:
    """Versions of the weights that settings, and the settings in their fields, need, as far as they are here."""
    versions = {}
    for part in _parts(settings):
        refs = getattr(part, "required_weights", ())
        for ref in refs if isinstance(refs, tuple) else ():
            with contextlib.suppress(WeightsNotFound):
                versions[ref.model] = find_weights(ref).version
    return versions


def is_installed(module: str) -> bool:
    """Whether a package can be imported; it is not."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a parent that is not there, or a module without a spec
        return False


@cache
def gpu_memory_bytes() -> tuple[int, ...]:
    """Memory of each NVIDIA GPU, as its driver's program says; empty where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=NVIDIA_TIMEOUT_S).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(int(line) * 2**20 for line in answer.split() if line.isdigit())


def _parts(settings: Any) -> Iterator[Any]:
    """Settings, and all settings values in their fields."""
    yield settings
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        for field in dataclasses.fields(settings):
            value = getattr(settings, field.name)
            for part in value if isinstance(value, tuple) else (value,):
                if dataclasses.is_dataclass(part):
                    yield from _parts(part)


def _own_lacks(settings: Any, download: bool) -> Iterator[Lack]:
    extras: dict[str, list[str]] = {}
    packages = getattr(settings, "required_packages", {})
    for module, extra in packages.items() if isinstance(packages, Mapping) else ():  # a class's may be a property
        if not is_installed(module):
            extras.setdefault(extra, []).append(module)
    for extra, modules in extras.items():
        fault = f"{' and '.join(modules)} {'is' if len(modules) == 1 else 'are'} not installed"
        yield Lack(
            kind="package",
            fault=fault,
            remedy=f"pip install 'effectpairs[{extra}]'" if extra else "pip install effectpairs",
        )
    if not isinstance(settings, type):
        for ref in getattr(settings, "required_weights", ()):
            try:
                find_weights(ref, download=download)
            except WeightsNotFound as problem:
                yield Lack.from_sentence("weights", str(problem))
        if hasattr(settings, "missing_programs"):
            yield from settings.missing_programs()
    sizes = [getattr(settings, f"required_{kind}_bytes", 0) for kind in ("memory", "gpu")]
    yield from _size_lacks(*(size if isinstance(size, int) else 0 for size in sizes))


def _size_lacks(memory_bytes: int, gpu_bytes: int) -> Iterator[Lack]:
    total = psutil.virtual_memory().total
    if memory_bytes > total:
        sizes = f"{memory_bytes / GIB:.0f} GiB of memory are needed, this machine has {total / GIB:.0f}"
        yield Lack(kind="memory", fault=sizes, remedy="run it on a larger machine")
    largest = max(gpu_memory_bytes(), default=0)
    if gpu_bytes > largest:
        has = f"the largest here has {largest / GIB:.0f}" if largest else "there is none"
        yield Lack(
            kind="gpu", fault=f"a GPU of {gpu_bytes / GIB:.0f} GiB is advised, {has}", remedy="run it where one is"
        )
