"""Data card, attribution and `croissant.json`: valid, made of `corpus.json` alone, and never left by a hostile text."""

import json

import effectpairs
import mlcroissant
import pyarrow.parquet as pq
import pytest
from effectpairs.datasets.corpus import finalize
from effectpairs.datasets.corpus.croissant import CONFORMS_TO
from effectpairs.datasets.corpus.documents import render_documents
from effectpairs.datasets.corpus.publish import DOCUMENT_MARKS, first_day
from effectpairs.datasets.corpus.verify import verify
from effectpairs.tests import fixtures_corpus, fixtures_workspaces
from effectpairs.tests.fixtures_corpus import make_small_corpus

RAI = (
    *("dataCollection", "dataCollectionType", "dataCollectionRawData", "dataPreprocessingProtocol"),
    *("dataManipulationProtocol", "dataAnnotationProtocol", "machineAnnotationTools", "dataLimitations", "dataBiases"),
    *("dataUseCases", "personalSensitiveInformation", "dataSocialImpact", "dataReleaseMaintenancePlan"),
)
"""Properties as the specification spells them."""
EVIL = "</script><script>alert(1)</script>|`![x](javascript:x)\x1b[2J\u202e\n---\nlicense: mit\n"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documents")
    make_small_corpus(folder, clips=3)
    dated = {"date_published": "2026-11-27", "url": "https://example.org/corpus", "include": ("accept", "review")}
    fixtures_workspaces.publish(folder / "workspace", folder / "corpus", **dated)
    return effectpairs.open(folder / "corpus")


def test_croissant_is_valid_by_its_own_library_and_gives_back_the_clips(corpus, caplog):
    dataset = mlcroissant.Dataset(jsonld=str(corpus.location.local / "croissant.json"))
    assert dataset.metadata.ctx.issues.errors == set()
    assert dataset.metadata.ctx.issues.warnings == set()
    assert "not standard" not in caplog.text, "of the @context"
    captions = {
        row["captions/clip_id"].decode(): row["captions/caption"].decode() for row in dataset.records("captions")
    }
    assert captions == {clip.row["clip_id"]: clip.caption for clip in corpus}
    for record in dataset.records("clips"):
        clip = corpus[record["clips/clip_id"].decode()]
        assert record["clips/split"].decode() == clip.row["split"]
        assert [effect.decode() for effect in record["clips/effects"]] == clip.effects
        assert record["clips/num_frames"] == len(clip.gt)


def test_croissant_names_both_specifications_every_property_and_every_file(corpus):
    document = json.loads((corpus.location.local / "croissant.json").read_text())
    assert document["conformsTo"] == list(CONFORMS_TO)
    assert [document.get(f"rai:{name}") for name in RAI].count(None) == 0
    assert (document["datePublished"], document["url"]) == ("2026-11-27", "https://example.org/corpus")
    assert first_day(corpus.location) == "2026-11-27", "publishing again on another day gives the same bytes"
    assert document["license"] == ["https://spdx.org/licenses/CC0-1.0.html"]
    digests = {entry["name"]: entry["sha256"] for entry in document["distribution"] if "sha256" in entry}
    files = [*corpus.manifest["files"], corpus.manifest["words"], corpus.manifest["account"]["clips"]]
    assert digests == {file["path"]: file["sha256"] for file in files}
    videos = [field for field in document["recordSet"][1]["field"] if field["dataType"] == "sc:VideoObject"]
    assert videos[0]["source"]["extract"]["column"] == "gt"
    assert len(videos) == 7


def test_documents_are_made_of_corpus_json_alone_and_checked_by_verify(corpus, tmp_path):
    folder = corpus.location.local
    made = render_documents(
        {name: corpus.manifest[name] for name in corpus.manifest if name not in ("documents", "digest")}
    )
    assert made == {name: (folder / name).read_bytes() for name in DOCUMENT_MARKS}
    assert all(mark.encode() in made[name] for name, mark in DOCUMENT_MARKS.items())
    assert verify(corpus) == []
    for name in DOCUMENT_MARKS:
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(before + b" ")
        assert [(fault.file, "was changed or damaged" in fault.problem) for fault in verify(corpus)] == [(name, True)]
        (folder / name).unlink()
        assert [(fault.file, "is missing" in fault.problem) for fault in verify(corpus)] == [(name, True)]
        (folder / name).write_bytes(before)


def test_hostile_words_leave_no_table_card_or_script(tmp_path):
    provenance = {**fixtures_corpus.provenance("clip", 5), "licence": EVIL, "origin": EVIL}
    row = {"caption": EVIL, "effects": [EVIL], "provenance": provenance}
    fixtures_workspaces.fill_workspace(tmp_path / "w", ["clip-a"], **row)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus", creator=EVIL)
    texts = {name: (tmp_path / "corpus" / name).read_text() for name in DOCUMENT_MARKS}
    assert not any("\x1b" in text or "\u202e" in text for text in texts.values())
    assert "<" not in texts["croissant.json"]
    assert json.loads(texts["croissant.json"])["creator"]["name"] == EVIL
    for name in ("README.md", "ATTRIBUTION.md"):
        lines = texts[name].splitlines()
        assert "license: mit" not in lines
        cells = [line.replace("\\|", "").count("|") for line in lines if "alert(1)" in line and line.startswith("|")]
        heads = [line.count("|") for line in lines if line.startswith("|--")]
        assert cells, name
        assert set(cells) <= set(heads), "no cell more than the table has"
        assert all("`" in line for line in lines if "<script>" in line), "as code, which runs nothing"
    mlcroissant.Dataset(jsonld=str(tmp_path / "corpus" / "croissant.json"))


@pytest.mark.parametrize("name", ["ATTRIBUTION.md", "croissant.json"])
def test_a_document_of_somebody_else_stays(tmp_path, name):
    fixtures_workspaces.fill_workspace(tmp_path / "w", ["clip-a"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / name).write_text("{}")
    with pytest.raises(ValueError, match=f"holds no corpus but other things \\({name}\\)"):
        fixtures_workspaces.publish(tmp_path / "w", tmp_path / "mine")
    assert (tmp_path / "mine" / name).read_text() == "{}"


def test_shards_have_a_page_index_and_a_row_group_a_clip(corpus):
    """Without an index the hub's viewer reads a row group from its start; a group is one clip."""
    for file in corpus.manifest["files"]:
        metadata = pq.read_metadata(corpus.location.local / file["path"])
        assert metadata.num_row_groups == file["rows"]
        chunks = [metadata.row_group(0).column(column) for column in range(metadata.num_columns)]
        assert all(chunk.has_offset_index for chunk in chunks)
        assert any(chunk.has_column_index for chunk in chunks)


def test_works_are_named_one_by_one_as_long_as_they_are_few(monkeypatch):
    """One author in common whatever stands in the names, and no list that grows with the corpus."""
    origins = finalize._Origins()
    for work in ("clips: one", "clips: two"):
        origins.add(f"Somebody, https://example.org: {work}")
    assert origins.values() == {"origin": "Somebody, https://example.org: clips", "works": ["one", "two"]}
    monkeypatch.setattr(finalize, "MAX_WORKS", 5)
    many = finalize._Origins()
    for number in range(1000):
        many.add(f"Somebody: {number}")
    assert (many.clips, many.values()) == (1000, {"origin": "Somebody", "works": []})
    assert len(many._works) == 6
