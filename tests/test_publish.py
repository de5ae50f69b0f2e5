"""A corpus appears by its `corpus.json`: whole, or as it was before."""

import dataclasses
import errno
import json
import os
import re
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import effectpairs
import numpy as np
import pyarrow.parquet as pq
import pytest
from effectpairs.datasets.corpus import selection, shards
from effectpairs.datasets.corpus.finalize import finalize
from effectpairs.datasets.corpus.publish import plan_shards, write_planned
from effectpairs.datasets.corpus.selection import PublishSettings, split_of
from effectpairs.datasets.corpus.verify import verify
from effectpairs.datasets.gallery.report import write_report
from effectpairs.datasets.store import ledger
from effectpairs.datasets.store.atomic_io import CannotWrite, CorruptFile, partial_beside
from effectpairs.datasets.store.location import Location
from effectpairs.tests import fixtures_workspaces
from effectpairs.tests.fixtures_corpus import square_with_shadow
from effectpairs.training.evaluation.metric import COLUMNS, Measurement, MetricValue, group_clips
from effectpairs.training.evaluation.tables import to_markdown
from hypothesis import given
from hypothesis import strategies as st

NAMES = ["clip-a", "clip-b", "clip-c"]
NOT_ENDED = re.compile("is not listed|is of a publishing that was killed; publish it again")
"""Sentences of `verify` about a whole corpus over which a publishing did not end."""


def test_every_layer_comes_back_bit_for_bit(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    corpus = effectpairs.open(tmp_path / "corpus")
    assert not verify(corpus)
    for number, name in enumerate(NAMES):
        made, clip = square_with_shadow(fixtures_workspaces.FRAMES, fixtures_workspaces.SIZE, seed=number), corpus[name]
        for layer, frames in made.items():
            assert np.array_equal(getattr(clip, layer), frames), layer
        assert np.array_equal((clip.gt == clip.over).all(-1), (made["gt"] == made["over"]).all(-1))


def test_any_word_for_an_effect_is_counted_shown_and_measured(tmp_path):
    """Words that are in no vocabulary go through corpus, data card, gallery and the tables of an evaluation."""
    words = ["mud", "soap bubbles"]
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES, effects=words)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    corpus = effectpairs.open(tmp_path / "corpus")
    assert verify(corpus) == []
    assert [clip.effects for clip in corpus] == [words] * 3
    assert corpus.manifest["counts"]["by_effect"] == {"mud": 3, "soap bubbles": 3}
    assert "| effects | mud 3, soap bubbles 3 |" in (tmp_path / "corpus" / "README.md").read_text()
    page = write_report(corpus, tmp_path / "gallery", step=lambda *_: None).read_text()
    assert "<option>soap bubbles</option>" in page
    assert page.count('data-effect="mud|soap bubbles"') == 3
    groups = group_clips([clip.row for clip in corpus])
    assert groups["effect", "soap bubbles"] == [0, 1, 2]
    value = MetricValue(name=COLUMNS[0].name, value=1.0, n=3)
    rows = [Measurement(method="a", level="effect", key="soap bubbles", value=value)]
    assert "## Effect: soap bubbles" in to_markdown(rows, "Table")


def test_the_same_pairs_give_the_same_bytes_in_any_order(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "one" / "corpus", shard_bytes=1)
    place, settings = Location(str(tmp_path / "two" / "corpus")), PublishSettings(shard_bytes=1)
    plans = plan_shards(tmp_path / "w", place, settings)
    assert len(plans) == 3
    files = [write_planned(plan, tmp_path / "w", place, settings) for plan in reversed(plans)]
    finalize(tmp_path / "w", place, files, settings, "tiny corpus")
    assert fixtures_workspaces.read_files(tmp_path / "one") == fixtures_workspaces.read_files(tmp_path / "two")


@given(st.text(min_size=1), st.floats(0, 0.45), st.floats(0, 0.45))
def test_a_group_stays_in_its_split(group, validation, test):
    chosen = split_of(group, PublishSettings(validation_share=validation, test_share=test))
    assert chosen == split_of(group, PublishSettings(validation_share=validation, test_share=test))
    if validation == test == 0:
        assert chosen == "train"
    if chosen == "test":  # a larger share takes nothing away
        assert split_of(group, PublishSettings(validation_share=validation, test_share=0.5)) == "test"


def test_splits_have_about_the_shares_that_were_asked_for():
    settings = PublishSettings(validation_share=0.2, test_share=0.1)
    found = [split_of(f"group-{number}", settings) for number in range(4000)]
    assert abs(found.count("validation") / 4000 - 0.2) < 0.03
    assert abs(found.count("test") / 4000 - 0.1) < 0.03


def test_clips_of_one_group_go_together(tmp_path):
    for source, group in (("one", "scene-1"), ("two", "scene-2"), ("three", "scene-1")):
        fixtures_workspaces.fill_workspace(tmp_path / "w", [f"{source}-a", f"{source}-b"], source=source, group=group)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus", validation_share=0.4, test_share=0.4)
    table = effectpairs.open(tmp_path / "corpus").table.to_pylist()
    for group in ("scene-1", "scene-2"):
        assert len({row["split"] for row in table if row["group"] == group}) == 1


def test_one_clip_more_leaves_the_other_shards_as_they_are(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus", shard_bytes=1)
    before = fixtures_workspaces.read_files(tmp_path / "corpus")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "corpus").glob("data/*/*")}
    fixtures_workspaces.fill_workspace(tmp_path / "w", ["clip-aa"], source="more")
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus", shard_bytes=1)
    after = fixtures_workspaces.read_files(tmp_path / "corpus")
    old_shards = {name for name in before if name.startswith("data/")}
    assert {name: after[name] for name in old_shards} == {name: before[name] for name in old_shards}
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}, "not even written again"
    assert len([name for name in after if name.startswith("data/")]) == 4
    assert len([name for name in after if name.startswith("account-")]) == 1, "the account before is gone"
    assert not verify(effectpairs.open(tmp_path / "corpus"))


def test_the_old_corpus_stays_readable_until_the_new_corpus_json(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    old = effectpairs.open(tmp_path / "corpus")
    fixtures_workspaces.fill_workspace(tmp_path / "w", ["clip-d"], source="more")
    place, settings = Location(str(tmp_path / "corpus")), PublishSettings()
    files = [
        write_planned(plan, tmp_path / "w", place, settings) for plan in plan_shards(tmp_path / "w", place, settings)
    ]
    reopened = effectpairs.open(tmp_path / "corpus")
    assert reopened.manifest == old.manifest
    assert all(clip.gt.shape[0] == fixtures_workspaces.FRAMES for clip in reopened)
    finalize(tmp_path / "w", place, files, settings, "tiny corpus")
    new = effectpairs.open(tmp_path / "corpus")
    assert len(new) == 4
    assert not verify(new), "stale shards are gone"


def test_a_clip_taken_out_takes_its_shard_away(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus", shard_bytes=1)
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES[:2])
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus", shard_bytes=1)
    assert len(list((tmp_path / "corpus").glob("data/*/*.parquet"))) == 2
    assert not verify(effectpairs.open(tmp_path / "corpus"))


def test_corpus_json_is_written_last(tmp_path, monkeypatch):
    written = []
    real = Location.write
    monkeypatch.setattr(
        Location, "write", lambda self, name, content: (written.append(name), real(self, name, content))
    )
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    assert written[-1] == "corpus.json"


@pytest.mark.parametrize(("before", "stride"), [(0, 7), (2, 17)])
def test_killed_at_any_moment_the_next_publishing_ends_with_the_same_bytes(tmp_path, before, stride):
    """The first publishing, and one over a corpus that stands: the old one is whole until the new one is."""
    workspace, old, clean = tmp_path / "w", tmp_path / "old", tmp_path / "clean" / "corpus"
    names = [f"clip-{number}" for number in range(3)]
    if before:
        fixtures_workspaces.fill_workspace(workspace, names[:before])
        fixtures_workspaces.publish(workspace, old, shard_bytes=1 << 16)
        shutil.copytree(old, clean)
    fixtures_workspaces.fill_workspace(workspace, names)
    fixtures_workspaces.publish(workspace, clean, shard_bytes=1 << 16)
    expected, killed = fixtures_workspaces.read_files(clean), 0
    for moment in range(1, 400, stride):
        corpus = tmp_path / f"killed-{moment}" / "corpus"
        if before:
            shutil.copytree(old, corpus)
        died = fixtures_workspaces.run_in_child(
            lambda c=corpus: fixtures_workspaces.publish(workspace, c, shard_bytes=1 << 16),
            kill_at=moment,
            near=tmp_path,
        )
        killed += died
        if (corpus / "corpus.json").exists():
            found = effectpairs.open(corpus)
            assert len(found) in (before, 3)
            assert all(NOT_ENDED.search(fault.problem) for fault in verify(found))
        else:
            assert not before
        fixtures_workspaces.publish(workspace, corpus, shard_bytes=1 << 16)
        assert fixtures_workspaces.read_files(corpus) == expected
        assert not verify(effectpairs.open(corpus))
        if not died:
            break
    assert killed > 5
    assert not died, "the last try was not killed at all"


def changing(place, monkeypatch, act, *, verbs=("write", "take", "remove")):
    """Call act before each change of a file below a place, with a number from 1."""
    count = 0
    for verb in verbs:

        def change(self, *arguments, real=getattr(Location, verb)):
            nonlocal count
            if self.url == str(place):
                count += 1
                act(count)
            return real(self, *arguments)

        monkeypatch.setattr(Location, verb, change)


@pytest.fixture
def grown(tmp_path):
    """A workspace, its corpus of two clips, and the corpus that is to be there when all three are published."""
    workspace, old, new = tmp_path / "w", tmp_path / "old" / "corpus", tmp_path / "new" / "corpus"
    fixtures_workspaces.fill_workspace(workspace, NAMES[:2])
    fixtures_workspaces.publish(workspace, old, shard_bytes=1)
    fixtures_workspaces.fill_workspace(workspace, NAMES)
    shutil.copytree(old, new)
    fixtures_workspaces.publish(workspace, new, shard_bytes=1)
    return workspace, old, new


@pytest.mark.parametrize("ending", ["killed", "raised"])
def test_at_each_write_of_publishing_the_corpus_is_one_that_verifies(grown, tmp_path, monkeypatch, ending):
    """A killed one leaves what the next one mends, and no mixture that counts as damaged; a failed one leaves none."""
    workspace, old, new = grown
    expected, versions = fixtures_workspaces.read_files(new), set()
    for moment in range(1, 100):
        corpus, stopped = tmp_path / f"at-{moment}" / "corpus", False
        shutil.copytree(old, corpus)
        work = partial(fixtures_workspaces.publish, workspace, corpus, shard_bytes=1)

        def stop(count, moment=moment):
            if count == moment and ending == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            elif count == moment:
                raise CannotWrite(errno.ENOSPC, "the disk is full")

        with monkeypatch.context() as patch:
            if ending == "killed":
                changing(corpus, patch, stop)
                stopped = fixtures_workspaces.run_in_child(work)
            else:
                changing(corpus, patch, stop, verbs=("write", "take"))
                try:
                    work()
                except CannotWrite:
                    stopped = True
        reopened = effectpairs.open(corpus)
        assert len(reopened) in (2, 3)
        versions |= {len(reopened)} if stopped else set()
        problems = [fault.problem for fault in verify(reopened)]
        assert all(NOT_ENDED.search(problem) for problem in problems)
        if ending == "raised":
            assert not [problem for problem in problems if "killed" in problem]
            assert not [name for name in fixtures_workspaces.read_files(corpus) if "partial" in name]
        fixtures_workspaces.publish(workspace, corpus, shard_bytes=1)
        assert fixtures_workspaces.read_files(corpus) == expected
        assert verify(effectpairs.open(corpus)) == []
        if not stopped:
            break
    assert not stopped, "the last one ran to its end"
    assert versions == ({2, 3} if ending == "killed" else {2})


def test_two_publishers_at_once_end_with_one_corpus(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "one" / "corpus")
    corpus = tmp_path / "both" / "corpus"
    fixtures_workspaces.run_at_once(lambda: fixtures_workspaces.publish(tmp_path / "w", corpus), 3)
    assert fixtures_workspaces.read_files(corpus) == fixtures_workspaces.read_files(tmp_path / "one" / "corpus")
    assert not verify(effectpairs.open(corpus))


def test_two_publishers_with_other_settings_at_once_end_with_the_corpus_of_one(tmp_path):
    """Some shards are of both, some of one alone: neither deletes, overwrites or lists what the other has."""
    workspace = tmp_path / "w"
    fixtures_workspaces.fill_workspace(workspace, [f"clip-{number}" for number in range(8)])
    settings = [{"shard_bytes": 1}, {"shard_bytes": 1, "test_share": 0.6}, {"shard_bytes": 1 << 15}]
    endings = []
    for number, changes in enumerate(settings):
        fixtures_workspaces.publish(workspace, tmp_path / f"alone-{number}" / "corpus", **changes)
        endings.append(fixtures_workspaces.read_files(tmp_path / f"alone-{number}" / "corpus"))
    for attempt in range(12):
        corpus = tmp_path / f"both-{attempt}" / "corpus"
        if attempt % 2:
            shutil.copytree(tmp_path / "alone-2" / "corpus", corpus)
        works = [partial(fixtures_workspaces.publish, workspace, corpus, **changes) for changes in settings[:2]]
        fixtures_workspaces.run_each_at_once(works)
        assert verify(effectpairs.open(corpus)) == []
        assert fixtures_workspaces.read_files(corpus) in endings[:2]


def test_what_another_publishing_announced_stays(tmp_path):
    """Its shards are no strays as long as it lives; once its process is gone they are."""
    workspace, corpus = tmp_path / "w", tmp_path / "corpus"
    fixtures_workspaces.fill_workspace(workspace, NAMES)
    other = PublishSettings(shard_bytes=1, test_share=0.9)
    plans = plan_shards(workspace, Location(str(corpus)), other)
    files = [write_planned(plan, workspace, Location(str(corpus)), other) for plan in plans]
    fixtures_workspaces.publish(workspace, corpus)
    assert {plan.path for plan in plans} <= set(fixtures_workspaces.read_files(corpus))
    finalize(workspace, Location(str(corpus)), files, other, "other corpus")
    assert verify(effectpairs.open(corpus)) == []
    assert set(effectpairs.open(corpus).ids) == set(NAMES)
    dead = corpus / plans[0].note.replace(f"-{os.getpid()}-", "-999999999-")
    dead.write_text(json.dumps([plan.path for plan in plans]))
    fixtures_workspaces.publish(workspace, corpus)
    assert verify(effectpairs.open(corpus)) == []
    assert not dead.exists()


def test_two_publishings_of_one_process_withdraw_their_own_notes_alone(tmp_path):
    workspace, corpus = tmp_path / "w", Location(str(tmp_path / "corpus"))
    fixtures_workspaces.fill_workspace(workspace, NAMES)
    settings = PublishSettings(shard_bytes=1)
    first, second = (plan_shards(workspace, corpus, settings) for _ in range(2))
    files = [write_planned(plan, workspace, corpus, settings) for plan in first]
    finalize(workspace, corpus, files, settings, "tiny corpus")
    assert [name for name in corpus.top() if name.startswith("publishing")] == [second[0].note]
    fixtures_workspaces.publish(workspace, tmp_path / "corpus", test_share=0.9)
    assert {plan.path for plan in second} <= set(corpus.names()), "they are announced still"
    files = [write_planned(plan, workspace, corpus, settings) for plan in second]
    assert all("note" not in file for file in finalize(workspace, corpus, files, settings, "tiny corpus")["files"])
    assert not [name for name in corpus.top() if name.startswith("publishing")]
    assert verify(effectpairs.open(tmp_path / "corpus")) == []


def test_on_object_storage_a_killed_publishing_leaves_no_note_either(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    corpus = Location("memory://notes/corpus")
    mine = partial_beside(Path("publishing")).name
    elsewhere, dead = "publishing.partial-00000000-1-5eed", mine.replace(f"-{os.getpid()}-", "-999999999-")
    for note in (mine, elsewhere, dead):
        corpus.write(note, b"[]")
    fixtures_workspaces.publish(tmp_path / "w", corpus.url)
    assert {name for name in corpus.top() if name.startswith("publishing")} == {mine, elsewhere}


def test_a_data_card_between_two_publishings_is_settled(tmp_path, monkeypatch):
    """One that writes its card after the other's corpus.json leaves the card of the corpus that is there."""
    workspace, corpus = tmp_path / "w", tmp_path / "corpus"
    fixtures_workspaces.fill_workspace(workspace, NAMES)
    real = Location.write

    def write(self, name, content):
        real(self, name, content)
        if name == "corpus.json":
            monkeypatch.setattr(Location, "write", real)
            real(self, "README.md", b"of another")

    monkeypatch.setattr(Location, "write", write)
    fixtures_workspaces.publish(workspace, corpus)
    assert verify(effectpairs.open(corpus)) == []


@pytest.mark.parametrize("name", ["../../X", "/etc/x", "a/b", "", "x" * 300, "a\x1b[2J"])
def test_an_id_that_is_none_is_not_published(tmp_path, name):
    (entry,) = fixtures_workspaces.fill_workspace(tmp_path / "w", ["clip-a"])
    forged = dataclasses.replace(entry, name=name, row={**entry.row, "clip_id": name})
    ledger.write_ledger(tmp_path / "w", "tiny", [forged], {})
    with pytest.raises(ValueError, match="of 'tiny' is no clip id; run 'tiny' again"):
        fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize("file", ["../secret", "/etc/hostname", "stages/../../secret"])
def test_a_layer_outside_the_workspace_is_not_published(tmp_path, file):
    (entry,) = fixtures_workspaces.fill_workspace(tmp_path / "w", ["clip-a"])
    layers = {**entry.layers, "gt": {**entry.layers["gt"], "file": file}}
    ledger.write_ledger(tmp_path / "w", "tiny", [dataclasses.replace(entry, layers=layers)], {})
    with pytest.raises(ValueError, match="leads out of its folder"):
        fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")


@pytest.mark.parametrize("names", [["README.md"], ["data/train/table.csv"], ["README.md", "data/x.bin"], [".git/HEAD"]])
def test_a_folder_with_other_things_is_refused_and_untouched(tmp_path, names):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    for name in names:
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("# My own words\n")
    before = fixtures_workspaces.read_files(tmp_path / "project")
    with pytest.raises(ValueError, match=r"project holds no corpus but other things \(.*\); choose a new or an empty"):
        fixtures_workspaces.publish(tmp_path / "w", tmp_path / "project")
    assert fixtures_workspaces.read_files(tmp_path / "project") == before


def test_other_things_beside_a_corpus_stay(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    (tmp_path / "corpus" / "notes.txt").write_text("mine")
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES[:1])
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    assert (tmp_path / "corpus" / "notes.txt").read_text() == "mine"


def test_a_damaged_shard_is_written_anew(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    before = fixtures_workspaces.read_files(tmp_path / "corpus")
    shard = next((tmp_path / "corpus").glob("data/*/*.parquet"))
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.write_bytes(content)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    assert fixtures_workspaces.read_files(tmp_path / "corpus") == before


def test_the_same_id_twice_is_named(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES, source="one")
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES[1:2], source="two")
    with pytest.raises(ValueError, match=r"clip id 'clip-b' stands twice in .*, again in 'two'; rename one source"):
        fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()


def test_nothing_to_publish_is_said(tmp_path):
    with pytest.raises(ValueError, match="no finished source is there; run one first: effectpairs run SOURCE"):
        fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    with pytest.raises(ValueError, match="no pair is among review"):
        fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus", include=("review",))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"validation_share": 1.0}, r"validation_share=1.0 is not in \[0, 1\)"),
        ({"validation_share": 0.6, "test_share": 0.4}, "leave nothing to train on"),
        ({"shard_bytes": 0}, "shard_bytes=0 is not positive"),
    ],
)
def test_wrong_settings_are_named(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        PublishSettings(**wrong)


@pytest.mark.parametrize("harm", ["damaged", "gone"])
def test_a_stored_layer_that_is_not_whole_is_named(tmp_path, harm):
    entries = fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    path = tmp_path / "w" / entries[0].layers["over"]["file"]
    path.write_bytes(b"x") if harm == "damaged" else path.unlink()
    with pytest.raises(CorruptFile, match=rf"{path} damaged or gone; effectpairs run tiny makes anew"):
        fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    assert not [name for name in fixtures_workspaces.read_files(tmp_path / "corpus") if not name.startswith("data/")]
    assert not [name for name in fixtures_workspaces.read_files(tmp_path / "corpus") if "partial" in name]


def test_a_ledger_that_does_not_fit_its_account_is_named(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    (path,) = (tmp_path / "w" / "sources" / "tiny").glob("ledger-*.jsonl")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CorruptFile, match=rf"{path} is damaged or gone; run source 'tiny' again"):
        fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    (path.parent / "account.json").write_text("{")
    with pytest.raises(CorruptFile, match=r"account\.json is damaged; run source 'tiny' again"):
        ledger.read_account(tmp_path / "w", "tiny")


def test_pairs_that_change_while_they_are_published_are_noticed(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    place, settings = Location(str(tmp_path / "corpus")), PublishSettings()
    plan = plan_shards(tmp_path / "w", place, settings)[0]
    file = write_planned(plan, tmp_path / "w", place, settings)
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES[:2])
    with pytest.raises(CorruptFile, match="its pairs changed while they were published; publish again"):
        finalize(tmp_path / "w", place, [file], settings, "tiny corpus")
    (tmp_path / "corpus" / plan.path).unlink()
    with pytest.raises(CorruptFile, match="its pairs changed"):
        write_planned(plan, tmp_path / "w", place, settings)


def test_ledgers_are_read_once(tmp_path, monkeypatch):
    reads = []
    real = selection.iter_ledger
    monkeypatch.setattr(selection, "iter_ledger", lambda *where: (reads.append(where), real(*where))[1])
    fixtures_workspaces.fill_workspace(tmp_path / "w", [f"clip-{number}" for number in range(6)])
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus", shard_bytes=1)
    assert len(reads) == 1


def test_compact_storage_keeps_masks_exact_and_says_so(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "exact")
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "compact", storage="compact")
    exact, compact = effectpairs.open(tmp_path / "exact"), effectpairs.open(tmp_path / "compact")
    assert not verify(compact)
    for name in NAMES:
        for layer in ("alpha", "subject_mask", "effect_mask"):
            assert compact[name].encoded(layer) == exact[name].encoded(layer)
        for layer in ("gt", "over", "background", "foreground"):
            assert fixtures_workspaces.psnr_db(getattr(compact[name], layer), getattr(exact[name], layer)) > 38
    assert "not\nequal bit for bit" in (tmp_path / "compact" / "README.md").read_text()
    assert "decodes to the bits it was made of" in (tmp_path / "exact" / "README.md").read_text()
    assert compact.manifest["settings"]["publishing"]["storage"] == "compact"


@pytest.mark.parametrize(
    ("storage", "suffix", "words"), [("fast", "mov", "coded for fast decoding"), ("raw", "mov", "not coded at all")]
)
def test_storage_for_fast_decoding_keeps_every_bit(tmp_path, storage, suffix, words):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "exact")
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "fast", storage=storage)
    exact, fast = effectpairs.open(tmp_path / "exact"), effectpairs.open(tmp_path / "fast")
    assert not verify(fast)
    for layer in ("gt", "over", "background", "foreground", "alpha", "subject_mask", "effect_mask"):
        assert np.array_equal(getattr(fast[NAMES[0]], layer), getattr(exact[NAMES[0]], layer))
    videos = pq.read_table(next((tmp_path / "fast").glob("data/*/*.parquet"))).to_pylist()[0]
    assert videos["gt"]["path"] == f"{videos['clip_id']}.gt.{suffix}"
    assert videos["alpha"]["path"] == f"{videos['clip_id']}.alpha.mkv"
    assert words in (tmp_path / "fast" / "README.md").read_text()


def test_the_account_lists_every_clip(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    failed = ledger.ClipOutcome(name="bad", outcome="fail", stage="normalise", reasons=("bad.mp4: is empty",))
    ledger.write_ledger(tmp_path / "w", "broken", [failed], {})
    manifest = fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    table = pq.read_table(tmp_path / "corpus" / manifest["account"]["clips"]["path"]).to_pylist()
    assert [(row["name"], row["outcome"]) for row in table] == [("bad", "fail"), *((name, "accept") for name in NAMES)]
    assert table[0]["reasons"] == ["bad.mp4: is empty"]
    assert manifest["account"]["sources"]["broken"]["failed"] == 1


def test_no_nan_gets_into_ledger_or_corpus(tmp_path):
    quality = {**fixtures_workspaces.accepted_quality(), "effect_area": float("nan")}
    with pytest.raises(ValueError, match="effect_area=nan is no JSON value"):
        ledger.write_ledger(
            tmp_path / "w",
            "tiny",
            [ledger.ClipOutcome(name="a", outcome="accept", stage="quality", reasons=(), row={"quality": quality})],
            {},
        )
    assert not fixtures_workspaces.read_files(tmp_path)
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    text = (tmp_path / "corpus" / "corpus.json").read_text()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} in corpus.json"))


def test_a_full_disk_harms_nothing_and_says_so(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    with fixtures_workspaces.limited_disk(tmp_path / "small", 400_000) as disk:
        if disk is None:
            pytest.skip("mounting a small file system is not permitted here; run as root to test a really full disk")
        fixtures_workspaces.publish(tmp_path / "w", disk / "corpus", shard_bytes=1)
        before = fixtures_workspaces.read_files(disk)
        fixtures_workspaces.fill_workspace(tmp_path / "w", [f"more-{number}" for number in range(30)], source="more")
        with pytest.raises(CannotWrite, match="the disk is full; free some space or choose another folder") as caught:
            fixtures_workspaces.publish(tmp_path / "w", disk / "corpus", shard_bytes=1)
        assert str(disk) in str(caught.value)
        after = fixtures_workspaces.read_files(disk)
        assert {name: after[name] for name in before} == before
        assert not [name for name in after if "partial" in name]
        assert len(effectpairs.open(disk / "corpus")) == 3


def test_wherever_the_disk_is_full_the_old_corpus_stays_and_the_next_try_goes_on(grown, tmp_path):
    workspace, old, new = grown
    expected, refused = fixtures_workspaces.read_files(new), 0
    with fixtures_workspaces.limited_disk(tmp_path / "small", 2 << 20) as disk:
        if disk is None:
            pytest.skip("mounting a small file system is not permitted here; run as root to test a really full disk")
        for free_blocks in range(80):
            shutil.rmtree(disk / "corpus", ignore_errors=True)
            shutil.copytree(old, disk / "corpus")
            before = fixtures_workspaces.read_files(disk / "corpus")
            left = os.statvfs(disk).f_bfree - free_blocks
            (disk / "filler").write_bytes(bytes(left * os.statvfs(disk).f_bsize))
            try:
                fixtures_workspaces.publish(workspace, disk / "corpus", shard_bytes=1)
                is_full = False
            except CannotWrite as problem:
                is_full = "the disk is full; free some space" in str(problem)
                assert is_full
                after = fixtures_workspaces.read_files(disk / "corpus")
                assert {name: after[name] for name in before} == before
                assert not [name for name in after if "partial" in name]
            refused += is_full
            (disk / "filler").unlink()
            fixtures_workspaces.publish(workspace, disk / "corpus", shard_bytes=1)
            assert fixtures_workspaces.read_files(disk / "corpus") == expected
            if not is_full:
                break
    assert not is_full
    assert refused > 20, "from the first note to corpus.json"


def test_a_simulated_full_disk_says_so(tmp_path, monkeypatch):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shards.os, "fsync", full)
    with pytest.raises(CannotWrite, match="the disk is full"):
        fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    assert not fixtures_workspaces.read_files(tmp_path / "corpus")


def test_a_read_only_folder_is_named(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    with fixtures_workspaces.limited_disk(tmp_path / "sealed", 1 << 20, read_only=True) as disk:
        if disk is None:
            pytest.skip("mounting a read-only file system is not permitted here; run as root")
        with pytest.raises(CannotWrite, match="cannot be written; choose another folder or change its permissions"):
            fixtures_workspaces.publish(tmp_path / "w", disk / "corpus")


def test_a_damaged_corpus_json_is_not_published_over(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    path = tmp_path / "corpus" / "corpus.json"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"corpus.json is damaged; delete it and publish again"):
        fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    path.unlink()
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    assert not verify(effectpairs.open(tmp_path / "corpus"))


def test_memory_is_a_place_as_good_as_a_folder(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    url = f"memory://{tmp_path.name}-{time.time_ns()}/corpus"
    fixtures_workspaces.publish(tmp_path / "w", url)
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "local")
    there, here = effectpairs.open(url), effectpairs.open(tmp_path / "local")
    assert there.manifest == here.manifest
    assert not verify(there)
    assert there["clip-b"].encoded("over") == here["clip-b"].encoded("over")
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES[:2])
    fixtures_workspaces.publish(tmp_path / "w", url)
    assert len(effectpairs.open(url)) == 2
    assert not verify(effectpairs.open(url))
    assert not list(Path(tmp_path / "w" / "scratch").iterdir())


def test_a_remote_folder_with_other_things_is_refused(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", NAMES)
    place = Location(f"memory://{tmp_path.name}-{time.time_ns()}")
    place.write("README.md", b"# mine")
    with pytest.raises(ValueError, match="holds no corpus but other things"):
        fixtures_workspaces.publish(tmp_path / "w", place.url)
    assert place.read("README.md") == b"# mine"
