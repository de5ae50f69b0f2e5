"""Exports: read back by readers written from the formats' rules, killed and resumed, refused in one sentence."""

import contextlib
import json
import multiprocessing
import os
import re
import signal
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from effectpairs.cli.app import app
from effectpairs.datasets.corpus.reader import open_corpus
from effectpairs.datasets.exports import engine, exr
from effectpairs.datasets.exports.exr import FIRST_FRAME, LINEAR
from effectpairs.datasets.exports.fitting import DoesNotFit, _sample_times
from effectpairs.datasets.exports.formats import FORMATS
from effectpairs.datasets.exports.object_removal import BACKGROUND_TEXT
from effectpairs.datasets.exports.settings import ExportSettings
from effectpairs.datasets.exports.trainers import given_cells
from effectpairs.datasets.store import atomic_io
from effectpairs.tests.fixtures_exports import CAPTIONS, READERS, decode, export, exportable_corpus, read_pairs
from effectpairs.tests.fixtures_workspaces import read_files
from typer.testing import CliRunner

FRAMES = {"ltx": lambda count: (count - 1) // 8 * 8 + 1}
"""Frames that a format takes of a clip, where that is not all of a clip of 8k+5."""
AT_12 = [0, 1, 3, 4, 5, 7, 8, 9, 11, 12, 13, 15, 16]
"""Frames of a clip at 16 a second that are nearest to the instants of 12 a second, of two the earlier."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return exportable_corpus(tmp_path_factory.mktemp("exports"))


def paired(corpus, name):
    clips = [corpus[clip_id] for clip_id in corpus.ids if corpus[clip_id].over is not None]
    shortest = 9 if name == "ltx" else 6 if name == "void" else 5
    return [clip for clip in clips if clip.num_frames >= shortest]


def expected_mask(name, clip, direction, frames):
    effect, subject = clip.effect_mask[frames], clip.subject_mask[frames] > 127
    if name in ("videox-fun", "finetrainers", "musubi"):
        return None
    if name == "ltx":
        groups = [slice(0, 1), *(slice(8 * k - 7, 8 * k + 1) for k in range(1, (len(frames) - 1) // 8 + 1))]
        cells = effect.reshape(len(effect), effect.shape[1] // 32, 32, effect.shape[2] // 32, 32).any(axis=(2, 4))
        return ~np.stack([cells[group].any(axis=0) for group in groups])
    if name not in ("gen-omnimatte", "void"):
        return effect
    # The readers turn the values round before they cut them.
    values = np.zeros(effect.shape, int)
    if direction == "add":
        values[effect] = 127 if name == "void" else 255
    elif name == "void":
        values[effect], values[subject], values[subject & effect] = 127, 255, 191
    else:
        values[:], values[subject] = 127, 255
    return values


@pytest.mark.parametrize("direction", ["add", "remove"])
@pytest.mark.parametrize("name", READERS)
def test_every_export_reads_back_equal(corpus, name, direction, tmp_path):
    summary = export(corpus, name, tmp_path / "out", direction=direction)
    pairs = read_pairs(name, tmp_path / "out")
    clips = paired(corpus, name)
    assert summary.exported == len(pairs) == len(clips) > 0
    for clip, pair in zip(clips, pairs, strict=True):
        count = FRAMES.get(name, lambda count: count)(clip.num_frames)
        frames = AT_12 if name == "void" else list(range(count))
        target, source = ("gt", "over") if direction == "add" else ("over", "gt")
        target = "background" if direction == "remove" and name in ("gen-omnimatte", "void") else target
        assert np.array_equal(pair.target, getattr(clip, target)[frames])
        assert np.array_equal(pair.source, getattr(clip, source)[frames])
        mask = expected_mask(name, clip, direction, frames)
        assert (pair.mask is None) == (mask is None)
        assert mask is None or np.array_equal(pair.mask, mask)
        words = " ".join(clip.caption.split()) if name == "simpletuner" else clip.caption
        assert pair.caption == (BACKGROUND_TEXT if target == "background" else words)
    assert summary.captions_of_gt == (len(pairs) if direction == "remove" and target == "over" else 0)
    reasons = json.loads((tmp_path / "out/effectpairs-export.json").read_text())["left_out"]
    assert reasons["unpaired: it has no video without its effect"] == 1
    assert sum(reasons.values()) == len(corpus) - len(pairs)


def test_an_effect_of_any_frames_reaches_the_latents_of_ltx():
    """The autoencoder groups frames 0, 1-8, 9-16; the trainer's own grouping would lose an effect in 9-16."""
    effect = np.zeros((17, 64, 64), bool)
    effect[9:17, 40, 3] = True
    given = given_cells(effect)
    cells = given.reshape(17, 2, 32, 2, 32).mean(axis=(2, 4))
    padded = np.concatenate([cells, np.zeros((7, 2, 2))]).reshape(3, 8, 2, 2).max(axis=1)
    assert (padded > 0.5).tolist() == [[[True, True]] * 2, [[True, True]] * 2, [[True, True], [False, True]]]


def test_lerobot(corpus, tmp_path):
    export(corpus, "lerobot", tmp_path / "out")
    root, info = tmp_path / "out", json.loads((tmp_path / "out/meta/info.json").read_text())
    episodes = pq.read_table(root / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    frames = pq.read_table(root / "data/chunk-000/file-000.parquet").to_pandas()
    tasks = pq.read_table(root / "meta/tasks.parquet").to_pandas()
    clips = paired(corpus, "lerobot")
    assert (info["codebase_version"], info["fps"], info["total_episodes"]) == ("v3.0", 16, len(clips))
    assert frames["index"].tolist() == list(range(info["total_frames"]))
    for clip, episode in zip(clips, episodes, strict=True):
        rows = frames.iloc[episode["dataset_from_index"] : episode["dataset_to_index"]]
        assert tasks.iloc[rows["task_index"].iloc[0]].name == clip.caption
        assert np.allclose(rows["timestamp"], np.arange(clip.num_frames) / 16)
        for layer in ("gt", "over", "effect_mask"):
            key = f"observation.images.{layer}"
            place = {name: episode[f"videos/{key}/{name}"] for name in ("chunk_index", "file_index")}
            video = decode(root / info["video_path"].format(video_key=key, **place))
            assert np.array_equal(
                video[..., 0], getattr(clip, layer)[..., 0] if layer != "effect_mask" else clip.effect_mask * 255
            )
    values = np.concatenate([clip.gt.reshape(-1, 3) for clip in clips]) / 255
    stats = json.loads((root / "meta/stats.json").read_text())["observation.images.gt"]
    assert np.allclose(np.ravel(stats["mean"]), values.mean(axis=0))
    assert np.allclose(np.ravel(stats["std"]), values.std(axis=0))
    assert np.shape(stats["max"]) == (3, 1, 1)


@pytest.mark.parametrize("alpha", ["straight", "premultiplied"])
def test_exr_gives_every_8_bit_value_back(tmp_path, alpha):
    openexr, otio = pytest.importorskip("OpenEXR"), pytest.importorskip("opentimelineio")
    corpus = exportable_corpus(tmp_path, lengths=(5,), size=(32, 48))
    export(corpus, "exr", tmp_path / "out", alpha=alpha)
    (clip,) = paired(corpus, "exr")
    track = otio.adapters.read_from_file(str(tmp_path / "out/timeline.otio")).tracks[0]
    reference = track[0].media_reference
    assert (track[0].name, reference.start_frame, track[0].source_range.duration.value) == ("clip.000", FIRST_FRAME, 5)
    for number in range(5):
        path = tmp_path / "out" / reference.target_url_for_image_number(number)
        channels = {
            name: channel.pixels for name, channel in openexr.File(str(path), separate_channels=True).channels().items()
        }
        cover = clip.alpha[number] / np.float32(255)
        for layer, prefix in (("gt", ""), ("over", "over."), ("foreground", "foreground.")):
            light = np.stack([channels[f"{prefix}{sign}"] for sign in "RGB"], -1).astype(np.float32)
            shown = np.ones_like(cover, bool)
            if layer == "foreground" and alpha == "premultiplied":
                shown = cover > 0
                light[shown] /= cover[shown][:, None]
            nearest = np.abs(light[shown][..., None] - LINEAR).argmin(-1)
            assert np.array_equal(nearest, getattr(clip, layer)[number][shown])
        assert np.array_equal(channels["effect_mask.A"] > 0.5, clip.effect_mask[number])
        assert np.array_equal(np.rint(channels["foreground.A"].astype(np.float32) * 255), clip.alpha[number])


def test_exr_says_at_once_what_it_needs(corpus, tmp_path, monkeypatch):
    pytest.importorskip("OpenEXR")
    monkeypatch.setitem(sys.modules, "opentimelineio", None)
    with pytest.raises(ImportError, match=r"pip install 'effectpairs\[compositing\]'"):
        export(corpus, "exr", tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.exr"))


# ---------------------------------------------------------------- words, rate, length, size


@pytest.mark.parametrize(
    ("choice", "texts"),
    [
        ("caption", [CAPTIONS[0], "Plain."]),
        ("dense", ["Dense."]),
        ("augmented-1", [CAPTIONS[1]]),
        ("none", ["", ""]),
        ("text:Without it.", ["Without it."] * 2),
    ],
)
def test_captions(corpus, choice, texts, tmp_path):
    export(corpus, "videox-fun", tmp_path / "out", caption=choice)
    assert [pair.caption for pair in read_pairs("videox-fun", tmp_path / "out")] == texts


def test_words_of_one_s_own_for_removal(corpus, tmp_path):
    for choice, words in (("caption", CAPTIONS[0]), ("text:A lawn.", "A lawn.")):
        summary = export(corpus, "void", tmp_path / choice[:4], direction="remove", caption=choice)
        assert read_pairs("void", tmp_path / choice[:4])[0].caption == words
        assert summary.captions_of_gt == (summary.exported if choice == "caption" else 0)


def test_augmented_captions_of_a_corrected_one_are_left_out(corpus, tmp_path, monkeypatch):
    record = {"augmented": ["Of the old one."], "given": "Right.", "before": "Wrong."}
    monkeypatch.setattr(type(corpus["clip.000"]), "record", lambda clip, name: record)
    with pytest.raises(ValueError, match="it has no augmented-1"):
        export(corpus, "videox-fun", tmp_path / "out", caption="augmented-1")


def test_several_captions_are_lines(corpus, tmp_path):
    export(corpus, "simpletuner", tmp_path / "out", caption="all")
    lines = read_pairs("simpletuner", tmp_path / "out")[0].caption.split("\n")
    assert lines == [" ".join(CAPTIONS[0].split()), CAPTIONS[1], "Third."]


def test_rate_length_and_size(corpus, tmp_path):
    summary = export(corpus, "diffsynth-vace", tmp_path / "out", fps=8.0, frames=9, size=(32, 48))
    (pair,) = read_pairs("diffsynth-vace", tmp_path / "out")
    clip = paired(corpus, "diffsynth-vace")[0]
    assert pair.target.shape == (9, 32, 48, 3)
    halved = clip.gt[6].reshape(32, 2, 48, 2, 3).mean(axis=(1, 3))
    assert np.abs(pair.target[3] - halved).max() <= 0.5
    same = (pair.target == pair.source).all(axis=-1)
    assert same.mean() > 0.8, "where gt and over are equal they stay so"
    assert set(np.unique(pair.mask)) == {0, 1}
    assert summary.left_out["3 frames at 8 fps, fewer than --frames 9"] == 1


@pytest.mark.parametrize(("own", "wanted"), [(24000 / 1001, 24.0), (16.0, 16.0)])
def test_nearly_equal_rates_are_one(own, wanted):
    assert _sample_times(21, own, wanted) == (wanted, tuple(range(21)))
    assert _sample_times(21, own, 0.0) == (own, tuple(range(21)))
    with pytest.raises(DoesNotFit, match="frames are never doubled"):
        _sample_times(21, own, own + 1)


def test_compact_keeps_masks_and_is_smaller(corpus, tmp_path):
    export(corpus, "diffsynth-vace", tmp_path / "exact")
    export(corpus, "diffsynth-vace", tmp_path / "compact", storage="compact")
    exact, compact = (read_pairs("diffsynth-vace", tmp_path / name)[0] for name in ("exact", "compact"))
    assert np.array_equal(exact.mask, compact.mask)
    assert 0 < np.abs(exact.target.astype(int) - compact.target).mean() < 6
    size = [(tmp_path / name / "video/clip.000.mp4").stat().st_size for name in ("exact", "compact")]
    assert size[1] < size[0] / 2


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("ltx", {"frames": 49 + 4}, "frames=53 is not 8k+1 frames, from 9; use 49"),
        ("ltx", {"size": (48, 64)}, "size=48x64 is not two multiples of 32"),
        ("musubi", {"caption": "all"}, "caption='all' is for formats that hold several captions"),
        ("void", {"fps": 24.0}, "no clip of 3 fits format void"),
        ("void", {"size": (640, 960)}, "smaller than 640x960"),
        ("videox-fun", {"caption": "augmented-7"}, "it has no augmented-7"),
        ("musubi", {"split": "validation"}, "split train, not validation; --split all takes every one"),
        ("lerobot", {"fps": 12.5}, "12.5 fps, and LeRobot's rate is a whole number; give --fps"),
    ],
)
def test_what_does_not_fit_is_said(corpus, name, settings, sentence, tmp_path):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        export(corpus, name, tmp_path / "out", **settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"caption": "augmented-0"}, "augmented-N with N from 1"),
        ({"fps": -1.0}, "not in"),
        ({"frames": 0}, "frames=0 is not positive"),
        ({"size": (1, 8)}, "too small"),
    ],
)
def test_settings_are_checked(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        ExportSettings(**settings)


# ---------------------------------------------------------------- killed, refused, damaged, full


def _export_until(corpus_folder, name, folder, writes):
    """Export in a child that kills itself at its so-manieth file."""
    real, left = atomic_io.flush_file, [writes]

    def flush_or_die(file):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        real(file)

    atomic_io.flush_file = flush_or_die
    export(open_corpus(corpus_folder), name, folder)


@pytest.mark.parametrize("name", ["diffsynth-vace", "webdataset"])
def test_a_killed_export_goes_on_to_the_same_bytes(corpus, name, tmp_path):
    out, url = tmp_path / "out", corpus.location.url
    export(corpus, name, out)
    whole = read_files(out)
    for path in out.rglob("*"):
        if path.is_file():
            path.unlink()
    out.rename(tmp_path / "emptied")
    fork = multiprocessing.get_context("fork")
    killed = 0
    for writes in (1, 2, 3, 5, 50):
        child = fork.Process(target=_export_until, args=(url, name, out, writes))
        child.start()
        child.join()
        killed += child.exitcode == -signal.SIGKILL
    assert killed >= 1 + (name == "diffsynth-vace")
    assert read_files(out) == whole, "nothing is missing, and nothing unfinished is left"
    seen = []
    export(corpus, name, out, step=lambda *done: seen.append(done))
    assert seen == []
    assert read_files(out) == whole
    (out / "effectpairs-export.jsonl").write_bytes((out / "effectpairs-export.jsonl").read_bytes()[:-20])
    export(corpus, name, out)
    assert read_files(out) == whole, "a torn line counts as not written"


def test_folders_of_others_are_left_alone(corpus, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("x")
    with pytest.raises(ValueError, match=r"has other things in it \(thesis.tex\); choose an empty folder with --out"):
        export(corpus, "void", tmp_path / "mine")
    with pytest.raises(ValueError, match="is a file; choose a folder"):
        export(corpus, "void", tmp_path / "mine/thesis.tex")
    export(corpus, "musubi", tmp_path / "out")
    for changed, sentence in (({"caption": "none"}, "other caption None"), ({"fps": 8.0}, "other fps None")):
        with pytest.raises(ValueError, match=sentence):
            export(corpus, "musubi", tmp_path / "out", **changed)
    with pytest.raises(ValueError, match="other format"):
        export(corpus, "finetrainers", tmp_path / "out")
    account = tmp_path / "out/effectpairs-export.jsonl"
    for first, sentence in ((b"[]", "its account is damaged"), (account.read_bytes()[:-3], "of another version")):
        account.write_bytes(first.split(b"\n")[0].replace(b'{"corpus"', b'{"also": 1, "corpus"') + b"\n")
        with pytest.raises(ValueError, match=sentence):
            export(corpus, "musubi", tmp_path / "out")

    def another(*_):
        with pytest.raises(ValueError, match="another export is writing there"):
            export(corpus, "videox-fun", tmp_path / "two")

    export(corpus, "videox-fun", tmp_path / "two", step=another)


def test_a_damaged_clip_is_left_out_and_retried(tmp_path, monkeypatch):
    corpus = exportable_corpus(tmp_path, lengths=(5, 5), size=(32, 48))
    real = type(corpus)._layer

    def broken(self, path, group, layer):
        if layer == "over" and "real-" in path:
            raise ValueError("over is missing or damaged")
        return real(self, path, group, layer)

    with monkeypatch.context() as patch:
        patch.setattr(type(corpus), "_layer", broken)
        summary = export(corpus, "finetrainers", tmp_path / "out")
        assert (summary.exported, summary.left_out["damaged: over is missing or damaged"]) == (1, 1)
        assert len(list((tmp_path / "out/data").rglob("*.mp4"))) == 2, "of the damaged clip nothing is left"
    assert export(corpus, "finetrainers", tmp_path / "out").exported == 2


def test_a_full_disk_is_one_sentence_and_the_next_run_goes_on(corpus, tmp_path, monkeypatch):
    real, count = engine.atomic_write, [0]

    def full(path, content):
        count[0] += 1
        if count[0] == 3:
            raise atomic_io.CannotWrite(28, f"{path}: the disk is full; free some space")
        real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "atomic_write", full)
        with pytest.raises(atomic_io.CannotWrite, match="disk is full"):
            export(corpus, "musubi", tmp_path / "out")
    assert export(corpus, "musubi", tmp_path / "out").exported == 2


def test_what_a_clip_lacks_and_where_nothing_can_be_written(tmp_path, monkeypatch):
    corpus = exportable_corpus(tmp_path, lengths=(13,), size=(20, 24))
    with pytest.raises(ValueError, match="1 x 20x24, smaller than 32 a side"):
        export(corpus, "ltx", tmp_path / "small")
    with monkeypatch.context() as patch:
        real = type(corpus)._layer
        patch.setattr(type(corpus), "_layer", lambda self, *at: None if at[2] == "effect_mask" else real(self, *at))
        with pytest.raises(ValueError, match="1 x it has no effect_mask"):
            export(corpus, "diffsynth-vace", tmp_path / "without")
    pytest.importorskip("OpenEXR")
    monkeypatch.setattr(exr.tempfile, "TemporaryDirectory", lambda: contextlib.nullcontext(str(tmp_path / "gone")))
    with pytest.raises(atomic_io.CannotWrite, match=r"no EXR file can be written there .*; free some space"):
        export(corpus, "exr", tmp_path / "exr")


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    peaks = []
    for clips in (2, 8):
        corpus = exportable_corpus(tmp_path / str(clips), lengths=(21,) * clips, size=(96, 160))
        tracemalloc.start()
        export(corpus, "diffsynth-vace", tmp_path / str(clips) / "out")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


# ---------------------------------------------------------------- the command


def test_the_command(corpus, tmp_path):
    run = CliRunner().invoke
    arguments = ["export", "videox-fun", corpus.location.url, "--out", str(tmp_path / "out"), "--split", "all"]
    result = run(app, [*arguments, "--size", "32x48", "--direction", "remove"])
    assert result.exit_code == 0, result.output
    assert "2 of 3 clips, 26 frames" in result.output
    assert "left out 1: unpaired" in result.output
    assert "2 captions describe gt, with the effect that the target lacks" in result.output
    for wrong in (
        ["--size", "32by48"],
        ["--direction", "up"],
        ["--storage", "tiny"],
        ["--out", "s3://bucket/x"],
        ["--frames", "6"],
    ):
        assert run(app, [*arguments, *wrong]).exit_code == 2, wrong
    assert all(name in run(app, ["export", "--help"]).output for name in FORMATS)
    result = run(app, ["export", "videox", corpus.location.url, "--out", str(tmp_path / "x")])
    assert result.exit_code == 2
    assert "videox-fun" in result.output
    assert not (tmp_path / "x").exists()


def test_every_format_is_in_the_docs():
    page = (Path(__file__).parents[1] / "docs/exports.md").read_text()
    assert [name for name in FORMATS if f"| `{name}` |" not in page] == []
