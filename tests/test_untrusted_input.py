"""What comes from outside is limited, and cannot leave its folder, steer a terminal, or become a link or a formula."""

import csv
import io
import json
import math
import re

import effectpairs
import pytest
import yaml
from effectpairs.cli.app import app
from effectpairs.datasets.corpus.finalize import finalize
from effectpairs.datasets.corpus.publish import plan_shards, write_planned
from effectpairs.datasets.corpus.selection import PublishSettings
from effectpairs.datasets.gallery.report import write_report
from effectpairs.datasets.store.location import Location
from effectpairs.settings import settings_from
from effectpairs.tests import fixtures_corpus, fixtures_workspaces
from effectpairs.tests.fixtures_scene import sliding_square, write_h264
from effectpairs.training.evaluation.videos import find_video
from effectpairs.training.latents.cache import row_path
from effectpairs.training.study.study import WinRate, write_win_rates
from effectpairs.untrusted_input import (
    check_pattern,
    csv_text,
    fill_pattern,
    is_id,
    markdown_text,
    parse_json,
    parse_toml,
    path_within,
    printable,
)
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

ESCAPES = ["../X", "../../../../X", "/etc/X", "a/../../X", "..", ".", "", "a//b", "a/./b", "a\\b", "a\0b", "a\nb/\x1b"]
"""Names that are no file below a folder."""


@pytest.mark.parametrize("name", ESCAPES)
def test_a_path_made_of_data_stays_in_its_folder(tmp_path, name):
    for use in (
        lambda: path_within(tmp_path, name),
        lambda: Location(str(tmp_path)).write(name or "..", b""),
        lambda: Location(f"memory://{tmp_path.name}").write(name or "..", b""),
        lambda: find_video(tmp_path, name),
        lambda: row_path(tmp_path, f"{name}/../../../../x"),
    ):
        with pytest.raises(ValueError, match="it is not used"):
            use()
    assert list(tmp_path.iterdir()) == []


@given(st.text(st.sampled_from("./\\a~\0\x1b"), max_size=12))
def test_no_name_whatever_leaves_its_folder(name):
    from pathlib import Path

    try:
        path = path_within(Path("/nowhere/folder"), name)
    except ValueError:
        return
    assert Path(str(path.absolute())).resolve().is_relative_to("/nowhere/folder")
    assert path != Path("/nowhere/folder")


def test_a_link_that_leads_out_of_a_folder_is_refused(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
    (inside / "data").symlink_to(outside)
    (inside / "here").symlink_to(inside)
    for write in (lambda: path_within(inside, "data/x"), lambda: Location(str(inside)).write("data/x", b"x")):
        with pytest.raises(ValueError, match=r"data: leads out of .*inside by a symbolic link; take the link away"):
            write()
    assert list(outside.iterdir()) == []
    assert path_within(inside, "here/x") == inside / "here" / "x"
    (tmp_path / "link").symlink_to(inside)
    assert path_within(tmp_path / "link", "x") == tmp_path / "link" / "x", "the folder itself may be a link"


@pytest.mark.parametrize("name", ["a", "davis-camel-000-s00-1a2b3c4d", "A.b_c-d", "0" * 200])
def test_ids_are_names_of_files(name):
    assert is_id(name)


@pytest.mark.parametrize("name", [*ESCAPES, "-a", ".a", "a b", "ä", "0" * 201, "a\n"])
def test_other_ids_are_none(name):
    assert not is_id(name)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("[" * 100_000, "nested deeper than 64 levels"),
        ("[" * 66 + "]" * 66, "nested deeper than 64 levels"),
        ('{"a":' * 65 + "1" + "}" * 65, "nested deeper than 64 levels"),
        ('{"a": {"b": [NaN]}}', "a.b=nan is no finite number"),
        ('{"a": 1e999}', "a=inf is no finite number"),
        ('{"a": 100000000000000000000}', "a is a whole number that 64 bits do not hold"),
        (b" " * (64 * 2**20 + 1), "has 67,108,865 bytes, more than 67,108,864"),
        (b"\xff", "utf-8"),
    ],
)
def test_json_has_limits(document, problem):
    with pytest.raises(ValueError, match=problem):
        parse_json(document)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = " + "[" * 100_000, "nested deeper than 64 levels"),
        ("a = " + "[" * 65 + "]" * 65, "nested deeper than 64 levels"),
        ("[" + ".".join("a" * 66) + "]", "nested deeper than 64 levels"),
        ("[t]\na = nan", "t.a=nan is no finite number"),
        (f'a = "{"x" * 20_000}"', "a has 20,000 characters, more than 10,000"),
        ("#" * (2**20 + 1), "has 1,048,577 characters; settings have up to 1,048,576"),
    ],
)
def test_settings_have_limits(text, problem):
    with pytest.raises(ValueError, match=problem):
        parse_toml(text)


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("{stem.__class__}", r"something else than a known word; the words are \{stem\}"),
        ("{0}{", "something else than a known word"),
        ("{stem:>100000000}", "something else than a known word"),
        ("{stem!r}", "something else than a known word"),
        ("{{stem}}", "something else than a known word"),
        ("/etc/*", "is not a path below the folder"),
        ("~/x", "is not a path below the folder"),
        ("../../**/*", "searches too widely"),
        ("*/../../*", "searches too widely"),
        ("**/**/**/*", "searches too widely"),
        ("", "has 0 characters"),
        ("*" * 501, "has 501 characters"),
    ],
)
def test_patterns_know_one_word(pattern, problem):
    with pytest.raises(ValueError, match=problem):
        check_pattern(pattern, "stem")
    from effectpairs.datasets.sources.source import FootageSource

    for key in ("masks", "keys", "background", "foreground", "alpha"):
        value = [pattern] if key == "masks" else pattern
        with pytest.raises(ValueError, match=problem):
            settings_from(FootageSource, {"name": "a", "root": "x", "layout": "videos", key: value})
    with pytest.raises(ValueError, match="pattern"):
        settings_from(FootageSource, {"name": "a", "root": "x", "layout": "videos", "video": pattern})


def test_patterns_are_filled():
    assert fill_pattern("{stem}_mask.mp4", stem="a{b}") == "a{b}_mask.mp4"
    assert fill_pattern("../{stem}_bg/rgb_1x", stem="ball") == "../ball_bg/rgb_1x"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (["normalise.max_frames=80000000005"], "take 61,931,520,003,870,720 bytes a layer"),
        (["normalise.max_frames=100000000000000000005"], "max_frames.* is a whole number that 64 bits do not hold"),
        (["normalise.fps=nan"], "fps=nan"),
        (["origin=" + "x" * 50_000], "has 50,007 characters; write up to 10,000"),
        (["a." * 70 + "b=1"], "is nested deeper than 64 tables"),
        (["normalise.size=" + "[" * 4000], "nested deeper than 64 levels"),
        (["name=" + "x" * 51], "is not a plain name; use up to 50 letters"),
    ],
)
def test_settings_out_of_all_bounds_are_a_sentence(changes, problem):
    from effectpairs.flows.sources import load_any

    with pytest.raises(ValueError, match=problem) as refusal:
        load_any("videos", ["root=x", *changes])
    assert len(str(refusal.value)) < 1200


def test_names_and_licences_are_no_markup():
    assert markdown_text("CC BY 4.0 (our own camera, 2024)") == "CC BY 4.0 (our own camera, 2024)"
    for text in (
        "<script>alert(1)</script>", "[free](https://evil.example)", "![x](http://evil.example/a.png)", "a\n# b",
        "https://evil.example", "www.evil.example", "a@evil.example", "*b*", "a | b", "`x` <b>", "__b__", "&lt;",
    ):  # fmt: skip
        code = markdown_text(text)
        assert code[0] == code[-1] == "`" or code == "a # b"
        assert "`" not in code[1:-1]
        assert not set("|\n") & set(code)


def test_what_steers_a_terminal_is_written_out():
    assert printable("a\x1b[2Jb\x07\x9b\r\u202e\udcff") == "a\\x1b[2Jb\\x07\\x9b\\r\\u202e\\udcff"
    assert printable("two\nlines\tand é 漢") == "two\nlines\tand é 漢"


def test_no_clip_steers_the_terminal_or_the_page(tmp_path):
    """Names, captions, licences and reasons of a corpus, as `inspect`, `verify`, the data card and the gallery show."""
    evil = "\x1b[2J\x1b]0;owned\x07<script>alert(1)</script> [free](https://evil.example)"
    row = {"caption": evil, "provenance": {**fixtures_corpus.provenance("clip", 5), "licence": evil, "origin": evil}}
    fixtures_workspaces.fill_workspace(tmp_path / "w", ["clip-a"], effects=[evil], **row)
    corpus = tmp_path / "corpus"
    location, settings = Location(str(corpus)), PublishSettings()
    files = [
        write_planned(plan, tmp_path / "w", location, settings)
        for plan in plan_shards(tmp_path / "w", location, settings)
    ]
    finalize(tmp_path / "w", location, files, settings, f"{evil}\n# Heading")
    shown = CliRunner().invoke(app, ["inspect", str(corpus)])
    assert shown.exit_code == 0, shown.output
    assert "\\x1b[2J" in shown.output
    assert not set("\x1b\x07") & set(shown.output)
    (corpus / "README.md").write_text("x")
    checked = CliRunner().invoke(app, ["verify", str(corpus)])
    assert checked.exit_code == 1
    missing = CliRunner().invoke(app, ["inspect", f"{corpus}\x1b[2J"])
    assert "\x1b" not in missing.output + str(printable(str(missing.exception)))
    finalize(tmp_path / "w", location, files, settings, f"{evil}\n# Heading")
    card = (corpus / "README.md").read_text()
    front, _, body = card.removeprefix("---\n").partition("\n---\n")
    assert yaml.safe_load(front)["pretty_name"] == f"{evil}\n# Heading"
    outside_code = re.sub(r"`[^`]*`", "", body)
    assert not re.search(r"<script|https?://evil|\x1b|^# Heading", outside_code, re.M)
    page = write_report(effectpairs.open(corpus), tmp_path / "gallery", step=lambda *_: None).read_text()
    assert "<script>alert" not in page


def test_a_cell_of_csv_is_no_formula(tmp_path):
    assert [csv_text(text) for text in ("=1+1", "+1", "-1", "@x", "ours", 3)] == [
        "'=1+1",
        "'+1",
        "'-1",
        "'@x",
        "ours",
        "3",
    ]
    rate = WinRate(
        question="text", method='=HYPERLINK("x")', opponent="|b|", wins=1, answers=2, participants=1, pairs=1
    )
    write_win_rates([rate], tmp_path)
    rows = list(csv.reader(io.StringIO((tmp_path / "winrate.csv").read_text())))
    assert rows[1][1] == '\'=HYPERLINK("x")'
    assert (tmp_path / "winrate.md").read_text().splitlines()[2].count("|") == 7


def test_a_prompts_file_names_no_mask_elsewhere(tmp_path):
    from effectpairs.datasets.footage.prompts import read_prompts

    path = tmp_path / "clip" / "prompts.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"subjects": [{"masks": {"0": "../../secret.png"}}]}))
    with pytest.raises(ValueError, match=r"subject 0: '../../secret.png' leads out of its folder"):
        read_prompts(path)


def test_a_scene_that_is_nested_without_end_is_refused(tmp_path):
    from effectpairs.render.scene.scene import read_scene

    (tmp_path / "scene.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"scene.json: is no scene \(is nested deeper than 64 levels\)"):
        read_scene(tmp_path / "scene.json")


def test_ids_of_long_names_are_ids_and_differ():
    from effectpairs.flows.engine.item import slugify

    long = ["x" * 250 + end for end in "ab"]
    assert len({slugify(name) for name in long}) == 2
    assert all(is_id(f"{'s' * 50}-{slugify(name)}-000-s00-01234567") for name in long)
    assert slugify("a b" * 30) == "-".join(["a", *["ba"] * 29, "b"])[:110], "shorter ones are as they were"
    assert math.isfinite(len(slugify("\udcff")))


def test_videos_are_found_within_a_folder_alone(tmp_path):
    write_h264(tmp_path / "ours" / "clip-a.mp4", sliding_square(5).gt)
    assert find_video(tmp_path / "ours", "clip-a") == tmp_path / "ours" / "clip-a.mp4"
