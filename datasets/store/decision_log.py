"""File of decisions, one JSON line each, that lies beside a workspace or a corpus: read, appended to, merged.

Lines are never changed: to undo is a line too. A line is on the disk before it counts as kept, ends with a digest of
itself, and has an id, so that a line that was cut off by a kill is passed over, one that comes twice counts once, and
files merge in any order. Publishing puts the lines of a corpus's file in order, so that it does not tell how they came.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from ...untrusted_input import parse_json
from .atomic_io import atomic_write, explain_os_errors, flush_folder, json_bytes
from .decisions import Decision, Decisions
from .location import Location, Place

FILE = "decisions.jsonl"
_DIGITS = 16


class DecisionLog:
    """The decisions file of a local folder, to read on in and to append to; several processes may share it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.ids: set[str] = set()
        self.damaged = 0
        """Lines that were passed over: cut off by a kill, or damaged."""
        self._offset = 0
        self._last_line = b""
        """Line before the offset: it stands elsewhere in a file that has taken the place of the one that was read."""

    def read_new(self) -> list[Decision]:
        """Decisions that came since the last reading, by whomever; each once."""
        try:
            with self.path.open("rb") as file:
                return self._read_on(file.fileno())
        except FileNotFoundError:
            self._offset, self._last_line = 0, b""
            return []

    def append(self, decisions: Iterable[Decision]) -> list[Decision]:
        """Append decisions and wait until they are on the disk; return those that are new, others' among them.

        Raises:
            FileNotFoundError: the folder is gone.
            CannotWrite: the disk is full, or the file cannot be written; nothing of them is in it.
        """
        is_first = not self.path.exists()
        with explain_os_errors(self.path), _locked(self.path) as descriptor:
            news = self._read_on(descriptor)
            missing = [decision for decision in decisions if decision.id not in self.ids]
            size = os.fstat(descriptor).st_size
            cut_off = size > self._offset  # a killed process left half a line: it ends here
            content = b"\n" * cut_off + b"".join(map(_line_of, missing))
            try:
                written = 0
                while written < len(content):
                    written += os.pwrite(descriptor, content[written:], size + written)
                os.fsync(descriptor)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise
            if is_first:
                flush_folder(self.path.parent)
            return [*news, *self._read_on(descriptor)]

    def put_in_order(self) -> None:
        """Write the file anew, its lines in the order of the decisions, unless they are; damaged lines come last.

        Raises:
            CannotWrite: the disk is full, or the file cannot be written; it is as it was.
        """
        with explain_os_errors(self.path), _locked(self.path) as descriptor:
            content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            damaged = [line + b"\n" for line in content.splitlines() if line and _parse_line(line) is None]
            ordered = [*map(_line_of, Decisions.of(parse_decisions(content)).decisions), *damaged]
            if b"".join(ordered) != content:
                atomic_write(self.path, b"".join(ordered))

    def _read_on(self, descriptor: int) -> list[Decision]:
        """Read the whole lines behind those that were read."""
        size, start = os.fstat(descriptor).st_size, self._offset - len(self._last_line)
        content = os.pread(descriptor, size - start, start) if size >= self._offset else b""
        if size < self._offset or not content.startswith(self._last_line):  # another file has taken its place
            self._offset, self._last_line, self.damaged = 0, b"", 0
            content = os.pread(descriptor, size, 0)
        content = content[len(self._last_line) : content.rfind(b"\n") + 1]
        self._offset += len(content)
        if content:
            self._last_line = content[content.rfind(b"\n", 0, -1) + 1 :]
        decisions = []
        for line in content.splitlines():
            decision = _parse_line(line)
            self.damaged += decision is None and bool(line)
            if decision is not None and decision.id not in self.ids:
                self.ids.add(decision.id)
                decisions.append(decision)
        return decisions


def read_decisions(*places: Place) -> Decisions:
    """The decisions that lie beside workspaces and corpora, together."""
    decisions: list[Decision] = []
    for place in places:
        with contextlib.suppress(FileNotFoundError):
            decisions += parse_decisions(Location.of(place).read(FILE))
    return Decisions.of(decisions)


def damaged_lines(place: Place) -> str | None:
    """Sentence that numbers the damaged lines of a place's file, with the remedy; None where all are whole."""
    location = Location.of(place)
    content = location.read(FILE) if location.exists(FILE) else b""
    lines = enumerate(content.splitlines(), start=1)
    numbers = [str(number) for number, line in lines if line and _parse_line(line) is None]
    if not numbers:
        return None
    shown = ", ".join(numbers[:10]) + f" and {len(numbers) - 10} more" * (len(numbers) > 10)
    return (
        f"cut off or damaged, and so not counted: line {shown}; take what is missing from another copy of the file "
        f"(effectpairs review {location} --merge FILE), then delete what is damaged"
    )


def parse_decisions(content: bytes) -> Iterator[Decision]:
    """The decisions in a file's content; lines that were cut off or damaged are passed over."""
    return (decision for line in content.splitlines() if (decision := _parse_line(line)) is not None)


def merge_files(files: Iterable[Path], folder: Path) -> int:
    """Take the decisions of files into those of a corpus or workspace; return how many are new.

    Raises:
        ValueError: a file has none.
        OSError: a file cannot be read, or the folder not be written.
    """
    decisions: list[Decision] = []
    for file in files:
        parsed = list(parse_decisions(file.read_bytes()))
        if not parsed:
            raise ValueError(f"{file}: holds no decision, so nothing was merged; name a {FILE} of a review")
        decisions += parsed
    log = DecisionLog(folder)
    present = len(log.read_new())
    log.append(decisions)
    return len(log.ids) - present


def share_decisions(decisions: Decisions, *places: Place) -> None:
    """Let each workspace or corpus have all decisions; nothing is taken from any.

    Raises:
        CannotWrite: the disk is full, or a place cannot be written.
    """
    for place in places:
        location = Location.of(place)
        present = read_decisions(location)
        if {decision.id for decision in decisions.decisions} <= {decision.id for decision in present.decisions}:
            continue
        if location.local is not None:
            DecisionLog(location.local).append(decisions.decisions)
        else:
            both = Decisions.of((*present.decisions, *decisions.decisions))
            location.write(FILE, b"".join(map(_line_of, both.decisions)))


def put_in_order(place: Place) -> None:
    """Put the lines of a corpus's file in order, so that its bytes do not tell in which they came.

    Raises:
        CannotWrite: the disk is full, or the place cannot be written.
    """
    location = Location.of(place)
    if location.local is not None and location.exists(FILE):
        DecisionLog(location.local).put_in_order()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The open file, which no other process appends to meanwhile."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                yield descriptor
                return
        finally:
            os.close(descriptor)  # of one that was put in order meanwhile nobody would read


def _line_of(decision: Decision) -> bytes:
    content = json_bytes(asdict(decision), indent=None)
    return content[:-1] + b', "digest": "%s"}\n' % hashlib.sha256(content).hexdigest()[:_DIGITS].encode()


def _parse_line(line: bytes) -> Decision | None:
    try:
        values = parse_json(line)
        digest = values.pop("digest")
        decision = Decision(**values)
        content = json_bytes(asdict(decision), indent=None)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return decision if hashlib.sha256(content).hexdigest()[:_DIGITS] == digest else None
