"""A corpus as PyTorch datasets: every clip once, in an order that workers, ranks and interruptions do not change."""

import pickle
import threading
from collections import Counter

import numpy as np
import pytest
from effectpairs.tests import fixtures_workspaces
from effectpairs.tests.fixtures_corpus import make_small_corpus

torch = pytest.importorskip("torch", reason="needs torch: pip install 'effectpairs[train]'")
data = pytest.importorskip("torch.utils.data")
torch.set_num_threads(1)
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),
]


@pytest.fixture(autouse=True)
def without_inherited_exits(monkeypatch):
    """A forked worker also runs what Prefect registered for the end of this process, and dies of it with code 1."""
    monkeypatch.setattr(threading, "_threading_atexits", [], raising=False)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_small_corpus(tmp_path_factory.mktemp("torch"), clips=11, frames=5, size=(16, 24), kinds=("real",))


def batches(dataset, *, batch_size=2, loader=data.DataLoader, **options) -> list[list[str]]:
    return [list(batch["clip_id"]) for batch in loader(dataset, batch_size=batch_size, **options)]


def flat(found: list[list[str]]) -> list[str]:
    return [clip_id for batch in found for clip_id in batch]


def test_a_sample_is_tensors_of_the_layers(corpus):
    layers = ("gt", "alpha", "effect_mask")
    sample = corpus.torch(layers=layers)[3]
    clip = corpus[sample["clip_id"]]
    assert sample["caption"] == clip.caption
    assert sample["fps"] == 16.0
    assert sample["gt"].shape == (5, 3, 16, 24)
    assert np.array_equal(sample["gt"].numpy().transpose(0, 2, 3, 1), clip.gt)
    assert np.array_equal(sample["alpha"].numpy()[:, 0], clip.alpha)
    assert np.array_equal(sample["effect_mask"].numpy()[:, 0], clip.effect_mask)
    assert set(sample["effect_mask"].unique().tolist()) <= {0, 1}
    assert all(sample[layer].dtype == torch.uint8 for layer in layers)
    assert sample.keys() == {"clip_id", "caption", "fps", *layers}


def test_the_truth_of_each_effect_is_a_tensor_by_its_word(tmp_path):
    rendered = make_small_corpus(tmp_path, clips=3, frames=5, size=(16, 24))
    samples = {sample["clip_id"]: sample for sample in rendered.torch(layers=("gt", "effect_truth"))}
    clip = rendered["tiny-001"]
    truth = samples["tiny-001"]["effect_truth"]
    assert list(truth) == ["splash", "shadow"]
    for effect, strength in truth.items():
        assert np.array_equal(strength.numpy()[:, 0], clip.effect_truth[effect])
    assert not any("effect_truth" in samples[clip_id] for clip_id in ("tiny-000", "tiny-002"))
    with pytest.raises(ValueError, match=r"'depth' is not a layer; the layers are .*, effect_truth"):
        rendered.torch(layers=("depth",))


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_map_style_with_workers(corpus, context):
    found = batches(corpus.torch(), num_workers=2, multiprocessing_context=context)
    assert flat(found) == list(corpus.ids)


def test_map_style_shares_clips_among_ranks_by_its_sampler(corpus):
    dataset = corpus.torch(layers=("gt",))
    samplers = [data.DistributedSampler(dataset, num_replicas=3, rank=rank, shuffle=True) for rank in range(3)]
    found = Counter(clip_id for sampler in samplers for clip_id in flat(batches(dataset, sampler=sampler)))
    assert set(found) == set(corpus.ids)
    assert found.total() == 12


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_and_workers_together_give_the_epoch(corpus, ranks, workers):
    """Every clip once, but for the fill-up that keeps ranks in step: fewer than one clip a rank."""
    streams = [corpus.torch(streaming=True, layers=("gt",), rank=rank, world_size=ranks) for rank in range(ranks)]
    found = [flat(batches(stream, num_workers=workers)) for stream in streams]
    assert {len(clips) for clips in found} == {-(-11 // ranks)} == {len(streams[0])}
    counted = Counter(clip_id for clips in found for clip_id in clips)
    assert set(counted) == set(corpus.ids)
    assert counted.total() - 11 == sum(count - 1 for count in counted.values()) < ranks


def test_ranks_share_nothing_where_their_number_divides(tmp_path):
    corpus = make_small_corpus(tmp_path, clips=6, frames=5, size=(16, 24), kinds=("real",))
    parts = [set(corpus.torch(streaming=True, rank=rank, world_size=3).order()) for rank in range(3)]
    assert sum(len(part) for part in parts) == 6 == len(set().union(*parts))


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_the_batches_are_the_same_for_any_number_of_workers(corpus, workers):
    stream = corpus.torch(streaming=True, layers=("gt",), batch_size=2)
    assert flat(batches(stream, num_workers=workers)) == stream.order()


def test_without_the_batch_size_workers_interleave_and_no_more(corpus):
    stream = corpus.torch(streaming=True, layers=("gt",))
    found = flat(batches(stream, num_workers=2, batch_size=3))
    order = stream.order()
    assert Counter(found) == Counter(order)
    assert [clip for clip in found if clip in order[0::2]] == order[0::2]
    assert [clip for clip in found if clip in order[1::2]] == order[1::2]


def test_each_epoch_is_shuffled_anew_and_the_same_way_again(corpus):
    stream = corpus.torch(streaming=True)
    orders = []
    for epoch in (0, 1, 2, 0):
        stream.set_epoch(epoch)
        orders.append(tuple(stream.order()))
    assert orders[0] == orders[3]
    assert len(set(orders)) == 3
    assert tuple(corpus.torch(streaming=True, seed=7).order()) not in orders
    assert corpus.torch(streaming=True, seed=None).order() == list(corpus.ids)
    ranks = [corpus.torch(streaming=True, rank=rank, world_size=2) for rank in range(2)]
    interleaved = [clip for pair in zip(*(rank.order() for rank in ranks), strict=True) for clip in pair]
    assert interleaved[:11] == list(orders[0]), "ranks shuffle alike"


@pytest.mark.parametrize("persistent", [False, True])
def test_a_new_epoch_reaches_the_workers(corpus, persistent):
    stream = corpus.torch(streaming=True, layers=("gt",), batch_size=2)
    loader = data.DataLoader(stream, batch_size=2, num_workers=2, persistent_workers=persistent)
    for epoch in (0, 1):
        stream.set_epoch(epoch)
        assert flat([list(batch["clip_id"]) for batch in loader]) == stream.order()


def test_an_iteration_that_was_broken_off_starts_anew(corpus):
    stream = corpus.torch(streaming=True, layers=("gt",))
    next(iter(stream))
    assert [sample["clip_id"] for sample in stream] == stream.order()


@pytest.mark.parametrize("workers", [0, 2, 3])
@pytest.mark.parametrize("done", [0, 1, 2, 3, 5])
def test_a_stateful_loader_goes_on_with_exactly_the_remaining_samples(corpus, workers, done):
    stateful = pytest.importorskip("torchdata.stateful_dataloader", reason="needs torchdata")

    def loader():
        stream = corpus.torch(streaming=True, layers=("gt",), batch_size=2, seed=3)
        stream.set_epoch(2)
        return stateful.StatefulDataLoader(stream, batch_size=2, num_workers=workers)

    whole = [list(batch["clip_id"]) for batch in loader()]
    first, found = loader(), []
    iterator = iter(first)
    for _ in range(done):
        found.append(list(next(iterator)["clip_id"]))
    state = pickle.loads(pickle.dumps(first.state_dict()))
    del iterator
    second = loader()
    second.load_state_dict(state)
    found += [list(batch["clip_id"]) for batch in second]
    assert found == whole


@pytest.mark.parametrize("workers", [0, 2, 3])
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_plain_loader_goes_on_by_resume_at(corpus, workers, ranks):
    options = {"streaming": True, "layers": ("gt",), "batch_size": 2, "rank": ranks - 1, "world_size": ranks}
    whole = batches(corpus.torch(**options), num_workers=workers)
    for done in range(len(whole) + 1):
        resumed = corpus.torch(**options, resume_at=2 * done)
        assert batches(resumed, num_workers=workers) == whole[done:]
    resumed.set_epoch(1)
    assert len(flat(batches(resumed))) == len(resumed), "the next epoch is whole again"


def test_the_stream_travels_by_pickle_with_its_place(corpus):
    stream = corpus.torch(streaming=True, layers=("gt",), resume_at=4)
    stream.set_epoch(3)
    other = pickle.loads(pickle.dumps(stream))
    assert other.order() == stream.order()
    assert other.epoch == 3


def test_an_unpaired_clip_has_gt_alone(tmp_path):
    unpaired = make_small_corpus(tmp_path, clips=2, frames=5, size=(16, 24), kinds=("unpaired",))
    for dataset in (unpaired.torch(), unpaired.torch(streaming=True)):
        (batch,) = data.DataLoader(dataset, batch_size=2)
        assert batch.keys() == {"clip_id", "caption", "fps", "gt"}
        assert batch["gt"].shape == (2, 5, 3, 16, 24)


def test_a_split_is_taken_alone(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", ["clip-a", "clip-b"], source="one", group="scene-0")
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus", validation_share=0.0, test_share=0.0)
    import effectpairs

    corpus = effectpairs.open(tmp_path / "corpus")
    assert len(corpus.torch(split="train")) == 2
    with pytest.raises(ValueError, match=r"has no clip in split 'test'; it has \['train'\]"):
        corpus.torch(split="test")


def test_wrong_options_are_named(corpus):
    with pytest.raises(ValueError, match=r"'depth' is not a layer; the layers are gt"):
        corpus.torch(layers=("gt", "depth"))
    with pytest.raises(ValueError, match=r"rank=2 is not in \[0, world_size=2\)"):
        corpus.torch(streaming=True, rank=2, world_size=2)
    with pytest.raises(ValueError, match="batch_size=0 is below 1"):
        corpus.torch(streaming=True, batch_size=0)


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    return make_small_corpus(tmp_path_factory.mktemp("longer"), clips=3, frames=21, size=(16, 24), kinds=("real",))


@pytest.mark.parametrize(("stride", "starts"), [(None, [0, 8]), (1, list(range(14))), (5, [0, 5, 10])])
def test_windows_are_runs_of_frames(longer, stride, starts):
    layers = ("gt", "effect_mask")
    samples = list(data.DataLoader(longer.torch(layers=layers, window=8, stride=stride), batch_size=None))
    assert [(sample["clip_id"], sample["start"]) for sample in samples] == [
        (clip_id, start) for clip_id in longer.ids for start in starts
    ]
    whole = {sample["clip_id"]: sample for sample in longer.torch(layers=layers)}
    for sample in samples:
        of, frames = whole[sample["clip_id"]], slice(sample["start"], sample["start"] + 8)
        assert all(torch.equal(sample[layer], of[layer][frames]) for layer in layers)


@pytest.mark.parametrize("workers", [0, 2])
def test_streams_and_workers_share_windows(longer, workers):
    streams = [
        longer.torch(streaming=True, layers=("gt",), window=8, stride=6, rank=rank, world_size=2, batch_size=2)
        for rank in range(2)
    ]
    samples = [s for stream in streams for s in data.DataLoader(stream, batch_size=None, num_workers=workers)]
    counted = Counter((sample["clip_id"], int(sample["start"])) for sample in samples)
    assert set(counted) == {(clip_id, start) for clip_id in longer.ids for start in (0, 6, 12)}
    assert counted.total() == 10
    for sample in samples:
        start = int(sample["start"])
        gt = longer[sample["clip_id"]].gt[start : start + 8].transpose(0, 3, 1, 2)
        assert np.array_equal(sample["gt"].numpy(), gt)


def test_windows_that_cannot_be_are_named(longer):
    with pytest.raises(ValueError, match="has no clip of 22 frames; the longest has 21"):
        longer.torch(window=22)
    for options in ({"window": 0}, {"window": 8, "stride": 0}, {"stride": 2}):
        with pytest.raises(ValueError, match="give a window of at least 1 frame"):
            longer.torch(**options)
    with pytest.raises(IndexError, match="sample 6 is not among 6"):
        longer.torch(window=8)[6]
