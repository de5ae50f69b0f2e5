"""Draw docs/generators-blender.jpg and -kubric.jpg, a frame of 24 scenes: `python docs/draw_generators.py [--seed 0]`.

Scenes of a generator side by side show which subjects, grounds and lights there are, and which are dull.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
from effectpairs.render.blender import process
from effectpairs.render.blender.exr_frames import open_render_frames
from effectpairs.render.blender.plan import Pass, make_plan
from effectpairs.render.compositing.linear_composite import encode
from effectpairs.render.generators.blender_generator import BlenderGenerator
from effectpairs.render.generators.generator import ClipFormat
from effectpairs.render.generators.kubric_generator import KubricGenerator
from effectpairs.render.scene.scene import Scene

CLIP_FORMAT = ClipFormat(frames=21, size=(144, 252))
COUNT, COLUMNS, FRAME = 24, 4, 13


def main() -> None:
    """Draw both sheets."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    for generator in (BlenderGenerator(), KubricGenerator()):
        tiles = [render_tile(generator.scene_at(index, seed, CLIP_FORMAT)) for index in range(COUNT)]
        rows = [np.hstack(tiles[start : start + COLUMNS]) for start in range(0, COUNT, COLUMNS)]
        sheet = np.vstack(rows)[..., ::-1]
        path = Path(__file__).parent / f"generators-{generator.kind}.jpg"
        cv2.imwrite(str(path), sheet, [cv2.IMWRITE_JPEG_QUALITY, 88])


def render_tile(scene: Scene) -> np.ndarray:
    """Render one frame of the first variant, everything in it."""
    render_pass = Pass(name="v00", kind="whole", variant=0, samples=8, denoise=True, frames=(FRAME,))
    with tempfile.TemporaryDirectory() as folder:
        process.render_frames(make_plan(scene, Path(folder), (render_pass,)), Path(folder))
        return np.asarray(encode(open_render_frames(Path(folder)).light("v00", FRAME)))


if __name__ == "__main__":
    main()
