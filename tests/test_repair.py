"""What proves damaged or gone in a workspace is made anew by the next run over it, or by the run that reads it."""

import shutil
from collections import Counter
from pathlib import Path

import effectpairs
import pytest
from effectpairs.datasets.corpus.selection import PublishSettings
from effectpairs.datasets.corpus.verify import verify
from effectpairs.datasets.store.ledger import read_ledger
from effectpairs.datasets.store.store import DamagedLayer, Store
from effectpairs.flows.engine import batches
from effectpairs.flows.engine.local_runner import publish_locally, run_locally
from effectpairs.flows.engine.run import REPAIRS, Run
from effectpairs.flows.engine.workers import Worker
from effectpairs.flows.sources import load_any
from effectpairs.tests.fixtures_workspaces import read_files, run_source
from effectpairs.tests.toy_kind.source import ToySource
from effectpairs.tests.toy_kind.stages import CALLS, TOY

LINES = ToySource(name="toys", lines=("red green blue", "a orange"))
EVERYTHING = PublishSettings(include=("accept", "review", "reject"))


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Number of calls by stage since it was last asked for, in a run without worker processes."""
    monkeypatch.setattr(Worker, "call", lambda self, function, *arguments, **watch: function(*arguments))
    monkeypatch.setenv(CALLS, str(tmp_path / "calls"))

    def calls_since() -> Counter[str]:
        text = (tmp_path / "calls").read_text() if (tmp_path / "calls").exists() else ""
        (tmp_path / "calls").unlink(missing_ok=True)
        return Counter(line.split()[0] for line in text.splitlines())

    return calls_since


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def harm_layers(workspace: Path, stage: str, harm: str) -> int:
    batches._worker_store.cache_clear()  # what a worker has in memory it does not read again
    layers = sorted((workspace / "store" / stage).rglob("*.mkv"))
    for path in layers:
        flip(path) if harm == "changed" else path.unlink() if harm == "gone" else shutil.rmtree(path.parent)
    return len(layers)


@pytest.mark.parametrize("harm", ["changed", "gone", "folder gone"])
def test_a_run_makes_anew_the_layers_that_it_finds_damaged(tmp_path, calls, harm):
    run_locally(Run(TOY, LINES, tmp_path / "w", workers=1))
    clean = read_files(tmp_path / "w")
    assert calls()["spell"] == 5
    shutil.rmtree(tmp_path / "w" / "store" / "weigh")
    assert harm_layers(tmp_path / "w", "spell", harm) == 5
    summary = run_locally(Run(TOY, LINES, tmp_path / "w", workers=1))
    assert (summary.inputs, summary.accepted) == (5, 5)
    assert read_files(tmp_path / "w") == clean
    assert calls()["spell"] == 5, "what is damaged, and nothing else"


@pytest.mark.parametrize("harm", ["changed", "folder gone"])
def test_damage_that_comes_in_mid_run_costs_no_clip(tmp_path, calls, monkeypatch, harm):
    clean = tmp_path / "clean"
    run_locally(Run(TOY, LINES, clean, workers=1))
    real, harmed = Store.layer, []

    def layer(store, ref):
        if not harmed:
            harmed.append(harm_layers(tmp_path / "w", "spell", harm))
        return real(Store(store.workspace), ref)

    monkeypatch.setattr(Store, "layer", layer)
    summary = run_locally(Run(TOY, LINES, tmp_path / "w", workers=1))
    assert harmed[0] >= 1
    assert (summary.inputs, summary.accepted) == (5, 5)
    assert read_files(tmp_path / "w" / "store") == read_files(clean / "store")


def test_a_disk_that_damages_all_that_is_written_ends_with_an_account(tmp_path, calls, monkeypatch):
    rounds = []
    real = Store.layer

    def layer(store, ref):
        rounds.append(ref)
        flip(tmp_path / "w" / ref.file)
        return real(Store(store.workspace), ref)

    monkeypatch.setattr(Store, "layer", layer)
    summary = run_locally(Run(TOY, ToySource(name="toys", lines=("bee",)), tmp_path / "w", workers=1))
    assert (summary.inputs, summary.failed) == (1, 1)
    assert len(rounds) == 1 + REPAIRS
    assert "damaged or gone; run its source again" in read_ledger(tmp_path / "w", "toys")[0].reasons[0]


def test_a_video_is_normalised_again_when_a_layer_of_its_clips_is_damaged(source_file, tmp_path):
    source = load_any(source_file)
    run_source(source, tmp_path / "w", workers=1)
    clean = read_files(tmp_path / "w")
    flip(next((tmp_path / "w" / "store" / "normalise").rglob("gt-*.mkv")))
    for stage in ("subject", "decompose", "composite", "effect_mask", "quality"):
        shutil.rmtree(tmp_path / "w" / "store" / stage)
    summary = run_source(source, tmp_path / "w", workers=1)
    assert (summary.inputs, summary.failed) == (4, 0)
    assert read_files(tmp_path / "w") == clean


def test_publishing_names_all_that_is_damaged_and_one_more_run_mends_it(source_file, tmp_path):
    source = load_any(source_file)
    run_source(source, tmp_path / "w", workers=1)
    clean = read_files(tmp_path / "w" / "store")
    damaged = [name for name in clean if name.endswith(".mkv") and "/composite/" in f"/{name}"]
    for name in damaged:
        flip(tmp_path / "w" / "store" / name)
    assert len(damaged) == 4
    with pytest.raises(
        DamagedLayer, match=r"over-\w+\.mkv and 1 more of its shard damaged or gone; effectpairs run tiny"
    ):
        publish_locally(str(tmp_path / "corpus"), tmp_path / "w", EVERYTHING)
    assert not (tmp_path / "corpus" / "corpus.json").exists()
    run_source(source, tmp_path / "w", workers=1)
    assert read_files(tmp_path / "w" / "store") == clean
    publish_locally(str(tmp_path / "corpus"), tmp_path / "w", EVERYTHING)
    assert not verify(effectpairs.open(tmp_path / "corpus"))


def test_a_changed_character_of_a_result_is_never_published(source_file, tmp_path):
    source = load_any(source_file)
    run_source(source, tmp_path / "w", workers=1)
    clean = read_files(tmp_path / "w")
    for stage in sorted((tmp_path / "w" / "store").iterdir()):
        path = next(stage.rglob("result.json"))
        path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    run_source(source, tmp_path / "w", workers=1)
    assert read_files(tmp_path / "w") == clean
