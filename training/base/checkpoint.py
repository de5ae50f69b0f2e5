"""Checkpoints: folders `step-00000020` that appear whole, hold the learning weights alone, and go on bit for bit.

Weights, their running mean and the optimiser's numbers are safetensors, all by the weight's name. Nothing random is
kept, for samples are drawn by number (see `mix`): the step says which comes next. `checkpoint.json` is written last and
holds every file's digest. Where the optimiser is sharded (FSDP, DeepSpeed), accelerate writes its state beside them.
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
    digest_of_file,
    explain_os_errors,
    flush_folder,
    is_abandoned,
    json_bytes,
    partial_beside,
)
from ...extras import require

torch = require("torch", extra="train")
MANIFEST = "checkpoint.json"
SHARDS = "shards-"
"""Before a checkpoint's name: the folder beside it with a sharded optimiser's state."""
WEIGHTS, MEAN, OPTIMISER = "trainable.safetensors", "mean.safetensors", "optimiser.safetensors"


def save(
    folder: Path, step: int, tensors: Mapping[str, Mapping[str, Any]], identity: Mapping[str, Any], *, keep: int
) -> Path:
    """Write a checkpoint whole or not at all, then remove all but the newest `keep`.

    Args:
        folder: of all checkpoints.
        step: steps that are done.
        tensors: file name to tensors by name.
        identity: what a run must share to go on from here.
        keep: how many stay.

    Raises:
        CannotWrite: the disk is full or the folder cannot be written; older checkpoints stay.
    """
    place = folder / f"step-{step:08d}"
    partial = partial_beside(place)
    try:
        with explain_os_errors(place):
            partial.mkdir(parents=True)
            for name, held in tensors.items():
                _write(partial / name, held)
            files = {path.name: digest_of_file(path) for path in sorted(partial.iterdir())}
            said = {"step": step, "identity": dict(identity), "files": files}
            (partial / MANIFEST).write_bytes(json_bytes(said))
            shutil.rmtree(place, ignore_errors=True)
            partial.rename(place)
            flush_folder(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    prune(folder, keep)
    return place


def prune(folder: Path, keep: int) -> None:
    """Remove all checkpoints but the newest, and what killed runs left half-written."""
    for old in finished(folder)[:-keep]:
        (old / MANIFEST).unlink()  # first, so that a half-removed checkpoint is none
        shutil.rmtree(old)
    kept = {f"{SHARDS}{place.name}" for place in finished(folder)}
    for shards in folder.glob(f"{SHARDS}step-*"):
        if shards.name not in kept:
            shutil.rmtree(shards, ignore_errors=True)
    for partial in folder.glob("*.partial-*"):
        if is_abandoned(partial):
            shutil.rmtree(partial, ignore_errors=True)


def finished(folder: Path) -> list[Path]:
    """The whole checkpoints in a folder, oldest first."""
    return sorted(
        path for path in folder.glob("step-*") if re.fullmatch(r"step-\d{8}", path.name) and (path / MANIFEST).is_file()
    )


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint."""
    return next(reversed(finished(folder)), None)


def read_manifest(place: Path, identity: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a checkpoint says of itself, after every file was checked against its digest.

    Raises:
        ValueError: it is damaged, or belongs to another run than `identity` says.
    """
    try:
        said: dict[str, Any] = json.loads((place / MANIFEST).read_text())
        spoilt = [name for name, digest in said["files"].items() if digest_of_file(place / name) != digest]
    except (OSError, ValueError, KeyError) as broken:
        raise ValueError(f"{place}: is damaged ({broken}); remove it, then the one before is taken") from broken
    if spoilt:
        raise ValueError(f"{place}: {spoilt[0]} is damaged; remove {place.name}, then the one before is taken")
    if identity is not None:
        _compare(place, said["identity"], json.loads(json_bytes(dict(identity))))
    return said


def read(place: Path, name: str) -> dict[str, Any]:
    """The tensors of one of its files; empty where it has no such file."""
    loader = require("safetensors.torch", extra="train")
    return dict(loader.load_file(place / name)) if (place / name).exists() else {}


def optimiser_tensors(optimiser: Any, names: list[str]) -> dict[str, Any]:
    """An optimiser's state as tensors, each named `weight/number`."""
    state = optimiser.state_dict()["state"]
    return {f"{names[n]}/{key}": value for n, held in state.items() for key, value in held.items()}


def restore_optimiser(optimiser: Any, names: list[str], tensors: Mapping[str, Any]) -> None:
    """Put back what `optimiser_tensors` gave."""
    state: dict[int, dict[str, Any]] = {}
    for full, value in tensors.items():
        name, key = full.rsplit("/", 1)
        state.setdefault(names.index(name), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _write(path: Path, held: Mapping[str, Any]) -> None:
    safetensors, writer = require("safetensors", extra="train"), require("safetensors.torch", extra="train")
    try:
        writer.save_file({name: value.detach().cpu().contiguous() for name, value in held.items()}, path)
    except safetensors.SafetensorError as failed:  # it wraps the system's error in words
        number = re.search(r"os error (\d+)", str(failed))
        raise OSError(int(number[1]) if number else errno.EIO, str(failed), str(path)) from failed
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _compare(place: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any], name: str = "") -> None:
    for key in sorted(theirs.keys() | ours.keys()):
        here, there = ours.get(key), theirs.get(key)
        if isinstance(here, dict) and isinstance(there, dict):
            _compare(place, there, here, f"{name}{key}.")
        elif here != there:
            raise ValueError(
                f"{place}: was written with {name}{key} = {_short(there)}, this run has {_short(here)}; "
                "train into another output folder, or set it back"
            )


def _short(value: Any) -> str:
    said = str(value)
    return said if len(said) <= 24 else f"{said[:12]}..."
