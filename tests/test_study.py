import json
import math
import re
import time
from pathlib import Path

import av
import numpy as np
import pytest
from effectpairs.datasets.store import codec
from effectpairs.tests import fixtures_browser
from effectpairs.tests.fixtures_corpus import make_small_corpus
from effectpairs.training.evaluation.videos import Method
from effectpairs.training.study.study import (
    QUESTIONS,
    count_win_rates,
    tint_mask,
    wilson_interval,
    win_rate_table,
    write_study,
    write_win_rates,
)

COLOURS = {"warm": (220, 40, 40), "cold": (40, 40, 220)}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_small_corpus(tmp_path_factory.mktemp("asked"), clips=4)


@pytest.fixture(scope="module")
def methods(corpus, tmp_path_factory):
    """Two whose videos can be told apart by their colour alone; the fourth clip only one has."""
    folder = tmp_path_factory.mktemp("methods")
    for name, colour in COLOURS.items():
        (folder / name).mkdir()
        for clip_id in corpus.ids if name == "warm" else [one for one in corpus.ids if one != "tiny-003"]:
            video = np.tile(np.uint8(colour), (11 if name == "warm" else 13, 48, 80, 1))
            (folder / name / f"{clip_id}.mkv").write_bytes(codec.encode(video, fps=16.0))
    return Method(name="warm", folder=folder / "warm"), Method(name="cold", folder=folder / "cold")


@pytest.fixture(scope="module")
def study(corpus, methods, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    told = []
    page = write_study(methods, corpus, folder, report=lambda *at: told.append(at))
    assert page == folder / "page" / "index.html"
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    return folder


def key_of(folder):
    return json.loads((folder / "key.json").read_text())


def frames_of(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_the_page_does_not_tell_whose_a_video_is(study, methods):
    everything = b"".join(path.read_bytes() for path in (study / "page").rglob("*") if path.is_file())
    for method in methods:
        assert method.name.encode() not in everything
        assert str(method.folder).encode() not in everything
    names = {path.relative_to(study / "page").as_posix() for path in (study / "page").rglob("*.mp4")}
    paired = {f"videos/p00{pair}/{name}.mp4" for pair in (1, 2) for name in ("x", "y", "input", "mask")}
    assert names == paired | {"videos/p003/x.mp4", "videos/p003/y.mp4"}  # an unpaired clip has no input


def test_the_key_says_it_and_films_are_of_one_length(study):
    for pair, named in key_of(study)["pairs"].items():
        assert {named["x"], named["y"]} == set(COLOURS)
        for name in ("x", "y"):
            frames = frames_of(study / "page" / "videos" / pair / f"{name}.mp4")
            assert len(frames) == 11  # the shorter of the two
            assert np.abs(frames[0].mean(axis=(0, 1)) - COLOURS[named[name]]).max() < 12


def test_names_are_drawn_for_each_pair_and_the_same_seed_draws_the_same(corpus, methods, tmp_path):
    drawn = []
    for seed in (0, 1, 2, 0):
        write_study(methods, corpus, tmp_path / str(len(drawn)), seed=seed)
        drawn.append([pair["x"] for pair in key_of(tmp_path / str(len(drawn)))["pairs"].values()])
    assert drawn[0] == drawn[3]
    assert {name for names in drawn for name in names} == set(COLOURS)
    assert len({tuple(names) for names in drawn}) > 1


def test_the_mask_is_asked_for_where_there_is_one(study, corpus, methods, tmp_path):
    def told(folder):
        found = re.search(r'application/json">(.*?)</script>', (folder / "page" / "index.html").read_text())
        return json.loads(found[1])["pairs"]

    assert [pair["questions"] for pair in told(study)] == [list(QUESTIONS)] * 2 + [["text", "content"]]
    write_study(methods, corpus, tmp_path, masks=False)
    assert [pair["questions"] for pair in told(tmp_path)] == [["text", "content"]] * 3


def test_the_outline_tints_the_region_alone():
    over = np.zeros((2, 4, 4, 3), np.uint8)
    mask = np.zeros((2, 4, 4), bool)
    mask[1, 2, 3] = True
    shown = tint_mask(over, mask)
    assert shown[1, 2, 3].tolist() == [102, 26, 64]
    assert not shown[~mask].any()
    assert not over.any()


def test_bad_input_is_one_sentence(corpus, methods, tmp_path):
    with pytest.raises(ValueError, match="both methods are called warm"):
        write_study((methods[0], methods[0]), corpus, tmp_path)
    with pytest.raises(ValueError, match=r"no clip of .* in common; name the videos by clip_id, such as tiny-000.mp4"):
        write_study((methods[0], Method(name="empty", folder=tmp_path)), corpus, tmp_path / "out")
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "tiny-000.mkv").write_bytes(codec.encode(np.zeros((5, 20, 30, 3), np.uint8), fps=16.0))
    with pytest.raises(ValueError, match="frames of"):
        write_study((methods[0], Method(name="small", folder=tmp_path / "small")), corpus, tmp_path / "out")


def test_the_commands_make_a_study_and_count_it(corpus, methods, tmp_path):
    from effectpairs.cli.app import app
    from typer.testing import CliRunner

    folders = [str(method.folder) for method in methods]
    wanted = ["--corpus", str(corpus.location.local), "--out", str(tmp_path / "study")]
    assert CliRunner().invoke(app, ["study", *folders, *wanted]).exit_code == 0
    key = key_of(tmp_path / "study")
    answers = [{"pair": "p001", "question": "content", "chosen": "x"}]
    file = tmp_path / "answers.json"
    file.write_text(json.dumps({"study": key["study"], "participant": "me", "answers": answers}))
    done = CliRunner().invoke(app, ["winrate", str(tmp_path / "study"), str(file)])
    assert done.exit_code == 0
    assert "| FG & BG |" in done.output
    assert (tmp_path / "study" / "winrate.csv").is_file()
    assert CliRunner().invoke(app, ["study", "nowhere", folders[0], *wanted]).exit_code == 2


# In a browser


@pytest.fixture
def open_page(tmp_path):
    fixtures_browser.require_chromium("answer the page")
    return lambda folder, who="profile": fixtures_browser.open_page(
        (folder / "page" / "index.html").as_uri(), tmp_path / who
    )


KEYS = {"left": ("1", "ArrowLeft"), "right": ("2", "ArrowRight")}
STATE = "({question: by('question').textContent, at: by('at').textContent, prompt: by('prompt').textContent})"
PLAYING = "[...document.querySelectorAll('.choice video')].every(video => video.videoWidth && video.currentTime > 0)"


def press(page, key):
    """A key of any name, as a keyboard sends it: Enter has a text, which clicks a button that has the focus."""
    text = {"Enter": "\r"}.get(key, key if len(key) == 1 else None)
    for kind in ("keyDown", "keyUp"):
        words = {"text": text} if text and kind == "keyDown" else {}
        page.call("Input.dispatchKeyEvent", type=kind, key=key, **words)


def side_shown(page, key, side):
    """Whose video stands on a side, by its file."""
    source = page.ask(f"document.querySelector('#{side} video').getAttribute('src')")
    _, pair, name = Path(source).with_suffix("").parts
    return key["pairs"][pair][name]


def answer_all(page, key, prefer):
    """Answer every question by keyboard, always for one method; return how often it stood on which side."""
    press(page, "Enter")
    sides = []
    while not page.ask("by('ask').hidden"):
        source = page.ask("by('input').getAttribute('src')") or "nothing"
        mask_asked = page.ask("by('question').textContent") == QUESTIONS["mask"]
        assert source.endswith("mask.mp4" if mask_asked else ("input.mp4", "nothing"))
        side = "left" if side_shown(page, key, "left") == prefer else "right"
        sides.append(side)
        press(
            page,
            {"left": "1", "right": "2"}[side] if len(sides) % 2 else {"left": "ArrowLeft", "right": "ArrowRight"}[side],
        )
    return sides


def saved(page, folder):
    """The file that the page saves, as the browser downloads it."""
    folder.mkdir()
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    press(page, "Enter")
    end = time.monotonic() + 20
    while not (files := list(folder.glob("*.json"))):
        assert time.monotonic() < end, "nothing was downloaded"
        time.sleep(0.05)
    return files[0]


def test_a_participant_answers_by_keyboard_and_saves_a_file(open_page, study, tmp_path):
    key = key_of(study)
    with open_page(study) as page:
        assert page.ask("by('total').textContent") == "8"
        press(page, "Enter")
        page.wait(PLAYING)
        first = page.ask(STATE)
        assert first["question"] == QUESTIONS["text"]
        assert first["at"] == "1 of 8"
        (tmp_path / "page.png").write_bytes(page.screenshot())
        press(page, "x")  # no key of ours
        press(page, " ")  # from the start
        press(page, "1")
        assert page.ask(STATE)["at"] == "2 of 8"
        press(page, "Backspace")
        assert page.ask(STATE) == first
        answer_all(page, key, "warm")
        assert page.ask("[by('start').hidden, by('ask').hidden, by('end').hidden]") == [True, True, False]
        answers = saved(page, tmp_path / "downloads")
        assert page.errors == []
    found = json.loads(answers.read_text())
    assert len(found["answers"]) == 8
    assert {key["pairs"][answer["pair"]][answer["chosen"]] for answer in found["answers"]} == {"warm"}
    assert all((answer["side"] == "left") == (answer["left"] == answer["chosen"]) for answer in found["answers"])
    rates = count_win_rates(study / "key.json", [answers])
    assert [(rate.question, rate.method, rate.wins, rate.answers) for rate in rates] == [
        ("text", "cold", 0, 3), ("mask", "cold", 0, 2), ("content", "cold", 0, 3)
    ]  # fmt: skip


def test_what_was_answered_is_there_after_the_page_was_closed(open_page, study):
    with open_page(study) as page:
        press(page, "Enter")
        for _ in range(3):
            press(page, "1")
        page.call("Page.reload")
        page.wait("document.readyState === 'complete' && typeof state !== 'undefined' && state.answers.length === 3")
        press(page, "Enter")
        assert page.ask("by('at').textContent") == "4 of 8"
        assert page.errors == []


def test_sides_and_participants_are_drawn_by_chance(open_page, study):
    lefts = "Array.from({length: 200}, () => begun().steps[0].left).filter(left => left === 'x').length"
    drawn = []
    for who in ("first", "second"):
        with open_page(study, who) as page:
            drawn.append(page.ask("state.participant"))
            assert 60 < page.ask(lefts) < 140
            assert page.ask("new Set(Array.from({length: 50}, () => begun().steps[0].pair)).size") == 3
    assert len(set(drawn)) == 2


# What the answers say


def test_wilson_by_known_values():
    low, high = wilson_interval(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson_interval(0, 10) == (0.0, pytest.approx(0.2775, abs=1e-4))
    assert wilson_interval(10, 10) == (pytest.approx(0.7225, abs=1e-4), 1.0)
    z = 1.959963984540054
    for wins, answers in ((0, 1), (1, 1), (0, 10), (3, 4), (7, 12), (10, 10), (499, 1000)):
        share, weight = wins / answers, z * z / answers
        middle = (share + weight / 2) / (1 + weight)
        half = z * math.sqrt(share * (1 - share) / answers + weight / (4 * answers)) / (1 + weight)
        expected = (0.0 if wins == 0 else middle - half), (1.0 if wins == answers else middle + half)
        assert wilson_interval(wins, answers) == pytest.approx(expected, abs=1e-9)
    for wins, answers in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="are no share"):
            wilson_interval(wins, answers)


@pytest.fixture
def answered(tmp_path):
    """A key of two pairs and two participants who disagree on one."""
    key = {"p001": {"clip": "a", "x": "ours", "y": "theirs"}, "p002": {"clip": "b", "x": "theirs", "y": "ours"}}
    (tmp_path / "key.json").write_text(json.dumps({"study": "s1", "pairs": key}))
    files = []
    for who, chosen in (("one", ("x", "y")), ("two", ("x", "x"))):
        answers = [{"pair": pair, "question": "text", "chosen": name} for pair, name in zip(key, chosen, strict=True)]
        files.append(tmp_path / f"{who}.json")
        files[-1].write_text(json.dumps({"study": "s1", "participant": who, "answers": answers}))
    return tmp_path / "key.json", files


def test_answers_are_counted_for_the_method_behind_the_name(answered, tmp_path):
    rates = count_win_rates(*answered)
    assert [(rate.method, rate.opponent, rate.wins, rate.answers, rate.participants, rate.pairs) for rate in rates] == [
        ("ours", "theirs", 3, 4, 2, 2)
    ]
    assert "| Text | 75% | 30% to 95% | 4 | 2 | 2 |" in win_rate_table(rates)
    write_win_rates(rates, tmp_path / "out")
    rows = (tmp_path / "out" / "winrate.csv").read_text().splitlines()
    assert rows[1].startswith("text,ours,theirs,3,4,0.750000,0.30")
    assert win_rate_table([]) == "No answers.\n"


def test_answers_of_another_study_or_given_twice_are_refused(answered, tmp_path):
    key, files = answered
    with pytest.raises(ValueError, match="are of one participant"):
        count_win_rates(key, [files[0], files[0]])
    for change, message in (
        ({"study": "s2"}, "answers study s2, not s1"),
        ({"answers": [{"pair": "p009", "question": "text", "chosen": "x"}]}, "the study did not ask for"),
        ({"answers": [{"pair": "p001", "question": "text", "chosen": "z"}]}, "the study did not ask for"),
    ):
        files[0].write_text(json.dumps({**json.loads(files[1].read_text()), **change}))
        with pytest.raises(ValueError, match=message):
            count_win_rates(key, files[:1])
    files[0].write_text("{}")
    with pytest.raises(ValueError, match="it has no study"):
        count_win_rates(key, files[:1])
    files[0].write_text("no json")
    with pytest.raises(ValueError, match="is no file of a study"):
        count_win_rates(key, files[:1])
