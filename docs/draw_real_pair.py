"""Picture of a real pair for the README: `gt`, `over` and `effect_mask` of one frame of the demo's footage.

After `make demo`: python docs/draw_real_pair.py demo/corpus docs/real_pair.jpg
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from effectpairs import open as open_corpus

FRAME, GAP_PX, HEIGHT_PX = 35, 6, 240


def draw(corpus_path: str) -> np.ndarray:
    """Return the three pictures side by side."""
    corpus = open_corpus(corpus_path)
    clips = [corpus[clip_id] for clip_id in corpus.ids]
    clip = next(clip for clip in clips if clip.row["kind"] == "real")
    mask = np.repeat(clip.effect_mask[FRAME, ..., None].astype(np.uint8) * 255, 3, axis=2)
    gap = np.full((mask.shape[0], GAP_PX, 3), 255, np.uint8)
    return np.concatenate([clip.gt[FRAME], gap, clip.over[FRAME], gap, mask], axis=1)


if __name__ == "__main__":
    picture = draw(sys.argv[1])
    scale = HEIGHT_PX / picture.shape[0]
    resized = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", resized[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    Path(sys.argv[2]).write_bytes(encoded.tobytes())
