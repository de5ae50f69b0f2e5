"""Neutral exports, for programs of one's own: Hugging Face's videofolder, and WebDataset's tars.

Both hold every layer of a pair under its own name, so that one export serves either direction; `input` and `target`
name the two that a model sees and makes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..store.atomic_io import json_bytes
from .fitting import ExportClip
from .settings import ANY_LENGTH, ExportSettings, Files, Fit, Row
from .trainers import json_lines

LAYERS = ("gt", "over", "background", "effect_mask", "subject_mask")
ARCHIVE_CLIPS = 32
NEUTRAL = Fit(rule=ANY_LENGTH, fps=0.0, multiple=2, keeps_splits=True, several_captions=True)


@dataclass(frozen=True, kw_only=True)
class VideoFolder:
    """One folder a split, one folder in it a layer, and metadata.jsonl with a `..._file_name` for each video."""

    name: str = "videofolder"
    reader: str = "Hugging Face datasets, several video columns"
    fit: Fit = NEUTRAL
    archive_clips: int = 0

    def files(self, clip: ExportClip, settings: ExportSettings) -> Files:
        """Yield a video for each layer."""
        for layer in LAYERS:
            yield f"{clip.split}/{layer}/{clip.clip_id}.mp4", clip.video(clip.frames(layer))

    def row(self, clip: ExportClip, settings: ExportSettings) -> Row:
        """Return the line of metadata.jsonl, with its split."""
        names = {f"{layer}_file_name": f"{layer}/{clip.clip_id}.mp4" for layer in LAYERS}
        return {"split": clip.split, "line": names | describe(clip, settings)}

    def index(self, rows: Iterable[Row], settings: ExportSettings, folder: Path) -> Files:
        """Yield metadata.jsonl of each split."""
        lines: dict[str, list[Row]] = {}
        for row in rows:
            lines.setdefault(row["split"], []).append(row["line"])
        for split, entries in sorted(lines.items()):
            yield f"{split}/metadata.jsonl", json_lines(entries)

    def usage(self, settings: ExportSettings, folder: Path) -> str:
        """Return the call that loads it."""
        return f"datasets.load_dataset('videofolder', data_dir='{folder}')"


@dataclass(frozen=True, kw_only=True)
class WebDataset:
    """Tars of up to 32 clips; the files of a clip share a key, which has no dot: NUMBER-ID.gt.mp4, ..., .json, .txt."""

    name: str = "webdataset"
    reader: str = "WebDataset, and what reads its tars"
    fit: Fit = NEUTRAL
    archive_clips: int = ARCHIVE_CLIPS

    def files(self, clip: ExportClip, settings: ExportSettings) -> Files:
        """Yield a video for each layer, the caption, and all words and numbers."""
        key = self._key(clip)
        for layer in LAYERS:
            yield f"{key}.{layer}.mp4", clip.video(clip.frames(layer))
        yield f"{key}.txt", clip.captions[0].encode()
        yield f"{key}.json", json_bytes(describe(clip, settings))

    def row(self, clip: ExportClip, settings: ExportSettings) -> Row:
        """Return the key of the clip's files."""
        return {"key": self._key(clip)}

    def index(self, rows: Iterable[Row], settings: ExportSettings, folder: Path) -> Files:
        """Yield nothing: the tars are all there is."""
        return iter(())

    def usage(self, settings: ExportSettings, folder: Path) -> str:
        """Return the call that reads it."""
        return f"webdataset.WebDataset(sorted(glob.glob('{folder}/train-*.tar')), shardshuffle=False)"

    @staticmethod
    def _key(clip: ExportClip) -> str:
        return f"{clip.number:06d}-{clip.clip_id.replace('.', '_')}"


def describe(clip: ExportClip, settings: ExportSettings) -> dict[str, Any]:
    """Words and numbers of a clip that any reader may want, and which of its layers are input and target."""
    height, width = clip.size
    row = clip.row
    return {
        "clip_id": clip.clip_id,
        "kind": row["kind"],
        "source": row["source"],
        "group": row["group"],
        "caption": clip.captions[0],
        "captions": list(clip.captions),
        "effects": row["effects"],
        "fps": clip.fps,
        "num_frames": clip.num_frames,
        "height": height,
        "width": width,
        "licence": row["provenance"]["licence"],
        "origin": row["provenance"]["origin"],
        "verdict": row["quality"]["verdict"],
        "input": settings.input_layer,
        "target": settings.target_layer,
    }
