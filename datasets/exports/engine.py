"""Export a corpus: clip by clip, each file whole or not there, resumable, with an account of what did not fit.

One layer of one clip is decoded at a time, so memory does not grow with the corpus.
"""

import collections
import dataclasses
import io
import itertools
import tarfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import av

from ...untrusted_input import path_within
from ..corpus.clip import Clip
from ..corpus.reader import Corpus
from ..store.atomic_io import atomic_open, atomic_write, json_bytes
from .account import DAMAGED, EXPORTED, LEFT_OUT, SUMMARY, ExportAccount, export_head
from .fitting import DoesNotFit, ExportClip, check_settings, plan_fit
from .format import Format
from .settings import ExportSettings, Row


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """Outcome of an export."""

    exported: int
    frames: int
    left_out: Mapping[str, int]
    """Clips that are not in it, by reason, the most frequent first."""
    usage: str
    captions_of_gt: int
    """Clips of direction `remove` whose words describe gt, and so the effect that their target lacks."""


def export_corpus(
    corpus: Corpus, layout: Format, settings: ExportSettings, folder: Path, *, step: Callable[[int, int], None]
) -> ExportSummary:
    """Write a corpus into a folder as a format lays it out; what is there of a killed run stays, to the same bytes.

    Args:
        corpus: clips to export.
        layout: the format.
        settings: direction, words, rate, length and size.
        folder: made where it is missing; nothing but this export may be in it.
        step: called with the number of clips done, and of all.

    Raises:
        ValueError: the format does not take such settings, the folder has other things in it, or no clip fits.
        CannotWrite: the disk is full or the folder cannot be written; run again to go on.
    """
    settings = _made_uniform(corpus, layout, settings)
    check_settings(layout.fit, settings)
    folder = folder.absolute()
    units = _units(corpus, layout.archive_clips)
    head = export_head(layout.name, dataclasses.asdict(settings), corpus.manifest)
    with closing(ExportAccount(folder, head)) as account:
        for clip_ids in units[account.resume(units) :]:
            sink = Archive(folder, account.archives) if layout.archive_clips else Folder(folder)
            with sink:
                entries: list[Row] = []
                for clip_id in clip_ids:
                    number = account.exported + sum(entry["outcome"] == EXPORTED for entry in entries)
                    entries.append(_export_clip(corpus[clip_id], number, layout, settings, sink))
            account.add(entries, sink.sizes)
            step(account.clips, len(corpus))
        return _finish(account, layout, settings, head)


def _export_clip(clip: Clip, number: int, layout: Format, settings: ExportSettings, sink: "Sink") -> Row:
    """Write one clip's files; return its entry in the account."""
    clip_id = clip.row["clip_id"]
    try:
        plan = plan_fit(clip, layout.fit, settings)
        fitted = ExportClip(clip=clip, plan=plan, number=number, storage=settings.storage)
        for name, content in layout.files(fitted, settings):
            sink.add(name, content)
        row = layout.row(fitted, settings)
    except DoesNotFit as reason:
        sink.drop_clip()
        return {"clip_id": clip_id, "outcome": LEFT_OUT, "reason": str(reason)}
    except (ValueError, av.error.FFmpegError) as broken:
        sink.drop_clip()
        return {"clip_id": clip_id, "outcome": DAMAGED, "reason": f"damaged: {broken}"}
    sink.keep_clip(fitted.split)
    return {"clip_id": clip_id, "outcome": EXPORTED, "frames": fitted.num_frames, "row": row}


class Folder:
    """Files of clips in a folder, each whole or not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.sizes: dict[str, int] = {}
        """Bytes of each file that was written."""

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *problem: object) -> None:
        return None

    def add(self, name: str, content: bytes) -> None:
        """Write a file of the clip that is being exported."""
        atomic_write(path_within(self._folder, name), content)
        self.sizes[name] = len(content)

    def keep_clip(self, split: str) -> None:
        """Nothing is left to do for a clip whose files are there."""

    def drop_clip(self) -> None:
        """Delete the files of a clip that cannot be exported."""
        for name in self.sizes:
            path_within(self._folder, name).unlink(missing_ok=True)
        self.sizes.clear()


class Archive:
    """Files of several clips in one tar, which appears when the last of them is in it."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._number = folder, number
        self._clip: list[tuple[str, bytes]] = []
        self._open = ExitStack()
        self._tar: tarfile.TarFile | None = None
        self._path = folder
        self.sizes: dict[str, int] = {}

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *problem: Any) -> None:
        self._open.__exit__(*problem)
        if self._tar is not None and problem[0] is None:
            self.sizes[self._path.name] = self._path.stat().st_size

    def add(self, name: str, content: bytes) -> None:
        """Keep a file of the clip that is being exported, until it is known that all of them can be made."""
        self._clip.append((name, content))

    def keep_clip(self, split: str) -> None:
        """Put the clip's files into the archive, with nothing in their headers that depends on the time or the user."""
        if self._tar is None:
            self._path = self._folder / f"{split}-{self._number:06d}.tar"
            file = self._open.enter_context(atomic_open(self._path))
            self._tar = self._open.enter_context(tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT))
        for name, content in self._clip:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            self._tar.addfile(member, io.BytesIO(content))
        self._clip.clear()

    def drop_clip(self) -> None:
        """Forget the files of a clip that cannot be exported."""
        self._clip.clear()


Sink = Folder | Archive


def _units(corpus: Corpus, archive_clips: int) -> list[tuple[str, ...]]:
    """Ids of the clips that are written together: each alone, or up to so many neighbours of one split."""
    if not archive_clips:
        return [(clip_id,) for clip_id in corpus.ids]
    splits = corpus.columns(["split"]).column("split").to_pylist()
    units: list[tuple[str, ...]] = []
    for _, clips in itertools.groupby(zip(corpus.ids, splits, strict=True), key=lambda clip: clip[1]):
        ids = [clip_id for clip_id, _ in clips]
        units += [tuple(ids[start : start + archive_clips]) for start in range(0, len(ids), archive_clips)]
    return units


def _made_uniform(corpus: Corpus, layout: Format, settings: ExportSettings) -> ExportSettings:
    """Set the size, and the rate, that most clips have, where a format wants one and none was chosen."""
    if not layout.fit.uniform or not len(corpus):
        return settings
    table = corpus.columns(["height", "width", "fps"])
    if settings.size is None:
        height, width = _most_frequent(
            zip(*(table.column(name).to_pylist() for name in ("height", "width")), strict=True)
        )
        multiple = layout.fit.multiple
        settings = dataclasses.replace(settings, size=(height // multiple * multiple, width // multiple * multiple))
    if settings.fps == 0:
        settings = dataclasses.replace(settings, fps=_most_frequent(table.column("fps").to_pylist()))
    return settings


def _most_frequent(values: Iterable[Any]) -> Any:
    counts = collections.Counter(values)
    return max(counts, key=lambda value: (counts[value], value))


def _finish(account: ExportAccount, layout: Format, settings: ExportSettings, head: Row) -> ExportSummary:
    """Write the index and, last, the summary."""
    reasons = collections.Counter(
        entry["reason"] for entry in account.entries() if entry["outcome"] in (LEFT_OUT, DAMAGED)
    )
    folder, words = account.folder, settings.caption_choice(layout.fit)
    summary = ExportSummary(
        exported=account.exported,
        frames=sum(entry.get("frames", 0) for entry in account.entries()),
        left_out=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        usage=layout.usage(settings, folder),
        captions_of_gt=account.exported * (settings.direction == "remove" and words[:4] not in ("none", "text")),
    )
    if not summary.exported:
        why = "; ".join(f"{count} x {reason}" for reason, count in list(summary.left_out.items())[:3])
        raise ValueError(f"{folder}: no clip of {account.clips} fits format {layout.name} ({why or 'there is none'})")
    rows = (entry["row"] for entry in account.entries() if entry["outcome"] == EXPORTED)
    for name, content in layout.index(rows, settings, folder):
        atomic_write(path_within(folder, name), content)
    atomic_write(folder / SUMMARY, json_bytes(head | dataclasses.asdict(summary)))
    return summary
