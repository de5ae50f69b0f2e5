"""Captions in the flows: kept step by step, resumable, the same bytes however they are run, no pair lost to them."""

import json
import os
from pathlib import Path

import pytest
from effectpairs.captioning.config import CAPTION_STEPS
from effectpairs.captioning.rule_based.captioner import MODEL
from effectpairs.datasets.corpus.reader import open_corpus
from effectpairs.datasets.corpus.selection import PublishSettings
from effectpairs.datasets.corpus.verify import verify
from effectpairs.datasets.store.ledger import read_ledger
from effectpairs.flows.captions import stages as caption_stages
from effectpairs.flows.captions.corpus_captions import caption_corpus
from effectpairs.flows.captions.record import with_captions
from effectpairs.flows.captions.stages import Captioning
from effectpairs.flows.engine import local_runner
from effectpairs.flows.engine.batches import make_result
from effectpairs.flows.engine.local_runner import publish_locally
from effectpairs.flows.sources import load_any, open_run
from effectpairs.settings import settings_from
from effectpairs.tests import fixtures_llm_server, fixtures_workspaces
from effectpairs.tests.fixtures_corpus import make_small_corpus
from effectpairs.tests.fixtures_workspaces import read_files, run_source

EVERYTHING = PublishSettings(include=("accept", "review", "reject"), validation_share=0.0, test_share=0.0)
PATIENCE = ("caption.max_attempts=1", "caption.backoff_initial_s=0", "caption.timeout_s=20")


def asking(server: "fixtures_llm_server.StubServer | str", *more: str) -> tuple[str, ...]:
    url = server if isinstance(server, str) else server.base_url
    model = f"caption.model={fixtures_llm_server.MODEL}"
    return ("caption.kind=openai", f"caption.base_url={url}", model, *PATIENCE, *more)


def answers(request: dict) -> str:
    """A model that knows a shadow when it sees one."""
    system = request["messages"][0]["content"]
    if '"captions"' in system:
        styles = ("a faint, wide shadow", "a hard-edged, dark shadow", "a long, soft, bluish shadow")
        return json.dumps({"effect": "shadow", "captions": [f"A square slides along, casting {s}." for s in styles]})
    if '"caption"' in system:
        return json.dumps({"caption": "A square slides along, casting a dim shadow."})
    return "A square slides from left to right over textured ground. Below it a dim shadow moves along with it."


def results(workspace: Path) -> dict[str, int]:
    """How many results of each caption step the store holds."""
    return {step: len(list((workspace / "store").glob(f"{step}/*/*/result.json"))) for step in CAPTION_STEPS}


def rows_of(workspace: Path) -> dict[str, dict]:
    return {entry.name: entry.row for entry in read_ledger(workspace, "tiny")}


@pytest.fixture
def paired(source_file, tmp_path):
    """Four clips with captions of the captioner without weights."""
    workspace = tmp_path / "workspace"
    account = run_source(load_any(source_file), workspace, workers=1)
    return source_file, workspace, account


def test_every_finished_clip_has_its_words(paired, tmp_path):
    _, workspace, account = paired
    assert account.failed == 0
    assert results(workspace) == dict.fromkeys(CAPTION_STEPS, 4)
    publish_locally(str(tmp_path / "corpus"), workspace, EVERYTHING)
    corpus = open_corpus(str(tmp_path / "corpus"))
    assert verify(corpus) == []
    for clip in corpus:
        told = json.loads(clip.provenance["captions"])
        assert "shadow" in clip.caption
        assert len(clip.caption_dense) > len(clip.caption)
        assert len(set(told["augmented"])) == 3
        assert clip.caption not in told["augmented"]
        assert told["effects"]["source"] in ("measured", "hint")
        assert (told["effects"]["hint"], told["effects"]["named"]) == (["shadow"], ["shadow"])
        assert clip.effects == ["shadow"]
        assert clip.provenance["models"] == [{"id": MODEL, "revision": None}]
        assert told["steps"]["refine"]["attempts"][0]["replies"][0]["text"] == clip.caption


def test_a_changed_setting_makes_captions_anew_and_nothing_else(paired):
    path, workspace, _ = paired
    before = set(read_files(workspace / "store"))

    def run(*changes: str) -> set[str]:
        run_source(load_any(path, changes), workspace, workers=1)
        new = set(read_files(workspace / "store")) - before
        before.update(new)
        return {name.split("/")[0] for name in new}

    assert run("caption_rules.variants=2") == {"augment"}
    assert run("caption_rules.max_words=28") == {"refine"}, "the same words are augmented: that result serves again"
    assert run() == set()


def test_a_changed_prompt_makes_captions_anew_and_nothing_else(paired, monkeypatch):
    path, workspace, _ = paired
    with fixtures_llm_server.StubServer(answers) as server:
        source = load_any(path, asking(server))
        run_source(source, workspace, workers=1)
        before, asked = results(workspace), len(server.requests)
        assert (before, asked) == (dict.fromkeys(CAPTION_STEPS, 8), 12)
        assert run_source(source, workspace, workers=1).failed == 0
        assert len(server.requests) == asked
        settings_of_stage = caption_stages.Captioning.step_settings

        def with_another_prompt(self, stage):
            values = settings_of_stage(self, stage)
            if stage != "augment":
                return values
            return {**values, "captioner": {**values["captioner"], "prompt": "another"}}

        monkeypatch.setattr(caption_stages.Captioning, "step_settings", with_another_prompt)
        run = open_run(source, workspace)
        clips = [progress for progress in run.iter_items() if not progress.children]
        assert [clip.next_stage.name for clip in clips] == ["augment"] * 4


def test_a_server_that_is_down_costs_no_pair(source_file, tmp_path):
    workspace = tmp_path / "workspace"
    account = run_source(load_any(source_file, asking("http://127.0.0.1:9/v1")), workspace, workers=1)
    assert account.failed == 0
    assert results(workspace) == dict.fromkeys(CAPTION_STEPS, 0)
    for entry in read_ledger(workspace, "tiny"):
        assert entry.outcome in ("review", "reject")
        assert any(reason.startswith("no caption: ") and "127.0.0.1:9" in reason for reason in entry.reasons)
        assert entry.row["caption"] is None
        assert entry.layers["gt"]
    with fixtures_llm_server.StubServer(answers) as server:
        again = run_source(load_any(source_file, asking(server)), workspace, workers=1)
    assert again.failed == 0
    assert results(workspace) == dict.fromkeys(CAPTION_STEPS, 4)
    assert all(row["caption"] == "A square slides along, casting a dim shadow." for row in rows_of(workspace).values())


def test_a_wrong_model_is_said_with_those_that_there_are(source_file, tmp_path):
    def missing(request):
        return fixtures_llm_server.error(404, "The model does not exist.", code="model_not_found")

    with fixtures_llm_server.StubServer(missing) as server:
        run_source(load_any(source_file, asking(server)), tmp_path / "w", workers=1)
    reasons = [reason for entry in read_ledger(tmp_path / "w", "tiny") for reason in entry.reasons]
    assert any(
        "no caption: " in reason and f"name a model it has ({fixtures_llm_server.MODEL})" in reason
        for reason in reasons
    )


def test_captions_made_before_a_server_went_down_are_kept(source_file, tmp_path):
    workspace = tmp_path / "workspace"
    served: list[dict] = []

    def two_and_no_more(request):
        served.append(request)
        return answers(request) if len(served) <= 2 else fixtures_llm_server.error(503, "overloaded")

    with fixtures_llm_server.StubServer(two_and_no_more) as server:
        run_source(load_any(source_file, asking(server, "caption.max_concurrency=1")), workspace, workers=1)
    assert results(workspace) == {"describe": 2, "refine": 0, "augment": 0}
    with fixtures_llm_server.StubServer(answers) as server:
        run_source(load_any(source_file, asking(server, "caption.max_concurrency=1")), workspace, workers=1)
        assert len(server.requests) == 10, "two descriptions were there"
    assert results(workspace) == dict.fromkeys(CAPTION_STEPS, 4)


def test_refused_answers_are_asked_for_again_and_then_filled(source_file, tmp_path):
    with fixtures_llm_server.StubServer(lambda request: "I'm sorry, I cannot help with that.") as server:
        account = run_source(load_any(source_file, asking(server)), tmp_path / "w", workers=1)
        assert len(server.requests) == 3 * 3 * 4
    assert account.failed == 0
    for row in rows_of(tmp_path / "w").values():
        told = json.loads(row["provenance"]["captions"])
        assert "shadow" in row["caption"]
        assert told["filled"] == {"describe": 1, "refine": 1, "augment": 3}
        assert told["caption_by"] == MODEL
        assert "sorry" in told["steps"]["refine"]["attempts"][2]["replies"][0]["text"]
    with fixtures_llm_server.StubServer(lambda request: "I'm sorry, I cannot help with that.") as server:
        source = load_any(source_file, asking(server, "caption_rules.fallback_to_rules=false"))
        assert run_source(source, tmp_path / "w", workers=1).accepted == 0


def test_a_persons_caption_stays_and_is_only_augmented(source_file, tmp_path):
    given = "A small square hurries past, dragging a dark shadow."
    run_source(load_any(source_file, [f'fixed_caption="{given}"']), tmp_path / "w", workers=1)
    assert results(tmp_path / "w") == {"describe": 0, "refine": 0, "augment": 4}
    for row in rows_of(tmp_path / "w").values():
        assert row["caption"] == given
        assert row["caption_dense"] is None
        assert all(text.startswith("A small square") for text in json.loads(row["provenance"]["captions"])["augmented"])


def test_effects_that_nobody_names_are_measured_with_their_evidence(source_file, tmp_path):
    run_source(load_any(source_file, ["effects=[]"]), tmp_path / "w", workers=1)
    for row in rows_of(tmp_path / "w").values():
        found = json.loads(row["provenance"]["captions"])["effects"]
        assert found["evidence"]
        assert (found["source"] == "measured") == bool(row["effects"])
        if not row["effects"]:
            assert row["quality"]["verdict"] != "accept"


def muddy(request: dict) -> str:
    """A model that sees spray and mud, which no source has named."""
    system, head = request["messages"][0]["content"], "A square slides along, throwing up"
    if '"captions"' in system:
        styles = (
            "a fine, low spray and wet mud",
            "a heavy spray and thick brown mud",
            "coarse spray and sparse grey mud",
        )
        return json.dumps({"effect": "spray", "captions": [f"{head} {style}." for style in styles]})
    if '"caption"' in system:
        return json.dumps({"caption": f"{head} dense white spray and mud."})
    return "A square slides from left to right. It throws up dense white spray and clods of mud that fall behind it."


def test_a_hint_refuses_no_caption_and_the_captions_words_go_into_the_row(source_file, tmp_path):
    """A source that expects shadows everywhere has clips with spray."""
    with fixtures_llm_server.StubServer(muddy) as server:
        account = run_source(load_any(source_file, asking(server)), tmp_path / "w", workers=1)
        assert len(server.requests) == 12, "no answer is asked for again"
        data = fixtures_llm_server.data_of(server.requests[0])
        assert data["effects expected of the whole collection"] == ["shadow"]
        assert "known effects" not in data
    assert account.failed == 0
    for row in rows_of(tmp_path / "w").values():
        record = json.loads(row["provenance"]["captions"])
        assert row["caption"] == "A square slides along, throwing up dense white spray and mud."
        assert row["effects"][:2] == ["spray", "mud"]
        assert record["filled"] == {"describe": 0, "refine": 0, "augment": 0}
        effects = record["effects"]
        assert (effects["source"], effects["hint"], effects["named"]) == ("caption", ["shadow"], ["spray", "mud"])
        # The frames do show a shadow: where measurement is sure of it, both are kept and a person looks.
        is_contradicted = effects["measured"] == ["shadow"]
        assert row["effects"] == ["spray", "mud", *effects["measured"]]
        assert any("the frames rather show shadow" in reason for reason in row["quality"]["reasons"]) == is_contradicted


def test_any_word_of_a_hint_or_a_persons_caption_reaches_row_and_augmentation(source_file, tmp_path):
    caption = "A small square hurries past, kicking up pollen."
    run_source(
        load_any(source_file, ['effects=["other: Soot"]', f'fixed_caption="{caption}"']), tmp_path / "w", workers=1
    )
    for row in rows_of(tmp_path / "w").values():
        record = json.loads(row["provenance"]["captions"])
        assert (row["caption"], row["effects"][0]) == (caption, "pollen")
        assert "soot" not in row["effects"], "neither frames nor caption bear the hint out"
        assert (record["effects"]["hint"], record["effects"]["named"]) == (["soot"], ["pollen"])
        assert any("the source expects soot" in text for text in record["effects"]["evidence"])
        assert len(set(record["augmented"])) == 3
        assert all("pollen" in text for text in record["augmented"])


def test_a_tiny_mask_and_a_word_for_an_effect_go_to_review(source_file, tmp_path):
    run = open_run(load_any(source_file), tmp_path / "w")
    local_runner.run_locally(run)
    (progress, *_) = (item for item in run.iter_items() if item.is_finished and not item.children)
    pair_row = {
        **rows_of(tmp_path / "w")[progress.item.id],
        "quality": {"effect_area": 0.0004, "subject_area": 0.05, "verdict": "accept", "reasons": ["all is well"]},
    }
    row = with_captions(pair_row, progress, progress.source, None)
    assert row["quality"]["verdict"] == "review"
    assert "shadow may not have been removed" in row["quality"]["reasons"][0]
    pair_row["quality"]["effect_area"] = 0.02
    assert with_captions(pair_row, progress, progress.source, None)["quality"]["verdict"] == "accept"


def test_two_workers_and_an_interrupted_run_give_the_same_bytes(paired, tmp_path, monkeypatch):
    path, workspace, _ = paired
    other = tmp_path / "other"
    real = local_runner.run_in_worker

    def killed(kind, source, workspace, stage, *rest):
        if stage.name == "refine":
            raise KeyboardInterrupt
        return real(kind, source, workspace, stage, *rest)

    monkeypatch.setattr(local_runner, "run_in_worker", killed)
    with pytest.raises(KeyboardInterrupt):
        run_source(load_any(path), other, workers=1)
    assert results(other) == {"describe": 4, "refine": 0, "augment": 0}
    monkeypatch.undo()
    run_source(load_any(path), other, workers=2)
    assert read_files(other / "store") == read_files(workspace / "store")
    assert rows_of(other) == rows_of(workspace)


@pytest.mark.slow
@pytest.mark.parametrize("touch", [3, 9, 20, 40])
def test_killed_between_files_it_goes_on_to_the_same_bytes(touch, paired, tmp_path):
    path, workspace, _ = paired
    source, other = load_any(path), tmp_path / "other"
    run_source(source, other, workers=1)
    for step in CAPTION_STEPS:
        fixtures_workspaces.run_in_child(lambda step=step: os.system(f"rm -rf '{other}/store/{step}'"))
    run = open_run(source, other)
    clips = [progress for progress in run.iter_items() if not progress.children]

    def all_steps() -> None:
        for _ in CAPTION_STEPS:
            for clip in clips:
                make_result(clip, clip.next_stage, run.store)
                clip.refresh(run.store)

    fixtures_workspaces.run_in_child(all_steps, kill_at=touch, near=other / "store" / "refine")
    run.store.sweep()
    run_source(source, other, workers=1)
    assert read_files(other / "store") == read_files(workspace / "store")


@pytest.mark.slow
def test_prefect_and_the_plain_loop_give_the_same_bytes(prefect_server, source_file, tmp_path):
    from effectpairs.flows.real_pairs import real_pairs

    with fixtures_llm_server.StubServer(answers) as server:
        changes = list(asking(server))
        with_prefect = real_pairs(str(source_file), str(tmp_path / "a"), changes, 2)
        without = run_source(load_any(source_file, changes), tmp_path / "b", workers=1)
    assert with_prefect == vars(without)
    assert read_files(tmp_path / "a" / "store") == read_files(tmp_path / "b" / "store")
    assert rows_of(tmp_path / "a") == rows_of(tmp_path / "b")


def videos_of(corpus) -> dict[str, bytes]:
    return {f"{clip.clip_id}.{layer}": clip.encoded(layer) for clip in corpus for layer in ("gt", "over", "alpha")}


def test_a_corpus_gets_other_words_and_keeps_its_videos(paired, tmp_path):
    _, workspace, _ = paired
    place = str(tmp_path / "corpus")
    publish_locally(place, workspace, EVERYTHING)
    before = open_corpus(place)
    with fixtures_llm_server.StubServer(answers) as server:
        settings = settings_from(Captioning, asking(server))
        for _ in range(2):
            account, missed = caption_corpus(place, tmp_path / "words", settings, out=str(tmp_path / "new"), workers=1)
            assert (account.inputs, missed) == (4, [])
        assert len(server.requests) == 12, "the second time nothing is asked"
    new = open_corpus(str(tmp_path / "new"))
    assert verify(new) == []
    assert videos_of(new) == videos_of(before)
    assert new.manifest["version"] != before.manifest["version"]
    assert new.manifest["counts"]["by_captioner"] == {"stub-7b": 4}
    assert before.manifest["counts"]["by_captioner"] == {MODEL: 4}
    for clip in new:
        assert clip.caption == "A square slides along, casting a dim shadow."
        assert clip.provenance["models"] == [{"id": "stub-7b", "revision": None}]
        assert clip.quality["verdict"] == before[clip.clip_id].quality["verdict"]
    caption_corpus(str(tmp_path / "new"), tmp_path / "words", settings_from(Captioning, ()), workers=1)
    again = open_corpus(str(tmp_path / "new"))
    assert verify(again) == []
    assert {clip.clip_id: clip.caption for clip in again} == {clip.clip_id: clip.caption for clip in before}
    assert all(clip.row == before[clip.clip_id].row for clip in again)


def test_a_corpus_keeps_its_words_where_no_others_are_to_be_had(paired, tmp_path):
    _, workspace, _ = paired
    place = str(tmp_path / "corpus")
    publish_locally(place, workspace, EVERYTHING)
    before = read_files(tmp_path / "corpus")
    settings = settings_from(Captioning, asking("http://127.0.0.1:9/v1"))
    _, missed = caption_corpus(place, tmp_path / "words", settings, workers=1)
    assert len(missed) == 4
    assert all("127.0.0.1:9" in failure.reason for failure in missed)
    after = read_files(tmp_path / "corpus")
    assert {name: after[name] for name in after if name.startswith("data")} == {
        name: before[name] for name in before if name.startswith("data")
    }


def test_words_of_which_there_is_no_record_are_a_persons(tmp_path):
    before = [clip.caption for clip in make_small_corpus(tmp_path)]
    caption_corpus(str(tmp_path / "corpus"), tmp_path / "words", settings_from(Captioning, ()), workers=1)
    new = open_corpus(str(tmp_path / "corpus"))
    assert verify(new) == []
    assert [clip.caption for clip in new] == before
    assert [clip.caption_dense for clip in new] == [None] * 3
    assert new.manifest["counts"]["by_captioner"] == {"a person": 3}


def test_a_corpus_of_before_reads_with_empty_records(tmp_path, monkeypatch):
    import pyarrow as pa
    from effectpairs.datasets.corpus import schema, shards

    known = schema.ROW
    fields = [field for field in known.field("provenance").type if field.name != "captions"]
    older = known.set(known.get_field_index("provenance"), pa.field("provenance", pa.struct(fields)))
    monkeypatch.setattr(schema, "ROW", older)
    make_small_corpus(tmp_path)
    monkeypatch.undo()
    assert shards.ROW is known
    found = open_corpus(str(tmp_path / "corpus"))
    assert [clip.provenance["captions"] for clip in found] == [None] * 3
    assert all(clip.provenance["origin"] == "drawn by the tests" for clip in found)


def test_the_command_captions_a_corpus(tmp_path):
    from effectpairs.cli.app import app
    from typer.testing import CliRunner

    make_small_corpus(tmp_path)
    corpus, words = str(tmp_path / "corpus"), str(tmp_path / "words")
    done = CliRunner().invoke(app, ["caption", corpus, "--workspace", words, "--set", "caption_rules.variants=2"])
    assert done.exit_code == 0, done.output
    assert "3 of 3 clips captioned" in done.output
    wrong = CliRunner().invoke(app, ["caption", corpus, "--workspace", words, "--set", "caption.kind=nobody"])
    assert wrong.exit_code == 2
    assert "Example: effectpairs caption" in CliRunner().invoke(app, ["caption", "--help"]).output


def test_the_gallery_shows_all_words(paired, tmp_path):
    from effectpairs.datasets.gallery.report import write_report

    _, workspace, _ = paired
    publish_locally(str(tmp_path / "corpus"), workspace, EVERYTHING)
    corpus = open_corpus(str(tmp_path / "corpus"))
    page = write_report(corpus, tmp_path / "gallery", step=lambda done, total: None).read_text()
    for clip in corpus:
        assert clip.caption in page
        assert clip.caption_dense in page
        assert all(text in page for text in json.loads(clip.provenance["captions"])["augmented"])
    assert f"{MODEL} 4 (100 %)" in (tmp_path / "corpus" / "README.md").read_text()
