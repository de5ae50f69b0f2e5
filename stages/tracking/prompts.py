"""Prompts of a subject in a clip: masks, points, boxes and a noun."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...arrays import Matte, MatteImage


@dataclass(frozen=True, kw_only=True)
class PromptPoint:
    """A point on the subject, or beside it."""

    x: float | int
    """Pixels of the clip; the centre of the first pixel is 0."""
    y: float | int
    is_subject: bool = True


PromptBox = tuple[float | int, float | int, float | int, float | int]
"""x and y of the top left corner, width and height in pixels of the clip."""


@dataclass(frozen=True, kw_only=True)
class SubjectPrompt:
    """Prompt for one subject; a backend takes the parts that it understands."""

    masks: Matte | None = None
    """A mask for every frame."""
    keys: Mapping[int, MatteImage] = field(default_factory=dict)
    """Masks of key frames, by frame index within the clip."""
    points: Mapping[int, tuple[PromptPoint, ...]] = field(default_factory=dict)
    """Points by frame."""
    boxes: Mapping[int, PromptBox] = field(default_factory=dict)
    """Boxes by frame."""
    text: str = ""
    """Noun for it."""
    others: tuple["SubjectPrompt", ...] = ()
    """Prompts of the clip's other subjects, which a backend may track beside this one."""

    @property
    def frames(self) -> tuple[int, ...]:
        """Frames with a key mask, points or a box, rising."""
        return tuple(sorted({*self.keys, *self.points, *self.boxes}))

    def to_json(self) -> dict[str, Any]:
        """Everything but the masks as JSON values; `from_json` takes them back."""
        return {
            "keys": list(self.keys),
            "points": {str(frame): [[p.x, p.y, p.is_subject] for p in points] for frame, points in self.points.items()},
            "boxes": {str(frame): list(box) for frame, box in self.boxes.items()},
            "text": self.text,
            "others": [other.to_json() for other in self.others],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], keys: Iterable[MatteImage], **more: Any) -> "SubjectPrompt":
        """Build a prompt from JSON values and the key masks: its own in order, then those of the other subjects."""
        masks = iter(keys)
        return cls(
            keys={frame: next(masks) for frame in values.get("keys") or ()},
            points={
                int(frame): tuple(PromptPoint(x=x, y=y, is_subject=on_subject) for x, y, on_subject in points)
                for frame, points in values.get("points", {}).items()
            },
            boxes={int(frame): tuple(box) for frame, box in values.get("boxes", {}).items()},
            text=values.get("text", ""),
            others=tuple(cls.from_json(other, masks) for other in values.get("others", ())),
            **more,
        )
