"""Near-duplicates: clips of the same footage that came through two sources, by a perceptual hash of frames and effect.

A frame's hash is the signs of its 63 lowest DCT coefficients against their median, by which candidates are searched,
and those of its 255 lowest, which decide: coding, size and a small crop change few of them. Eight frames a second are
hashed, so that a copy which begins elsewhere, or has another frame rate, has frames near to some of them. Measured on
fast footage (a rider before trees) against itself at three quarters of the size, coded at crf 28, a third of a step out
of phase: 73 % of the frames are near, 60 % if it is also cropped by 3 %, all if it is in phase; the nearest frames of
other clips, rendered or real, differ in 16 bits of 63 and 92 of 255.
Two clips are of the same footage if half the frames of one have such a frame of the other; they are copies if, over
those frames, the effect masks cover the same cells too.
"""

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8, UInt64

from ..store import codec
from ..store.atomic_io import CorruptFile, digest_of
from ..store.ledger import read_entries
from ..store.location import Location
from ..store.store import LayerRef, Store

VERSION = 1
FRAMES_PER_SECOND = 8
MAX_BITS = (10, 72)
"""Bits of 63 and of 255 in which frames of the same moment may differ."""
MIN_SHARE = 0.5
"""Share of one clip's frames that the other has."""
MIN_OVERLAP = 0.5
"""Mean overlap (intersection over union of 64 cells) from which two effects count as the same."""
MIN_DETAIL = 2.0
"""Standard deviation of grey levels below which a frame shows nothing: black and white frames are like any other."""
FILE = "fingerprints.parquet"
_SCHEMA = pa.schema(
    [("pixels", pa.string()), ("frames", pa.binary()), ("effect", pa.binary())], {b"effectpairs.version": f"{VERSION}"}
)
_BANDS, _BAND_BITS = 4, 16
_PAIRS_AT_ONCE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Hashes of a clip's frames, in order, and the cells of an 8x8 grid that its effect covers in each."""

    frames: UInt64[np.ndarray, "F 5"]
    """One word of 63 bits and four of 255; 0 where a frame shows nothing."""
    effect: UInt64[np.ndarray, " F"] | None
    """None where the clip has no effect mask."""


@dataclass(frozen=True, kw_only=True)
class NearDuplicate:
    """Two clips of the same footage."""

    clips: tuple[str, str]
    """Their ids, sorted."""
    frames: float
    """Share of the frames of one that the other has."""
    same_effect: bool
    dropped: str | None = None
    """Id of the clip that is left out of the corpus, if any is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipRef:
    """A finished pair that gets into a corpus, by reference: 100,000 of them take 60 MB, their rows as values 3 GB."""

    clip_id: str
    source: str
    start: int
    """Byte of the source's ledger at which its entry begins."""
    group: str
    kind: str
    size_bytes: int
    """Size of its layers."""
    digest: str
    """Digest of its row and layers."""
    licence: str
    held_out: bool
    """Whether a benchmark pins it, its group or its footage."""
    pixels: str
    """Digest of `gt` and `effect_mask`: clips with the same have the same fingerprint."""


def fingerprint(gt: UInt8[np.ndarray, "F H W 3"], effect_mask: UInt8[np.ndarray, "F H W"] | None) -> Fingerprint:
    """Hash some frames of a clip, and the effect mask of the same frames."""
    effect = None if effect_mask is None else np.array([_cells(mask) for mask in effect_mask], np.uint64)
    return Fingerprint(frames=np.array([_frame_hash(frame) for frame in gt], np.uint64).reshape(-1, 5), effect=effect)


def pixels_digest(layers: Mapping[str, Mapping[str, Any]]) -> str:
    """Digest of the layers that decide a fingerprint."""
    return digest_of([layers[name]["sha256"] for name in ("gt", "effect_mask") if name in layers])


def read_fingerprints(workspace: Location, clips: Sequence[ClipRef]) -> dict[str, Fingerprint]:
    """Fingerprints of clips by their `pixels`, out of the workspace's file; those that it lacks are made and added.

    A clip whose layers are damaged has none; who reads those layers next says so.
    """
    present = _read_file(workspace)
    lacking = {clip.pixels: clip for clip in clips if clip.pixels not in present}
    if not lacking:
        return present
    with ThreadPoolExecutor() as threads:
        made = threads.map(lambda clip: _fingerprint_of(workspace, clip), lacking.values())
        present |= {pixels: value for pixels, value in zip(lacking, made, strict=True) if value is not None}
    present = {clip.pixels: present[clip.pixels] for clip in clips if clip.pixels in present}
    rows = [
        {
            "pixels": pixels,
            "frames": value.frames.tobytes(),
            "effect": None if value.effect is None else value.effect.tobytes(),
        }
        for pixels, value in sorted(present.items())
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), buffer, compression="zstd")
    with contextlib.suppress(OSError):  # read-only or full: they are made again the next time
        workspace.write(FILE, buffer.getvalue())
    return present


def near_duplicates(
    clips: Sequence[ClipRef], fingerprints: Mapping[str, Fingerprint], *, drop: bool
) -> list[NearDuplicate]:
    """Find clips of the same footage in different groups, sorted by their ids: as many pairs as join them all.

    Args:
        clips: those to compare, sorted by id.
        fingerprints: of the clips, by their `pixels`.
        drop: name the copy that stays out: the one whose source has fewer clips.
    """
    order = _by_rank(clips)
    ranked = [clips[number] for number in order]
    roots = list(range(len(ranked)))

    def root_of(rank: int) -> int:
        while roots[rank] != rank:
            roots[rank] = rank = roots[roots[rank]]
        return rank

    pairs: list[NearDuplicate] = []
    copies: set[int] = set()  # by rank: of these one that ranks higher has been met
    for later, earlier in _candidate_pairs(ranked, fingerprints):
        is_joined = root_of(later) == root_of(earlier)
        if is_joined and (later in copies or earlier in copies or not drop):
            continue
        one, other = ranked[earlier], ranked[later]
        share, overlap = _compare(fingerprints[one.pixels], fingerprints[other.pixels])
        is_copy = one.kind == other.kind and overlap >= MIN_OVERLAP
        if share < MIN_SHARE or (is_joined and not is_copy):
            continue
        roots[root_of(later)] = root_of(earlier)
        is_dropped = drop and is_copy and earlier not in copies and later not in copies
        if is_dropped:
            copies.add(later)
        first, second = sorted((one.clip_id, other.clip_id))
        dropped = other.clip_id if is_dropped else None
        pairs.append(NearDuplicate(clips=(first, second), frames=round(share, 3), same_effect=is_copy, dropped=dropped))
    return sorted(pairs, key=lambda pair: pair.clips)


def merged_groups(
    clips: Iterable[ClipRef], duplicates: Iterable[NearDuplicate], order: Callable[[str], Any]
) -> dict[str, str]:
    """The group that stands for each of several which share footage: the first of them by an order."""
    group_by_clip = {clip.clip_id: clip.group for clip in clips}
    groups: dict[str, set[str]] = {}
    for duplicate in duplicates:
        joined = set[str]().union(
            *(groups.get(name, {name}) for name in map(group_by_clip.__getitem__, duplicate.clips))
        )
        groups |= dict.fromkeys(joined, joined)
    return {name: min(joined, key=order) for name, joined in groups.items()}


def _frame_hash(frame: UInt8[np.ndarray, "H W 3"]) -> list[int]:
    grey = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (64, 64), interpolation=cv2.INTER_AREA)
    if grey.std() < MIN_DETAIL:
        return [0] * 5
    spectrum = cv2.dct(grey.astype(np.float32))
    words = []
    for side in (8, 16):
        coefficients = spectrum[:side, :side].ravel()[1:]
        flags = np.append(coefficients > np.median(coefficients), True)  # the last keeps it from being 0
        words += [_bits(part) for part in np.split(flags, len(flags) // 64)]
    return words


def _cells(mask: UInt8[np.ndarray, "H W"]) -> int:
    return _bits(cv2.resize(mask, (8, 8), interpolation=cv2.INTER_AREA).ravel() > 32)


def _bits(flags: Any) -> int:
    return int.from_bytes(np.packbits(flags).tobytes(), "big")


def _fingerprint_of(workspace: Location, clip: ClipRef) -> Fingerprint | None:
    (entry,) = read_entries(workspace, clip.source, [clip.start])
    row, layers, store = entry.row or {}, entry.layers or {}, Store(workspace)
    times = range(0, row["num_frames"], max(1, round(row["fps"] / FRAMES_PER_SECOND)))

    def read(name: str) -> Any:
        if name not in layers:
            return None
        video = codec.VideoReader(io.BytesIO(store.read(LayerRef(**layers[name]))))
        return np.concatenate([video.read(time, 1) for time in times])

    try:
        return fingerprint(read("gt"), read("effect_mask"))
    except (CorruptFile, ValueError):
        return None


def _read_file(workspace: Location) -> dict[str, Fingerprint]:
    """Fingerprints by `pixels`; a file that is damaged or of another version counts as none."""
    try:
        table = pq.read_table(io.BytesIO(workspace.read(FILE)))
        if not table.schema.equals(_SCHEMA, check_metadata=True):
            return {}
        rows = table.to_pylist()
    except (FileNotFoundError, pa.ArrowException, OSError):
        return {}
    return {
        row["pixels"]: Fingerprint(
            frames=np.frombuffer(row["frames"], np.uint64).reshape(-1, 5),
            effect=None if row["effect"] is None else np.frombuffer(row["effect"], np.uint64),
        )
        for row in rows
    }


def _candidate_pairs(clips: Sequence[ClipRef], fingerprints: Mapping[str, Fingerprint]) -> Iterator[tuple[int, int]]:
    """Numbers of clips of different groups with one frame, or all pixels, in common: the later and the earlier, sorted.

    Frames within 7 bits differ in at most one bit of one of the four bands, so clips are looked up by each band and all
    its neighbours: what is compared grows with the number of clips and little faster, as long as they differ. Of clips
    that are equal each is compared with the first.
    """
    first_by_pixels: dict[str, int] = {}
    firsts = [first_by_pixels.setdefault(clip.pixels, number) for number, clip in enumerate(clips)]
    count = len(clips)
    numbers = [number for pixels, number in first_by_pixels.items() if pixels in fingerprints]
    unique = [np.unique(fingerprints[clips[number].pixels].frames[:, 0]) for number in numbers]
    unique = [frames[frames != 0] for frames in unique]
    owners = np.repeat(np.array(numbers, np.int64), [len(frames) for frames in unique])
    hashes = np.concatenate([np.empty(0, np.uint64), *unique])
    pairs = np.array(
        [
            number * count + first
            for number, first in enumerate(firsts)
            if first != number and clips[number].pixels in fingerprints
        ],
        np.int64,
    )
    for band in range(_BANDS):
        keys = ((hashes >> np.uint64(band * _BAND_BITS)) & np.uint64(0xFFFF)).astype(np.int64)
        order = np.argsort(keys, kind="stable")
        starts = np.searchsorted(keys[order], np.arange((1 << _BAND_BITS) + 1))
        for flip in (0, *(1 << bit for bit in range(_BAND_BITS))):
            targets = keys ^ flip
            for rows, columns in _expanded(starts[targets], starts[targets + 1]):
                partners = order[columns]
                bits = np.bitwise_count(hashes[rows] ^ hashes[partners])
                is_near = (bits <= MAX_BITS[0]) & (owners[partners] < owners[rows])
                pairs = np.union1d(pairs, owners[rows[is_near]] * count + owners[partners[is_near]])
    for pair in pairs:
        later, earlier = divmod(int(pair), count)
        if clips[later].group != clips[earlier].group:
            yield later, earlier


def _expanded(starts: Any, ends: Any) -> Iterator[tuple[Any, Any]]:
    """Row numbers and the columns `[start, end)` of each, some million at a time."""
    lengths = ends - starts
    begin = 0
    totals = np.cumsum(lengths)
    while begin < len(lengths):
        before = totals[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(totals, before + _PAIRS_AT_ONCE, side="right")))
        count = lengths[begin:end]
        rows = np.repeat(np.arange(begin, end), count)
        offsets = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
        yield rows, starts[rows] + offsets
        begin = end


def _compare(one: Fingerprint, other: Fingerprint) -> tuple[float, float]:
    """Share of frames in common, of the clip that has the larger, and mean overlap of the effects over those frames."""
    if np.array_equal(one.frames, other.frames) and not one.frames.any():
        return 1.0, 1.0
    differences = np.bitwise_count(one.frames[:, None] ^ other.frames[None])
    bits = differences[..., 1:].sum(-1, dtype=np.int64)
    is_seen = one.frames[:, None, 0].astype(bool) & other.frames[None, :, 0].astype(bool)
    is_near = (differences[..., 0] <= MAX_BITS[0]) & (bits <= MAX_BITS[1]) & is_seen
    share = max(
        float(is_near.any(axis).sum() / max(1, np.count_nonzero(value.frames[:, 0])))
        for axis, value in ((1, one), (0, other))
    )
    if one.effect is None or other.effect is None:
        return share, float(one.effect is other.effect)
    rows = np.flatnonzero(is_near.any(1))
    partners = np.where(is_near, bits, 256)[rows].argmin(1)
    first, second = one.effect[rows], other.effect[partners]
    union = np.bitwise_count(first | second)
    overlap = np.where(union == 0, 1.0, np.bitwise_count(first & second) / np.maximum(union, 1))
    return share, float(overlap.mean()) if len(rows) else 0.0


def _by_rank(clips: Sequence[ClipRef]) -> list[int]:
    """Numbers of clips, those first that rather stay: what a benchmark pins, then clips of larger sources."""
    sizes = Counter(clip.source for clip in clips)
    return sorted(
        range(len(clips)),
        key=lambda number: (
            not clips[number].held_out,
            -sizes[clips[number].source],
            clips[number].source,
            clips[number].clip_id,
        ),
    )
