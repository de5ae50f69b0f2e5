"""Which clips of a source of footage are captioned, and what is known of them."""

from ..captions.job import SEEN, CaptionJob, stored
from .source import RealSource
from .steps import Chain


def of_chain(done: Chain, source: RealSource) -> CaptionJob:
    """A finished real clip; its file's name is somebody's word for what it shows."""
    return CaptionJob(
        clip_id=done.job.clip_id,
        fps=done.fps,
        layers={name: stored(*done.layers[name]) for name in SEEN},
        effects=source.effects,
        hint=done.job.origin,
        given=done.job.caption or source.given_caption,
    )
