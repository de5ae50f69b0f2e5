"""What a run over a source consists of, whoever puts it in order: phases of chunks, each taken through its stages."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from ...datasets.sources.source import Source
from ...datasets.store.ledger import RunSummary
from .batches import Chunk, Failure
from .workers import Worker


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Chunks that do not depend on each other; what they are is known when the phase before is over."""

    name: str
    stages: tuple[str, ...]
    """In order; a chunk keeps its worker process through all of them."""
    pending: Callable[[], list[Chunk]]
    """The chunks that are still to do."""


@runtime_checkable
class Run(Protocol):
    """What one run over a source knows; nothing in it is needed to go on after a kill, the store has it all."""

    workspace: Path
    workers: int

    @property
    def source(self) -> Source:
        """What is run."""

    def phases(self) -> tuple[Phase, ...]:
        """In order."""

    def work(self, chunk: Chunk, stage: str, worker: Worker) -> list[Failure]:
        """One stage over the items of a chunk; what the store already holds is not made again."""

    def note(self, failures: Iterable[Failure]) -> None:
        """Keep the first failure of each item."""

    def is_done(self) -> bool:
        """Does the store hold a result for everything?"""

    def close(self) -> RunSummary:
        """Judge every clip, write the ledger and the account."""
