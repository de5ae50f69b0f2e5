"""Remote files and archives: fetched from any URI, within limits, and unpacked without trust.

An archive may be as hostile as it likes: names that leave the folder, links, devices and bombs are refused before a
byte of them is written. A fetched file appears complete or not at all.
"""

import gzip
import io
import shutil
import tarfile
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from ...datasets.store.atomic_io import atomic_open, partial_beside

BLOCK_BYTES = 1 << 20
TIMEOUT_S = 60.0
BUCKET = "https://storage.googleapis.com/"
"""Address at which a public gs:// bucket answers without a login."""
OFFLINE = "render without it (shapes and skies that come with Blender are the default), or give a local folder"


@dataclass(frozen=True, kw_only=True)
class AssetLimits:
    """Limits on the size of one asset."""

    file_bytes: int = 1 << 30
    """Size of a model, a sky or an archive as it is stored."""
    unpacked_bytes: int = 4 << 30
    files: int = 10_000
    """Files in one archive."""


def _open(uri: str) -> Any:
    """Open a local path or any URI for reading.

    Raises:
        ValueError: it is missing, denied or out of reach, in one sentence with the remedy.
    """
    protocol, _, path = uri.rpartition("://")
    try:
        if protocol in {"http", "https"}:
            return urllib.request.urlopen(uri, timeout=TIMEOUT_S)
        try:
            return fsspec.open(uri, "rb").open()
        except ImportError:
            if protocol not in {"gs", "gcs"}:
                raise
            return urllib.request.urlopen(BUCKET + path, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as answer:
        answer.close()
        raise ValueError(_refusal(uri, answer.code)) from answer
    except (PermissionError, FileNotFoundError) as problem:
        raise ValueError(_refusal(uri, 403 if isinstance(problem, PermissionError) else 404)) from problem
    except ImportError as missing:
        raise ValueError(f"{uri}: {missing}; install what it names, or copy the file here") from missing
    except (OSError, ValueError) as problem:
        raise ValueError(f"{uri}: cannot be opened ({problem}); check the address, or {OFFLINE}") from problem


def _refusal(uri: str, code: int) -> str:
    if code in {401, 403}:
        hint = ""
        if "kubric-public" in uri:
            hint = "; the bucket kubric-public has refused everyone without a login since February 2026"
        return f"{uri}: access is denied ({code}){hint}; log in, or {OFFLINE}"
    if code == 404:
        return f"{uri}: is not there; check the address, or {OFFLINE}"
    return f"{uri}: the server answers {code}; try again later, or {OFFLINE}"


def read_bytes(uri: str, max_bytes: int) -> bytes:
    """Read a small file.

    Raises:
        ValueError: it cannot be read, or is larger.
    """
    content = io.BytesIO()
    _copy(uri, content, max_bytes)
    return content.getvalue()


def download(uri: str, to: Path, max_bytes: int) -> None:
    """Copy a file from a URI; it appears under its name only when it is complete.

    Raises:
        ValueError: it cannot be read, or is larger than max_bytes.
    """
    with atomic_open(to) as file:
        _copy(uri, file, max_bytes)


def _copy(uri: str, into: Any, max_bytes: int) -> None:
    with _open(uri) as source:
        written = 0
        try:
            while block := source.read(BLOCK_BYTES):
                written += len(block)
                if written > max_bytes:
                    raise ValueError(f"{uri}: is larger than the limit of {max_bytes} bytes; give a smaller asset")
                into.write(block)
            if getattr(source, "length", None):  # bytes that a server promised and did not send, without any other sign
                raise OSError(f"{source.length} bytes are missing")
        except OSError as broken:
            raise ValueError(f"{uri}: broke off after {written} bytes ({broken}); try again") from broken


def unpack(archive: Path, into: Path, limits: AssetLimits) -> None:
    """Unpack a .tar.gz into a folder that must not exist yet; it appears only when it is complete.

    Raises:
        ValueError: the archive is broken or too large, or holds anything but files and folders of its own.
    """
    into.parent.mkdir(parents=True, exist_ok=True)
    folder = partial_beside(into)
    folder.mkdir()
    try:
        _unpack_into(archive, folder, limits)
        try:
            folder.rename(into)
        except OSError:
            if not into.is_dir():  # else another process was faster, with the same content
                raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack_into(archive: Path, folder: Path, limits: AssetLimits) -> None:
    unpacked = 0
    try:
        # As a stream: each header is checked before anything after it is read.
        with gzip.open(archive) as content:
            bounded = _LimitedStream(content, archive, limits)
            with tarfile.open(fileobj=bounded, mode="r|") as tar:
                for number, member in enumerate(tar, 1):
                    unpacked += member.size
                    _check_member(archive, member)
                    bounded.allow(member.size)
                    if number > limits.files:
                        raise ValueError(f"{archive}: holds more than {limits.files} files; it is no single asset")
                    if unpacked > limits.unpacked_bytes:
                        raise ValueError(_too_large(archive, limits))
                    tar.extract(member, folder, filter="data")
            bounded.allow(limits.unpacked_bytes)
            while bounded.read(BLOCK_BYTES):
                pass  # its checksum comes last
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as broken:
        raise ValueError(f"{archive}: is no whole .tar.gz archive ({broken}); fetch or pack it again") from broken
    except OSError as problem:
        raise ValueError(f"{archive}: cannot be unpacked ({problem.strerror or problem}); check the disk") from problem


def _check_member(archive: Path, member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name:
        raise ValueError(f"{archive}: {member.name!r} leads out of the archive's folder; do not trust it, pack it anew")
    if member.issym() or member.islnk():
        raise ValueError(f"{archive}: {member.name!r} is a link to {member.linkname!r}; pack the file itself")
    if not (member.isreg() or member.isdir()):
        raise ValueError(f"{archive}: {member.name!r} is neither file nor folder; pack files and folders alone")


def _too_large(archive: Path, limits: AssetLimits) -> str:
    return f"{archive}: unpacks to more than the limit of {limits.unpacked_bytes} bytes; give a smaller asset"


HEADER_BYTES = 1 << 20
"""Most that the headers of one member may take: names and times take under 2 kB. The reader keeps them in memory, and
took 6.2 GB for one name that was a bomb."""


class _LimitedStream(io.RawIOBase):
    """Stream that raises an error where headers, or the whole, are longer than they may be: either may be a bomb."""

    def __init__(self, content: Any, archive: Path, limits: AssetLimits) -> None:
        super().__init__()
        self._content, self._archive, self._limits, self._read = content, archive, limits, 0
        self.allow(0)

    def allow(self, size_bytes: int) -> None:
        """Allow a member's content, and the headers of the next one."""
        # The reader asks for whole records, so it may be one ahead.
        self._allowed = self._read + size_bytes + HEADER_BYTES

    def read(self, size: int = -1) -> bytes:
        """Read the next bytes, within the limits."""
        # Headers and padding of small files take up to 2 kB each.
        limit = self._limits.unpacked_bytes + 2048 * self._limits.files + 4 * BLOCK_BYTES
        if size < 0 or self._read + size > limit:
            raise ValueError(_too_large(self._archive, self._limits))
        if self._read + size > self._allowed:
            raise ValueError(
                f"{self._archive}: holds a header of more than {HEADER_BYTES >> 20} MiB, which no file needs; "
                "do not trust it, pack it anew"
            )
        block = bytes(self._content.read(size))
        self._read += len(block)
        return block
