"""Where a model's weights lie: a folder, or the Hugging Face cache. Nothing is fetched, nothing is tried online.

Finding out by `from_pretrained` that weights are missing takes 23 seconds of retries; looking first takes none.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ...extras import require
from .chat import ModelUnavailable


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """A model on this machine."""

    folder: Path
    revision: str
    """The commit in the cache; of a folder of somebody's own, a digest of its configuration and its files' sizes."""


def find_model_files(model: str, revision: str = "") -> ModelFiles:
    """The weights of model: a folder's path, or an id such as "openbmb/MiniCPM-V-4.6"; revision empty is "main".

    Raises:
        Unavailable: they are in no folder and not in the cache.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelUnavailable(f"{model} holds no config.json; name a folder that a model was saved to")
        return ModelFiles(folder=folder, revision=_digest(folder))
    if model.startswith((".", "~", "/")) or model.count("/") != 1:
        raise ModelUnavailable(f"{model} is no folder, and no model id of the form owner/name; correct model")
    hub = require("huggingface_hub", extra="models")
    try:
        found = Path(hub.snapshot_download(model, revision=revision or None, local_files_only=True))
    except (OSError, ValueError) as error:  # LocalEntryNotFoundError is one of both
        wanted = f" --revision {revision}" if revision else ""
        raise ModelUnavailable(
            f"the weights of {model} are not on this machine (no such folder, none in {hub.constants.HF_HUB_CACHE}); "
            f"fetch them with: hf download {model}{wanted}, or give their folder as model"
        ) from error
    if not (found / "config.json").is_file():
        raise ModelUnavailable(f"the cache holds {model} in part ({found}); complete it with: hf download {model}")
    return ModelFiles(folder=found, revision=found.name)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode())
    return f"folder-{digest.hexdigest()[:16]}"
