"""Items of real footage: videos as they are listed, clips as they are planned, and the subjects of finished clips."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ...datasets.footage.listing import UnusableFootage, list_footage
from ...datasets.footage.types import Footage
from ...datasets.store.atomic_io import digest_of, key_digest
from ...datasets.store.store import Store
from ...settings import first_names
from ..captions.stages import CaptionedItem
from ..engine.item import Item, UnusableItem
from .source import RealSource

BLOCK_VIDEOS = 256
"""Videos whose files are hashed together, several at once."""


class FootageChanged(RuntimeError):
    """A file is not the one that was listed: it was written to, or deleted, meanwhile."""

    is_sentence = True


@dataclass(frozen=True, kw_only=True)
class VideoItem(Item):
    """One video with the masks beside it."""

    footage: Footage
    stamp: str
    """Stamp of its files when they were listed."""


@dataclass(frozen=True, kw_only=True)
class PlannedClipItem(VideoItem):
    """One clip of a scanned video: its plan, and what opens the video's files again, as JSON."""

    plan: Mapping[str, Any]
    readers: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ClipItem(CaptionedItem):
    """One subject of one clip of a video: what becomes a row."""

    group: str
    clip: Mapping[str, Any]
    """Facts of stage 1 about the clip: index, start_s, source_frames, shape, notes."""
    subject: int
    overlays: tuple[Mapping[str, Any], ...] = ()
    """Paintings of people on its masks, as JSON values of `Decision`."""


def list_items(source: RealSource, store: Store) -> Iterator[Item | UnusableItem]:
    """List the footage of a source; files that are not as the index saw them last are read for their digests.

    Raises:
        ValueError: the root of the source is missing, or holds no footage.
    """
    listed = iter(list_footage(source))
    while block := list(islice(listed, BLOCK_VIDEOS)):
        files = {footage.name: tuple(footage.files()) for footage in block if isinstance(footage, Footage)}
        # Before the digests: what is written to while it is hashed has another stamp when it is read.
        stamps = {name: _stamp(roles) for name, roles in files.items()}
        sums = store.index.digests(path for roles in files.values() for _, path in roles)
        for footage in block:
            item_id = f"{source.name}-{footage.name}"
            if isinstance(footage, UnusableFootage):
                yield UnusableItem(id=item_id, stage="list", reason=footage.reason)
                continue
            try:
                stamp = stamps[footage.name]
                inputs = content_digests(files[footage.name], sums)
            except OSError as problem:
                path = problem.filename or footage.video
                reason = f"{path}: cannot be read ({problem.strerror}); check its permissions"
                yield UnusableItem(id=item_id, stage="normalise", reason=reason)
            else:
                yield VideoItem(id=item_id, footage=footage, stamp=stamp, inputs=inputs, fps=source.normalise.fps)


def _stamp(files: Iterable[tuple[str, Path]]) -> str:
    """Changes whenever one of these files is written to or goes, without reading any."""
    stats: list[tuple[str | int, ...]] = []
    for _, file in files:
        with contextlib.suppress(OSError):
            stat = file.stat()
            stats.append((str(file), stat.st_size, stat.st_mtime_ns))
    return key_digest(stats)


def content_digests(files: Iterable[tuple[str, Path]], sums: Mapping[Path, str | OSError]) -> dict[str, str]:
    """SHA-256 of a video's files by role; of a folder of images, the digest of its files' digests in order.

    Raises:
        OSError: a file could not be read.
    """
    digests: dict[str, list[str]] = {}
    for role, path in files:
        sha256 = sums[path]
        if isinstance(sha256, OSError):
            raise sha256
        digests.setdefault(role, []).append(sha256)
    return {role: parts[0] if len(parts) == 1 else digest_of(parts) for role, parts in digests.items()}


@contextlib.contextmanager
def unchanged(item: VideoItem) -> Iterator[None]:
    """Read a video's files, and refuse what was read if they changed meanwhile: it is not what their digests say."""
    try:
        yield
    finally:
        files = item.footage.files()
        if missing := next((file for _, file in files if not file.exists()), None):
            raise FootageChanged(f"{missing}: is gone since it was listed; run again")
        if _stamp(files) != item.stamp:
            raise FootageChanged(f"{item.footage.video}: it, or a file beside it, changed while it was read; run again")


def identity_of(item: VideoItem, source: RealSource) -> str:
    """Digest by which clips of the same name differ."""
    # Ids hold setting names as they first were, so that renaming a setting renames no clip.
    settings = first_names(asdict(source.normalise), "normalise")
    return digest_of([item.footage.name, digest_of(item.inputs), settings])
