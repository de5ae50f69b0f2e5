"""A corpus to export, and readers of what was exported, each written from the rules of the format alone.

`from effectpairs.tests.fixtures_exports import exportable_corpus, read_pairs`.
"""

import io
import json
import tarfile
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from effectpairs.datasets.corpus.reader import Corpus
from effectpairs.datasets.exports.engine import export_corpus
from effectpairs.datasets.exports.formats import find_format
from effectpairs.datasets.exports.settings import ExportSettings
from effectpairs.datasets.store.ledger import write_ledger
from effectpairs.tests.fixtures_corpus import publish, soft_truth, square_with_shadow, store_clip

CAPTIONS = ('A square, with <b>"signs"</b>,\nand a second line.', "=1+1 in the style of a formula; тень")


def exportable_corpus(folder: Path, *, lengths=(21, 5), size=(64, 96)) -> Corpus:
    """Publish a real, a synthetic and an unpaired clip; ids have dots, captions have signs and augmented ones."""
    entries = []
    for number, frames in enumerate((*lengths, 13)):
        layers = square_with_shadow(frames, size, seed=number)
        kind = "unpaired" if number == len(lengths) else ("real", "synthetic")[number % 2]
        if kind == "unpaired":
            layers = {"gt": layers["gt"]}
        elif kind == "synthetic":
            layers |= soft_truth(layers["effect_mask"], ("shadow",))
        row = {"caption": CAPTIONS[0], "caption_dense": "Dense."} if number != 1 else {"caption": "Plain."}
        entry = store_clip(folder / "work", f"clip.{number:03d}", kind, layers, effects=("shadow",), **row)
        entry.row["provenance"]["captions"] = json.dumps({"augmented": [CAPTIONS[1], "Third."] if number == 0 else []})
        entries.append(entry)
    for kind in ("real", "synthetic", "unpaired"):
        write_ledger(folder / "work", f"{kind}-source", [entry for entry in entries if entry.row["kind"] == kind], {})
    return publish(folder / "work", folder / "corpus")


def export(corpus: Corpus, name: str, folder: Path, *, step=lambda *_: None, **settings: Any):
    """Export all splits of a corpus."""
    chosen = ExportSettings(**{"split": "all", **settings})
    return export_corpus(corpus, find_format(name), chosen, folder, step=step)


class ReadPair(NamedTuple):
    """A clip as a trainer gets it; the mask is as it is after the trainer's own thresholds."""

    target: np.ndarray
    source: np.ndarray
    mask: np.ndarray | None
    caption: str


def decode(video: Path | bytes) -> np.ndarray:
    """RGB frames of a video, as decoders made with ffmpeg give them."""
    with av.open(io.BytesIO(video) if isinstance(video, bytes) else str(video)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def read_pairs(name: str, folder: Path) -> list[ReadPair]:
    """Read an export by the rules of its format: keys, how paths are joined, thresholds."""
    return READERS[name](folder)


def _tuples(folder: Path, levels) -> list[ReadPair]:
    pairs = []
    for row in json.loads((folder / "train.json").read_text()):
        assert row["type"] == "video_mask_tuple"
        place = Path(row["file_path"])  # not joined with a root
        values = 255 - decode(place / "mask.mp4")[..., 0]
        mask = np.select([values <= limit for limit, _ in levels], [value for _, value in levels], 255)
        pairs.append(ReadPair(decode(place / "rgb_removed.mp4"), decode(place / "rgb_full.mp4"), mask, row["text"]))
    return pairs


def _gen_omnimatte(folder: Path) -> list[ReadPair]:
    return _tuples(folder, [(63, 0), (191, 127)])


def _void(folder: Path) -> list[ReadPair]:
    return _tuples(folder, [(31, 0), (95, 63), (191, 127)])


def _videox(folder: Path) -> list[ReadPair]:
    rows = json.loads((folder / "metadata.json").read_text())
    assert all(row["type"] == "video" for row in rows)
    pairs = [
        ReadPair(decode(folder / row["file_path"]), decode(folder / row["control_file_path"]), None, row["text"])
        for row in rows
    ]
    assert [(row["height"], row["width"]) for row in rows] == [pair.target.shape[1:3] for pair in pairs]
    return pairs


def _diffsynth(folder: Path) -> list[ReadPair]:
    pairs = []
    for row in json.loads((folder / "metadata.json").read_text()):
        video, source, mask = (decode(folder / row[key]) for key in ("video", "vace_video", "vace_video_mask"))
        pairs.append(ReadPair(video, source, mask[..., 0] / 255, row["prompt"]))  # mapped to [0, 1], not cut
    return pairs


def _ltx(folder: Path) -> list[ReadPair]:
    pairs = []
    buckets = (folder / "resolution_buckets.txt").read_text().split(";")
    for row in json.loads((folder / "dataset.json").read_text()):
        video, source, mask = (decode(folder / row[key]) for key in ("video", "reference_video", "video_mask"))
        count, height, width = video.shape[:3]
        assert f"{width}x{height}x{count}" in buckets
        assert count % 8 == 1
        # As compute_video_masks does: mean of each cell, then the maximum of frames 0-7, 8-15, ..., then > 0.5.
        cells = (mask[..., 0] / 255).reshape(count, height // 32, 32, width // 32, 32).mean(axis=(2, 4))
        padded = np.concatenate([cells, np.zeros((-count % 8, *cells.shape[1:]))])
        latents = padded.reshape(-1, 8, *cells.shape[1:]).max(axis=1)[: (count - 1) // 8 + 1]
        pairs.append(ReadPair(video, source, latents > 0.5, row["caption"]))
    return pairs


def _finetrainers(folder: Path) -> list[ReadPair]:
    (entry,) = json.loads((folder / "training.json").read_text())["datasets"]
    root = Path(entry["data_root"])
    pairs = []
    for line in (root / "metadata.jsonl").read_text().splitlines():
        row = json.loads(line)  # a column X_file_name is the video X
        videos = (decode(root / row[f"{column}_file_name"]) for column in ("video", "control_video"))
        pairs.append(ReadPair(*videos, None, row["caption"]))
    shapes = {(len(pair.target), *pair.target.shape[1:3]) for pair in pairs}
    assert shapes == {tuple(bucket) for bucket in entry["video_resolution_buckets"]}
    return pairs


def _musubi(folder: Path) -> list[ReadPair]:
    config = tomllib.loads((folder / "dataset.toml").read_text())
    pairs = []
    for table in config["datasets"]:
        assert isinstance(table["source_fps"], float)
        for line in Path(table["video_jsonl_file"]).read_text().splitlines():
            row = json.loads(line)
            pairs.append(
                ReadPair(decode(Path(row["video_path"])), decode(Path(row["control_path"])), None, row["caption"])
            )
    return pairs


def _simpletuner(folder: Path) -> list[ReadPair]:
    backends = {entry["id"]: entry for entry in json.loads((folder / "multidatabackend.json").read_text())}
    target = backends["target"]
    assert backends[target["conditioning_data"]]["instance_data_dir"].endswith("input")
    assert {backends[name]["source_dataset_id"] for name in ("input", "mask")} == {"target"}
    assert backends["mask"]["disabled"]
    pairs = []
    for video in sorted(Path(target["instance_data_dir"]).glob("*.mp4")):
        source, mask = (decode(Path(backends[name]["instance_data_dir"], video.name)) for name in ("input", "mask"))
        pairs.append(ReadPair(decode(video), source, mask[..., 0] / 255, video.with_suffix(".txt").read_text()))
    return pairs


def _videofolder(folder: Path) -> list[ReadPair]:
    pairs = []
    for metadata in sorted(folder.glob("*/metadata.jsonl")):
        for row in map(json.loads, metadata.read_text().splitlines()):
            target, source, mask = (
                decode(metadata.parent / row[f"{layer}_file_name"])
                for layer in (row["target"], row["input"], "effect_mask")
            )
            pairs.append(ReadPair(target, source, mask[..., 0] / 255, row["caption"]))
    return pairs


def _webdataset(folder: Path) -> list[ReadPair]:
    pairs = []
    for path in sorted(folder.glob("*.tar"), key=lambda path: path.stem.split("-")[1]):
        samples: dict[str, dict[str, bytes]] = {}
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, field = member.name.partition(".")  # a key ends at the first dot
                samples.setdefault(key, {})[field] = tar.extractfile(member).read()
        for sample in samples.values():
            row = json.loads(sample["json"])
            target, source, mask = (
                decode(sample[f"{name}.mp4"]) for name in (row["target"], row["input"], "effect_mask")
            )
            pairs.append(ReadPair(target, source, mask[..., 0] / 255, sample["txt"].decode()))
    return pairs


READERS = {
    "gen-omnimatte": _gen_omnimatte,
    "void": _void,
    "videox-fun": _videox,
    "diffsynth-vace": _diffsynth,
    "ltx": _ltx,
    "finetrainers": _finetrainers,
    "musubi": _musubi,
    "simpletuner": _simpletuner,
    "videofolder": _videofolder,
    "webdataset": _webdataset,
}
