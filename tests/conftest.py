"""Footage whose truth is known, small enough to run every stage on in a moment."""

import os
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from effectpairs.arrays import Mask, Matte, Rgb

cv2.setNumThreads(1)  # two threads on a loaded machine are many times slower on small frames


@pytest.fixture(scope="session")
def clips_dir() -> Path:
    """Real footage beside the project; never part of it."""
    beside = Path(__file__).parents[1].parent / "shared" / "clips"
    folder = Path(os.environ.get("EFFECTPAIRS_CLIPS", beside))
    if not folder.is_dir():
        pytest.skip(f"no real footage at {folder}; set EFFECTPAIRS_CLIPS to a folder that has it")
    return folder


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A square that slides over a textured ground and drags a shadow, and what it was made of."""

    gt: Rgb
    background: Rgb
    subject_mask: Matte
    shadow: Mask


def sliding_square(frames: int = 13, height: int = 48, width: int = 80, *, seed: int = 0) -> Scene:
    """Build the scene; the square's shadow darkens the ground below it to 55 %."""
    rng = np.random.default_rng(seed)
    ground = cv2.GaussianBlur(rng.integers(60, 200, (height, width, 3)).astype(np.uint8), (0, 0), 1.2)
    gt = np.repeat(ground[None], frames, axis=0)
    subject = np.zeros((frames, height, width), np.uint8)
    shadow = np.zeros((frames, height, width), bool)
    side = height // 4
    for frame in range(frames):
        x = 2 + round((width - side - 8) * frame / max(frames - 1, 1))
        y = height // 3
        shadow[frame, y + side : y + side + side // 2, x + 2 : x + side + 2] = True
        gt[frame][shadow[frame]] = np.rint(gt[frame][shadow[frame]] * 0.55)
        gt[frame, y : y + side, x : x + side] = (220, 60, 40)
        subject[frame, y : y + side, x : x + side] = 255
    return Scene(gt=gt, background=np.repeat(ground[None], frames, axis=0), subject_mask=subject, shadow=shadow)


@pytest.fixture(scope="session")
def scene() -> Scene:
    return sliding_square()


def write_h264(path: Path, frames: Rgb | Matte, *, fps: int = 16, crf: int = 4) -> Path:
    """Write real H.264, as footage comes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = frames.ndim == 4
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": str(crf), "preset": "veryfast"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24" if colour else "gray")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def footage_root(tmp_path: Path) -> Path:
    """Two videos with masks in the gen-omnimatte layout, 29 frames each: real files, tiny pictures."""
    for name, seed in (("first", 1), ("second", 2)):
        made = sliding_square(29, seed=seed)
        write_h264(tmp_path / "footage" / name / "input_video.mp4", made.gt)
        write_h264(tmp_path / "footage" / name / "mask_00.mp4", made.subject_mask)
    return tmp_path / "footage"


@pytest.fixture
def source_file(footage_root: Path, tmp_path: Path) -> Path:
    """The settings of a source over that footage, at 48x80."""
    path = tmp_path / "tiny.toml"
    path.write_text(
        f'root = "{footage_root}"\nlayout = "gen-omnimatte"\nlicence = "CC0"\norigin = "made by the tests"\n'
        'effects = ["shadow"]\n[normalise]\nsize = [48, 80]\nmax_frames = 13\n'
    )
    return path
