"""Every captioner through the flow, on a small corpus; and a corpus that was made before captions had a record."""

import json

import pyarrow as pa
import pytest
from effectpairs.datasets.corpus import shards, verify
from effectpairs.datasets.corpus.reader import open_corpus
from effectpairs.datasets.gallery.report import write_report
from effectpairs.flows.captions.corpus_captions import caption_corpus
from effectpairs.flows.captions.stages import Captioning
from effectpairs.settings import settings_from
from effectpairs.tests import fixtures_fake_vllm, fixtures_language_models, fixtures_llm_server
from effectpairs.tests.fixtures_corpus import make_small_corpus
from effectpairs.tests.fixtures_workspaces import read_files

SETTLED = ("caption_rules.max_attempts=1", "caption_rules.variants=2")


@pytest.fixture(scope="module")
def wordless(tmp_path_factory):
    """A corpus whose clips nobody has captioned, made by a version that kept no record of captions."""
    folder = tmp_path_factory.mktemp("older")
    with pytest.MonkeyPatch.context() as patched:
        provenance = shards.ROW.field("provenance")
        kept = pa.struct([field for field in provenance.type if field.name != "captions"])
        older = shards.ROW.set(shards.ROW.get_field_index("provenance"), provenance.with_type(kept))
        patched.setattr(shards, "ROW", older)
        patched.setattr("effectpairs.datasets.corpus.schema.ROW", older)
        make_small_corpus(folder, clips=1, kinds=("real",))
    return str(folder / "corpus")


def captions_of(corpus, tmp_path, *changes):
    """The clips with their new words, and the record of each."""
    out = str(tmp_path / "new")
    settings = settings_from(Captioning, [*SETTLED, *changes])
    account, missed = caption_corpus(corpus, tmp_path / "w", settings, out=out, workers=1)
    assert (account.inputs, missed) == (1, [])
    found = open_corpus(out)
    assert verify.verify(found) == []
    return [(clip, json.loads(clip.provenance["captions"])) for clip in found]


def test_a_corpus_without_a_record_of_captions_is_read_verified_shown_and_reworded(wordless, tmp_path):
    corpus = open_corpus(wordless)
    written = pa.parquet.read_schema(next((corpus.location.local / "data").rglob("*.parquet"))).field("provenance").type
    assert "captions" not in {field.name for field in written}
    assert verify.verify(corpus) == []
    assert corpus[corpus.ids[0]].provenance["captions"] is None
    page = write_report(corpus, tmp_path / "gallery", step=lambda *_: None).read_text()
    assert all(clip.caption in page for clip in corpus)
    for (clip, told), before in zip(captions_of(wordless, tmp_path), corpus, strict=True):
        assert clip.caption == told["given"] == before.caption, "words without a record are a person's"
        assert len(told["augmented"]) == 2


def test_vllm_in_its_own_process(wordless, tmp_path):
    python, model = fixtures_fake_vllm.install(tmp_path / "vllm"), tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    changes = (
        "caption.kind=vllm",
        f"caption.model={model}",
        f"caption.python_path={python}",
        "caption.startup_timeout_s=120",
    )
    for _, told in captions_of(wordless, tmp_path, *changes):
        (attempt,) = told["steps"]["augment"]["attempts"]
        assert attempt["replies"][0]["model"] == str(model)
        assert attempt["objections"], "it says that a dog runs"
        assert (told["filled"]["augment"], len(told["augmented"])) == (2, 2)


def test_transformers_in_this_process(wordless, tmp_path):
    pytest.importorskip("torch", reason="models run on torch: pip install 'effectpairs[models]'")
    pytest.importorskip("transformers", reason="models are read by transformers: pip install 'effectpairs[models]'")
    model = fixtures_language_models.tiny_llama(tmp_path / "llama")
    changes = ("caption.kind=transformers", f"caption.model={model}", "caption.device=cpu", "caption.max_tokens=16")
    for _, told in captions_of(wordless, tmp_path, *changes):
        (attempt,) = told["steps"]["augment"]["attempts"]
        assert attempt["replies"][0]["revision"].startswith("folder-")
        assert told["filled"]["augment"] == 2


def test_another_model_for_each_step(wordless, tmp_path):
    with fixtures_llm_server.StubServer(lambda request: "nothing of use") as server:
        asked = f'{{kind="openai", model="{fixtures_llm_server.MODEL}", base_url="{server.base_url}"}}'
        by = [f'caption.{step}_by={{kind="measured"}}' for step in ("describe", "refine")]
        for _, told in captions_of(wordless, tmp_path, "caption.kind=by-step", *by, f"caption.augment_by={asked}"):
            assert told["steps"]["augment"]["attempts"][0]["replies"][0]["model"] == fixtures_llm_server.MODEL
            assert told["settings"]["augment"]["captioner"]["kind"] == "openai"
            assert told["settings"]["describe"]["captioner"]["kind"] == "measured"
        assert len(server.requests) == 1


def test_the_same_captions_give_the_same_bytes_whatever_was_there(tmp_path):
    """Three times over the same place, to a new one, and by another workspace: names, order and bytes are equal."""
    corpus = make_small_corpus(tmp_path, clips=4, frames=5, size=(16, 24)).location.url
    settings = settings_from(Captioning, SETTLED)
    endings = []
    for out, workspace in (("a", "w"), ("a", "w"), ("a", "w"), ("b", "w"), ("c", "w2")):
        caption_corpus(corpus, tmp_path / workspace, settings, out=str(tmp_path / out / "corpus"), workers=1)
        endings.append(read_files(tmp_path / out / "corpus"))
    assert all(ending == endings[0] for ending in endings)
    assert verify.verify(open_corpus(str(tmp_path / "c" / "corpus"))) == []
