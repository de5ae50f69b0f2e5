"""Published data sets of pairs as sources: VOID's trees, triples in folders, tables; and our own exports read back."""

import json

import numpy as np
import pytest
from effectpairs.datasets.footage import metadata_table
from effectpairs.datasets.footage.listing import Footage, SubjectFiles, UnusableFootage, list_footage
from effectpairs.datasets.sources.source import load_source
from effectpairs.datasets.store.codec import decode
from effectpairs.datasets.store.ledger import read_ledger
from effectpairs.flows.footage.source import RealSource
from effectpairs.tests.fixtures_exports import export, exportable_corpus
from effectpairs.tests.fixtures_workspaces import run_source


def listed(name, root, *overrides):
    return list_footage(load_source(name, [f"root='{root}'", *overrides], into=RealSource))


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"video")


def test_void_pairs_and_clips(tmp_path):
    pair, clip = tmp_path / "set/pair", tmp_path / "set/deep/clip"
    touch(*(pair / f"{part}.mp4" for part in ("rgb_full", "rgb_removed", "mask", "depth_removed")))
    touch(clip / "input_video.mp4", clip / "quadmask_0.mp4", clip / "quadmask_1.mp4", clip / "prompt.json")
    touch(tmp_path / "set/bare/input_video.mp4")
    bare, second, first = listed("void", tmp_path / "set")
    assert first == Footage(
        name="pair",
        video=pair / "rgb_full.mp4",
        subjects=(SubjectFiles(masks=pair / "mask.mp4", meaning="quadmask"),),
        background=pair / "rgb_removed.mp4",
    )
    masks = [SubjectFiles(masks=clip / f"quadmask_{number}.mp4", meaning="quadmask") for number in (0, 1)]
    assert (second.name, second.subjects, second.background) == ("deep-clip", tuple(masks), None)
    assert isinstance(bare, UnusableFootage)
    assert "quadmask_0.mp4 is not there, make it or exclude 'bare'" in bare.reason
    (pair / "rgb_removed.mp4").unlink()
    assert "lacks rgb_removed" in listed("void", tmp_path / "set")[-1].reason


@pytest.mark.parametrize(
    ("name", "video", "plate", "mask"),
    [
        ("rose", "Env1/Env1_Unedited/a.mp4", "Env1/Env1_Edited/a.mp4", "Env1/Env1_Masked/a.mp4"),
        ("vor", "FG_BG/a.mp4", "BG/a.mp4", "MASK/a.mp4"),
    ],
)
def test_triples(tmp_path, name, video, plate, mask):
    touch(*(tmp_path / part for part in (video, plate, mask)), tmp_path / video.replace("a.mp4", "b.mp4"))
    clip, alone = listed(name, tmp_path)
    paths = [clip.video, clip.background, clip.subjects[0].masks]
    assert [path.resolve() for path in paths] == [tmp_path / part for part in (video, plate, mask)]
    assert "has no mask beside it" in alone.reason
    assert "CC-BY-NC-4.0" in load_source(name, into=RealSource).licence


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_tables(tmp_path, form):
    rows = [
        {"video": f"v/{n}.mp4", "vace_video": f"i/{n}.mp4", "vace_video_mask": f"m/{n}.mp4", "prompt": f'No {n}, "x"'}
        for n in "ab"
    ]
    lines = [json.dumps(row) for row in rows]
    texts = {"json": f"[{','.join(lines)}]", "jsonl": "\n".join(lines) + "\n"}
    texts["csv"] = "video,vace_video,vace_video_mask,prompt\n" + "".join(
        f'{row["video"]},{row["vace_video"]},{row["vace_video_mask"]},"{row["prompt"]}"\n'.replace('"x"', '""x""')
        for row in rows
    )
    (tmp_path / f"metadata.{form}").write_text(texts[form])
    touch(*(tmp_path / file for row in rows for key, file in row.items() if key != "prompt"))
    clip, other = listed("diffsynth", tmp_path, f"metadata=metadata.{form}", "caption_column=prompt")
    assert clip == Footage(
        name="i-a",
        video=tmp_path / "i/a.mp4",
        subjects=(SubjectFiles(masks=tmp_path / "m/a.mp4"),),
        background=tmp_path / "v/a.mp4",
        caption='No a, "x"',
    )
    assert other.caption == 'No b, "x"'
    assert listed("diffsynth", tmp_path, f"metadata=metadata.{form}")[0].caption is None
    fixed = listed("diffsynth", tmp_path, f"metadata=metadata.{form}", "caption_column=prompt", "fixed_caption=Mine.")
    assert fixed[0].caption == "Mine."


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "is not there; check the path"),
        ("{}", "is no table of clips (it is no list of objects)"),
        ("[1]", "is no table of clips"),
        ("[" * 100_000, "is no table of clips"),
        ('[{"video": "a.mp4"}]', "has no column 'vace_video'; it has video; name one in the settings"),
    ],
)
def test_tables_that_are_none(tmp_path, text, sentence):
    if text is not None:
        (tmp_path / "metadata.json").write_text(text)
    with pytest.raises(ValueError) as problem:
        listed("diffsynth", tmp_path, "metadata=metadata.json")
    assert sentence in str(problem.value)


def test_a_table_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(metadata_table, "MAX_JSON_BYTES", 1)
    (tmp_path / "metadata.json").write_text("[]")
    with pytest.raises(ValueError, match="above the limit of 0; divide it"):
        listed("diffsynth", tmp_path, "metadata=metadata.json")


def test_a_row_leads_nowhere_else(tmp_path):
    root = tmp_path / "root"
    touch(root / "ok.mp4", tmp_path / "secret.mp4")
    rows = [{"vace_video": name, "video": "ok.mp4", "vace_video_mask": "ok.mp4"}
            for name in ("../secret.mp4", str(tmp_path / "secret.mp4"), "gone.mp4", "", "ok.mp4")]  # fmt: skip
    (root / "metadata.json").write_text(json.dumps(rows))
    by_name = {item.name: item for item in listed("diffsynth", root, "metadata=metadata.json")}
    assert isinstance(by_name.pop("ok"), Footage)
    reasons = sorted(item.reason.split(": ", 1)[1].split(";")[0] for item in by_name.values())
    assert reasons[0] == "is not there"
    assert all(f"leads out of the source's folder {root}" in reason for reason in reasons[1:])
    assert len(reasons) == 3


@pytest.mark.parametrize(("layout", "source"), [("gen-omnimatte", "kubric-pairs"), ("void", "void")])
def test_our_own_export_is_a_source_again(tmp_path, layout, source):
    """Video, plate and subject come back bit for bit through the trainers' trees."""
    corpus = exportable_corpus(tmp_path, lengths=(13,), size=(64, 96))
    export(corpus, layout, tmp_path / "out", direction="remove", fps=0.0)
    overrides = (f"root='{tmp_path / 'out'}'", "normalise.size=64x96", "normalise.max_frames=13")
    run_source(load_source(source, overrides, into=RealSource), tmp_path / "again", workers=1)
    (entry,) = read_ledger(tmp_path / "again", source)
    clip = corpus["clip.000"]
    for layer in ("gt", "background", "subject_mask", "over"):
        again = decode((tmp_path / "again" / entry.layers[layer]["file"]).read_bytes())
        assert np.array_equal(again, getattr(clip, layer)), layer
