"""A program that turns sampled latents into videos: composite, result and truth side by side.

`python -m effectpairs.training.sampling.decode FOLDER CACHE MODEL DEVICE` makes of each FOLDER/CLIP.safetensors a
FOLDER/CLIP.mp4.
"""

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from ...arrays import Rgb
from ...extras import require
from ..base import vae
from ..base.models import load_vae
from ..latents.cache import open_cache

FPS = 16.0


def decode_folder(folder: Path, cache_folder: Path, model: Path, device: str) -> list[Path]:
    """Decode all that was sampled into a folder; return the videos."""
    safetensors, torch = require("safetensors", extra="train"), vae.torch
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = load_vae(model, dtype="float32" if device == "cpu" else "bfloat16").to(device)
    cache, scale, made = open_cache(cache_folder), loaded.config.scaling_factor, []
    for path in sorted(folder.glob("*.safetensors")):
        with safetensors.safe_open(path, framework="pt") as file:
            row, latents = cache.read(file.metadata()["key"]), file.get_tensor("latents")
        over, gt = (None if held is None else torch.from_numpy(held[0])[None] * scale for held in (row.over, row.gt))
        frames = [vae.to_frames(vae.decode(loaded, one)) for one in (over, latents, gt) if one is not None]
        made.append(write_mp4(path.with_suffix(".mp4"), np.concatenate(frames, axis=2)))
    return made


def write_mp4(path: Path, frames: Rgb, *, fps: float = FPS) -> Path:
    """A video that plays anywhere."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": "17"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
        container.mux(stream.encode())
    return path


if __name__ == "__main__":
    vae.torch.set_num_threads(1 if not vae.torch.cuda.is_available() else vae.torch.get_num_threads())
    decode_folder(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
