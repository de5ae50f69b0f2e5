"""Videos of clips by one model, a file each: made once, whatever was cut off, and shared among programs.

Each video has its key beside it, of all that it depends on. One that is there under its key is not made again, so what
was cut off goes on, and shares can be made on several devices at once: the noise of a clip is that of the seed,
whatever else is made.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...datasets.store import codec
from ...datasets.store.atomic_io import atomic_write, json_bytes, sweep_partials
from .pipeline import EffectPipeline, PipelineInput
from .sample import SamplingSettings


@dataclass(frozen=True, kw_only=True)
class ClipVideo:
    """A video that is to be made of a clip."""

    clip_id: str
    path: Path
    key: str
    """Digest of all that the video depends on."""
    caption: str | None
    """Text of the clip, for whoever looks at the folder."""
    fps: float
    read_inputs: Callable[[], PipelineInput]
    """Decodes what the model is shown; called only where the video is to be made."""

    @property
    def is_made(self) -> bool:
        """Whether the video is there under this key."""
        try:
            return self.path.exists() and json.loads(self.path.with_suffix(".json").read_text())["key"] == self.key
        except (OSError, ValueError, KeyError):
            return False


def make_clip_videos(
    videos: Iterable[ClipVideo], load: Callable[[], EffectPipeline], sampling: SamplingSettings
) -> Iterator[str]:
    """Make the videos that are not there; yield the id of each clip whose video is.

    Args:
        videos: looked at one after another, each when the one before it is done.
        load: loads the model, once, and only if there is a video to make.
        sampling: steps, guidance and seed of every video.

    Raises:
        ValueError: a clip does not fit the model.
        CannotWrite: the disk is full; videos that are done stay.
    """
    pipeline = None
    for video in videos:
        if not video.is_made:
            if pipeline is None:
                sweep_partials(video.path.parent)
                pipeline = load()
            frames = pipeline(video.read_inputs(), sampling)
            atomic_write(video.path, codec.encode(frames, fps=video.fps))  # the key comes last: present means whole
            atomic_write(video.path.with_suffix(".json"), json_bytes({"key": video.key, "caption": video.caption}))
        yield video.clip_id
