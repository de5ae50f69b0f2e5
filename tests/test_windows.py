"""Runs of frames are those of the whole layer, and the rest of it is neither read nor decoded."""

import io

import effectpairs
import numpy as np
import pytest
from effectpairs.datasets.corpus.windows import FilePart
from effectpairs.datasets.store import codec
from effectpairs.datasets.store.ledger import write_ledger
from effectpairs.datasets.store.location import Location
from effectpairs.tests import fixtures_workspaces
from effectpairs.tests.fixtures_corpus import make_small_corpus, square_with_shadow, store_clip
from hypothesis import given, settings
from hypothesis import strategies as st

LAYERS = ("gt", "over", "background", "foreground", "subject_mask", "effect_mask")
STORAGES = ("exact", "fast", "raw", "compact")
RATES = (16.0, 24000 / 1001, 29.97, 60.0, 7.5, 0.5)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """One clip of 85 frames as a corpus in each storage, here and in a filesystem of URLs."""
    folder = tmp_path_factory.mktemp("windows")
    layers = square_with_shadow(85, (48, 80))
    entry = store_clip(folder / "w", "clip", "real", layers, effects=["shadow"])
    write_ledger(folder / "w", "one", [entry], {})
    options = {"include": ("accept", "review", "reject")}
    places = {storage: folder / storage for storage in STORAGES} | {"remote": "memory://windows"}
    for name, place in places.items():
        storage = "fast" if name == "remote" else name
        fixtures_workspaces.publish(folder / "w", place, storage=storage, **options)
    return {name: effectpairs.open(place) for name, place in places.items()}


@given(data=st.data(), storage=st.sampled_from(STORAGES), fps=st.sampled_from(RATES))
@settings(max_examples=25, deadline=None)
def test_any_run_is_a_slice_of_the_whole(data, storage, fps):
    length = data.draw(st.integers(1, 40))
    frames = np.random.default_rng(length).integers(0, 256, (length, 18, 34, 3), dtype=np.uint8)
    video = codec.encode(frames, fps=fps, storage=storage)
    whole, reader = codec.decode(video), codec.VideoReader(io.BytesIO(video))
    for _ in range(3):
        start = data.draw(st.integers(0, length - 1))
        count = data.draw(st.integers(1, length - start))
        assert np.array_equal(reader.read(start, count), whole[start : start + count])


@pytest.mark.parametrize("name", [*STORAGES, "remote"])
def test_frames_of_a_clip_are_those_of_its_layers(corpora, name):
    clip = corpora[name]["clip"]
    for layer in LAYERS:
        for start, count in ((0, 1), (0, 85), (84, 1), (17, 8), (40, 33)):
            run = clip.frames(layer, start, count)
            assert run.dtype == getattr(clip, layer).dtype
            assert np.array_equal(run, getattr(clip, layer)[start : start + count])


def test_true_masks_too_and_none_where_there_is_none(tmp_path):
    corpus = make_small_corpus(tmp_path)
    rendered, unpaired = corpus["tiny-001"], corpus["tiny-002"]
    for effect, strength in rendered.effect_truth.items():
        assert np.array_equal(rendered.frames(f"effect_truth/{effect}", 3, 5), strength[3:8])
    assert rendered.frames("effect_truth/lava", 0, 1) is None
    assert unpaired.frames("over", 0, 5) is None
    assert len(unpaired.frames("gt", 0, 5)) == 5


@pytest.mark.parametrize("name", ["exact", "fast", "raw", "remote"])
def test_the_rest_of_the_layer_is_not_read(corpora, name, monkeypatch):
    reads = []
    read_range = Location.read_range

    def counted(self, path, start, stop):
        reads.append(stop - start)
        return read_range(self, path, start, stop)

    monkeypatch.setattr(Location, "read_range", counted)
    clip = effectpairs.open(corpora[name].location.url)["clip"]
    size = len(clip.encoded("gt"))
    assert clip.frames("gt", 40, 8).shape == (8, 48, 80, 3)
    assert len(reads) <= 5
    assert sum(reads) < size / 4
    reads.clear()
    clip.frames("gt", 60, 8)
    assert len(reads) <= 2, "an open layer reads frames alone"
    assert sum(reads) < size / 6


@given(st.binary(min_size=1, max_size=300), st.lists(st.tuples(st.integers(0, 320), st.integers(-1, 90)), max_size=20))
def test_a_part_reads_like_a_file(content, reads):
    ranges = []

    def read_range(start, stop):
        ranges.append((start, stop))
        return (b"before" + content + b"behind")[start:stop]

    part = FilePart(read_range, 6, len(content), ahead_bytes=50)
    for position, size in reads:
        assert part.seek(position) == part.tell() == position
        expected = content[position:] if size < 0 else content[position : position + size]
        found = part.read(size)
        while len(found) < len(expected):
            more = part.read(len(expected) - len(found))
            assert more
            found += more
        assert found == expected
    assert part.seek(-1, io.SEEK_END) == len(content) - 1
    assert all(6 <= start < stop <= 6 + len(content) for start, stop in ranges)


def test_what_is_not_there_is_named(corpora):
    clip = corpora["fast"]["clip"]
    for start, count in ((-1, 2), (0, 0), (80, 6), (85, 1)):
        with pytest.raises(ValueError, match=rf"frames \[{start}, {start + count}\) are not in \[0, 85\) of clip"):
            clip.frames("gt", start, count)
    with pytest.raises(ValueError, match="'depth' is not a layer; the layers are gt"):
        clip.frames("depth", 0, 1)


def test_damage_leads_to_verify(tmp_path):
    corpus = make_small_corpus(tmp_path, clips=1)
    video = corpus["tiny-000"].encoded("gt")
    shard = next((tmp_path / "corpus").glob("data/*/*.parquet"))
    content = shard.read_bytes()
    at = content.index(video)
    shard.write_bytes(content[: at + 40] + bytes(len(video) - 40) + content[at + len(video) :])
    with pytest.raises(ValueError, match=r"gt .*is missing or damaged; .* effectpairs verify"):
        effectpairs.open(tmp_path / "corpus")["tiny-000"].frames("gt", 5, 8)


def test_a_video_shorter_than_its_row_says_where_it_ends():
    video = codec.encode(np.zeros((5, 16, 16), np.uint8), fps=16.0)
    with pytest.raises(ValueError, match="ends before frame 5"):
        codec.VideoReader(io.BytesIO(video)).read(3, 4)
    with pytest.raises(ValueError, match="is no video"):
        codec.VideoReader(io.BytesIO(b"nothing of the kind" * 99))
