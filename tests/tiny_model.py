"""The tiny base model for tests: written once a session's folder, loaded where asked.

`from effectpairs.tests.tiny_model import tiny_parts`.
"""

from pathlib import Path
from typing import Any, NamedTuple

from effectpairs.training.base import encoders, models
from effectpairs.training.base.tiny import write_tiny_model


class Parts(NamedTuple):
    """A loaded family."""

    folder: Path
    transformer: Any
    vae: Any
    text: encoders.TextModel
    scheduler: Any


def tiny_parts(folder: Path) -> Parts:
    """Write the tiny model unless it is there, and load all of it."""
    if not (folder / "scheduler").is_dir():
        write_tiny_model(folder)
    words = encoders.TextModel(*models.load_text_model(folder), models.text_length(folder))
    return Parts(folder, models.load_transformer(folder), models.load_vae(folder), words, models.load_scheduler(folder))
