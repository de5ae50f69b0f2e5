"""Tasks that one corpus serves: put effects into a composite, or take them out of a video; needs no torch.

| task                | shown  | to come out  | mask of a frame        | where the effect is not told |
|---------------------|--------|--------------|------------------------|------------------------------|
| add                 | `over` | `gt`         | 1 effect               | 0.5                          |
| remove, background  | `gt`   | `background` | 1 subject and effect   | 1 subject, 0.5 elsewhere     |
| remove, over        | `gt`   | `over`       | 1 effect               | 0 subject, 0.5 elsewhere     |

Elsewhere the mask of a frame is 0. Casper is given the masks of the right column, VOID those of the one before it; a
model that is trained here takes both, for the effect mask of some frames is hidden from it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast, get_args

import numpy as np
from jaxtyping import Float

from ...arrays import Mask
from ..base.latent_shapes import UNKNOWN
from .sampler import SourceMix

TaskName = Literal["add", "remove"]
RemovalTarget = Literal["background", "over"]
REMOVE_PROMPT = "a video of a clean and beautiful background."
"""Text of every clip of a removal where no setting says otherwise: captions describe what is taken out."""
SUBJECT_LEVEL = 128
"""Coverage, of 255, from which a pixel of `subject_mask` is of the subject."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Layers of a clip that a task is learnt from."""

    name: TaskName = "add"
    target: Literal["gt", "background", "over"] = "gt"
    """Layer that is to come out."""
    prompt: str | None = None
    """Text of every clip; None takes the clip's caption, which describes the effect."""

    @property
    def video(self) -> Literal["gt", "over"]:
        """Layer that is shown to the model."""
        return "over" if self.name == "add" else "gt"

    @property
    def removes(self) -> bool:
        """Whether it takes something out; it then wants the subject's mask, and has no use for unpaired clips."""
        return self.name == "remove"

    @property
    def goal(self) -> str:
        """Deed of a model that learnt the task, as the end of a sentence."""
        return f"remove (to the layer {self.target})" if self.removes else "add effects"

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers that every pair has to have beside its effect mask."""
        return (self.target, self.video, *(("subject_mask",) if self.removes else ()))

    def text(self, caption: str | None) -> str:
        """Text of a clip for the model."""
        return (caption or "") if self.prompt is None else self.prompt

    def mix(self, mix: SourceMix) -> SourceMix:
        """Frequencies of the kinds of clips that teach the task."""
        return replace(mix, unpaired=0.0) if self.removes else mix

    def change_mask(self, effect: Mask, subject: Mask | None) -> Mask:
        """Pixels that change."""
        if self.target != "background":
            return effect
        assert subject is not None, "a removal has the subject's mask"
        changes: Mask = effect | subject
        return changes

    def hint(self, shape: tuple[int, ...], subject: Mask | None) -> Float[np.ndarray, "T H W"]:
        """Mask of frames whose effect mask is hidden."""
        mask = np.full(shape, UNKNOWN, np.float32)
        if self.removes and subject is not None:
            mask[subject] = float(self.target == "background")
        return mask

    def record(self) -> dict[str, Any]:
        """Part of a cache's recipe; empty for the task that recipes had before there were two."""
        return {"task": asdict(self)} if self.removes else {}


def parse_task(name: str, target: str) -> Task:
    """Parse the values of --task and --remove-to.

    Raises:
        ValueError: there is no such task, or a removal has no such truth.
    """
    if name not in get_args(TaskName):
        raise ValueError(f"--task {name} is not one of {', '.join(get_args(TaskName))}")
    if target not in get_args(RemovalTarget):
        raise ValueError(f"--remove-to {target} is not one of {', '.join(get_args(RemovalTarget))}")
    removal = Task(name="remove", target=cast(RemovalTarget, target), prompt=REMOVE_PROMPT)
    return removal if name == "remove" else Task()


def task_of_recipe(recipe: Mapping[str, Any]) -> Task:
    """The task that a cache was encoded for."""
    return Task(**recipe["task"]) if "task" in recipe else Task()
