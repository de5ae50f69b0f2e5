"""LeRobotDataset v3.0: an episode a clip, a camera a layer, the caption as its task.

Each episode has video files of its own (the format lets several share one), so that each is whole or not there. What
is small is written at the end: the rows of all frames, of all episodes, the tasks, and the statistics that LeRobot's
training asks for.
"""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64

from ..store.atomic_io import json_bytes
from .fitting import DoesNotFit, ExportClip
from .neutral import LAYERS, describe
from .settings import ANY_LENGTH, ExportSettings, Files, Fit, Row

CHUNK = 1000
"""Files of one folder."""
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
CAMERAS = {layer: f"observation.images.{layer}" for layer in LAYERS}
FRAME_ROW = pa.schema(
    [
        ("timestamp", pa.float32()),
        ("frame_index", pa.int64()),
        ("episode_index", pa.int64()),
        ("index", pa.int64()),
        ("task_index", pa.int64()),
    ]
)
Histogram = Int64[np.ndarray, "3 256"]


@dataclass(frozen=True, kw_only=True)
class LeRobot:
    """One rate, which is a whole number, and one size for all clips."""

    name: str = "lerobot"
    reader: str = "LeRobotDataset v3.0"
    fit: Fit = Fit(rule=ANY_LENGTH, fps=16.0, multiple=2, keeps_splits=True, uniform=True)
    archive_clips: int = 0

    def files(self, clip: ExportClip, settings: ExportSettings) -> Files:
        """Yield a video for each camera."""
        if clip.fps != round(clip.fps):
            raise DoesNotFit(f"{clip.fps:g} fps, and LeRobot's rate is a whole number; give --fps")
        for layer, camera in CAMERAS.items():
            path = VIDEO_PATH.format(video_key=camera, chunk_index=clip.number // CHUNK, file_index=clip.number % CHUNK)
            yield path, clip.video(clip.frames(layer))

    def row(self, clip: ExportClip, settings: ExportSettings) -> Row:
        """Return the clip's words and numbers, and how often each camera shows each value of each channel."""
        values = {layer: _histogram(clip.frames(layer)) for layer in CAMERAS}
        stats = {layer: _statistics(histogram) for layer, histogram in values.items()}
        words = describe(clip, settings)
        return {"split": clip.split, "stats": stats, **words}

    def index(self, rows: Iterable[Row], settings: ExportSettings, folder: Path) -> Files:
        """Yield meta/ and data/."""
        clips = list(rows)
        tasks = {caption: number for number, caption in enumerate(dict.fromkeys(row["caption"] for row in clips))}
        ends = np.cumsum([row["num_frames"] for row in clips]).tolist()
        episodes = [
            _episode(number, row, end - row["num_frames"], end)
            for number, (row, end) in enumerate(zip(clips, ends, strict=True))
        ]
        for file, first in enumerate(range(0, len(clips), CHUNK)):
            tables = [
                _frames(row, episodes[number]["dataset_from_index"], number, tasks[row["caption"]])
                for number, row in enumerate(clips[first : first + CHUNK], start=first)
            ]
            yield DATA_PATH.format(chunk_index=0, file_index=file), _parquet(pa.concat_tables(tables))
        yield "meta/episodes/chunk-000/file-000.parquet", _parquet(pa.Table.from_pylist(episodes))
        yield "meta/tasks.parquet", _parquet(_task_table(tasks))
        yield "meta/stats.json", json_bytes({CAMERAS[layer]: _pooled(clips, layer) for layer in CAMERAS})
        yield "meta/info.json", json_bytes(_info(clips, len(tasks)))

    def usage(self, settings: ExportSettings, folder: Path) -> str:
        """Return the call that reads it."""
        return f"LeRobotDataset('effectpairs/{folder.name}', root='{folder}')"


def _histogram(frames: Any) -> Histogram:
    values = frames.view(np.uint8) * np.uint8(255) if frames.dtype == bool else frames
    channels = [values[..., channel] for channel in range(3)] if values.ndim == 4 else [values]
    counts = np.stack([np.bincount(channel.ravel(), minlength=256) for channel in channels])
    return np.broadcast_to(counts, (3, 256))


def _statistics(histogram: Histogram) -> dict[str, list[float]]:
    """Least, greatest, mean and standard deviation of each channel, of values from 0 to 1."""
    levels = np.arange(256) / 255
    share = histogram / histogram.sum(axis=1, keepdims=True)
    mean = share @ levels
    std = np.sqrt(np.maximum(share @ levels**2 - mean**2, 0))
    present = [np.flatnonzero(channel) for channel in histogram]
    low, high = ([float(levels[values[end]]) for values in present] for end in (0, -1))
    return {"min": low, "max": high, "mean": mean.tolist(), "std": std.tolist()}


def _pooled(clips: list[Row], layer: str) -> dict[str, Any]:
    """Statistics of a camera over all episodes, in LeRobot's shape of (3, 1, 1)."""
    stats = [row["stats"][layer] for row in clips]
    counts = np.array([row["num_frames"] for row in clips], float)
    weight = (counts / counts.sum())[:, None]
    means, stds = (np.array([entry[name] for entry in stats]) for name in ("mean", "std"))
    mean = (weight * means).sum(axis=0)
    std = np.sqrt((weight * (stds**2 + (means - mean) ** 2)).sum(axis=0))
    low, high = np.min([entry["min"] for entry in stats], axis=0), np.max([entry["max"] for entry in stats], axis=0)
    values = {"min": low, "max": high, "mean": mean, "std": std}
    return {name: value.reshape(3, 1, 1).tolist() for name, value in values.items()} | {"count": [int(counts.sum())]}


def _episode(number: int, row: Row, first: int, end: int) -> Row:
    length, words = row["num_frames"], {"clip_id": row["clip_id"], "effects": ", ".join(row["effects"])}
    entry = {
        "episode_index": number,
        "tasks": [row["caption"]],
        "length": length,
        "dataset_from_index": first,
        "dataset_to_index": end,
        "data/chunk_index": 0,
        "data/file_index": number // CHUNK,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
        **words,
    }
    for camera in CAMERAS.values():
        at = {"chunk_index": number // CHUNK, "file_index": number % CHUNK}
        span = {"from_timestamp": 0.0, "to_timestamp": length / row["fps"]}
        entry |= {f"videos/{camera}/{name}": value for name, value in (at | span).items()}
    return entry


def _frames(row: Row, first: int, number: int, task: int) -> pa.Table:
    count = np.arange(row["num_frames"])
    columns = {
        "timestamp": (count / row["fps"]).astype(np.float32),
        "frame_index": count,
        "episode_index": np.full_like(count, number),
        "index": first + count,
        "task_index": np.full_like(count, task),
    }
    return pa.table(columns, schema=FRAME_ROW)


def _task_table(tasks: dict[str, int]) -> pa.Table:
    """Tasks as pandas writes a frame whose index they are, which is how LeRobot reads them."""
    kinds = (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    columns = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": dtype, "metadata": None}
        for name, kind, dtype in kinds
    ]
    index = {"index_columns": ["task"], "column_indexes": [], "columns": columns, "pandas_version": "2.2.0"}
    table = pa.table({"task_index": pa.array(tasks.values(), pa.int64()), "task": pa.array(tasks, pa.string())})
    return table.replace_schema_metadata({"pandas": json.dumps(index)})


def _info(clips: list[Row], tasks: int) -> Row:
    height, width, fps = clips[0]["height"], clips[0]["width"], round(clips[0]["fps"])
    features: Row = {
        camera: {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": height,
                "video.width": width,
                "video.fps": fps,
                "video.codec": "h264",
                "video.channels": 3,
                "video.is_depth_map": False,
                "has_audio": False,
            },
        }
        for camera in CAMERAS.values()
    }
    features |= {
        field.name: {"dtype": str(field.type.to_pandas_dtype().__name__), "shape": [1], "names": None}
        for field in FRAME_ROW
    }
    splits: dict[str, list[int]] = {}
    for number, row in enumerate(clips):
        splits.setdefault(row["split"], []).append(number)
    return {
        "codebase_version": "v3.0",
        "robot_type": None,
        "fps": fps,
        "total_episodes": len(clips),
        "total_frames": sum(row["num_frames"] for row in clips),
        "total_tasks": tasks,
        "chunks_size": CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH,
        "splits": {split: f"{numbers[0]}:{numbers[-1] + 1}" for split, numbers in splits.items()},
        "features": features,
    }


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()
