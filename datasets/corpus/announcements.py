"""Notes by which publishings into one place know of each other, so that none deletes what another is about to list.

There is no lock: a note bears the name of an unfinished file, so what a killed publishing leaves of it is known as
such, protects nothing and is deleted by the next. The note of another machine, where a process cannot be looked for,
counts for a week; it keeps files from being deleted, no more.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from ...untrusted_input import parse_json
from ..store.atomic_io import json_bytes, partial_beside
from ..store.location import Location

NOTE = "publishing"
"""First part of the notes' names."""


def announce(corpus: Location, paths: Sequence[str]) -> str:
    """Write a note of the files that a publishing is about to write or to use as they are; return its name."""
    name = partial_beside(Path(NOTE)).name
    corpus.write(name, json_bytes(sorted(paths)))
    return name


def document_mark(name: str, sha256: str) -> str:
    """Entry of a note that announces a document: its name is there already, so its content tells which it is."""
    return f"{name} {sha256}"


def announced_paths(corpus: Location, *, ended: bool = False) -> set[str]:
    """Shards and documents that publishings have announced: those on their way, or those killed before their end."""
    paths: set[str] = set()
    for name in corpus.top():
        if name.startswith(f"{NOTE}.partial-") and name.count(".partial-") == 1 and corpus.is_abandoned(name) == ended:
            with contextlib.suppress(FileNotFoundError, ValueError):  # withdrawn meanwhile
                paths |= set(parse_json(corpus.read(name)))
    return paths


def withdraw(corpus: Location, *notes: str) -> None:
    """Delete notes of a publishing that is over; one that does not exist is as good."""
    for name in filter(None, notes):
        corpus.remove(name)
