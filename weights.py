"""Model weights on this machine: a folder, a file, the hub's local store, and a download where one is allowed.

Every backend looks here before it loads anything. Asking the local store takes under a millisecond, where a library's
own `from_pretrained` needs 23 s of retries to find that a model is missing, and each library raises another error. A
download happens only where EFFECTPAIRS_DOWNLOAD allows it: a model is 2 to 40 GB.

Settings of a backend say what they need by a property `required_weights`, a tuple of `WeightsRef`; `requirements.py`
looks for all of a source at once, before anything is computed.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .digests import digest_of_file
from .extras import require

DOWNLOAD_ENV = "EFFECTPAIRS_DOWNLOAD"
"""Environment variable that allows downloads from the hub when it is 1."""
NO_WEIGHTS = (".md", ".jpg", ".png", ".gif", ".mp4")
"""Endings of files beside the weights that decide nothing: they enter no digest and are not downloaded."""


class WeightsNotFound(RuntimeError):
    """Weights are not on this machine; the message names the model, the places searched, and the way to get it."""

    is_sentence = True
    is_unavailable = True


@dataclass(frozen=True, kw_only=True)
class WeightsRef:
    """Name of weights, and what their folder must hold."""

    model: str
    """A folder, a file, or the name of a hub repository, such as "facebook/sam2.1-hiera-large"."""
    revision: str | None = None
    """Commit, tag or branch of the repository; None is main."""
    parts: tuple[str, ...] = ("config.json", "*.safetensors")
    """Files or folders, as patterns relative to the model's folder, of which each must be there."""
    remedy: str = ""
    """The way to get a model that is on no hub, as the end of a sentence; empty: the command that downloads it."""


@dataclass(frozen=True, kw_only=True)
class LocalModel:
    """Weights on this machine."""

    id: str
    path: Path
    """Folder, or the one file."""
    revision: str | None
    """Commit of the hub's repository; None for a folder or a file of somebody's own."""

    @property
    def version(self) -> str:
        """The commit, or "folder-" and the first 16 digits of the digest: what keys and provenance of results hold."""
        return self.revision or f"folder-{self.sha256()[:16]}"

    def sha256(self, *parts: str) -> str:
        """SHA-256 over the files of some parts, of all parts if none is named: their names, sizes and every byte."""
        if self.path.is_file():
            return digest_of_file(self.path)
        digest = hashlib.sha256()
        for path in sorted(path for part in parts or ("",) for path in _weight_files(self.path, part)):
            digest.update(f"{path.relative_to(self.path).as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(bytes.fromhex(digest_of_file(path)))
        return digest.hexdigest()


def find_weights(ref: WeightsRef, *, download: bool = True) -> LocalModel:
    """Find weights on this machine, or download them where that is allowed.

    Args:
        ref: the weights.
        download: fetch what is missing, if EFFECTPAIRS_DOWNLOAD is 1.

    Raises:
        WeightsNotFound: they are not here or not whole, in one sentence with the remedy.
    """
    path = Path(ref.model).expanduser()
    is_own, revision, download = path.exists(), None, download and is_download_allowed()
    if not is_own:
        path = _hub_snapshot(ref, download)
        revision = path.name
    part = _missing_part(path, ref.parts)
    if part and not is_own and download:
        path = _download(ref)
        part = _missing_part(path, ref.parts)
    if part:
        remedy = ref.remedy or ("name the folder of a whole model" if is_own else _command(ref))
        raise WeightsNotFound(f"{ref.model}: {path} has no {part}; {remedy}")
    return LocalModel(id=ref.model, path=path, revision=revision)


def is_download_allowed() -> bool:
    """Whether EFFECTPAIRS_DOWNLOAD is 1."""
    return os.environ.get(DOWNLOAD_ENV, "") == "1"


def _weight_files(folder: Path, part: str) -> Iterator[Path]:
    """Files of a part; hidden ones (a download's own notes) and pictures of the model's page are none of its."""
    for path in [folder / part, *(folder / part).rglob("*")]:
        hidden = any(name.startswith(".") for name in path.relative_to(folder).parts)
        if path.is_file() and not hidden and path.suffix.lower() not in NO_WEIGHTS:
            yield path


def _hub_snapshot(ref: WeightsRef, download: bool) -> Path:
    """Folder of a hub repository in the local store.

    Raises:
        WeightsNotFound: it is not there.
    """
    is_path = ref.model.startswith((".", "~", "/")) or ref.model.endswith(".safetensors")
    if is_path or ref.model.count("/") != 1:
        ids = "" if is_path else ", and no model's name of the form owner/name"
        raise WeightsNotFound(f"{ref.model} is no folder and no file{ids}; {ref.remedy or 'correct it'}")
    try:
        hub = require("huggingface_hub", extra="models")
    except ImportError as error:
        raise WeightsNotFound(f"{ref.model}: there is no such folder, and {error}") from error
    try:
        return Path(hub.snapshot_download(ref.model, revision=ref.revision, local_files_only=True))
    except (OSError, ValueError) as error:
        if download:
            return _download(ref)
        remedy = ref.remedy or f"{_command(ref)}, or give its folder (or let it be fetched, by {DOWNLOAD_ENV}=1)"
        searched = f"there is no such folder and nothing in {hub.constants.HF_HUB_CACHE}"
        raise WeightsNotFound(f"{ref.model}: {searched}; {remedy}") from error


def _download(ref: WeightsRef) -> Path:
    """Download a repository into the hub's local store; what is there of it is not fetched again.

    Raises:
        WeightsNotFound: the hub does not give it, or cannot be reached.
    """
    hub = require("huggingface_hub", extra="models")
    try:
        ignored = [f"*{ending}" for ending in NO_WEIGHTS]
        return Path(hub.snapshot_download(ref.model, revision=ref.revision, ignore_patterns=ignored))
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise WeightsNotFound(f"{ref.model}: cannot be downloaded ({reason}); {ref.remedy or _command(ref)}") from error


def _missing_part(path: Path, parts: tuple[str, ...]) -> str | None:
    """First part that a model's folder lacks: one of its list, or a file that its own index of weights names."""
    if path.is_file():
        return None
    for part in parts:
        if not any(match.exists() for match in path.glob(part)):
            return f"{part}/" if "." not in part else part
    for index in sorted(path.rglob("*.safetensors.index.json")):
        try:
            names: set[str] = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, AttributeError):
            return f"readable {index.relative_to(path).as_posix()}"
        for name in sorted(names):
            if not (index.parent / name).exists():
                return (index.parent / name).relative_to(path).as_posix()
    return None


def _command(ref: WeightsRef) -> str:
    return f"fetch it with: hf download {ref.model}{f' --revision {ref.revision}' if ref.revision else ''}"
