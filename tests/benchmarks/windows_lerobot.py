"""LeRobot's side of `windows.py`, run by the python of LeRobot's environment: writes its dataset, then answers draws.

`python windows_lerobot.py LAYERS DATASET WINDOW STREAM...`: LAYERS holds `CLIP-STREAM.mkv`. The first line printed says
what it is; then each line of draws, `[[clip, first frame], ...]`, is answered with the seconds that reading took.
"""

import importlib.metadata
import json
import resource
import sys
import time
from pathlib import Path

import av
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

FPS = 16


def decode(path):
    """Frames of a layer as colour."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def write(layers, root, streams):
    """Write an episode for each clip, a camera for each stream."""
    clips = sorted({int(path.name.split("-")[0]) for path in layers.glob("*.mkv")})
    features = {}
    for clip in clips:
        frames = {f"observation.images.{stream}": decode(layers / f"{clip}-{stream}.mkv") for stream in streams}
        if not features:
            names = ["height", "width", "channels"]
            features = {key: {"dtype": "video", "shape": of[0].shape, "names": names} for key, of in frames.items()}
            dataset = LeRobotDataset.create("bench/windows", FPS, features, root=root, use_videos=True)
        for number in range(len(next(iter(frames.values())))):
            dataset.add_frame({key: of[number] for key, of in frames.items()} | {"task": "none"})
        dataset.save_episode()
    dataset.finalize()
    return list(features)


def now():
    """CPU and wall clock."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, time.perf_counter()


def main():
    """Write the dataset; answer until the input ends."""
    layers, root, window, *streams = sys.argv[1:]
    keys = write(Path(layers), root, streams)
    torch.set_num_threads(1)
    shifts = [frame / FPS for frame in range(int(window))]
    dataset = LeRobotDataset("bench/windows", root=root, delta_timestamps=dict.fromkeys(keys, shifts))
    first_frames = dataset.meta.episodes["dataset_from_index"]
    about = {"version": importlib.metadata.version("lerobot"), "decoder": dataset.video_backend}
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        start = now()
        for clip, frame in json.loads(line):
            item = dataset[first_frames[clip] + frame]
            assert all(len(item[key]) == int(window) for key in keys)
        print(json.dumps({"seconds": [b - a for a, b in zip(start, now(), strict=True)]}), flush=True)


if __name__ == "__main__":
    main()
