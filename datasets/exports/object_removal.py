"""Trees of the trainers that remove objects with what they cast: Generative Omnimatte (Casper) and VOID.

One folder a clip: rgb_full.mp4, the model's input; rgb_removed.mp4, its target; mask.mp4, whose dark values say what
changes; and a JSON list of `{"file_path": FOLDER, "text": ..., "type": "video_mask_tuple"}`. Their readers do not join
`file_path` with a root, so it is absolute; they take all frames of the three, and round the mask's values to the
nearest of their own (Casper at 63 and 192, VOID at 31, 95 and 191).

| | add | remove |
|---|---|---|
| rgb_full | over | gt |
| rgb_removed | gt | background |
| Casper's mask | 0 the effect, 255 the rest | 0 the subject, 128 the rest, which may hold its effects |
| VOID's mask | 127 the effect, 255 the rest | 0 the subject, 63 subject and effect, 127 the effect, 255 the rest |

Both models were made to remove, so `remove` takes the clean plate as target: the subject goes, and its effect with it.
Their texts describe the background alone; a corpus has no such captions, so all clips get the one that Casper is asked
with where nothing is known of a background.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...arrays import Matte
from ..store.atomic_io import json_bytes
from .fitting import ExportClip
from .settings import WAN_LENGTH, ExportSettings, Files, Fit, Row

BACKGROUND_TEXT = "a video of a clean and beautiful background."
REMOVED, OVERLAP, AFFECTED, UNKNOWN, STAYS = 0, 63, 127, 128, 255


@dataclass(frozen=True, kw_only=True)
class ObjectRemoval:
    """Tree of tuples."""

    name: str
    reader: str
    fit: Fit
    quadmask: bool
    archive_clips: int = 0

    def files(self, clip: ExportClip, settings: ExportSettings) -> Files:
        """Yield the three videos."""
        target = "gt" if settings.direction == "add" else "background"
        folder = f"clips/{clip.clip_id}"
        yield f"{folder}/rgb_full.mp4", clip.video(clip.frames(settings.input_layer))
        yield f"{folder}/rgb_removed.mp4", clip.video(clip.frames(target))
        yield f"{folder}/mask.mp4", clip.video(self._mask(clip, settings))

    def row(self, clip: ExportClip, settings: ExportSettings) -> Row:
        """Return the clip's folder, below the export's, and its words."""
        return {"file_path": f"clips/{clip.clip_id}", "text": clip.captions[0], "type": "video_mask_tuple"}

    def index(self, rows: Iterable[Row], settings: ExportSettings, folder: Path) -> Files:
        """Yield the list, with absolute paths."""
        yield "train.json", json_bytes([row | {"file_path": str(folder / row["file_path"])} for row in rows])

    def usage(self, settings: ExportSettings, folder: Path) -> str:
        """Return the options of its training script."""
        mode = "void --use_quadmask" if self.quadmask else "casper"
        return f"--train_data_meta {folder / 'train.json'} --train_mode {mode}"

    def _mask(self, clip: ExportClip, settings: ExportSettings) -> Matte:
        if settings.direction == "add":
            return np.where(
                clip.frames("effect_mask"), np.uint8(AFFECTED if self.quadmask else REMOVED), np.uint8(STAYS)
            )
        subject = clip.frames("subject_mask") > 127
        if not self.quadmask:
            return np.where(subject, np.uint8(REMOVED), np.uint8(UNKNOWN))
        effect = clip.frames("effect_mask")
        values = np.full(effect.shape, STAYS, np.uint8)
        values[effect] = AFFECTED
        values[subject] = REMOVED
        values[subject & effect] = OVERLAP
        return values


GEN_OMNIMATTE = ObjectRemoval(
    name="gen-omnimatte",
    reader="Generative Omnimatte's training (Casper)",
    fit=Fit(rule=WAN_LENGTH, fps=16.0, multiple=16, background_text=BACKGROUND_TEXT),
    quadmask=False,
)
VOID = ObjectRemoval(
    name="void",
    reader="VOID's training, by quadmask",
    fit=Fit(rule=WAN_LENGTH, fps=12.0, multiple=16, background_text=BACKGROUND_TEXT),
    quadmask=True,
)
