"""Checkpoints: folders `step-00000020` that appear whole, hold the trainable weights alone, and resume bit for bit.

Weights, their moving average and the optimiser's state are safetensors, all by the weight's name. Nothing random is
kept, for samples are drawn by number (see `sampler`): the step says which comes next. `checkpoint.json` is written last
and holds every file's digest. Where the optimiser is sharded (FSDP, DeepSpeed), accelerate writes its state beside it.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...datasets.store.atomic_io import (
    explain_os_errors,
    flush_folder,
    is_abandoned,
    json_bytes,
    partial_beside,
)
from ...digests import digest_of_file
from ...extras import require

torch = require("torch", extra="train")
FORMAT = 2
"""Raise it when a checkpoint's files, or the names of the settings that it was written with, change."""
MANIFEST = "checkpoint.json"
SHARDS = "shards-"
"""Before a checkpoint's name: the folder beside it with a sharded optimiser's state."""
WEIGHTS, EMA, OPTIMISER = "trainable.safetensors", "ema.safetensors", "optimiser.safetensors"


def save_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, Mapping[str, Any]], identity: Mapping[str, Any], *, keep: int
) -> Path:
    """Write a checkpoint after `step` steps whole or not at all, then remove all but the newest `keep`.

    `tensors` are by file name, then by weight; `identity` is what a run must share to resume from here.

    Raises:
        CannotWrite: the disk is full or the folder cannot be written; older checkpoints stay.
    """
    path = folder / f"step-{step:08d}"
    partial = partial_beside(path)
    try:
        with explain_os_errors(path):
            partial.mkdir(parents=True)
            for name, weights in tensors.items():
                _write_tensors(partial / name, weights)
            files = {file.name: digest_of_file(file) for file in sorted(partial.iterdir())}
            manifest = {"format": FORMAT, "step": step, "identity": dict(identity), "files": files}
            (partial / MANIFEST).write_bytes(json_bytes(manifest))
            shutil.rmtree(path, ignore_errors=True)
            partial.rename(path)
            flush_folder(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for old in list_checkpoints(folder)[:-keep]:
        (old / MANIFEST).unlink()  # first, so that a half-removed checkpoint is none
        shutil.rmtree(old)
    current = {f"{SHARDS}{path.name}" for path in list_checkpoints(folder)}
    for shards in folder.glob(f"{SHARDS}step-*"):
        if shards.name not in current:
            shutil.rmtree(shards, ignore_errors=True)
    for partial in folder.glob("*.partial-*"):
        if is_abandoned(partial):  # a run was killed while writing it
            shutil.rmtree(partial, ignore_errors=True)
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints in a folder, oldest first."""
    return sorted(
        path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{8}", path.name) and (path / MANIFEST).is_file()
    )


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint."""
    return next(reversed(list_checkpoints(folder)), None)


def read_manifest(path: Path, identity: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Check every file of a checkpoint against its digest; return its manifest.

    Raises:
        ValueError: it is damaged, of another format, or belongs to another run than `identity` says.
    """
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text())
        damaged = [
            name
            for name, digest in manifest["files"].items()
            if digest_of_file(path / name, trust_disk=False) != digest
        ]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path}: is damaged ({error}); remove it, then the one before is taken") from error
    if damaged:
        raise ValueError(f"{path}: {damaged[0]} is damaged; remove {path.name}, then the one before is taken")
    if manifest.get("format", 1) != FORMAT:
        raise ValueError(
            f"{path}: has format {manifest.get('format', 1)}, not {FORMAT}; train again, into another output folder"
        )
    if identity is not None:
        _check_identity(path, manifest["identity"], json.loads(json_bytes(dict(identity))))
    return manifest


def read_tensors(path: Path, name: str) -> dict[str, Any]:
    """The tensors of one of a checkpoint's files; empty where it has no such file."""
    loader = require("safetensors.torch", extra="train")
    return dict(loader.load_file(path / name)) if (path / name).exists() else {}


def copy_tensors(targets: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Copy tensors over those of the same names."""
    with torch.no_grad():
        for name, value in tensors.items():
            targets[name].copy_(value)


def optimiser_tensors(optimiser: Any, names: list[str]) -> dict[str, Any]:
    """An optimiser's state as tensors, each named `weight/key`."""
    state = optimiser.state_dict()["state"]
    return {f"{names[n]}/{key}": value for n, values in state.items() for key, value in values.items()}


def restore_optimiser(optimiser: Any, names: list[str], tensors: Mapping[str, Any]) -> None:
    """Load the tensors of `optimiser_tensors` into an optimiser."""
    state: dict[int, dict[str, Any]] = {}
    for path, value in tensors.items():
        name, key = path.rsplit("/", 1)
        state.setdefault(names.index(name), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _write_tensors(path: Path, tensors: Mapping[str, Any]) -> None:
    safetensors, writer = require("safetensors", extra="train"), require("safetensors.torch", extra="train")
    try:
        writer.save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)
    except safetensors.SafetensorError as error:  # it wraps the system's error in words
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error), str(path)) from error
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _check_identity(path: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any], prefix: str = "") -> None:
    for key in sorted(theirs.keys() | ours.keys()):
        our_value, their_value = ours.get(key), theirs.get(key)
        if isinstance(our_value, dict) and isinstance(their_value, dict):
            _check_identity(path, their_value, our_value, f"{prefix}{key}.")
        elif our_value != their_value:
            raise ValueError(
                f"{path}: was written with {prefix}{key} = {_shorten(their_value)}, this run has "
                f"{_shorten(our_value)}; train into another output folder, or set it back"
            )


def _shorten(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."
