"""Videos of sampled latents: composite, result and truth side by side."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from ...arrays import Rgb
from ...extras import require
from ..base.encoders import decode_latents, video_to_frames
from ..base.models import load_vae
from ..latents.cache import open_cache

torch = require("torch", extra="train")
FPS = 16.0


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
        videos.append(write_mp4(path.with_suffix(".mp4"), np.concatenate(columns, axis=2)))
    return videos


def write_mp4(path: Path, frames: Rgb, *, fps: float = FPS) -> Path:
    """Write a video that plays anywhere (H.264, yuv420p)."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": "17"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
        container.mux(stream.encode())
    return path
