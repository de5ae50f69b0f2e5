"""Decisions: what a kill leaves of them, how several people's come together, and what publishing makes of them."""

import errno
import itertools
import json
import os
import random
import re
from dataclasses import replace

import effectpairs
import pytest
from effectpairs.datasets.corpus.verify import verify
from effectpairs.datasets.store.decision_log import (
    FILE,
    DecisionLog,
    merge_files,
    parse_decisions,
    put_in_order,
    read_decisions,
    share_decisions,
)
from effectpairs.datasets.store.decisions import Decision, Decisions, weigh_decisions
from effectpairs.datasets.store.ledger import iter_ledger
from effectpairs.datasets.store.location import Location
from effectpairs.datasets.store.upkeep import verify_workspace
from effectpairs.tests import fixtures_workspaces

PRINT = "f" * 64
NUMBERS = itertools.count(1)


def decision(what="verdict", value="accept", *, by="Ana", clip="clip-0", layers=PRINT, **parts):
    number = next(NUMBERS)
    at = f"2026-11-27T18:00:00.{number:06d}Z"
    return Decision(**{"id": f"{number:032x}", "clip": clip, "layers": layers, "by": by, "at": at,
                       "what": what, "value": value, **parts})  # fmt: skip


def test_what_was_appended_is_read_once_by_everybody_and_never_changed(tmp_path):
    first, second = DecisionLog(tmp_path), DecisionLog(tmp_path)
    decisions = [
        decision(),
        decision("note", "a halo"),
        decision("caption", "A <b>camel</b>."),
        decision("effects", []),
    ]
    assert first.append(decisions[:2]) == decisions[:2]
    content = (tmp_path / FILE).read_bytes()
    assert second.append(decisions[1:]) == decisions, "the other one's come too, and its own twice do not count"
    assert first.read_new() == decisions[2:]
    assert (tmp_path / FILE).read_bytes().startswith(content)
    assert list(read_decisions(tmp_path).decisions) == decisions


@pytest.mark.parametrize("cut", [1, 40, 1_000])
def test_a_line_that_a_kill_cut_off_hides_no_other(tmp_path, cut):
    log, kept, late = DecisionLog(tmp_path), decision(), decision()
    log.append([kept])
    with (tmp_path / FILE).open("ab") as file:
        file.write(json.dumps(vars(decision())).encode()[:cut])
    restarted = DecisionLog(tmp_path)
    assert restarted.read_new() == [kept]
    restarted.append([late])
    assert list(read_decisions(tmp_path).decisions) == [kept, late]
    assert restarted.damaged == 1


def test_a_file_that_was_put_in_order_loses_nothing_to_who_reads_on(tmp_path):
    """Its reviewers go on while a corpus is published: what they append is in the new file, and each comes once."""
    decisions = [decision() for _ in range(4)]
    reader, writer = DecisionLog(tmp_path), DecisionLog(tmp_path)
    writer.append(decisions[2:])
    writer.append(decisions[:1])
    with (tmp_path / FILE).open("ab") as file:
        file.write(b"half a li\n")
    assert reader.read_new() == [*decisions[2:], decisions[0]]
    put_in_order(tmp_path)
    lines = (tmp_path / FILE).read_bytes().splitlines()
    assert lines[-1] == b"half a li"
    assert writer.append(decisions[1:2]) == [decisions[1]]
    assert reader.read_new() == [decisions[1]]
    assert list(read_decisions(tmp_path).decisions) == decisions
    assert (reader.damaged, writer.damaged) == (1, 1)


def test_damaged_lines_are_numbered_with_the_remedy(workspace, tmp_path):
    fixtures_workspaces.publish(workspace, tmp_path / "corpus")
    for place in (workspace, tmp_path / "corpus"):
        DecisionLog(place).append([decision() for _ in range(3)])
        text = (place / FILE).read_text()
        (place / FILE).write_text(text.replace('"accept"', '"reject"', 1) + "{\n")
    sentence = (
        rf"decisions.jsonl: cut off or damaged, and so not counted: line 1, 4; take what is missing .* {workspace}"
    )
    (problem,) = verify_workspace(Location.of(workspace))
    assert re.search(sentence, problem)
    (fault,) = verify(effectpairs.open(tmp_path / "corpus"))
    assert "not counted: line 1, 4" in str(fault)
    assert str(fault).startswith(FILE)


def test_a_changed_line_does_not_count(tmp_path):
    DecisionLog(tmp_path).append([decision(value="reject")])
    text = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(text.replace('"reject"', '"accept"'))
    assert not read_decisions(tmp_path).decisions


def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch):
    log, kept = DecisionLog(tmp_path), decision()
    log.append([kept])
    before = (tmp_path / FILE).read_bytes()
    write = os.pwrite

    def fill(descriptor, content, offset):
        if len(content) < 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, content[: len(content) // 2], offset)

    monkeypatch.setattr(os, "pwrite", fill)
    with pytest.raises(OSError, match="the disk is full; free some space"):
        log.append([decision()])
    assert (tmp_path / FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"value": "maybe"}, "'maybe' is no verdict"),
        ({"clip": "../../etc"}, "is no clip id"),
        ({"by": "a\x1b[31m"}, "is no reviewer's name"),
        ({"by": ""}, "is no reviewer's name"),
        ({"what": "note", "value": " "}, "a note is a text"),
        ({"what": "caption", "value": "a\u202eb"}, "a caption is a text"),
        ({"what": "effects", "value": "dust"}, "effects are up to 16 words"),
        ({"what": "mask", "value": {"layer": "gt", "drawn_on": PRINT, "frames": {}, "carry": True}}, "are painted on"),
        ({"at": "today"}, "is no time"),
        ({"what": "shape"}, "nothing that is decided"),
        ({"id": "x"}, "hexadecimal"),
    ],
)
def test_a_decision_of_another_form_is_refused(parts, sentence):
    with pytest.raises(ValueError, match=sentence):
        decision(**parts)


def test_people_who_disagree_send_a_clip_to_review():
    ana, ben = decision(value="accept"), decision(value="reject", by="Ben")
    together = weigh_decisions([ben, ana], PRINT)
    assert (together.verdict, together.is_disputed) == ("review", True)
    assert together.reasons == ("reviewers disagree: Ana accept, Ben reject",)
    changed = weigh_decisions([ana, ben, decision(value="accept", by="Ben")], PRINT)
    assert (changed.verdict, changed.reasons) == ("accept", ("accepted by Ana, Ben",))
    taken_back = weigh_decisions([ana, ben, decision(value=None, by="Ben")], PRINT)
    assert taken_back.verdict == "accept"
    words = [decision("caption", "A dog."), decision("caption", "A cat.", by="Ben")]
    disputed = weigh_decisions([ana, *words], PRINT)
    assert (disputed.verdict, disputed.caption) == ("review", None)
    assert "reviewers disagree about the caption: Ana, Ben" in disputed.reasons


def test_other_layers_are_not_covered():
    assert weigh_decisions([decision()], "e" * 64) is None


def test_a_file_without_decisions_is_not_merged(tmp_path):
    (tmp_path / "notes.txt").write_text("accept all\n")
    with pytest.raises(ValueError, match="holds no decision"):
        merge_files([tmp_path / "notes.txt"], tmp_path)


@pytest.fixture
def workspace(tmp_path):
    """Three finished clips, the third of which was sent to review."""
    entries = fixtures_workspaces.fill_workspace(tmp_path / "w", ["a", "b", "c"])
    doubt = {**entries[2].row["quality"], "verdict": "review", "reasons": ["a doubt"]}
    origin = {**entries[2].row["provenance"], "captions": json.dumps({"augmented": ["It casts a wrong shadow."]})}
    row = {**entries[2].row, "quality": doubt, "provenance": origin}
    doubtful = replace(entries[2], outcome="review", reasons=("a doubt",), row=row)
    fixtures_workspaces.write_ledger(tmp_path / "w", "tiny", [*entries[:2], doubtful], {"made": "by the tests"})
    return tmp_path / "w"


def prints(workspace):
    apply = Decisions().apply
    return {e.name: apply(e).row["provenance"]["layers_sha256"] for _, e in iter_ledger(workspace, "tiny")}


def test_publishing_honours_decisions_and_both_keep_them(workspace, tmp_path):
    of = prints(workspace)
    decisions = [
        decision(value="reject", clip="a", layers=of["a"]),
        decision("note", "a halo | <b>", clip="c", layers=of["c"]),
        decision(value="accept", clip="c", layers=of["c"], by="Ben"),
        decision("caption", "A new caption.", clip="c", layers=of["c"]),
        decision("effects", ["dust"], clip="c", layers=of["c"]),
        decision(value="reject", clip="b", layers="e" * 64),
    ]
    DecisionLog(workspace).append(decisions)
    manifest = fixtures_workspaces.publish(workspace, tmp_path / "corpus")
    corpus = effectpairs.open(str(tmp_path / "corpus"))
    assert sorted(corpus.ids) == ["b", "c"], "b was made anew since it was rejected"
    assert corpus["c"].quality["verdict"] == "accept"
    assert corpus["c"].quality["reasons"] == ["accepted by Ben", "note by Ana: a halo | <b>", "a doubt"]
    assert (corpus["c"].caption, corpus["c"].effects) == ("A new caption.", ["dust"])
    record = corpus["c"].record("captions")
    assert (record["caption_by"], record["given"]) == ("a person", "A new caption.")
    assert "augmented" not in record, "they are variants of the caption that was corrected"
    assert {row["name"]: row["outcome"] for row in corpus.outcomes().to_pylist()} == {
        "a": "reject",
        "b": "accept",
        "c": "accept",
    }
    assert (
        manifest["account"]["sources"]["tiny"] | {"accepted": 2, "rejected": 1, "review": 0}
        == (manifest["account"]["sources"]["tiny"])
    )
    assert read_decisions(tmp_path / "corpus") == read_decisions(workspace)
    late = decision(value="reject", clip="b", layers=of["b"])
    DecisionLog(tmp_path / "corpus").append([late])
    fixtures_workspaces.publish(workspace, tmp_path / "corpus")
    assert effectpairs.open(str(tmp_path / "corpus")).ids == ("c",)
    assert late in read_decisions(workspace).decisions, "those about the corpus come home"


def test_decisions_give_the_same_bytes_in_any_order_of_arrival(workspace, tmp_path):
    of = prints(workspace)
    decisions = [
        decision(value=value, clip=clip, layers=of[clip], by=by)
        for by, values in {"Ana": ("accept", "reject", "accept"), "Ben": ("accept", "accept", "accept")}.items()
        for clip, value in zip("abc", values, strict=True)
    ]
    decisions += [decision("note", "well lit", clip="c", layers=of["c"], by=by) for by in ("Ben", "Ana")]
    corpora = []
    for seed in range(3):
        (workspace / FILE).unlink(missing_ok=True)
        arrivals = random.Random(seed).sample(decisions, len(decisions))
        for one in arrivals:
            DecisionLog(workspace).append([one])
        fixtures_workspaces.publish(workspace, tmp_path / f"corpus{seed}")
        corpora.append(fixtures_workspaces.read_files(tmp_path / f"corpus{seed}"))
    assert corpora[0] == corpora[1] == corpora[2]
    assert FILE in corpora[0]


def test_a_remote_corpus_gets_all_decisions(tmp_path):
    url = f"memory://decisions-{tmp_path.name}"
    both = Decisions.of([decision(), decision(by="Ben")])
    share_decisions(Decisions(decisions=both.decisions[:1]), url)
    share_decisions(both, url)
    assert read_decisions(url) == both


def test_parsing_passes_over_what_is_no_decision():
    assert list(parse_decisions(b'\n{}\n[1]\nnull\n{"id": 1}\n\xff\xfe\n' + b"[" * 100_000)) == []
