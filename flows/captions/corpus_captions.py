"""Other captions for a published corpus: its clips are captioned anew, its videos stay as they are."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ...datasets.corpus.clip import Clip
from ...datasets.corpus.reader import Corpus, open_corpus
from ...datasets.corpus.recaption import recaption
from ...datasets.corpus.schema import TRUTH, TRUTH_LAYER
from ...datasets.store.atomic_io import json_bytes
from ...datasets.store.codec import Frames
from ...datasets.store.ledger import RunSummary, account_of
from ...datasets.store.location import Location, Place
from ...datasets.store.store import LayerRef, Store
from ..engine.batches import Failure
from ..engine.item import Item, ItemKind, ItemProgress, slugify
from ..engine.local_runner import process_locally
from ..engine.report import finished_outcome, refer_to_results
from ..engine.run import ReportProgress, Run, ignore_progress
from .record import caption_doubt, with_captions
from .stages import LAYERS, CaptionedItem, CaptionedSource, Captioning, caption_stages

_open_corpus = lru_cache(maxsize=2)(open_corpus)


@dataclass(frozen=True, kw_only=True)
class CorpusSource(CaptionedSource):
    """A published corpus whose clips are captioned anew."""

    corpus: str
    """Folder or fsspec URL."""
    clip_bytes: int
    """Size of one colour layer of its largest clip."""


@dataclass(frozen=True, kw_only=True)
class CorpusClipItem(CaptionedItem):
    """A clip of a corpus; its layers are read from the corpus."""

    corpus: str

    def read_layer(self, layer: LayerRef, store: Store) -> Frames:
        """Decode a layer of the clip."""
        frames = _open_corpus(self.corpus)[self.id].decode(layer.file)
        assert frames is not None, layer
        return frames


def caption_corpus(
    corpus: str,
    workspace: Place,
    settings: Captioning,
    *,
    out: str | None = None,
    workers: int = 0,
    report_progress: ReportProgress = ignore_progress,
) -> tuple[RunSummary, list[Failure]]:
    """Caption the clips of a corpus anew and publish it again, in place or elsewhere.

    Returns:
        What became of the clips, and which captions could not be made.

    Raises:
        FileNotFoundError: there is no corpus.
        ValueError: the corpus is damaged, or out holds something else.
    """
    before = open_corpus(corpus)
    shapes = before.table.select(["num_frames", "height", "width"]).to_pylist()
    source = CorpusSource(
        name=f"captions-of-{slugify(before.location.title)}",
        corpus=corpus,
        caption=settings.caption,
        caption_rules=settings.caption_rules,
        clip_bytes=max((row["num_frames"] * row["height"] * row["width"] * 3 for row in shapes), default=0),
    )
    run = Run(CAPTIONS, source, workspace, workers)
    process_locally(run, report_progress)
    refer_to_results(run)
    run.delete_batches()
    rows = {progress.item.id: _recaptioned_row(progress, before, settings) for progress in run.iter_items()}
    sources = before.manifest["settings"]["sources"]
    source_settings = {name: {**values, "captions": settings.caption_values} for name, values in sources.items()}
    scratch = run.workspace.scratch_folder
    recaption(before, Location(out or corpus), lambda row: rows[row["clip_id"]], source_settings, scratch)
    summary = account_of(source.name, [finished_outcome(row, {}) for row in rows.values()])
    return summary, sorted(run.failures.values(), key=lambda failure: failure.item)


def list_items(source: CorpusSource, store: Store) -> Iterator[Item]:
    """List the clips of a corpus."""
    corpus = open_corpus(source.corpus)
    return (clip_item(corpus[clip_id], source.corpus) for clip_id in corpus.ids)


def clip_item(clip: Clip, corpus: str) -> CorpusClipItem:
    """A corpus's clip as an item; a caption without a record of how it was made is a person's, and stays."""
    record = clip.record("captions") or None
    scene_facts = clip.record("facts")
    effects = tuple(clip.row["effects"] or ())
    # Records of before hints were kept say "given" of a source's words too.
    decision = (record or {}).get("effects") or {"source": "given"}
    hint = effects if decision["source"] == "given" else tuple(decision.get("hint") or ())
    names = (*LAYERS, *(f"{TRUTH_LAYER}{entry['effect']}" for entry in clip.row[TRUTH]))
    videos = {name: video for name in names if (video := clip.encoded(name)) is not None}
    return CorpusClipItem(
        id=clip.row["clip_id"],
        fps=clip.row["fps"],
        layers={
            name: LayerRef(file=name, sha256=hashlib.sha256(video).hexdigest(), size_bytes=len(video))
            for name, video in videos.items()
        },
        corpus=corpus,
        effects=effects if "effects" in scene_facts else (),
        expected_effects=() if "effects" in scene_facts else hint,
        scene_facts=scene_facts,
        subject_name=scene_facts.get("subject"),
        hint=None if scene_facts else clip.row["provenance"]["origin"].rpartition(": ")[2],
        fixed_caption=clip.row["caption"] if record is None else record.get("given"),
    )


def settings_values(source: CorpusSource) -> dict[str, Any]:
    """Settings of captions."""
    return {"captions": source.caption_values}


def _no_outcome(source: CorpusSource, progress: ItemProgress, failure: Failure | None) -> Any:
    raise AssertionError("a corpus's clips have their outcome already; recaption publishes them")


CAPTIONS = ItemKind(
    item_classes=(CorpusClipItem,),
    list_items=list_items,
    stages=caption_stages,
    outcome=_no_outcome,
    settings=settings_values,
)


def _recaptioned_row(progress: ItemProgress, corpus: Corpus, settings: Captioning) -> Mapping[str, Any]:
    """Row of a clip with its new captions; with the old ones, where no new ones could be made."""
    row = corpus[progress.item.id].row
    if progress.next_stage is not None:
        return row
    provenance = dict(row["provenance"])
    record = json.loads(provenance["captions"] or "{}")
    caption_models = list(record.get("models", {}).values())
    provenance["models"] = [model for model in provenance["models"] or [] if model not in caption_models]
    row_settings = json.loads(provenance["settings"] or "{}")
    provenance["settings"] = json_bytes({**row_settings, "captions": settings.caption_values}).decode()
    quality = {**row["quality"], **record.get("pair", {})}
    pair_row = {**row, "quality": quality, "provenance": provenance}
    return with_captions(pair_row, progress, settings, caption_doubt(progress))
