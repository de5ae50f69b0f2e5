"""Account of an export: one line a unit of clips, written after its files, so that a killed export goes on there."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ...untrusted_input import path_within, shortened
from ..store.atomic_io import explain_os_errors, json_bytes, key_digest, sweep_partials
from .settings import Row

ACCOUNT, SUMMARY = "effectpairs-export.jsonl", "effectpairs-export.json"
EXPORTED, LEFT_OUT, DAMAGED = "exported", "left out", "damaged"


class ExportAccount:
    """The open account of one export folder; one process at a time has it.

    The first line says what is exported how. Lines count as long as their clips are the corpus's, in its order, and
    their files are there in their sizes; from the first other line on, clips are exported again, to the same bytes.
    """

    def __init__(self, folder: Path, head: Mapping[str, Any]) -> None:
        """Open or begin the account.

        Raises:
            ValueError: the folder has other things in it, an export of something else, or is being written.
        """
        self.folder = folder
        self._path = folder / ACCOUNT
        _check_folder(folder, self._path)
        with explain_os_errors(self._path):
            folder.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = self._path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as busy:
            self._file.close()
            raise ValueError(
                f"{folder}: another export is writing there; wait for it, or choose another --out"
            ) from busy
        head_line = json_bytes(dict(head), indent=None) + b"\n"
        self._file.seek(0)
        first = self._file.readline()
        if not first.endswith(b"\n"):
            self._cut_at(0)
            self._append(head_line)
        elif first != head_line:
            self._file.close()
            raise ValueError(
                f"{folder}: holds another export ({_differences(first, head)}); choose another --out, or delete it"
            )
        self._start = len(head_line)
        self.clips = self.exported = self.archives = 0
        """Clips that are done, those of them that are exported, and units that have files."""

    def close(self) -> None:
        """Let go of the folder."""
        self._file.close()

    def entries(self) -> Iterator[Row]:
        """Yield the entry of each clip, in the corpus's order."""
        with self._path.open("rb") as file:
            file.seek(self._start)
            for line in file:
                yield from json.loads(line)["clips"]

    def resume(self, units: Sequence[tuple[str, ...]]) -> int:
        """Keep the lines that still hold, and cut the others off; return the number of units that are done.

        Args:
            units: ids of the clips of each unit, in the corpus's order.
        """
        self._file.seek(self._start)
        end, count = self._start, 0
        for line, clip_ids in zip(self._file, units, strict=False):
            if not (line.endswith(b"\n") and self._holds(line, clip_ids)):
                break
            end, count = end + len(line), count + 1
            self._count(json.loads(line))
        self._cut_at(end)
        return count

    def add(self, clips: list[Row], files: Mapping[str, int]) -> None:
        """Append a unit, whose files are all there, with their sizes in bytes."""
        unit = {"clips": clips, "files": dict(files)}
        self._append(json_bytes(unit, indent=None) + b"\n")
        self._count(unit)

    def _count(self, unit: Mapping[str, Any]) -> None:
        self.clips += len(unit["clips"])
        self.exported += sum(entry["outcome"] == EXPORTED for entry in unit["clips"])
        self.archives += bool(unit["files"])

    def _holds(self, line: bytes, clip_ids: tuple[str, ...]) -> bool:
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            unit = json.loads(line)
            if tuple(entry["clip_id"] for entry in unit["clips"]) != clip_ids:
                return False
            if any(entry["outcome"] == DAMAGED for entry in unit["clips"]):
                return False  # the corpus may have been mended
            return all(_size(path_within(self.folder, name)) == size for name, size in unit["files"].items())
        return False

    def _append(self, content: bytes) -> None:
        with explain_os_errors(self._path):
            self._file.write(content)
            self._file.flush()
            os.fsync(self._file.fileno())

    def _cut_at(self, position: int) -> None:
        self._file.truncate(position)
        self._file.seek(position)


def export_head(format_name: str, settings: Mapping[str, Any], corpus: Mapping[str, Any]) -> Row:
    """Return what decides the bytes of an export: format, settings, and the corpus by its manifest's digest."""
    digest = corpus.get("digest") or key_digest(dict(corpus))
    return {
        "format": format_name,
        "settings": dict(settings),
        "corpus": {"name": corpus["name"], "version": corpus["version"], "digest": digest},
    }


def _check_folder(folder: Path, account: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file; choose a folder with --out")
    if not folder.exists() or account.exists():
        if account.exists():
            sweep_partials(folder)
        return
    if strangers := sorted(path.name for path in folder.iterdir()):
        names = ", ".join(shortened(name, 40) for name in strangers[:3])
        raise ValueError(f"{folder}: has other things in it ({names}); choose an empty folder with --out")


def _differences(first: bytes, head: Mapping[str, Any]) -> str:
    try:
        earlier = json.loads(first)
        changed = [name for name in ("format", "corpus") if earlier[name] != head[name]]
        changed += [
            f"{name} {earlier['settings'].get(name)!r}"
            for name, value in head["settings"].items()
            if earlier["settings"].get(name) != json.loads(json.dumps(value))
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return "its account is damaged"
    return f"other {', '.join(changed)}" if changed else "of another version"


def _size(path: Path) -> int | None:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return None
