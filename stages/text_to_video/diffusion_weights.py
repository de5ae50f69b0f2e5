"""Where a diffusers pipeline's weights lie: a folder, or the hub's local store. Nothing is fetched.

Looked for before anything is loaded, so that a missing model is one sentence at once, not minutes of retries.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...extras import require
from .text_to_video import ModelMissing

INDEX = "model_index.json"


@dataclass(frozen=True, kw_only=True)
class Located:
    """A pipeline's folder."""

    folder: Path
    revision: str
    """The commit in the hub's store; of a folder of somebody's own, a digest of its settings and its files' sizes."""
    pipeline: str
    """The name of its class."""


def locate(model: str, revision: str | None, pipelines: Sequence[str]) -> Located:
    """Find a pipeline on this machine, without any network.

    Args:
        model: a folder, or a hub repository's name.
        revision: commit, tag or branch of the repository.
        pipelines: the classes that will do.

    Raises:
        ModelMissing: it is not there, or not whole.
        ValueError: it is a pipeline of another kind.
    """
    folder = Path(model).expanduser()
    found = folder if folder.is_dir() else _from_hub(model, revision)
    index = _index(found, model)
    kind = str(index.get("_class_name"))
    if kind not in pipelines:
        raise ValueError(f"{model}: is a {kind}, not {' or '.join(pipelines)}; name a text-to-video model of these")
    parts = [name for name, made_by in index.items() if isinstance(made_by, list) and made_by[0] is not None]
    gone = [part for part in parts if not (found / part).is_dir()]
    if gone:
        raise ModelMissing(f"{model}: {found} has no {gone[0]}/; {_remedy(model, revision)}")
    return Located(folder=found, revision=_digest(found) if folder.is_dir() else found.name, pipeline=kind)


def _index(folder: Path, model: str) -> dict[str, Any]:
    try:
        index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as broken:
        raise ModelMissing(
            f"{model}: {folder} has no readable {INDEX}; name the folder of a whole diffusers pipeline"
        ) from broken
    return index


def _from_hub(model: str, revision: str | None) -> Path:
    if model.startswith((".", "~", "/")) or model.count("/") != 1:
        raise ModelMissing(f"{model} is no folder, and no model's name of the form owner/name; correct it")
    hub = require("huggingface_hub", extra="train")
    constants = require("huggingface_hub.constants", extra="train")
    try:
        return Path(hub.snapshot_download(model, revision=revision, local_files_only=True))
    except (OSError, ValueError) as missing:
        raise ModelMissing(
            f"{model}: there is no such folder and nothing in {constants.HF_HUB_CACHE}; {_remedy(model, revision)}"
        ) from missing


def _remedy(model: str, revision: str | None) -> str:
    return f"fetch it with: hf download {model}{f' --revision {revision}' if revision else ''}"


def _digest(folder: Path) -> str:
    digest = hashlib.sha256((folder / INDEX).read_bytes())
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".safetensors", ".json"):
            digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
    return f"folder-{digest.hexdigest()[:16]}"
