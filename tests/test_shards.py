"""A shard holds whole clips, one a row group; words are read without a byte of video."""

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from effectpairs.datasets.corpus import shards
from effectpairs.datasets.corpus.schema import LAYERS, PLAIN_COLUMNS, ROW
from effectpairs.datasets.store import codec
from effectpairs.tests import fixtures_workspaces


class Counted(io.BytesIO):
    """A file that remembers which bytes were read from it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.ranges: list[tuple[int, int]] = []

    def read(self, size: int | None = -1) -> bytes:
        start = self.tell()
        found = super().read(size)
        self.ranges.append((start, start + len(found)))
        return found

    @property
    def bytes_read(self) -> int:
        return sum(end - start for start, end in self.ranges)


def plain(number: int, **changes) -> dict:
    words = dict.fromkeys(PLAIN_COLUMNS)
    return (
        words
        | {
            "clip_id": f"clip-{number:03d}",
            "kind": "real",
            "source": "tiny",
            "split": "train",
            "group": f"group-{number}",
            "effects": ["shadow", "dust"],
            "caption": f"A square drags its shadow, number {number}.",
            "num_frames": 5,
            "height": 16,
            "width": 24,
            "fps": 16.0,
            "quality": fixtures_workspaces.accepted_quality(),
            "provenance": {"inputs": [{"role": "video", "sha256": "0" * 64}], "source_frames": [0, 2, 4]},
        }
        | changes
    )


def write(path, videos: list[dict[str, bytes]], content: str = "c0ffee"):
    rows = (shards.Row(columns=plain(number), layer=layers.get) for number, layers in enumerate(videos))
    assert shards.write_shard(path, rows, content=content) == len(videos)
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """100 MB of shard: 20 clips with five 1 MB layers each."""
    noise = np.random.default_rng(0).integers(0, 256, 1 << 20, dtype=np.uint8).tobytes()
    return write(tmp_path_factory.mktemp("large") / "real-00000.parquet", [dict.fromkeys(LAYERS[:5], noise)] * 20)


def test_a_shard_reads_back_equal(tmp_path, scene):
    layers = {"gt": codec.encode(scene.gt, fps=16.0), "effect_mask": codec.encode(scene.shadow, fps=16.0)}
    path = write(tmp_path / "a.parquet", [layers, {"gt": layers["gt"]}])
    shard = pq.ParquetFile(path)
    assert shard.num_row_groups == 2
    assert shards.read_layer(shard, 0, "gt") == layers["gt"]
    assert shards.read_layer(shard, 1, "effect_mask") is None
    assert np.array_equal(codec.decode(shards.read_layer(shard, 0, "effect_mask")) > 127, scene.shadow)
    with path.open("rb") as file:
        words = shards.read_plain(file).to_pylist()
    assert [row["clip_id"] for row in words] == ["clip-000", "clip-001"]
    assert words[0]["quality"] == fixtures_workspaces.accepted_quality()
    assert words[0]["provenance"]["source_frames"] == [0, 2, 4]
    assert shard.schema_arrow.equals(ROW)


def test_the_truth_of_each_effect_reads_back_and_its_words_alone(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, 1 << 20, dtype=np.uint8).tobytes()
    videos = {"effect_truth/dust": noise, "effect_truth/shadow": b"shadow", "gt": noise}
    columns = plain(0, effect_truth=[{"effect": "dust"}, {"effect": "shadow"}])
    path = tmp_path / "a.parquet"
    shards.write_shard(path, iter([shards.Row(columns=columns, layer=videos.get)]), content="c0ffee")
    shard = pq.ParquetFile(path)
    assert {name: shards.read_layer(shard, 0, name) for name in videos} == videos
    assert shards.read_layer(shard, 0, "effect_truth/smoke") is None
    file = Counted(path.read_bytes())
    assert shards.read_plain(file).to_pylist()[0]["effect_truth"] == columns["effect_truth"]
    assert file.bytes_read < 100_000  # of 2 MB, most of it the footer and what lies before it


def test_captions_of_a_large_shard_are_read_without_video(large):
    file = Counted(large.read_bytes())
    captions = shards.read_plain(file, ("clip_id", "caption"))
    assert captions.column("caption")[19].as_py() == "A square drags its shadow, number 19."
    size = large.stat().st_size
    assert size > 100e6
    assert file.bytes_read < size / 400, f"{file.bytes_read} bytes of {size} were read"
    assert not _touched_videos(file, large)


def test_all_words_and_numbers_are_read_without_video(large):
    file = Counted(large.read_bytes())
    assert shards.read_plain(file).num_rows == 20
    assert file.bytes_read < large.stat().st_size / 200
    assert not _touched_videos(file, large)


def test_one_layer_is_read_without_the_others(large):
    file = Counted(large.read_bytes())
    shard = pq.ParquetFile(file, pre_buffer=False)
    before = file.bytes_read
    assert len(shards.read_layer(shard, 7, "over")) == 1 << 20
    assert file.bytes_read - before < (1 << 20) + 4096


def test_other_readers_need_no_video_either(large):
    file = Counted(large.read_bytes())
    assert pq.read_table(file, columns=["caption"]).num_rows == 20
    assert not _touched_videos(file, large)


def test_the_bytes_are_the_same_every_time(tmp_path, scene):
    layers = {"gt": codec.encode(scene.gt, fps=16.0)}
    first, second = (write(tmp_path / name, [layers]).read_bytes() for name in ("a.parquet", "b.parquet"))
    assert first == second


def test_a_shard_carries_its_content(tmp_path):
    path = write(tmp_path / "a.parquet", [{"gt": b"x"}], content="abc")
    assert shards.content_of(path.open("rb")) == "abc"
    content = path.read_bytes()
    for broken in (b"", content[:-9], content[:100], b"PAR1" * 9):
        path.write_bytes(broken)
        assert shards.content_of(path.open("rb")) is None


def test_the_metadata_declares_videos(tmp_path):
    shard = pq.ParquetFile(write(tmp_path / "a.parquet", [{"gt": b"x"}]))
    features = json.loads(shard.schema_arrow.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == ROW.names
    assert all(features[layer] == {"_type": "Video"} for layer in LAYERS)


def test_videos_stand_as_they_are(tmp_path, scene):
    """A player that is given the right offset plays from the middle of the shard: nothing packs the videos again."""
    video = codec.encode(scene.gt, fps=16.0)
    path = write(tmp_path / "a.parquet", [{"gt": video}])
    assert video in path.read_bytes()


def _touched_videos(file: Counted, path) -> list[str]:
    """The video columns whose pages were read, in part or whole."""
    metadata = pq.ParquetFile(path).metadata
    touched = []
    for group in range(metadata.num_row_groups):
        for index in range(metadata.num_columns):
            column = metadata.row_group(group).column(index)
            if not column.path_in_schema.endswith(".bytes"):
                continue
            start, end = column.data_page_offset, column.data_page_offset + column.total_compressed_size
            if any(first < end and start < last for first, last in file.ranges):
                touched.append(f"{group}: {column.path_in_schema}")
    return touched
