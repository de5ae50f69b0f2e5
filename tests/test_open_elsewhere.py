"""A corpus opens without our code: pandas, DuckDB, and Hugging Face `datasets` with `Video` features."""

import io
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import av
import effectpairs
import numpy as np
import pytest
from effectpairs.datasets.corpus.schema import LAYERS, PLAIN_COLUMNS
from effectpairs.tests import fixtures_workspaces
from effectpairs.tests.fixtures_corpus import make_small_corpus

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Real, synthetic and unpaired clips."""
    return make_small_corpus(tmp_path_factory.mktemp("elsewhere"), clips=5, frames=5, size=(16, 24))


@pytest.fixture(scope="module")
def folder(corpus):
    return corpus.location.local


@pytest.fixture(scope="module")
def hugging_face():
    """The real package, though the project has a folder of the same name."""
    found = pytest.importorskip("datasets", reason="needs Hugging Face datasets: pip install 'effectpairs[dev]'")
    assert hasattr(found, "load_dataset"), f"{found.__path__} hides Hugging Face's package"
    return found


def play(video: bytes) -> np.ndarray:
    """Decode with PyAV alone."""
    with av.open(io.BytesIO(video)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_pandas_reads_the_words(folder, corpus):
    pandas = pytest.importorskip("pandas", reason="needs pandas: pip install 'effectpairs[notebook]'")
    table = pandas.read_parquet(folder / "data", columns=["clip_id", "caption", "fps", "quality"])
    assert set(table["clip_id"]) == set(corpus.ids)
    assert table["quality"].map(lambda quality: quality["verdict"]).isin(["accept", "review"]).all()
    row = pandas.read_parquet(next(folder.glob("data/train/real-*.parquet"))).iloc[0]
    assert np.array_equal(play(row["gt"]["bytes"]), corpus[row["clip_id"]].gt)
    assert row["gt"]["path"] == f"{row['clip_id']}.gt.mkv"


def test_duckdb_asks_for_words_and_numbers(folder, corpus):
    duckdb = pytest.importorskip("duckdb", reason="needs DuckDB: pip install 'effectpairs[dev]'")
    files = f"{folder}/data/*/*.parquet"
    found = duckdb.sql(
        "select kind, count(*), max(quality.effect_area), sum(num_frames / fps) "
        f"from '{files}' group by kind order by kind"
    ).fetchall()
    table = corpus.table.to_pylist()
    for kind, count, area, seconds in found:
        rows = [row for row in table if row["kind"] == kind]
        areas = [row["quality"]["effect_area"] for row in rows if row["quality"]["effect_area"] is not None]
        assert (count, area) == (len(rows), max(areas, default=None))
        assert seconds == pytest.approx(5 / 16 * len(rows))
    ((video,),) = duckdb.sql(f"select over.bytes from '{files}' where clip_id = 'tiny-001'").fetchall()
    assert np.array_equal(play(video), corpus["tiny-001"].over)
    assert duckdb.sql(f"select count(*) from '{files}' where list_contains(effects, 'dust')").fetchall() == [(1,)]


@pytest.mark.parametrize("way", ["the data card", "data_dir", "data_files"])
def test_hugging_face_reads_the_videos(folder, corpus, hugging_face, tmp_path, way):
    """The features come from the files' metadata, without help."""
    arguments = {
        "the data card": ((str(folder),), {}),
        "data_dir": (("parquet",), {"data_dir": str(folder / "data")}),
        "data_files": (("parquet",), {"data_files": {"train": str(folder / "data/train/*.parquet")}}),
    }[way]
    found = hugging_face.load_dataset(*arguments[0], **arguments[1], cache_dir=str(tmp_path), split="train")
    assert found.num_rows == 5
    assert all(isinstance(found.features[layer], hugging_face.Video) for layer in LAYERS)
    assert found.select_columns(["caption"])[0]["caption"].startswith("A square")
    for layer in LAYERS:
        found = found.cast_column(layer, hugging_face.Video(decode=False))
    strength = {"effect": hugging_face.Value("string"), "strength": hugging_face.Video()}
    assert found.features["effect_truth"] == hugging_face.List(strength)
    found = found.cast_column(
        "effect_truth", hugging_face.List(strength | {"strength": hugging_face.Video(decode=False)})
    )
    for row in found:
        truth = corpus[row["clip_id"]].effect_truth
        assert [entry["effect"] for entry in row["effect_truth"]] == list(truth)
        for entry in row["effect_truth"]:
            assert np.array_equal(play(entry["strength"]["bytes"])[..., 0], truth[entry["effect"]])
        row["effect_truth"] = [{"effect": effect} for effect in truth]
        assert np.array_equal(play(row["gt"]["bytes"]), corpus[row["clip_id"]].gt)
        assert (row["over"] is None) == (row["kind"] == "unpaired")
        plain = corpus[row["clip_id"]].row
        assert {name: row[name] for name in PLAIN_COLUMNS} == plain


def test_hugging_face_streams(folder, corpus, hugging_face, tmp_path):
    stream = hugging_face.load_dataset(str(folder), cache_dir=str(tmp_path), split="train", streaming=True)
    ids = [row["clip_id"] for row in stream.select_columns(["clip_id"])]
    assert set(ids) == set(corpus.ids)


def test_the_data_card_names_every_split(tmp_path, hugging_face):
    for number in range(12):
        fixtures_workspaces.fill_workspace(
            tmp_path / "w", [f"clip-{number}"], source=f"source-{number}", group=f"group-{number}"
        )
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus", validation_share=0.3, test_share=0.3)
    counts = effectpairs.open(tmp_path / "corpus").manifest["counts"]["by_split"]
    assert len(counts) == 3
    found = hugging_face.load_dataset(str(tmp_path / "corpus"), cache_dir=str(tmp_path / "cache"))
    assert {split: part.num_rows for split, part in found.items()} == counts


@pytest.mark.parametrize("title", ["plain", "with: a colon # and 'marks' \"of\" every kind", "- a list", "日本"])
def test_any_title_makes_a_valid_data_card(tmp_path, title):
    yaml = pytest.importorskip("yaml")
    from effectpairs.datasets.corpus.finalize import finalize
    from effectpairs.datasets.corpus.publish import plan_shards, write_planned
    from effectpairs.datasets.corpus.selection import PublishSettings
    from effectpairs.datasets.store.location import Location

    fixtures_workspaces.fill_workspace(tmp_path / "w", ["clip-a"])
    place, settings = Location(str(tmp_path / "corpus")), PublishSettings()
    (plan,) = plan_shards(tmp_path / "w", place, settings)
    files = [write_planned(plan, tmp_path / "w", place, settings)]
    finalize(tmp_path / "w", place, files, settings, title)
    front = (tmp_path / "corpus" / "README.md").read_text().split("---\n")[1]
    card = yaml.safe_load(front)
    assert card["pretty_name"] == title
    assert card["configs"][0]["data_files"] == [{"split": "train", "path": "data/train/*.parquet"}]


def test_the_real_datasets_package_wins_in_the_project_folder(hugging_face):
    program = "import datasets; print(datasets.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == hugging_face.__file__
