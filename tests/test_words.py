"""The table of words beside the shards: a copy that makes a large corpus quick to look at, and is never the truth."""

import json

import effectpairs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from effectpairs.datasets.corpus import selection, shards, words
from effectpairs.datasets.corpus.verify import verify
from effectpairs.datasets.store.atomic_io import digest_of, json_bytes
from effectpairs.digests import digest_of_file
from effectpairs.tests import fixtures_workspaces
from effectpairs.tests.fixtures_corpus import make_small_corpus

NAMES = [f"clip-{number}" for number in range(5)]


@pytest.fixture
def corpus(tmp_path):
    """Five clips in five shards."""
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus", shard_bytes=1)
    return tmp_path / "corpus"


def words_file(corpus):
    (path,) = corpus.glob("words-*.parquet")
    return path


def table_of_shards(corpus):
    manifest = json.loads((corpus / "corpus.json").read_text())
    return pa.concat_tables(shards.read_plain(corpus / file["path"]) for file in manifest["files"])


def change_manifest(corpus, change):
    path = corpus / "corpus.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    manifest["digest"] = digest_of({name: value for name, value in manifest.items() if name != "digest"})
    path.write_bytes(json_bytes(manifest))


def test_the_table_is_read_without_opening_a_shard(tmp_path, corpus, monkeypatch):
    expected = table_of_shards(corpus)
    monkeypatch.setattr(shards, "read_plain", None)
    opened = effectpairs.open(corpus)
    assert opened.table == expected
    assert opened.table.schema == expected.schema
    assert set(opened.ids) == set(NAMES)


def test_rendered_clips_have_the_same_words_in_both(tmp_path):
    corpus = make_small_corpus(tmp_path, clips=3, frames=5, size=(16, 24))
    assert corpus.table == table_of_shards(tmp_path / "corpus")
    assert any(row["effect_truth"] for row in corpus.table.to_pylist())


def test_some_columns_and_fields_are_read_alone(corpus):
    licences = effectpairs.open(corpus).columns(["clip_id", "provenance.licence"])
    assert licences.column_names == ["clip_id", "provenance"]
    assert licences.to_pylist()[0] == {"clip_id": "clip-0", "provenance": {"licence": "CC0-1.0"}}


def without_it(corpus):
    words_file(corpus).unlink()
    change_manifest(corpus, lambda manifest: manifest.pop("words"))


def cut_off(corpus):
    words_file(corpus).write_bytes(words_file(corpus).read_bytes()[:-9])


def missing(corpus):
    words_file(corpus).unlink()


def too_short(corpus):
    rewrite(corpus, pq.read_table(words_file(corpus)).slice(1))


def another_version(corpus):
    rewrite(corpus, pq.read_table(words_file(corpus)).replace_schema_metadata({"effectpairs.words": "0.9"}))


def rewrite(corpus, table):
    path = words_file(corpus)
    pq.write_table(table, path)
    entry = {"size_bytes": path.stat().st_size, "sha256": digest_of_file(path), "rows": len(table)}
    change_manifest(corpus, lambda manifest: manifest["words"].update(entry))


@pytest.mark.parametrize("change", [without_it, cut_off, missing, too_short, another_version])
def test_a_corpus_opens_without_a_table_that_can_be_used_and_publishing_makes_it_again(tmp_path, corpus, change):
    whole = words_file(corpus)
    content, expected = whole.read_bytes(), table_of_shards(corpus)
    change(corpus)
    opened = effectpairs.open(corpus)
    assert opened.table == expected
    assert opened["clip-3"].gt.shape == (5, 16, 24, 3)
    fixtures_workspaces.publish(tmp_path / "w", corpus, shard_bytes=1)
    assert whole.read_bytes() == content
    assert verify(effectpairs.open(corpus)) == []


def test_verify_compares_it_with_the_shards_and_names_what_is_wrong(corpus):
    other = pq.read_table(words_file(corpus)).to_pylist()
    other[3]["caption"] = "Something else."
    rewrite(corpus, pa.Table.from_pylist(other, schema=words.WORDS))
    (fault,) = verify(effectpairs.open(corpus))
    path = effectpairs.open(corpus).manifest["files"][3]["path"]
    assert str(fault) == f"{words_file(corpus).name}: its rows are not those of {path}; publish the corpus again"
    missing(corpus)
    (fault,) = verify(effectpairs.open(corpus))
    assert "is missing though corpus.json lists it" in str(fault)


def test_rows_come_in_the_order_of_the_shards_across_row_groups(corpus, monkeypatch):
    table = pq.read_table(words_file(corpus))
    pq.write_table(table, words_file(corpus), row_group_size=2)
    parts = list(words.iter_words(words_file(corpus), [1, 3, 0, 1]))
    assert [len(part) for part in parts] == [1, 3, 0, 1]
    assert pa.concat_tables(parts) == table.replace_schema_metadata()


def test_a_shard_of_small_clips_is_closed_at_a_number_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(selection, "MAX_SHARD_CLIPS", 2)
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    manifest = fixtures_workspaces.publish(tmp_path / "w", tmp_path / "c", validation_share=0.0, test_share=0.0)
    assert [file["rows"] for file in manifest["files"]] == [2, 2, 1]
