"""A benchmark from pinned clips to its tables: two made-up baselines, order and values by hand, and what is refused."""

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from effectpairs.cli.app import app
from effectpairs.datasets.corpus.reader import open_corpus
from effectpairs.datasets.footage.reader import open_frames
from effectpairs.datasets.store import codec
from effectpairs.datasets.store.ledger import write_ledger
from effectpairs.tests import fixtures_workspaces
from effectpairs.tests.fixtures_corpus import provenance, square_with_shadow, store_clip
from effectpairs.tests.fixtures_metrics import write_clip
from effectpairs.training.benchmark.build import BenchmarkPlan, build_benchmark, choose_clips
from effectpairs.training.benchmark.pinned import check_pinned, find_leaks, read_benchmark
from effectpairs.training.benchmark.table import TableRequest, list_methods, write_benchmark_tables
from effectpairs.training.evaluation.clip_similarity import ClipSimilarity
from effectpairs.training.evaluation.evaluate import EvaluationSettings
from effectpairs.training.evaluation.frame_metrics import PixelMetrics
from effectpairs.training.evaluation.videos import read_conformed
from effectpairs.training.latents.task import REMOVE_PROMPT
from effectpairs.training.study.comparison import read_studies, write_study_table
from effectpairs.untrusted_input import markdown_text
from typer.testing import CliRunner

pytestmark = pytest.mark.usefixtures("nothing_is_fetched")
SIZE, FRAMES, FPS = (48, 80), 13, 16.0
PINNED = ["camel", "boat"]
METRICS = EvaluationSettings(scorers=(PixelMetrics(),))


def store(workspace: Path, source: str, names: dict[str, str], *, kind: str = "real", **row) -> None:
    """Finish a source with clips, each of a group."""
    entries = []
    for name, group in names.items():
        layers = square_with_shadow(FRAMES, SIZE, seed=sum(name.encode()))
        quality = {"quality": fixtures_workspaces.accepted_quality()}
        entries.append(store_clip(workspace, name, kind, layers, effects=["shadow"], group=group, **quality, **row))
    write_ledger(workspace, source, entries, {"made": "by the tests"})


def publish(workspace: Path, folder: Path, **settings):
    fixtures_workspaces.publish(workspace, folder, **{"validation_share": 0.0, "test_share": 0.0} | settings)
    return open_corpus(str(folder))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Two clips to pin, a second cut of one's footage in a group of its own, others, and a rendered one."""
    folder = tmp_path_factory.mktemp("work")
    store(folder, "real-source", {"camel": "camel", "boat": "boat", "dog": "dog", "boat-2": "boat"})
    store(folder, "again", {"camel-again": "another"}, provenance=provenance("camel", FRAMES))
    store(folder, "scenes", {"drawn": "drawn"}, kind="synthetic")
    return folder


@pytest.fixture(scope="module")
def published(workspace, tmp_path_factory):
    """The benchmark, and the corpus that was published again with it."""
    folder = tmp_path_factory.mktemp("published")
    first = publish(workspace, folder / "corpus")
    benchmark = build_benchmark(first, BenchmarkPlan(name="small benchmark", clip_ids=PINNED), folder / "bench")
    assert find_leaks(benchmark, first) == ["boat", "boat-2", "camel", "camel-again"]
    return folder / "bench", publish(workspace, folder / "corpus", held_out=benchmark.held_out)


@pytest.fixture
def baselines(published, tmp_path):
    """One that copies its input, one that blurs the truth."""
    for clip_id in PINNED:
        clip = published[1][clip_id]
        for name, frames in (("copy", clip.over), ("blur", blur(clip.gt))):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{clip_id}.mkv").write_bytes(codec.encode(frames, fps=FPS))
    return tmp_path


def request(published, folder: Path, **more) -> TableRequest:
    options = [f"{name}={folder / name}" for name in ("copy", "blur")]
    rows = list_methods(options, None, None, ["blur"], ["blur"])
    return TableRequest(benchmark=published[0], corpus=published[1].location.url, methods=tuple(rows), **more)


def values_of(path: Path, level: str = "all", key: str = "") -> dict[tuple[str, str], dict]:
    rows = pq.read_table(path).to_pylist()
    return {(row["method"], row["metric"]): row for row in rows if (row["level"], row["key"]) == (level, key)}


def test_pinned_groups_and_footage_stay_out_of_training(published):
    splits = {row["clip_id"]: row["split"] for row in published[1].table.to_pylist()}
    assert {clip_id for clip_id, split in splits.items() if split == "test"} == {
        "camel", "boat", "boat-2", "camel-again",
    }  # fmt: skip
    assert {splits["dog"], splits["drawn"]} == {"train"}
    check_pinned(read_benchmark(published[0]), published[1])


def test_a_corpus_does_not_forget_its_benchmark(published, workspace, tmp_path):
    shutil.copytree(published[1].location.local, tmp_path / "corpus")
    with pytest.raises(ValueError, match=r"keeps the clips of a benchmark out of training, such as .*; name it again"):
        publish(workspace, tmp_path / "corpus")


def test_two_made_up_baselines_stand_in_the_order_and_with_the_values_that_follow_by_hand(
    published, baselines, tmp_path
):
    model = ClipSimilarity(model=str(write_clip(tmp_path / "clip")))
    metrics = EvaluationSettings(scorers=(model, PixelMetrics()))
    (page,), missing = write_benchmark_tables(request(published, baselines), tmp_path / "out", metrics=metrics)
    assert set(missing) == {"fvd", "vbench"}
    table = values_of(tmp_path / "out" / "table1.parquet")
    clips = {clip_id: published[1][clip_id] for clip_id in PINNED}
    videos = {clip_id: {"copy": clip.over, "blur": blur(clip.gt)} for clip_id, clip in clips.items()}
    for name in ("copy", "blur"):
        by_clip = [np.mean(psnr(clips[clip_id].gt, videos[clip_id][name])) for clip_id in PINNED]
        row = table[name, "psnr"]
        assert row["n"] == 2 * FRAMES
        assert row["value"] == pytest.approx(np.mean(by_clip))
        # Of two clips a draw is both, or one of them twice: the ends are the clips' own means.
        assert (row["low"], row["high"]) == pytest.approx((min(by_clip), max(by_clip)))
    # The copy is wrong by the shadow alone, which darkens the ground to 55 %; the blur at every edge, but by little.
    for clip_id, clip in clips.items():
        error = 0.45 * clip.over * clip.effect_mask[..., None]
        by_hand = np.mean(10 * np.log10(255**2 / (error**2).mean(axis=(1, 2, 3))))
        cut = values_of(tmp_path / "out" / "table1.parquet", "clip", clip_id)
        assert cut["copy", "psnr"]["value"] == pytest.approx(by_hand, abs=0.05)
        assert cut["copy", "psnr"]["value"] < cut["blur", "psnr"]["value"]
    assert table["copy", "clip_dir"]["status"] == "undefined"  # it changes nothing, so its change has no direction
    assert table["blur", "clip_dir"]["value"] > 0
    lines = [line for line in page.read_text().splitlines() if line.startswith(("| copy", "| blur"))]
    assert [line.split(" |")[0] for line in lines] == ["| copy", r"| blur \*"]  # without a mask first, as in the paper
    assert f"**{table['blur', 'psnr']['value']:.2f}** [" in lines[1]
    assert "| undef. |" in lines[0]
    latex = (tmp_path / "out" / "table1.tex").read_text()
    assert latex.count(r"\midrule") == 2
    assert r"blur$^*$ & $\checkmark$" in latex


def blur(video: np.ndarray) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 0.5) for frame in video])


def psnr(truth: np.ndarray, result: np.ndarray) -> np.ndarray:
    return 10 * np.log10(255**2 / ((truth.astype(float) - result) ** 2).mean(axis=(1, 2, 3)))


def test_videos_of_any_size_and_rate_come_to_the_clips(tmp_path):
    truth = np.arange(1, 9, dtype=np.uint8)[:, None, None, None] * np.ones((1, 32, 48, 3), np.uint8) * 20

    def read(frames: np.ndarray, fps: float) -> list[int]:
        (tmp_path / "a.mkv").write_bytes(codec.encode(frames, fps=fps))
        video = read_conformed(tmp_path / "a.mkv", (8, 32, 48), 16.0)
        assert video.shape[1:] == (32, 48, 3)
        return (video[:, 0, 0, 0] // 20).tolist()

    assert read(truth, 7.0) == [1, 2, 3, 4, 5, 6, 7, 8]  # as many frames: one for one, whatever the rate
    large = np.stack([cv2.resize(frame, (96, 80)) for frame in truth])
    assert read(large, 16.0) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert read(truth[::2], 8.0) == [1, 1, 3, 3, 5, 5, 7, 7]  # the nearest, of two equally near the earlier
    assert read(np.repeat(truth, 2, axis=0), 32.0) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert read(truth[:5], 16.0) == [1, 2, 3, 4, 5]  # ends before the clip
    assert read(np.concatenate([truth, truth]), 16.0) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_missing_short_and_broken_videos_are_one_sentence_and_nothing_is_lost(published, baselines, tmp_path):
    first, out = request(published, baselines), tmp_path / "out"
    write_benchmark_tables(first, out, metrics=METRICS)
    kept = fixtures_workspaces.read_files(out)
    for clip_id, content in (("boat", None), ("camel", b"no video")):
        path = baselines / "copy" / f"{clip_id}.mkv"
        path.unlink() if content is None else path.write_bytes(content)
    short = codec.encode(published[1]["boat"].gt[:9], fps=FPS)
    (baselines / "blur" / "boat.mkv").write_bytes(short)
    with pytest.raises(ValueError, match=r"copy lacks 2 of 2 clips: camel does not decode .*, boat is missing; .*blur "
                       r"lacks 1 of 2 clips: boat has 9 of 13 frames; make them again, or cut all"):  # fmt: skip
        write_benchmark_tables(first, out, metrics=METRICS)
    assert fixtures_workspaces.read_files(out) == kept
    for clip_id in PINNED:
        video = codec.encode(published[1][clip_id].over, fps=FPS)
        (baselines / "copy" / f"{clip_id}.mkv").write_bytes(video)
    (page,), _ = write_benchmark_tables(dataclasses.replace(first, trim=True), out, metrics=METRICS)
    assert "- boat: all methods are cut to 9 of 13 frames, which blur has." in page.read_text()
    assert values_of(out / "table1.parquet")["copy", "psnr"]["n"] == 9 + 13


def test_a_pinned_clip_that_is_gone_changed_or_trained_on_is_named(published, workspace, tmp_path):
    benchmark = read_benchmark(published[0])
    shutil.copytree(workspace, tmp_path / "work")
    changed = {"camel": "camel", "other": "boat"}  # boat gone, camel with the pixels of another
    entries = []
    for number, (name, group) in enumerate(changed.items()):
        layers = square_with_shadow(FRAMES, SIZE, seed=7 + number)
        quality = {"quality": fixtures_workspaces.accepted_quality()}
        row = {"group": group, "caption": "Other words."} | quality
        entries.append(store_clip(tmp_path / "work", name, "real", layers, effects=["shadow"], **row))
    write_ledger(tmp_path / "work", "real-source", entries, {"made": "by the tests"})
    corpus = publish(tmp_path / "work", tmp_path / "corpus", held_out=benchmark.held_out)
    with pytest.raises(
        ValueError, match=r"of 2 pinned clips boat is gone, camel has another caption and .*gt and over; open"
    ):
        check_pinned(benchmark, corpus)
    leaky = publish(workspace, tmp_path / "leaky")
    with pytest.raises(
        ValueError, match="training has footage of the benchmark 'small benchmark': boat, boat-2, camel"
    ):
        check_pinned(benchmark, leaky)
    path = tmp_path / "benchmark.json"
    path.write_text((published[0] / "benchmark.json").read_text().replace("camel", "kamel"))
    with pytest.raises(ValueError, match="is no benchmark as it was built"):
        read_benchmark(path)


def test_another_coding_of_the_same_pixels_is_the_same_clip(published, workspace, tmp_path):
    benchmark = read_benchmark(published[0])
    corpus = publish(workspace, tmp_path / "corpus", held_out=benchmark.held_out, storage="fast")
    assert corpus["camel"].encoded("gt") != published[1]["camel"].encoded("gt")
    check_pinned(benchmark, corpus)


def test_a_baseline_finds_all_it_needs_and_nothing_of_the_truth(published):
    folder, clip = published[0] / "clips" / "camel", published[1]["camel"]
    mask = codec.decode((folder / "mask.mkv").read_bytes())
    assert np.array_equal(mask, clip.effect_mask * np.uint8(255))  # 255 is the effect, as README.md says
    over = np.stack([frame for _, frame in open_frames(folder / "over.mkv")])
    assert np.array_equal(over, clip.over)
    subject = codec.decode((folder / "subject_mask.mkv").read_bytes())
    foreground = codec.decode((folder / "foreground.mkv").read_bytes())
    background = codec.decode((folder / "background.mkv").read_bytes())
    assert np.array_equal(np.where(subject[..., None] == 255, foreground, background), clip.over)
    assert not foreground[subject == 0].any()  # the shadow hangs on what was decomposed
    assert np.array_equal(cv2.imread(str(folder / "first_gt.png"))[..., ::-1], clip.gt[0])
    assert (folder / "prompt.txt").read_text() == f"{clip.caption}\n"
    near = np.stack([frame for _, frame in open_frames(folder / "mask.mp4")])[..., 0]
    assert np.mean((near > 127) == clip.effect_mask) > 0.999
    assert "| camel | 13 | 16 | 48x80 | shadow |" in (published[0] / "README.md").read_text()
    assert {path.stem for path in folder.iterdir() if "gt" in path.name} == {"first_gt"}


def test_a_build_that_was_cut_off_goes_on_and_foreign_files_are_refused(published, tmp_path):
    whole, corpus = fixtures_workspaces.read_files(published[0]), published[1]
    folder = tmp_path / "bench"
    for lost in ("benchmark.json", "clips/boat/clip.json"):
        shutil.copytree(published[0], folder)
        (folder / lost).unlink()
        rebuilt = build_benchmark(corpus, BenchmarkPlan(name="small benchmark", clip_ids=PINNED), folder)
        assert rebuilt.clips == read_benchmark(published[0]).clips
        assert fixtures_workspaces.read_files(folder).keys() == whole.keys()
        shutil.rmtree(folder)
    shutil.copytree(published[0], folder)
    with pytest.raises(ValueError, match="holds another benchmark; choose a new folder"):
        build_benchmark(corpus, BenchmarkPlan(name="small benchmark", clip_ids=PINNED[:1]), folder)
    (folder / "holiday.jpg").touch()
    with pytest.raises(ValueError, match=r"has other things in it \(holiday.jpg\); choose a new or an empty folder"):
        build_benchmark(corpus, BenchmarkPlan(name="small benchmark", clip_ids=PINNED), folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("my own page")
    with pytest.raises(ValueError, match=r"has other things in it \(README.md\)"):
        build_benchmark(corpus, BenchmarkPlan(name="small benchmark", clip_ids=PINNED), tmp_path / "mine")


def test_without_names_the_real_clips_of_the_split_are_taken_that_training_does_not_share(
    published, workspace, tmp_path
):
    chosen, left_out = choose_clips(published[1])
    assert sorted(chosen) == ["boat", "boat-2", "camel", "camel-again"]
    assert left_out == {}
    mixed = publish(workspace, tmp_path / "mixed", held_out=("boat", "drawn", "another"))
    chosen, left_out = choose_clips(mixed)
    assert sorted(chosen) == ["boat", "boat-2"]
    assert left_out == {
        "camel-again": "training has its footage, in camel",
        "drawn": "it is synthetic, not real",
    }
    near = tmp_path / "near"
    store(near, "real-source", {"camel": "camel", "boat": "boat"})
    layers = square_with_shadow(FRAMES, SIZE, seed=sum(b"camel"))
    quality = {"quality": fixtures_workspaces.accepted_quality()}
    darker = {name: frames // 2 if frames.ndim == 4 else frames for name, frames in layers.items()}
    entry = store_clip(near, "dark-camel", "real", darker, effects=["shadow"], group="dark", **quality)
    write_ledger(near, "others", [entry], {"made": "by the tests"})
    apart = publish(near, tmp_path / "apart", duplicates="ignore", held_out=("camel", "boat"))
    assert choose_clips(apart) == (["boat"], {"camel": "training has its footage, in dark-camel"})
    pinned = build_benchmark(apart, BenchmarkPlan(name="one", clip_ids=["camel"]), tmp_path / "pinned")
    assert pinned.held_out_groups == ("camel", "dark")
    with pytest.raises(ValueError, match="has no clip 'cat'"):
        choose_clips(mixed, clip_ids=["cat"])
    with pytest.raises(ValueError, match="'drawn' is synthetic; a benchmark is of real clips alone"):
        choose_clips(mixed, clip_ids=["drawn"])
    with pytest.raises(ValueError, match="has no real clip that shares nothing with training"):
        choose_clips(mixed, split="validation")


def test_a_benchmark_of_removal_gives_the_video_and_measures_against_the_background(published, tmp_path):
    corpus = published[1]
    build = ["benchmark", "build", corpus.location.url, "--out", str(tmp_path / "bench"), "--clip=camel", "--clip=boat"]
    run = CliRunner().invoke(app, [*build, "--task", "remove", "--name", "taken out"])
    assert run.exit_code == 0, run.output
    folder, clip = tmp_path / "bench" / "clips" / "camel", corpus["camel"]
    layers = {name: codec.decode((folder / f"{name}.mkv").read_bytes()) for name in ("video", "mask", "subject_mask")}
    assert np.array_equal(layers["video"], clip.gt)
    assert np.array_equal(layers["mask"] > 0, clip.effect_mask | (clip.subject_mask >= 128))
    assert np.array_equal(layers["subject_mask"], clip.subject_mask)
    assert {path.stem for path in folder.iterdir()} == {
        "video", "mask", "subject_mask", "effect_mask", "prompt", "clip",
    }, "nothing shows the background"  # fmt: skip
    assert (folder / "prompt.txt").read_text() == f"{REMOVE_PROMPT}\n"
    readme = " ".join((tmp_path / "bench" / "README.md").read_text().split())
    assert 'Here 255 means "change this"' in readme
    assert "compared with the layer `background`" in readme
    for clip_id in PINNED:
        for name, frames in (("copy", corpus[clip_id].gt), ("blur", blur(corpus[clip_id].background))):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{clip_id}.mkv").write_bytes(codec.encode(frames, fps=FPS))
    asked = request((tmp_path / "bench", corpus), tmp_path)
    for processes, out in ((1, "alone"), (2, "shared")):
        write_benchmark_tables(dataclasses.replace(asked, processes=processes), tmp_path / out, metrics=METRICS)
    table = values_of(tmp_path / "alone" / "table1.parquet")
    for name in ("copy", "blur"):
        videos = {clip_id: codec.decode((tmp_path / name / f"{clip_id}.mkv").read_bytes()) for clip_id in PINNED}
        by_hand = np.mean([np.mean(psnr(corpus[clip_id].background, videos[clip_id])) for clip_id in PINNED])
        assert table[name, "psnr"]["value"] == pytest.approx(by_hand)
    assert values_of(tmp_path / "shared" / "table1.parquet") == table
    caches = [{path.name for path in (tmp_path / out / "clips").rglob("*.json")} for out in ("alone", "shared")]
    assert caches[0] == caches[1], "programs measured what the table wants, and nothing else"
    with pytest.raises(ValueError, match="holds another benchmark; choose a new folder"):
        build_benchmark(corpus, BenchmarkPlan(name="", clip_ids=["camel", "boat"]), tmp_path / "bench")
    for wrong, message in ((("--task", "paint"), "--task paint is not one of add, remove"),
                           (("--task", "remove", "--remove-to", "gt"), "--remove-to gt is not one of")):  # fmt: skip
        run = CliRunner().invoke(app, [*build, *wrong])
        assert run.exit_code == 2
        assert message in " ".join(run.output.replace("│", " ").split())


def test_table_2_sets_several_studies_beside_each_other(tmp_path):
    for opponent, questions, chosen in (("vace", ("text", "mask"), "y"), ("any|v2v", ("text",), "x")):
        folder = tmp_path / opponent
        (folder / "answers").mkdir(parents=True)
        key = {"p001": {"clip": "a", "x": opponent, "y": "ours"}}
        (folder / "key.json").write_text(json.dumps({"study": opponent, "pairs": key}))
        answers = [{"pair": "p001", "question": question, "chosen": chosen} for question in questions]
        file = {"study": opponent, "participant": "one", "answers": answers}
        (folder / "answers" / "one.json").write_text(json.dumps(file))
    studies = read_studies([tmp_path / "vace", tmp_path / "any|v2v"])
    lines = write_study_table(studies, tmp_path).read_text().splitlines()
    assert f"| Fidelity to | ours vs. vace | ours vs. {markdown_text('any|v2v')} |" in lines
    assert "| Text | 100% [21%, 100%] | 0% [0%, 79%] |" in lines
    assert "| Mask | 100% [21%, 100%] | – |" in lines
    assert r"Mask & 100\% {\tiny[21\%, 100\%]} & -- \\" in (tmp_path / "table2.tex").read_text()
    assert pq.read_table(tmp_path / "table2.parquet").num_rows == 3
    with pytest.raises(ValueError, match="vace is in another study too"):
        read_studies([tmp_path / "vace", tmp_path / "vace"])
    with pytest.raises(ValueError, match=r"answers has no \*.json; put the files there"):
        read_studies([tmp_path])
    (tmp_path / "vace" / "key.json").write_text((tmp_path / "vace" / "key.json").read_text().replace("ours", "theirs"))
    with pytest.raises(ValueError, match="one of them must be named 'ours' or 'ours without mask'"):
        read_studies([tmp_path / "vace"])


def test_the_commands_build_and_make_the_tables(published, baselines, workspace, tmp_path):
    corpus, bench = str(published[1].location.local), tmp_path / "bench"
    run = CliRunner().invoke(app, ["benchmark", "build", corpus, "--out", str(bench), "--clip=boat", "--clip=camel"])
    assert run.exit_code == 0, run.output
    assert "benchmark: 2 clips" in run.output
    command = ["benchmark", "table", str(bench), "--corpus", corpus, "--out", str(tmp_path / "out"), "--allow-missing"]
    folders = {name: str(baselines / name) for name in ("copy", "blur")}
    variants = [f"--variant={kinds}={folders[name]}" for kinds, name in (("real+synthetic", "copy"), ("real", "blur"))]
    methods = ["--ours", folders["blur"], "--method", f"vace={folders['copy']}", "--masked", "vace"]
    run = CliRunner().invoke(app, [*command, *methods, *variants])
    assert run.exit_code == 0, run.output
    rows = (tmp_path / "out" / "table3.md").read_text()
    assert "| ✓ | ✓ | ✗ |" in rows
    assert "| ✓ | ✗ | ✗ |" in rows
    assert {"table1.md", "table1.tex", "table1.parquet", "table3.tex", "table3.parquet"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    for wrong, message in (
        ([], "nothing is to be compared"),
        (["--method", f"a={folders['copy']}", "--masked", "b"], "b is the name of no --method"),
        (["--method", f"ours={folders['copy']}", "--ours", folders["blur"]], "two methods are called ours"),
        (["--variant", f"real+dust={folders['copy']}"], "is not KINDS=FOLDER"),
    ):
        run = CliRunner().invoke(app, [*command, *wrong])
        assert run.exit_code == 2
        assert message in " ".join(run.output.replace("│", " ").split())
    again = tmp_path / "again"
    publishing = ["publish", str(again), "--workspace", str(workspace), "--no-prefect", "--test", "0"]
    assert CliRunner().invoke(app, [*publishing, "--benchmark", str(bench)]).exit_code == 0
    splits = {row["clip_id"]: row["split"] for row in open_corpus(str(again)).table.to_pylist()}
    assert splits["boat-2"] == "test"
    assert CliRunner().invoke(app, [*publishing, "--benchmark", str(tmp_path)]).exit_code == 2
