"""A corpus to a benchmark: clips are chosen and pinned, and what any baseline needs for them is written as files.

The paper's form: real clips alone, and none whose footage, or nearly the same footage, is in training. Clips that are
named are pinned wherever they are; publishing again with the benchmark then takes them, and what is like them, out of
training. The truth itself is not written, but for its first frame, which some baselines of adding effects start from.

A folder is filled in any number of goes: `clip.json` is written last for each clip, `benchmark.json` last of all.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np

from ...datasets.corpus.clip import Clip
from ...datasets.corpus.near_duplicates import FRAMES_PER_SECOND, ClipRef, fingerprint, near_duplicates
from ...datasets.corpus.reader import Corpus
from ...datasets.corpus.schema import footage_digests
from ...datasets.gallery.thumbnails import encode_mp4
from ...datasets.store import codec
from ...datasets.store.atomic_io import atomic_write, json_bytes
from ...untrusted_input import csv_text, markdown_text, path_within
from ..evaluation.videos import crop_to_even
from ..latents.task import SUBJECT_LEVEL, Task
from .pinned import MANIFEST, Benchmark, PinnedClip, pin_clip, read_benchmark, write_benchmark

README, INDEX, CLIPS_FOLDER = "README.md", "clips.csv", "clips"
README_MARK = "<!-- benchmark by effectpairs -->"
"""First line of the page: a README.md without it is somebody else's and stays."""
CRF = 12
"""Quality of the H.264 copies: no loss is seen."""
_INDEX_COLUMNS = ("clip_id", "num_frames", "fps", "height", "width", "effects", "caption")


@dataclass(frozen=True, kw_only=True)
class BenchmarkPlan:
    """Title, clips and task of a benchmark that is to be built."""

    name: str
    clip_ids: Sequence[str]
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Reason by id of each clip that was looked at and is not in it."""
    task: Task = Task()


def choose_clips(
    corpus: Corpus, *, split: str = "test", clip_ids: Sequence[str] = ()
) -> tuple[list[str], dict[str, str]]:
    """Choose the clips of a benchmark; return their ids, and the reason for each clip of the split that stays out.

    Args:
        corpus: a published one.
        split: of it all real pairs are taken that share nothing with training.
        clip_ids: take these instead, even if they are in training now.

    Raises:
        ValueError: a named clip is not there or not real, or nothing is left.
    """
    rows = {
        row["clip_id"]: row
        for row in corpus.columns(["clip_id", "kind", "split", "group", "provenance.inputs"]).to_pylist()
    }
    for clip_id in clip_ids:
        if clip_id not in rows:
            raise ValueError(f"{corpus.location.url} has no clip '{clip_id}'; name clips as effectpairs inspect does")
        if rows[clip_id]["kind"] != "real":
            raise ValueError(f"clip '{clip_id}' is {rows[clip_id]['kind']}; a benchmark is of real clips alone")
    if clip_ids:
        return list(dict.fromkeys(clip_ids)), {}
    training = {clip_id: row for clip_id, row in rows.items() if row["split"] == "train"}
    pairs = near_pairs(corpus)
    selected, left_out = [], {}
    for clip_id, row in rows.items():
        if row["split"] == split:
            twins = [] if row["kind"] != "real" else sorted(linked_clips({clip_id: row}, training, pairs))
            if row["kind"] != "real":
                left_out[clip_id] = f"it is {row['kind']}, not real"
            elif twins:
                left_out[clip_id] = f"training has its footage, in {twins[0]}"
            else:
                selected.append(clip_id)
    if not selected:
        raise ValueError(
            f"{corpus.location.url}: the {split} split has no real clip that shares nothing with training; name clips "
            "by --clip, and publish again with --benchmark"
        )
    return selected, left_out


def near_pairs(corpus: Corpus) -> list[tuple[str, str]]:
    """Pairs of ids of clips of nearly the same footage that are not in one group.

    A corpus whose publishing looked for them has none: it put them into one group. Of any other the frames are compared
    as publishing does.
    """
    if corpus.manifest["settings"]["publishing"].get("duplicates", "ignore") != "ignore":
        return []
    refs, fingerprints = [], {}
    for clip_id in corpus.ids:
        clip = corpus[clip_id]
        frames = range(0, clip.num_frames, max(1, round(clip.fps / FRAMES_PER_SECOND)))
        gt: Any = np.concatenate([clip.frames("gt", frame, 1) for frame in frames])  # type: ignore[misc]
        fingerprints[clip_id] = fingerprint(gt, None)
        names = {name: clip.row[name] for name in ("clip_id", "source", "group", "kind")}
        unused: Any = {"start": 0, "size_bytes": 0, "digest": "", "licence": "", "held_out": False}
        refs.append(ClipRef(**names, **unused, pixels=clip_id))
    return [pair.clips for pair in near_duplicates(refs, fingerprints, drop=False)]


def linked_clips(
    selected: Mapping[str, Mapping[str, Any]],
    rows: Mapping[str, Mapping[str, Any]],
    pairs: Sequence[tuple[str, str]],
) -> set[str]:
    """Ids of the rows that share a group or footage with a chosen clip, or make a pair with one."""
    groups = {row["group"] for row in selected.values()}
    footage = {digest for row in selected.values() for digest in footage_digests(row["provenance"])}
    similar = {clip_id for pair in pairs if not selected.keys().isdisjoint(pair) for clip_id in pair}
    return {
        clip_id
        for clip_id, row in rows.items()
        if row["group"] in groups or clip_id in similar or not footage.isdisjoint(footage_digests(row["provenance"]))
    }


def build_benchmark(
    corpus: Corpus, plan: BenchmarkPlan, folder: Path, report: Callable[[int, int], None] = lambda *_: None
) -> Benchmark:
    """Pin clips, and write them for baselines into a folder; return the benchmark.

    Raises:
        ValueError: the folder holds something else or another benchmark, or a clip lacks a layer.
        CannotWrite: the disk is full.
    """
    refuse_foreign_files(folder)
    clip_ids = plan.clip_ids
    rows = {row["clip_id"]: row for row in corpus.columns(["clip_id", "group", "provenance.inputs"]).to_pylist()}
    linked = linked_clips({clip_id: rows[clip_id] for clip_id in clip_ids}, rows, near_pairs(corpus))
    report(0, len(clip_ids))
    pinned = []
    for number, clip_id in enumerate(clip_ids, start=1):
        pinned.append(pin_clip(corpus[clip_id]))
        report(number, len(clip_ids))
    benchmark = Benchmark(
        name=plan.name,
        corpus=corpus.manifest["version"],
        clips=tuple(pinned),
        held_out_groups=tuple(sorted({rows[clip_id]["group"] for clip_id in linked})),
        left_out=dict(plan.left_out),
        task=plan.task,
    )
    present = read_benchmark(folder) if (folder / MANIFEST).exists() else benchmark
    if (present.clips, present.task) != (benchmark.clips, benchmark.task):
        raise ValueError(f"{folder} holds another benchmark; choose a new folder, so that results are not mixed up")
    atomic_write(folder / README, _render_readme(benchmark).encode())  # first: it marks the folder as ours
    for clip in pinned:
        _write_clip(corpus[clip.clip_id], clip, path_within(folder, f"{CLIPS_FOLDER}/{clip.clip_id}"), plan.task)
    atomic_write(folder / INDEX, _render_index(pinned).encode())
    write_benchmark(benchmark, folder)
    return benchmark


def refuse_foreign_files(folder: Path) -> None:
    """Refuse a folder with other things in it.

    Raises:
        ValueError: naming the first of them.
    """
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    ours = (README, INDEX, CLIPS_FOLDER, MANIFEST)
    foreign = [name for name in names if name.split(".partial-")[0] not in ours]
    if README in names and README_MARK not in (folder / README).read_text(encoding="utf-8", errors="replace"):
        foreign.append(README)
    if names and not foreign and README not in names:
        foreign = names
    if folder.exists() and not folder.is_dir():
        foreign = [folder.name]
    if foreign:
        raise ValueError(f"{folder} has other things in it ({foreign[0]}); choose a new or an empty folder")


def _write_clip(clip: Clip, pinned: PinnedClip, folder: Path, task: Task) -> None:
    """Write a clip's files, unless they are there as it is pinned."""
    values = {name: getattr(pinned, name) for name in _INDEX_COLUMNS} | {"gt": pinned.layers["gt"].pixels}
    record, mark = json_bytes(values | task.record()), folder / "clip.json"
    if mark.exists() and mark.read_bytes() == record:
        return
    layers = _removal_layers(clip, task) if task.removes else _effect_layers(clip)
    for name, frames in layers.items():
        atomic_write(folder / f"{name}.mkv", codec.encode(frames, fps=clip.fps))
    for name in ("video", "mask", "subject_mask") if task.removes else ("over", "mask"):
        frames = layers[name] * np.uint8(255) if layers[name].dtype == bool else layers[name]
        rgb = frames if frames.ndim == 4 else np.repeat(frames[..., None], 3, axis=3)
        atomic_write(folder / f"{name}.mp4", encode_mp4(crop_to_even(rgb), fps=clip.fps, crf=CRF))
    if not task.removes:
        first = clip.frames("gt", 0, 1)
        assert first is not None, "every clip has a gt"
        atomic_write(folder / "first_gt.png", cv2.imencode(".png", first[0][..., ::-1])[1].tobytes())
    atomic_write(folder / "prompt.txt", f"{task.text(pinned.caption)}\n".encode())
    atomic_write(mark, record)


def _effect_layers(clip: Clip) -> dict[str, Any]:
    """Layers that a method gets which adds effects, by the names of their files."""
    names = {"over": "over", "mask": "effect_mask", "foreground": "foreground", "background": "background"}
    layers: dict[str, Any] = {name: clip.decode(layer) for name, layer in names.items()}
    layers["subject_mask"] = clip.decode("subject_mask")
    # What was decomposed holds effects that hang on the subject: they are what is asked for.
    layers["foreground"] = np.where(layers["subject_mask"][..., None] > 0, layers["foreground"], np.uint8(0))
    return layers


def _removal_layers(clip: Clip, task: Task) -> dict[str, Any]:
    """Layers that a method gets which takes something out, by the names of their files."""
    names = {"video": "gt", "effect_mask": "effect_mask", "subject_mask": "subject_mask"}
    layers: dict[str, Any] = {name: clip.decode(layer) for name, layer in names.items()}
    return layers | {"mask": task.change_mask(layers["effect_mask"], layers["subject_mask"] >= SUBJECT_LEVEL)}


def _render_index(clips: Sequence[PinnedClip]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_INDEX_COLUMNS)
    for clip in clips:
        values = {name: getattr(clip, name) for name in _INDEX_COLUMNS} | {"effects": " ".join(clip.effects)}
        writer.writerow([csv_text(value) if isinstance(value, str) else value for value in values.values()])
    return text.getvalue()


def _render_readme(benchmark: Benchmark) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters["text"] = markdown_text
    return environment.get_template("README.md.j2").render(benchmark=benchmark, mark=README_MARK)
