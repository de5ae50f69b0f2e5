"""Trainers that read videos of equal names in folders, and an index that names them.

Each takes the target, the input and, where it reads one, the mask: white is the effect, but for ltx, where white is
what is given. Paths in an index are relative where the trainer joins them with a root, absolute where it does not.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from ...arrays import Mask
from ..store.atomic_io import json_bytes
from .fitting import ExportClip
from .settings import LTX_LENGTH, WAN_LENGTH, ExportSettings, Files, Fit, Row

Index = Callable[[list[Row], Path], Files]
LATENT_CELL_PX, LATENT_FRAMES = 32, 8
"""Pixels and frames that one cell of LTX's latents stands for."""


@dataclass(frozen=True, kw_only=True)
class PairedVideos:
    """Folders of videos, one for each part of the pair."""

    name: str
    reader: str
    fit: Fit
    target: str
    """Folder of what the model learns to make."""
    source: str
    """Folder of what it sees."""
    mask: str | None = None
    """Folder of the effect masks; None where the trainer reads none."""
    latent_mask: bool = False
    """Masks are of what is given, by the cells of LTX's latents."""
    text_files: bool = False
    """A text file of captions, one a line, lies beside each target."""
    write_index: Index
    command: str
    """Options that point the trainer at it; {folder} is the export's."""
    archive_clips: int = 0

    def files(self, clip: ExportClip, settings: ExportSettings) -> Files:
        """Yield target, input, mask and captions."""
        yield f"{self.target}/{clip.clip_id}.mp4", clip.video(clip.frames(settings.target_layer))
        yield f"{self.source}/{clip.clip_id}.mp4", clip.video(clip.frames(settings.input_layer))
        if self.mask is not None:
            mask = clip.frames("effect_mask")
            yield f"{self.mask}/{clip.clip_id}.mp4", clip.video(given_cells(mask) if self.latent_mask else mask)
        if self.text_files:
            lines = [" ".join(caption.split()) for caption in clip.captions]
            yield f"{self.target}/{clip.clip_id}.txt", "\n".join(lines).encode()

    def row(self, clip: ExportClip, settings: ExportSettings) -> Row:
        """Return the name of the clip's videos, its words and its numbers."""
        height, width = clip.size
        numbers = {"frames": clip.num_frames, "height": height, "width": width, "fps": clip.fps}
        return {"file": f"{clip.clip_id}.mp4", "caption": clip.captions[0], **numbers}

    def index(self, rows: Iterable[Row], settings: ExportSettings, folder: Path) -> Files:
        """Yield the files that list the clips."""
        return self.write_index(list(rows), folder)

    def usage(self, settings: ExportSettings, folder: Path) -> str:
        """Return the trainer's options."""
        return self.command.format(folder=folder)


def given_cells(effect: Mask) -> Bool[np.ndarray, "t h w"]:
    """Mask of what is given, from which ltx-trainer makes the mask of its latents as its autoencoder groups frames.

    Its autoencoder makes one latent of frame 0 and one of each eight that follow; its `compute_video_masks` takes the
    maximum of frames 0 to 7, 8 to 15, ..., and rounds the mean of each cell of 32x32. So an effect in frames 9 to 16
    would be lost. Here frames 8k to 8k+7 all hold the mask of latent k, and a cell with any effect is not given at all:
    the trainer then gets each latent's mask exactly, and one that groups frames rightly loses no effect either.
    """
    count, height, width = effect.shape
    rows, columns = -(-height // LATENT_CELL_PX), -(-width // LATENT_CELL_PX)
    padded = np.zeros((count, rows * LATENT_CELL_PX, columns * LATENT_CELL_PX), bool)
    padded[:, :height, :width] = effect
    cells: Any = padded.reshape(count, rows, LATENT_CELL_PX, columns, LATENT_CELL_PX).any(axis=(2, 4))
    keep = np.empty_like(effect)
    for latent in range(-(-count // LATENT_FRAMES)):
        first = max(0, LATENT_FRAMES * (latent - 1) + 1)
        changes = cells[first : LATENT_FRAMES * latent + 1].any(axis=0)
        pixels = np.kron(changes, np.ones((LATENT_CELL_PX, LATENT_CELL_PX), bool))
        keep[LATENT_FRAMES * latent : LATENT_FRAMES * (latent + 1)] = ~pixels[:height, :width]
    return keep


def json_lines(rows: Iterable[Row]) -> bytes:
    """Rows as JSON, one a line; line feeds within texts are escaped."""
    return b"".join(json_bytes(row, indent=None) + b"\n" for row in rows)


def _videox_index(rows: list[Row], folder: Path) -> Files:
    yield (
        "metadata.json",
        json_bytes(
            [
                {
                    "file_path": f"videos/{row['file']}",
                    "control_file_path": f"control/{row['file']}",
                    "text": row["caption"],
                    "type": "video",
                    "width": row["width"],
                    "height": row["height"],
                }
                for row in rows
            ]
        ),
    )


def _diffsynth_index(rows: list[Row], folder: Path) -> Files:
    names = ("video", "vace_video", "vace_video_mask")
    yield (
        "metadata.json",
        json_bytes([{name: f"{name}/{row['file']}" for name in names} | {"prompt": row["caption"]} for row in rows]),
    )


def _ltx_index(rows: list[Row], folder: Path) -> Files:
    names = ("video", "reference_video", "video_mask")
    yield (
        "dataset.json",
        json_bytes([{name: f"{name}/{row['file']}" for name in names} | {"caption": row["caption"]} for row in rows]),
    )
    buckets = sorted({(row["width"], row["height"], row["frames"]) for row in rows})
    yield "resolution_buckets.txt", ";".join("x".join(map(str, bucket)) for bucket in buckets).encode()


def _finetrainers_index(rows: list[Row], folder: Path) -> Files:
    names = ("video", "control_video")
    yield (
        "data/metadata.jsonl",
        json_lines(
            {f"{name}_file_name": f"{name}/{row['file']}" for name in names} | {"caption": row["caption"]}
            for row in rows
        ),
    )
    buckets = sorted({(row["frames"], row["height"], row["width"]) for row in rows})
    data = {"data_root": str(folder / "data"), "dataset_type": "video", "reshape_mode": "bicubic"}
    yield "training.json", json_bytes({"datasets": [data | {"video_resolution_buckets": buckets}]})


def _musubi_index(rows: list[Row], folder: Path) -> Files:
    """Yield one list for each frame rate, because the trainer is told the rate and does not read it."""
    by_rate = defaultdict(list)
    for row in rows:
        by_rate[row["fps"]].append(row)
    tables = []
    for rate, clips in sorted(by_rate.items()):
        name = f"metadata-{rate:g}fps.jsonl"
        yield (
            name,
            json_lines(
                {
                    "video_path": str(folder / "video" / row["file"]),
                    "control_path": str(folder / "control" / row["file"]),
                    "caption": row["caption"],
                }
                for row in clips
            ),
        )
        tables.append(
            {
                "video_jsonl_file": str(folder / name),
                "cache_directory": str(folder / f"cache-{rate:g}fps"),
                "frame_extraction": "full",
                "max_frames": max(row["frames"] for row in clips),
                "source_fps": float(rate),
            }
        )
    width, height = max(((row["width"], row["height"]) for row in rows), key=math.prod)
    general = {"resolution": [width, height], "batch_size": 1, "enable_bucket": True, "bucket_no_upscale": True}
    parts = [_toml_table("[general]", general), *(_toml_table("[[datasets]]", table) for table in tables)]
    yield "dataset.toml", "\n".join(parts).encode()


def _toml_table(head: str, values: dict[str, Any]) -> str:
    return "\n".join(
        [head, *(f"{key} = {json_bytes(value, indent=None).decode()}" for key, value in values.items()), ""]
    )


def _simpletuner_index(rows: list[Row], folder: Path) -> Files:
    """Yield the data backends; that of the masks is off, because of several conditions the trainer draws one."""
    frames = min(row["frames"] for row in rows)
    sides = round(math.sqrt(max(row["width"] * row["height"] for row in rows)))
    size = {"resolution": sides, "resolution_type": "pixel_area", "minimum_image_size": 0}
    video = {"num_frames": frames, "min_frames": frames, "bucket_strategy": "resolution_frames"}
    common = {"type": "local", "metadata_backend": "discovery", "crop": False, "video": video, **size}
    pair = {"source_dataset_id": "target", "dataset_type": "conditioning"}
    backends = [
        {
            **common,
            "id": "target",
            "dataset_type": "video",
            "instance_data_dir": str(folder / "target"),
            "caption_strategy": "textfile",
            "conditioning_data": "input",
            "cache_dir_vae": str(folder / "cache" / "target"),
        },
        *(
            {
                **common,
                **pair,
                "id": name,
                "conditioning_type": kind,
                "instance_data_dir": str(folder / name),
                "cache_dir_vae": str(folder / "cache" / name),
                "disabled": name == "mask",
            }
            for name, kind in (("input", "reference_strict"), ("mask", "mask"))
        ),
        {"id": "text", "type": "local", "dataset_type": "text_embeds", "default": True},
    ]
    backends[-1]["cache_dir"] = str(folder / "cache" / "text")
    yield "multidatabackend.json", json_bytes(backends)


WAN = Fit(rule=WAN_LENGTH, fps=16.0, multiple=16)
TRAINERS = (
    PairedVideos(
        name="videox-fun",
        reader="VideoX-Fun's control training",
        fit=WAN,
        target="videos",
        source="control",
        write_index=_videox_index,
        command="--train_data_dir {folder} --train_data_meta {folder}/metadata.json --video_sample_stride 1",
    ),
    PairedVideos(
        name="diffsynth-vace",
        reader="DiffSynth-Studio's VACE training",
        fit=WAN,
        target="video",
        source="vace_video",
        mask="vace_video_mask",
        write_index=_diffsynth_index,
        command=(
            "--dataset_base_path {folder} --dataset_metadata_path {folder}/metadata.json --data_file_keys "
            "video,vace_video,vace_video_mask --extra_inputs vace_video,vace_video_mask"
        ),
    ),
    PairedVideos(
        name="ltx",
        reader="ltx-trainer",
        fit=Fit(rule=LTX_LENGTH, fps=0.0, multiple=32),
        target="video",
        source="reference_video",
        mask="video_mask",
        latent_mask=True,
        write_index=_ltx_index,
        command=(
            'process_dataset.py {folder}/dataset.json --resolution-buckets "$(cat {folder}/resolution_buckets.txt)"'
        ),
    ),
    PairedVideos(
        name="finetrainers",
        reader="finetrainers' control training",
        fit=WAN,
        target="data/video",
        source="data/control_video",
        write_index=_finetrainers_index,
        command="--dataset_config {folder}/training.json --control_type custom",
    ),
    PairedVideos(
        name="musubi",
        reader="musubi-tuner's Fun-Control tasks",
        fit=WAN,
        target="video",
        source="control",
        write_index=_musubi_index,
        command="--dataset_config {folder}/dataset.toml --task t2v-1.3B-FC",
    ),
    PairedVideos(
        name="simpletuner",
        reader="SimpleTuner",
        fit=Fit(rule=WAN_LENGTH, fps=16.0, multiple=16, several_captions=True),
        target="target",
        source="input",
        mask="mask",
        text_files=True,
        write_index=_simpletuner_index,
        command="--data_backend_config {folder}/multidatabackend.json",
    ),
)
"""Formats of this family. SimpleTuner's captions are the lines of a text file, so it takes several."""
