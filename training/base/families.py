"""The families there are: which one a model's folder is of, and how records name it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...extras import require
from .cogvideox import CogVideoXFamily
from .family import Family
from .models import Layout, LocalBase, read_config
from .pixel_shuffle import PixelShuffleFamily
from .published import WeightsFile, open_weights, published_config
from .wan import WanFamily

FAMILIES: dict[str, Any] = {family.name: family for family in (PixelShuffleFamily, CogVideoXFamily, WanFamily)}


def open_family(folder: Path, *, published: WeightsFile | None = None, layout: Layout = "auto") -> Family:
    """The family of a model's folder, or of a folder that holds a transformer alone; no weight is read.

    Raises:
        UnusableWeights: the published transformer is of no class that is here, or of another than the folder's.
        ValueError: its transformer is of a class that no family has, or cannot be brought to the layout.
    """
    path = folder / "transformer" if (folder / "transformer").is_dir() else folder
    config = read_config(path) if published is None else published_config(published, folder)
    try:
        return family_of_configs(config, read_config(folder / "vae") if (folder / "vae").is_dir() else {}, layout)
    except ValueError as error:
        raise ValueError(f"{path if published is None else published.path}: {error}") from error


def family_of_configs(config: Mapping[str, Any], vae: Mapping[str, Any], layout: Layout = "auto") -> Family:
    """The family of a model by the configs of its transformer and its autoencoder.

    Raises:
        ValueError: the transformer is of a class that no family has, or cannot be brought to the layout.
    """
    for family_class in FAMILIES.values():
        family: Family | None = family_class.recognise(config, vae, layout)
        if family is not None:
            return family
    raise ValueError(f"{config.get('_class_name')} is no transformer of {' or '.join(FAMILIES)}; choose another model")


def family_of_model(model: LocalBase) -> Family:
    """The family of a base model on this machine."""
    return open_family(model.path, published=_published(model), layout=model.layout)


def load_transformer(model: LocalBase, *, dtype: str | None = "float32") -> Any:
    """Load the transformer that a base model on this machine begins with."""
    return family_of_model(model).load_transformer(model.path, dtype=dtype, published=_published(model))


def transformer_config(model: LocalBase) -> dict[str, Any]:
    """Config of the transformer that a base model on this machine begins with; no weight is read."""
    published = _published(model)
    return read_config(model.path / "transformer") if published is None else published_config(published, model.path)


def transformer_shapes(family: Family, config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shape of every weight of a family's transformer with this config; none is allocated."""
    with require("torch", extra="train").device("meta"):
        transformer = getattr(require("diffusers", extra="train"), family.transformer_class).from_config(config)
    return {name: tuple(weight.shape) for name, weight in transformer.named_parameters()}


def family_record(family: Family) -> dict[str, Any]:
    """A family as a record of caches and trained weights."""
    fields = {field.name: getattr(family, field.name) for field in dataclasses.fields(family)}  # type: ignore[arg-type]
    return {"name": family.name} | {name: value for name, value in fields.items() if value is not None}


def family_of_record(record: Mapping[str, Any]) -> Family:
    """The family of a record.

    Raises:
        ValueError: it names no family that is here.
    """
    fields = dict(record)
    family_class = FAMILIES.get(fields.pop("name"))
    if family_class is None:
        raise ValueError(f"the record names the family {record['name']}, which is not one of {', '.join(FAMILIES)}")
    family: Family = family_class(**fields)
    return family


def _published(model: LocalBase) -> WeightsFile | None:
    return None if model.weights is None else open_weights(model.weights)
