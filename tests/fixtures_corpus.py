"""A small finished corpus: clips from arrays, published by the real publisher, for tests that read one.

`from effectpairs.tests.fixtures_corpus import make_small_corpus`.
"""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from effectpairs.datasets.corpus.finalize import finalize
from effectpairs.datasets.corpus.publish import plan_shards, write_planned
from effectpairs.datasets.corpus.reader import Corpus, open_corpus
from effectpairs.datasets.corpus.schema import LAYERS, QUALITY_NUMBERS, TRUTH, TRUTH_LAYER, truth_effects
from effectpairs.datasets.corpus.selection import PublishSettings
from effectpairs.datasets.store import codec
from effectpairs.datasets.store.atomic_io import digest_of, json_bytes
from effectpairs.datasets.store.ledger import ClipOutcome, write_ledger
from effectpairs.datasets.store.location import Location
from effectpairs.digests import digest_of_file
from effectpairs.stages.composite import over
from effectpairs.stages.quality import Pair, measure
from effectpairs.stages.quality_gates import QualityThresholds, judge

KINDS = ("real", "synthetic", "unpaired")
EFFECTS = (("shadow",), ("splash", "shadow"), ("dust",))


def make_small_corpus(
    folder: Path, *, clips: int = 3, frames: int = 13, size: tuple[int, int] = (48, 80), kinds=KINDS
) -> Corpus:
    """Publish clips of a square that drags a shadow, beside two that did not get in; kinds and effects take turns."""
    workspace = folder / "workspace"
    by_source: dict[str, list[ClipOutcome]] = {}
    for number in range(clips):
        kind = kinds[number % len(kinds)]
        layers = square_with_shadow(frames, size, seed=number)
        effects = EFFECTS[number % len(EFFECTS)]
        if kind == "unpaired":
            layers = {"gt": layers["gt"]}
        elif kind == "synthetic":
            layers |= soft_truth(layers["effect_mask"], effects)
        entry = store_clip(workspace, f"tiny-{number:03d}", kind, layers, effects=effects)
        by_source.setdefault(f"{kind}-source", []).append(entry)
    by_source.setdefault("broken", []).extend(failed_and_rejected())
    for source, entries in by_source.items():
        write_ledger(workspace, source, entries, {"made": "by the tests"})
    return publish(workspace, folder / "corpus")


def publish(workspace: Path, corpus: Path, name: str = "small corpus") -> Corpus:
    """Publish what a workspace's ledgers hold, accepted or doubtful."""
    location, settings = Location(str(corpus)), PublishSettings(include=("accept", "review"))
    files = [write_planned(plan, workspace, location, settings) for plan in plan_shards(workspace, location, settings)]
    finalize(workspace, location, files, settings, name)
    return open_corpus(str(corpus))


def without_truth(corpus: Corpus) -> Path:
    """Rewrite a corpus as it was before it had `effect_truth`; return its folder."""
    folder = Path(corpus.location.url)
    manifest = {name: value for name, value in corpus.manifest.items() if name not in ("digest", "words", "card")}
    manifest["schema_version"] = 2
    (folder / corpus.manifest["words"]["path"]).unlink()
    for file in manifest["files"]:
        path = folder / file["path"]
        pq.write_table(pq.read_table(path).drop_columns([TRUTH]), path, row_group_size=1)
        file |= {"size_bytes": path.stat().st_size, "sha256": digest_of_file(path)}
    (folder / "corpus.json").write_bytes(json_bytes(manifest | {"digest": digest_of(manifest)}))
    return folder


def without_layer(corpus: Corpus, layer: str, folder: Path) -> Corpus:
    """A copy of a corpus in which the first clip of each file has lost a layer."""
    manifest = {name: value for name, value in corpus.manifest.items() if name not in ("digest", "words", "card")}
    manifest = json.loads(json.dumps(manifest))
    for file in manifest["files"]:
        table, path = pq.read_table(Path(corpus.location.url) / file["path"]), folder / file["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        column = table.column_names.index(layer)
        gone = pa.array([None, *table.column(layer).to_pylist()[1:]], table.schema.field(layer).type)
        pq.write_table(table.set_column(column, table.schema.field(layer), gone), path, row_group_size=1)
        file |= {"size_bytes": path.stat().st_size, "sha256": digest_of_file(path)}
    (folder / "corpus.json").write_bytes(json_bytes(manifest | {"digest": digest_of(manifest)}))
    return open_corpus(str(folder))


def failed_and_rejected() -> list[ClipOutcome]:
    """One that failed, one that was rejected, with a reason that tries to be HTML."""
    cut_off, dull = "bad.mp4: is cut off; <b>fetch</b> it again", "hardly any effect: 0 %, below 1 %"
    fail = ClipOutcome(name="broken-bad", outcome="fail", stage="normalise", reasons=(cut_off,))
    reject = ClipOutcome(name="broken-dull", outcome="reject", stage="quality", reasons=(dull,))
    return [fail, reject]


def square_with_shadow(frames: int, size: tuple[int, int], *, seed: int = 0) -> dict[str, np.ndarray]:
    """All layers of a square that slides over a textured ground; its shadow darkens the ground to 55 %."""
    height, width = size
    rng = np.random.default_rng(seed)
    ground = cv2.GaussianBlur(rng.integers(60, 200, (height, width, 3)).astype(np.uint8), (0, 0), 1.2)
    background = np.repeat(ground[None], frames, axis=0)
    subject = np.zeros((frames, height, width), np.uint8)
    shadow = np.zeros((frames, height, width), bool)
    side, top = height // 4, height // 3
    for frame in range(frames):
        x = 2 + round((width - side - 8) * frame / max(frames - 1, 1))
        shadow[frame, top + side : top + side + side // 2, x + 2 : x + side + 2] = True
        subject[frame, top : top + side, x : x + side] = 255
    gt = background.copy()
    gt[shadow] = np.rint(gt[shadow] * 0.55).astype(np.uint8)
    gt[subject > 0] = np.array((220, 60, 40 + 30 * (seed % 6)), np.uint8)
    return {
        "gt": gt,
        "over": over(gt, background, subject),
        "background": background,
        "foreground": gt,
        "alpha": np.maximum(subject, shadow.astype(np.uint8) * 255),
        "subject_mask": subject,
        "effect_mask": shadow,
    }


def soft_truth(mask: np.ndarray, effects) -> dict[str, np.ndarray]:
    """The true mask of each effect as a layer: the first with a soft border, the others half as strong and hard."""
    soft = np.stack([cv2.GaussianBlur(frame.astype(np.uint8) * 255, (0, 0), 2) for frame in mask])
    return {f"{TRUTH_LAYER}{effect}": mask * np.uint8(128) if n else soft for n, effect in enumerate(effects)}


def store_clip(
    workspace: Path, clip_id: str, kind: str, layers: dict, *, effects, fps: float = 16.0, **row
) -> ClipOutcome:
    """Write a clip's layers to a workspace, measure and judge them, and give its entry for a ledger."""
    layer_files = {}
    for name, frames in layers.items():
        video = codec.encode(frames, fps=fps)
        path = workspace / "stages" / clip_id / f"{name}.mkv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(video)
        digest = hashlib.sha256(video).hexdigest()
        layer_files[name] = {"file": str(path.relative_to(workspace)), "sha256": digest, "size_bytes": len(video)}
    quality = dict.fromkeys(QUALITY_NUMBERS) | {"verdict": "accept", "reasons": ["no pair, so no numbers"]}
    if len(layers) > 1:
        pair = {name: frames for name, frames in layers.items() if name in LAYERS}
        quality |= _measured(pair, row.pop("facts", {}))
    count, height, width = layers["gt"].shape[:3]
    columns = {
        "clip_id": clip_id,
        "kind": kind,
        "source": f"{kind}-source",
        "group": clip_id,
        "effects": list(effects),
        "caption": f"A square slides to the right and drags its {effects[0]} along ({clip_id}).",
        "caption_dense": None,
        "num_frames": count,
        "height": height,
        "width": width,
        "fps": fps,
        "quality": quality,
        "provenance": provenance(clip_id, count),
        TRUTH: truth_effects(layers),
    } | row
    verdict, reasons = columns["quality"]["verdict"], tuple(columns["quality"]["reasons"])
    return ClipOutcome(name=clip_id, outcome=verdict, stage="quality", reasons=reasons, row=columns, layers=layer_files)


def _measured(layers: dict, facts: dict) -> dict:
    confidence = np.full(len(layers["gt"]), 0.9, np.float32)
    numbers = measure(Pair(**layers, confidence=confidence, facts={"registration_error_px": 0.1, **facts}))
    verdict = judge(numbers, QualityThresholds(), ())
    return {**numbers, "verdict": verdict.verdict, "reasons": list(verdict.reasons)}


def provenance(clip_id: str, frames: int) -> dict:
    return {
        "origin": "drawn by the tests",
        "licence": "CC0-1.0",
        "inputs": [{"role": "video", "sha256": hashlib.sha256(clip_id.encode()).hexdigest()}],
        "start_s": 0.0,
        "source_frames": list(range(frames)),
        "subject": 0,
        "settings": "{}",
        "seeds": [],
        "models": [],
        "notes": [],
        "software": "effectpairs tests",
    }
