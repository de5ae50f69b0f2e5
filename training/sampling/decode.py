"""Videos of sampled latents: composite, result and truth side by side."""

from pathlib import Path

import numpy as np

from ...datasets.gallery.thumbnails import encode_mp4
from ...datasets.store.atomic_io import atomic_write
from ...extras import require
from ..base.encoders import decode_latents, video_to_frames
from ..base.models import load_vae
from ..latents.cache import open_cache

torch = require("torch", extra="train")
FPS = 16.0
CRF = 17
"""Quality of H.264 at which no loss is seen, for videos by a model."""


def decode_folder(folder: Path, cache_folder: Path, model: Path, device: str) -> list[Path]:
    """Decode all latents in a folder; return the videos."""
    safetensors = require("safetensors", extra="train")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    vae = load_vae(model, dtype="float32" if device == "cpu" else "bfloat16").to(device)
    cache, scale, videos = open_cache(cache_folder), vae.config.scaling_factor, []
    for path in sorted(folder.glob("*.safetensors")):
        with safetensors.safe_open(path, framework="pt") as file:
            row, latents = cache.read(file.metadata()["key"]), file.get_tensor("latents")
        over, gt = (None if layer is None else torch.from_numpy(layer[0])[None] * scale for layer in (row.over, row.gt))
        columns = [video_to_frames(decode_latents(vae, part)) for part in (over, latents, gt) if part is not None]
        atomic_write(path.with_suffix(".mp4"), encode_mp4(np.concatenate(columns, axis=2), fps=FPS, crf=CRF))
        videos.append(path.with_suffix(".mp4"))
    return videos
