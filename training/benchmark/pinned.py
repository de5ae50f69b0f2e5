"""Benchmark as a list of clips that are pinned by their content: ids, words, and digests of what is shown and measured.

`benchmark.json` ends with the digest of all before it. A layer is pinned twice: by its bytes as they are stored, which
is checked in a moment, and by its pixels, which stay the same when a corpus is published with another coding.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from ...datasets.corpus.clip import Clip
from ...datasets.corpus.reader import Corpus
from ...datasets.corpus.schema import footage_digests
from ...datasets.store.atomic_io import atomic_write, seal_json, unseal_json
from ..evaluation.videos import pixels_digest
from ..latents.task import Task

MANIFEST = "benchmark.json"
FORMAT = 1
PINNED_LAYERS = ("gt", "over", "effect_mask", "foreground", "subject_mask", "background")
"""Layers that results depend on: the truth, and all that a method may be given."""


@dataclass(frozen=True, kw_only=True)
class LayerDigest:
    """SHA-256 of a layer's stored bytes, and of its shape and pixels."""

    encoded: str
    pixels: str


@dataclass(frozen=True, kw_only=True)
class PinnedClip:
    """One clip of a benchmark, as it must be found again."""

    clip_id: str
    source: str
    group: str
    effects: tuple[str, ...]
    caption: str
    num_frames: int
    height: int
    width: int
    fps: float
    layers: Mapping[str, LayerDigest]
    footage: tuple[str, ...]
    """SHA-256 of the video, or of each of its images."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Pinned clips, and all that must stay out of training for them."""

    name: str
    corpus: str
    """Version of the corpus that it was built of."""
    clips: tuple[PinnedClip, ...]
    held_out_groups: tuple[str, ...]
    """Groups of the clips, and of all clips of the same or nearly the same footage."""
    left_out: Mapping[str, str]
    """Reason by id of each clip that was looked at and is not in it."""
    task: Task = Task()
    """Task of the methods: the layer that they get, and the one that is the truth."""

    @property
    def clip_ids(self) -> tuple[str, ...]:
        """Ids of the clips, in order."""
        return tuple(clip.clip_id for clip in self.clips)

    @property
    def held_out(self) -> tuple[str, ...]:
        """Words by which publishing keeps all of it out of training: see `PublishSettings.held_out`."""
        footage = {digest for clip in self.clips for digest in clip.footage}
        return tuple(sorted({*self.held_out_groups, *self.clip_ids, *footage}))


def pin_clip(clip: Clip) -> PinnedClip:
    """Pin a clip with its words and layers.

    Raises:
        ValueError: it has no effect mask or another layer is missing, so no method can be asked for it.
    """
    layers = {}
    for name in PINNED_LAYERS:
        video = clip.encoded(name)
        if video is None:
            raise ValueError(f"clip '{clip.clip_id}' has no {name}; a benchmark needs pairs")
        layers[name] = LayerDigest(encoded=hashlib.sha256(video).hexdigest(), pixels=_layer_pixels(clip, name))
    names = ("clip_id", "source", "group", "num_frames", "height", "width", "fps")
    return PinnedClip(
        **{name: getattr(clip, name) for name in names},
        effects=tuple(clip.effects),
        caption=clip.caption or "",
        layers=layers,
        footage=footage_digests(clip.provenance),
    )


def write_benchmark(benchmark: Benchmark, folder: Path) -> Path:
    """Write `benchmark.json`, whole or not at all; return its path."""
    path = folder / MANIFEST
    atomic_write(path, seal_json({"format": FORMAT, **asdict(benchmark)}))
    return path


def read_benchmark(location: Path) -> Benchmark:
    """Read a benchmark by its folder or file.

    Raises:
        ValueError: there is none, it was changed by hand, or it has a format that is not read here.
    """
    path = location / MANIFEST if location.is_dir() else location
    try:
        content = unseal_json(path.read_bytes())
        if content.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        benchmark: Benchmark = TypeAdapter(Benchmark).validate_python(content)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); name a folder of: benchmark build") from error
    except (ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: is no benchmark as it was built ({reason}); copy it anew, or build it") from error
    return benchmark


def check_pinned(benchmark: Benchmark, corpus: Corpus) -> None:
    """Check that a corpus holds every pinned clip as it was, and none of their footage in training.

    Raises:
        ValueError: clips are gone or changed, or may have been trained on; in one sentence with their number and names.
    """
    missing = [clip_id for clip_id in benchmark.clip_ids if clip_id not in corpus]
    changes = {
        pinned.clip_id: changes
        for pinned in benchmark.clips
        if pinned.clip_id in corpus and (changes := _changes(pinned, corpus[pinned.clip_id]))
    }
    if missing or changes:
        faults = [f"{clip_id} is gone" for clip_id in missing]
        faults += [f"{clip_id} has another {' and '.join(names)}" for clip_id, names in changes.items()]
        raise ValueError(
            f"{corpus.location.url} does not hold the benchmark '{benchmark.name}': of {len(benchmark.clips)} pinned "
            f"clips {_listing(faults)}; open the corpus that it was built of (version {benchmark.corpus}), or build "
            "another"
        )
    leaks = find_leaks(benchmark, corpus)
    if leaks:
        raise ValueError(
            f"{corpus.location.url}: training has footage of the benchmark '{benchmark.name}': {_listing(leaks)}; "
            "publish it again with --benchmark, and train on that"
        )


def find_leaks(benchmark: Benchmark, corpus: Corpus) -> list[str]:
    """Ids of training clips that share a group or footage with a benchmark; no video is read."""
    words = set(benchmark.held_out)
    columns = ["clip_id", "split", "group", "provenance.inputs"]
    return [
        row["clip_id"]
        for row in corpus.columns(columns).to_pylist()
        if row["split"] == "train"
        and not words.isdisjoint((row["clip_id"], row["group"], *footage_digests(row["provenance"])))
    ]


def _changes(pinned: PinnedClip, clip: Clip) -> list[str]:
    """Names of what is not as it was pinned."""
    names = ["caption"] if (clip.caption or "") != pinned.caption else []
    names += [name for name in ("num_frames", "height", "width", "fps") if clip.row[name] != getattr(pinned, name)]
    for name, digest in pinned.layers.items():
        video = clip.encoded(name)
        is_same = video is not None and hashlib.sha256(video).hexdigest() == digest.encoded
        if not is_same and (video is None or _layer_pixels(clip, name) != digest.pixels):
            names.append(name)
    return names


def _layer_pixels(clip: Clip, layer: str) -> str:
    frames = clip.decode(layer)
    assert frames is not None, "looked for before"
    return pixels_digest(frames)


def _listing(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
