import io
import json

import numpy as np
import pytest
from effectpairs.datasets.corpus.schema import QUALITY_NUMBERS
from effectpairs.datasets.gallery import tables
from effectpairs.datasets.gallery.tables import NUMBERS, finite, format_number
from effectpairs.stages import quality
from effectpairs.tests.fixtures_corpus import make_small_corpus
from rich.console import Console


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_small_corpus(tmp_path_factory.mktemp("overview"), clips=5)


@pytest.fixture(scope="module")
def printed(corpus):
    console = Console(width=200, file=io.StringIO())
    for table in tables.as_tables(corpus):
        console.print(table)
    return console.file.getvalue()


def test_every_number_of_the_schema_has_a_title_and_the_unit_it_is_measured_in():
    assert set(NUMBERS) == set(QUALITY_NUMBERS)
    assert {name: number.unit for name, number in NUMBERS.items()} == {
        name: "%" if unit == "share" else unit for name, unit in quality.QUALITY_NUMBERS.items()
    }


def test_tables_name_every_clip_and_every_count(corpus, printed):
    for clip_id in corpus.ids:
        assert clip_id in printed
    assert "5 clips from 5 originals, 65 frames" in printed
    assert "real 2, synthetic 2, unpaired 1" in printed
    assert "48x80" in printed


def test_an_id_and_a_number_are_never_cut_however_narrow_the_terminal(corpus):
    console = Console(width=40, file=io.StringIO(), soft_wrap=True)
    for table in tables.as_tables(corpus):
        console.print(table)
    text = console.file.getvalue()
    assert all(clip_id in text for clip_id in corpus.ids)
    assert "exact" in text


def test_values_survive_strict_json_and_say_what_the_tables_say(corpus):
    found = tables.as_values(corpus)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["counts"] == corpus.manifest["counts"]
    assert [clip["clip_id"] for clip in found["clips"]] == list(corpus.ids)
    assert {"verdict", "reasons", "caption", "effects", "split", "licence"} <= set(found["clips"][0])


def test_quantiles_are_those_of_the_clips_that_have_the_number(corpus):
    found = tables.as_values(corpus)
    areas = [clip["quality"]["effect_area"] for clip in found["clips"] if clip["kind"] != "unpaired"]
    marks = found["quality"]["effect_area"]
    assert marks["clips"] == len(areas) == 4
    assert [marks["min"], marks["median"], marks["max"]] == pytest.approx(list(np.quantile(areas, [0, 0.5, 1])))


def test_the_account_counts_what_was_not_accepted_by_reason(corpus, printed):
    account = tables.as_values(corpus)["account"]
    assert account["sources"]["broken"]["failed"] == 1
    assert {entry["name"] for entry in account["left_out"]} == {"broken-bad", "broken-dull"}
    assert {(found["outcome"], found["reason"], found["clips"]) for found in account["not_accepted"]} == {
        ("fail", "is cut off; <b>fetch</b> it again", 1),
        ("reject", "hardly any effect", 1),
    }
    assert "hardly any effect" in printed


@pytest.mark.parametrize(
    ("reasons", "kind"),
    [
        (("a/b c.mp4: holds no video; give one",), "holds no video; give one"),
        (("x.mov: holds no video; give one",), "holds no video; give one"),
        (("too dark: effect_area is 0.1 %, below 1 %", "second"), "too dark"),
        (("shot of 3 frames is shorter than 5",), "shot of … frames is shorter than …"),
        ((), "no reason was given"),
    ],
)
def test_a_reason_is_reduced_to_its_kind(reasons, kind):
    assert tables.main_reason(reasons) == kind


def test_only_the_first_clips_of_a_large_corpus_are_listed(corpus, monkeypatch):
    monkeypatch.setattr(tables, "ROWS", 2)
    console = Console(width=200, file=io.StringIO())
    for table in tables.as_tables(corpus):
        console.print(table)
    text = console.file.getvalue()
    assert "and 3 clips more; all of them with --json" in text
    assert corpus.ids[2] not in text


def test_a_number_reads_with_its_unit_and_equal_pictures_are_exact():
    measured = dict.fromkeys(NUMBERS) | {"effect_area": 0.0123, "effect_strength": 41.26}
    assert format_number("effect_area", measured) == "1.23 %"
    assert format_number("effect_strength", measured) == "41.3 steps"
    assert format_number("preservation_psnr_db", measured) == "exact"
    assert format_number("unseen_share", measured) == "–"
    assert format_number("preservation_psnr_db", dict.fromkeys(NUMBERS)) == "–"  # no pair, nothing to be equal
    assert finite(float("nan")) is None
    assert finite(2.0) == 2.0
