"""A corpus opens by folder or URL, reads words without video, and says what is wrong where it cannot."""

import json
import os
import pickle
import time
from pathlib import Path

import effectpairs
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from effectpairs.datasets.corpus import reader as corpus_module
from effectpairs.datasets.corpus.clip import Clip
from effectpairs.datasets.corpus.recaption import recaption
from effectpairs.datasets.corpus.schema import LAYERS, PLAIN_COLUMNS, SCHEMA_VERSION
from effectpairs.datasets.corpus.shards import Row, write_shard
from effectpairs.datasets.corpus.verify import verify
from effectpairs.tests import fixtures_workspaces
from effectpairs.tests.fixtures_corpus import make_small_corpus, soft_truth, square_with_shadow, without_truth
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_small_corpus(tmp_path_factory.mktemp("small"), clips=4, frames=5, size=(16, 24))


@pytest.fixture
def folder(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", ["clip-a", "clip-b"])
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    return tmp_path / "corpus"


def test_it_is_a_collection_of_clips(corpus):
    assert len(corpus) == 4 == len(list(corpus)) == corpus.table.num_rows
    assert set(corpus.ids) == {f"tiny-{number:03d}" for number in range(4)}
    assert "tiny-001" in corpus
    assert "tiny-009" not in corpus
    assert corpus["tiny-001"].row == corpus.table.filter(pa.compute.field("clip_id") == "tiny-001").to_pylist()[0]
    assert tuple(corpus.table.column_names) == PLAIN_COLUMNS
    assert repr(corpus).startswith("<Corpus small corpus ")


def test_layers_decode_on_access_and_are_kept(corpus):
    clip, made = corpus["tiny-001"], square_with_shadow(5, (16, 24), seed=1)
    for layer in LAYERS:
        assert np.array_equal(getattr(clip, layer), made[layer])
        assert getattr(clip, layer) is getattr(clip, layer)
        assert clip.decode(layer) is not getattr(clip, layer)
    assert clip.effect_mask.dtype == bool
    assert clip.caption.startswith("A square")
    assert clip.quality["verdict"] in ("accept", "review")
    assert repr(clip) == "<Clip tiny-001: synthetic, 5 frames of 16x24, 16 fps>"


def test_an_unpaired_clip_has_gt_alone(corpus):
    clip = corpus["tiny-002"]
    assert clip.kind == "unpaired"
    assert clip.gt.shape == (5, 16, 24, 3)
    assert [getattr(clip, layer) for layer in LAYERS[1:]] == [None] * 6


def test_a_rendered_clip_has_the_truth_of_each_effect(corpus):
    clip = corpus["tiny-001"]
    truth = soft_truth(square_with_shadow(5, (16, 24), seed=1)["effect_mask"], ("splash", "shadow"))
    assert list(clip.effect_truth) == ["splash", "shadow"]
    for effect, strength in clip.effect_truth.items():
        assert np.array_equal(strength, truth[f"effect_truth/{effect}"])
    assert clip.effect_truth is clip.effect_truth
    assert len(np.unique(clip.effect_truth["splash"])) > 2, "it is soft"
    assert np.array_equal(clip.truth_strength(), np.maximum(*truth.values()))
    assert clip.encoded("effect_truth/dust") is None
    assert clip.row["effect_truth"] == [{"effect": "splash"}, {"effect": "shadow"}]
    real = corpus["tiny-000"]
    assert (real.effect_truth, real.truth_strength(), real.row["effect_truth"]) == ({}, None, [])


def test_a_corpus_from_before_the_truth_still_opens(tmp_path):
    folder = without_truth(make_small_corpus(tmp_path, clips=3, frames=5, size=(16, 24)))
    found = effectpairs.open(folder)
    assert tuple(found.table.column_names) == PLAIN_COLUMNS
    for clip in found:
        assert (clip.effect_truth, clip.truth_strength()) == ({}, None)
        assert clip.encoded("effect_truth/shadow") is None
        assert clip.gt.shape == (5, 16, 24, 3)
    assert verify(found) == []


def test_an_old_corpus_with_other_words_gets_the_present_format(tmp_path):
    old = effectpairs.open(without_truth(make_small_corpus(tmp_path, clips=3, frames=5, size=(16, 24))))
    before = {clip.clip_id: clip.row for clip in old}
    recaption(old, old.location, dict, {}, tmp_path / "scratch")
    found = effectpairs.open(old.location.url)
    assert (found.manifest["schema_version"], verify(found)) == (SCHEMA_VERSION, [])
    assert {clip.clip_id: clip.row for clip in found} == before
    assert all("effect_truth" in pq.read_schema(path).names for path in Path(old.location.url).glob("data/*/*.parquet"))


def test_what_a_clip_does_not_have_is_named(corpus):
    with pytest.raises(KeyError, match="has no clip 'nobody'; it has 4, such as"):
        corpus["nobody"]
    clip = corpus["tiny-001"]
    with pytest.raises(AttributeError, match="a clip has no 'depth'; it has gt, over, background"):
        clip.depth
    with pytest.raises(ValueError, match="'depth' is not a layer; the layers are gt, over"):
        clip.encoded("depth")


def test_it_travels_between_processes(corpus):
    assert corpus["tiny-001"].gt is not None  # a shard is open
    sent = pickle.dumps(corpus)
    assert len(sent) < 20_000, "no table, no video"
    assert np.array_equal(pickle.loads(sent)["tiny-001"].gt, corpus["tiny-001"].gt)


def test_a_forked_process_opens_the_files_anew(corpus):
    expected = corpus["tiny-001"].gt
    kept = dict(corpus._open)

    def read():
        assert np.array_equal(corpus["tiny-001"].gt, expected)
        assert not set(kept.values()) & set(corpus._open.values())

    fixtures_workspaces.run_at_once(read, 3)
    assert dict(corpus._open) == kept


def test_many_shards_share_few_open_files(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_module, "OPEN_SHARDS", 2)
    fixtures_workspaces.fill_workspace(tmp_path / "w", [f"clip-{number}" for number in range(5)])
    for where in (tmp_path / "corpus", f"memory://{tmp_path.name}-{time.time_ns()}"):
        fixtures_workspaces.publish(tmp_path / "w", where, shard_bytes=1)
        found = effectpairs.open(where)
        for clip_id in [*found.ids, *reversed(found.ids)]:
            assert len(found[clip_id].gt) == 5
            assert len(found._open) <= 2


def test_threads_share_the_decoding(folder):
    four = effectpairs.open(folder, threads=4)
    assert np.array_equal(four["clip-a"].gt, effectpairs.open(folder)["clip-a"].gt)
    with pytest.raises(ValueError, match=r"threads=5 is not in \[1, 4\]"):
        effectpairs.open(folder, threads=5)


def test_it_opens_by_every_spelling(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    for spelling in (folder, str(folder), f"{folder}/", f"file://{folder}", "corpus"):
        found = effectpairs.open(spelling)
        assert found["clip-a"].gt.shape == (5, 16, 24, 3)
        assert found.location.title == "corpus"


class Wire(AbstractFileSystem):
    """Local files as if they were far away: what is fetched is counted."""

    protocol = "wire"
    fetched = 0

    @classmethod
    def _strip_protocol(cls, path):
        return path.removeprefix("wire://")

    def info(self, path, **_):
        return {"name": path, "size": os.stat(path).st_size, "type": "file"}  # noqa: PTH116

    def exists(self, path, **_):
        return Path(path).exists()

    def _open(self, path, mode="rb", block_size=None, **options):
        return WireFile(self, path, mode, block_size or 5 << 20, **options)


class WireFile(AbstractBufferedFile):
    def _fetch_range(self, start, end):
        Wire.fetched += end - start
        with Path(self.path).open("rb") as file:
            file.seek(start)
            return file.read(end - start)


def test_captions_of_a_remote_corpus_come_without_video(tmp_path, monkeypatch):
    """100 MB in one shard, read over a file system that reads ahead 5 MB unless told otherwise."""
    fixtures_workspaces.fill_workspace(tmp_path / "w", ["clip-a"])
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    manifest = json.loads((tmp_path / "corpus" / "corpus.json").read_text())
    file = manifest["files"][0]
    plain = effectpairs.open(tmp_path / "corpus").table.to_pylist()[0]
    noise = os.urandom(5 << 20)
    rows = (Row(columns=plain | {"clip_id": f"clip-{n}"}, layer={"gt": noise}.get) for n in range(20))
    file["rows"] = write_shard(tmp_path / "corpus" / file["path"], rows, content="large")
    (tmp_path / "corpus" / "corpus.json").write_text(json.dumps(manifest))

    fsspec.register_implementation("wire", Wire, clobber=True)
    monkeypatch.setattr(Wire, "fetched", 0)
    found = effectpairs.open(f"wire://{tmp_path}/corpus")
    assert len(found.table.column("caption")) == 20
    size = (tmp_path / "corpus" / file["path"]).stat().st_size
    assert size > 100e6
    assert Wire.fetched < size / 40, f"{Wire.fetched} bytes of {size}"
    assert found["clip-7"].encoded("gt") == noise


@pytest.mark.parametrize("where", ["nowhere", "empty", "file.txt", "memory://nobody/was/here"])
def test_what_is_no_corpus_is_named_with_the_remedy(tmp_path, where):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("words")
    url = where if "://" in where else str(tmp_path / where)
    with pytest.raises(FileNotFoundError, match=rf"{url}: no corpus.json is there, .* effectpairs publish {url}"):
        effectpairs.open(url)


def _changed(folder, **changes):
    path = folder / "corpus.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("keys", "value", "problem"),
    [
        (("files", 0, "rows"), 10**12, "2 clips are in data/train/.*, corpus.json lists 1000000000000; verify it"),
        (("files", 0, "rows"), -1, "rows or SHA-256 of data/train/.* are none"),
        (("files", 0, "rows"), "1", "files.rows is not there, or of another form"),
        (("files", 0, "sha256"), "../x", "rows or SHA-256 of data/train/.* are none"),
        (("files",), {}, "files is not there, or of another form"),
        (("account", "sources"), {"davis": "many"}, "account.sources.davis is not there, or of another form"),
        (("account", "sources"), {"davis": {"inputs": 1}}, "account.sources.davis.accepted is not there"),
        (("settings", "publishing", "include"), 3.5, "settings.publishing.include is not there"),
        (("counts", "seconds"), float("nan"), "counts.seconds=nan is no finite number"),
        (("counts", "by_kind"), {"real": "x\x1b[2J"}, "counts.by_kind.real is not there"),
        (("counts", "clips"), True, "counts.clips is not there"),
        (("quality",), [], "quality is not there"),
        (("documents",), "README.md", "documents is not there"),
        (("words",), {"path": "../../x", "rows": 1, "size_bytes": 1, "sha256": "0" * 64}, "is no file of a corpus"),
        (("name",), 10**30, "name is a whole number that 64 bits do not hold"),
        (("settings", "sources"), {"a": {"b": [[[[]]]]}}, None),
    ],
)
def test_a_manifest_of_another_form_is_a_sentence(folder, keys, value, problem):
    manifest = json.loads((folder / "corpus.json").read_text())
    part = manifest
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    manifest.pop("words") if keys == ("files", 0, "rows") else None  # then the shards are read
    (folder / "corpus.json").write_text(json.dumps(manifest))
    if problem is None:
        assert len(effectpairs.open(folder).ids) > 0
        return
    with pytest.raises(ValueError, match=problem):
        effectpairs.open(folder).table


def test_a_manifest_nested_without_end_is_a_sentence(folder):
    (folder / "corpus.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"corpus.json is damaged \(.*nested deeper than 64 levels"):
        effectpairs.open(folder)


def test_ids_that_lead_out_of_a_folder_are_refused_where_a_corpus_is_opened(folder):
    """In the shards and in the table of words, before any file is named by them."""
    corpus = effectpairs.open(folder)
    for name in (corpus.manifest["files"][0]["path"], corpus.manifest["words"]["path"]):
        table = pq.read_table(folder / name)
        ids = ["../../../../X", *table.column("clip_id").to_pylist()[1:]]
        at = table.schema.get_field_index("clip_id")
        forged = table.set_column(at, table.schema.field("clip_id"), pa.array(ids)).replace_schema_metadata(
            table.schema.metadata
        )
        pq.write_table(forged, folder / name, row_group_size=1)
    manifest = corpus.manifest
    manifest["words"]["size_bytes"] = (folder / manifest["words"]["path"]).stat().st_size
    for words in (True, False):
        if not words:
            del manifest["words"]
        (folder / "corpus.json").write_text(json.dumps(manifest))
        for read in (
            lambda c: c.ids,
            lambda c: c.table,
            lambda c: c["../../../../X"],
            list,
            lambda c: c.columns(["clip_id"]),
        ):
            with pytest.raises(ValueError, match=r"'../../../../X' is no clip id .* do not use this corpus"):
                read(effectpairs.open(folder))


def test_clips_without_a_value_are_a_sentence(folder):
    corpus = effectpairs.open(folder)
    name = corpus.manifest["files"][0]["path"]
    table = pq.read_table(folder / name)
    at = table.schema.get_field_index("fps")
    pq.write_table(
        table.set_column(at, table.schema.field("fps"), pa.array([None] * len(table), pa.float64())), folder / name
    )
    manifest = {key: value for key, value in corpus.manifest.items() if key != "words"}
    (folder / "corpus.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="clips without fps are in it; verify it"):
        effectpairs.open(folder).table


@pytest.mark.parametrize(
    "text", ["[1]", "{", '{"models": {"refiner": 3}}', '{"effects": {}}', '{"filled": {"a": "b"}}']
)
def test_records_of_captions_of_another_form_are_a_sentence(folder, text):
    clip = next(iter(effectpairs.open(folder)))
    forged = Clip({**clip.row, "provenance": {**clip.row["provenance"], "captions": text}}, clip._source)
    with pytest.raises(ValueError, match=rf"clip '{clip.clip_id}': provenance.captions .*; see all that is wrong"):
        forged.record("captions")


def test_an_earlier_format_asks_to_be_published_again(folder):
    _changed(folder, schema_version=1)
    with pytest.raises(ValueError, match="schema version 1, older than 2 which is read here; publish it again"):
        effectpairs.open(folder)


def test_a_later_format_asks_for_a_later_version(folder):
    _changed(folder, schema_version=99, files="nobody knows")
    with pytest.raises(ValueError, match="schema version 99, newer than 3 which is read here; upgrade effectpairs"):
        effectpairs.open(folder)


@pytest.mark.parametrize(
    "harm",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b'{"schema_version": "one"}',
        b'{"schema_version": 1}',
        b'{"schema_version": 1, "files": [{}], "account": {"clips": {}}}',
    ],
)
def test_a_damaged_corpus_json_is_named_with_the_remedy(folder, harm):
    (folder / "corpus.json").write_bytes(harm)
    with pytest.raises(ValueError, match=r"corpus\.json is damaged \(.*\); delete it and publish the corpus again"):
        effectpairs.open(folder)


@pytest.mark.parametrize("path", ["../../secret.parquet", "/etc/passwd", "data/train/../../../x.parquet"])
def test_a_path_that_leaves_the_corpus_is_refused(folder, path):
    files = json.loads((folder / "corpus.json").read_text())["files"]
    _changed(folder, files=[{**files[0], "path": path}])
    with pytest.raises(ValueError, match="is no file of a corpus"):
        effectpairs.open(folder)


@pytest.mark.parametrize("harm", ["gone", "cut"])
def test_a_missing_or_cut_shard_leads_to_verify(folder, harm):
    shard = next(folder.glob("data/*/*.parquet"))
    shard.unlink() if harm == "gone" else shard.write_bytes(shard.read_bytes()[:500])
    with pytest.raises(
        ValueError, match=rf"real-\w{{16}}.parquet is missing or damaged; .* effectpairs verify {folder}"
    ):
        [clip.gt for clip in effectpairs.open(folder)]


def test_a_protocol_that_nobody_knows_is_named(tmp_path):
    with pytest.raises(ValueError, match="nosuch"):
        effectpairs.open("nosuch://bucket/corpus")
