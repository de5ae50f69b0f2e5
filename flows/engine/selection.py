"""The part of a source that one run takes: some stages, some clips, so many items. The rest stays pending."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .item import ItemProgress, Stage, progress_tree


class UnknownStage(ValueError):
    """A stage that a source does not have."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Limits of one run; without any it takes all that is left to do."""

    stages: tuple[str, ...] = ()
    """Stages to run, for the items that are ready for them; all if empty."""
    clips: tuple[str, ...] = ()
    """Patterns of ids of clips, or of what they are made of, with or without the name of the source in front."""
    limit: int = 0
    """Number of items of the source (videos, scenes, captions) to take among those that have something left to do."""

    def check_stages(self, stages: Sequence[Stage]) -> None:
        """Check that a source has the stages that are named.

        Raises:
            UnknownStage: it has not, with those that it has.
        """
        names = [stage.name for stage in stages]
        if unknown := [name for name in self.stages if name not in names]:
            raise UnknownStage(f"there is no stage '{unknown[0]}' here; the stages are {', '.join(names)}")

    def stages_of(self, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        """Those of some stages that are to run."""
        return tuple(stage for stage in stages if not self.stages or stage.name in self.stages)

    def takes(self, progress: ItemProgress, source: Any) -> bool:
        """Whether an item has anything to do in this run."""
        return any(self.takes_part(part, progress, source) for part in progress_tree(progress))

    def takes_part(self, part: ItemProgress, progress: ItemProgress, source: Any) -> bool:
        """Whether the next stage of a part of an item is to run."""
        if part.next_stage is None or (self.stages and part.next_stage.name not in self.stages):
            return False
        names = {part.item.id, progress.item.id}
        names |= {name.removeprefix(f"{source.name}-") for name in names}
        return not self.clips or any(fnmatchcase(name, pattern) for name in names for pattern in self.clips)
