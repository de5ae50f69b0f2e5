# ruff: noqa: E501  (whole sentences, one a line)
from dataclasses import dataclass, field
from typing import Literal

import pytest
from effectpairs.datasets.sources.source import SOURCES, FootageSource, load_source, source_names
from effectpairs.flows.sources import load_any


@dataclass(frozen=True, kw_only=True)
class Plain:
    kind: Literal["plain"] = "plain"
    radius_px: int = 3


@dataclass(frozen=True, kw_only=True)
class Fancy:
    kind: Literal["fancy"] = "fancy"
    size: tuple[int, int] = (32, 48)
    floor: float = 0.5

    def __post_init__(self):
        if not 0 <= self.floor < 1:
            raise ValueError(f"floor={self.floor} is not in [0, 1); divide an 8-bit threshold by 255")


@dataclass(frozen=True, kw_only=True)
class Source(FootageSource):
    normalise: Fancy = field(default_factory=Fancy)
    subject: Plain | Fancy = Plain()
    extra: Plain | None = None


LINES = 'root = "/data"\nlayout = "davis"\n'


def written(tmp_path, text, name="davis.toml"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def test_a_file_becomes_settings(tmp_path):
    path = written(
        tmp_path,
        LINES
        + 'effects = ["shadow", "dust"]\ninclude = ["a*"]\n[normalise]\nsize = [48, 64]\n[subject]\nkind = "fancy"\nfloor = 0.25\n',
        "beach.toml",
    )
    source = load_source(path, into=Source)
    assert source == Source(
        name="beach",
        root="/data",
        layout="davis",
        effects=("shadow", "dust"),
        include=("a*",),
        normalise=Fancy(size=(48, 64)),
        subject=Fancy(floor=0.25),
    )
    hash(source)


def test_overrides_come_last(tmp_path):
    path = written(tmp_path, LINES + "[normalise]\nfloor = 0.1\n")
    overrides = [
        "normalise.floor=0.2",
        "normalise.size=192x336",
        "root=/x",
        "subject.radius_px=7",
        'include=["b", "c"]',
    ]
    source = load_source(path, overrides, into=Source)
    assert source.normalise == Fancy(floor=0.2, size=(192, 336))
    assert (source.root, source.subject, source.include) == ("/x", Plain(radius_px=7), ("b", "c"))
    assert load_source(path, ["subject.kind=fancy"], into=Source).subject == Fancy()
    assert load_source(path, ["name=other", "licence=CC BY 4.0"], into=Source).licence == "CC BY 4.0"
    assert load_source(path, ["extra.radius_px=1"], into=Source).extra == Plain(radius_px=1)


def test_a_table_is_filled_from_the_fields_default(tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class Tuned(FootageSource):
        normalise: Fancy = field(default_factory=lambda: Fancy(floor=0.75))

    source = load_source(written(tmp_path, LINES + "[normalise]\nsize = [16, 16]\n"), into=Tuned)
    assert source.normalise == Fancy(floor=0.75, size=(16, 16)), "as dataclasses.replace of the default would"


@pytest.mark.parametrize(
    ("text", "overrides", "sentence"),
    [
        (LINES + "[normalize]\n", [], "davis.toml: 'normalize' is not a setting of a source; did you mean 'normalise'?"),
        (LINES + "[normalise]\nsizes=[1,2]\n", [], "davis.toml: 'sizes' is not a setting of [normalise]; did you mean 'size'?"),
        (LINES + "[subject]\nradius=1\n", [], "davis.toml: 'radius' is not a setting of [subject]; did you mean 'radius_px'?"),
        (LINES, ["subject.kind=[1]"], "davis.toml: subject.kind=[1] is none of plain, fancy."),
        (LINES + "[subject]\nkind='fancyy'\n", [], "davis.toml: subject.kind='fancyy' is none of plain, fancy; did you mean 'fancy'?"),
        (LINES + "subject = 3\n", [], "davis.toml: subject=3 is a value, but 'subject' is a table; write subject.kind or [subject]"),
        (LINES + "[normalise]\nfloor = 5.0\n", [], "davis.toml: [normalise] floor=5.0 is not in [0, 1); divide an 8-bit threshold by 255"),
        (LINES + "image_fps = 0\n", [], "davis.toml: image_fps=0.0 is not in (0, 1000]; give frames per second, e.g. 24"),
        (LINES + "image_fps = 'fast'\n", [], "davis.toml: image_fps='fast' does not do: input should be a valid number"),
        (LINES, ["layout=davos"], "davis.toml: layout='davos' does not do: input should be 'davis', 'gen-omnimatte', 'videos',"),
        (LINES, ["normalise.size=[1]"], "davis.toml: normalise.size=[1] does not do: it has too few values"),
        (LINES, ["normalise.fbs=1"], "davis.toml: 'fbs' is not a setting of [normalise]."),
        (LINES, ["root.x=1"], "--set 'root.x=1': 'root' is a value, not a table"),
        (LINES, ["fps"], "--set 'fps' is not key=value; write for example --set normalise.fps=12"),
        ('layout = "davis"\n', [], "davis.toml: 'root' is missing; every source needs it"),
        (LINES + "name = 'a b'\n", [], "davis.toml: name='a b' is not a plain name; use up to 50 letters, digits, '.', '_' and '-'"),
        ("root = \n", [], "davis.toml: is not valid TOML"),
        ('root = ""\nlayout = "davis"\n', [], "davis.toml: root='' names no folder"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(tmp_path, text, overrides, sentence):
    with pytest.raises(ValueError) as caught:
        load_source(written(tmp_path, text), overrides, into=Source)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_unknown_sources():
    with pytest.raises(ValueError, match=r"'davos' is not a source; did you mean 'davis'\? There are: .*gen-omnimatte"):
        load_source("davos")
    with pytest.raises(ValueError, match=r"gone\.toml: there is no such settings file"):
        load_source("gone.toml")
    with pytest.raises(ValueError, match="There are: "):
        load_source("qqqqqq")


@pytest.mark.parametrize("name", source_names())
def test_the_sources_that_come_along(name):
    text = (SOURCES / f"{name}.toml").read_text(encoding="utf-8")
    assert load_any(name).name == name, "every key is a setting of its flow"
    assert text.startswith("#"), "a comment says where the footage comes from"
    assert "icence" in text


@pytest.mark.parametrize(
    "name", ["davis", "gen-omnimatte", "omnimatte-zero", "omnimatte-zero-layers", "pexels", "videos"]
)
def test_a_data_set_of_many_clips_says_no_effect_for_all_of_them(name):
    assert load_any(name).effects == ()


def test_effects_of_a_source_are_of_the_vocabulary_or_marked(tmp_path):
    path = written(tmp_path, 'layout = "davis"\nroot = "/data"\neffects = ["mud", "other: soap bubbles"]\n')
    assert load_any(path).effects == ("mud", "other: soap bubbles")
    for word, sentence in (("shadwo", "write 'other: shadwo' where it is meant"), ("other: 7", "names no effect")):
        with pytest.raises(ValueError, match=rf"davis\.toml: .*{sentence}"):
            load_any(path, [f'effects=["{word}"]'])


def test_names():
    assert {"davis", "gen-omnimatte", "omnimatte-zero", "omnimatte-zero-layers", "pexels", "videos"} <= set(
        source_names()
    )
    assert load_source("davis") == load_source(SOURCES / "davis.toml")
