"""Growth: what planning, reporting and publishing do rises with the number of clips and no faster, by counting."""

import os
import tracemalloc
from collections import Counter

import effectpairs
import pyarrow.parquet as pq
import pytest
from effectpairs.datasets.corpus import selection, words
from effectpairs.datasets.corpus.verify import verify
from effectpairs.datasets.gallery import tables
from effectpairs.datasets.store import index, ledger, references
from effectpairs.datasets.store.store import Store
from effectpairs.flows.engine import run as run_module
from effectpairs.flows.engine.report import write_report
from effectpairs.flows.engine.run import Run
from effectpairs.flows.footage.stages import FOOTAGE
from effectpairs.flows.sources import load_any
from effectpairs.tests import fixtures_workspaces
from effectpairs.tests.benchmarks.scale import compute_template, fill_workspace

SIZES = (20, 60)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return compute_template(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory, template):
    """A workspace of each size, made by the real engine, store, index and report."""
    folders = {}
    for clips in SIZES:
        folders[clips] = tmp_path_factory.mktemp(f"of-{clips}")
        fill_workspace(folders[clips], clips, template=template)
    return folders


def counted(monkeypatch, *places):
    """Count the calls of functions, each as (owner, name)."""
    calls = Counter()
    for owner, name in places:
        function = getattr(owner, name)

        def count(*arguments, function=function, name=name, **options):
            calls[name] += 1
            return function(*arguments, **options)

        monkeypatch.setattr(owner, name, count)
    return calls


def per_clip(few: Counter, many: Counter) -> dict[str, float]:
    """Calls that each further clip costs."""
    return {name: (many[name] - few[name]) / (SIZES[1] - SIZES[0]) for name in many}


def test_planning_what_is_finished_reads_no_result_and_looks_at_each_once(filled, monkeypatch):
    counts = []
    for folder in filled.values():
        with monkeypatch.context() as patch:
            calls = counted(patch, (Store, "get"), (os, "stat"), (ledger, "_entry"))
            run = Run(FOOTAGE, load_any(folder / "many.toml"), folder / "workspace", 1)
            assert run.check_done()
            write_report(run)
            counts.append(calls)
    costs = per_clip(*counts)
    assert counts[1]["get"] == 0
    assert counts[1]["_entry"] == 0, "a ledger of the same items stays as it is"
    assert costs["stat"] <= 2 * 2 * 8 + 40, "each of 8 results and its folder, and the files of the clip"


def test_publishing_reads_each_entry_a_fixed_number_of_times(filled, tmp_path, monkeypatch):
    counts = []
    for clips, folder in filled.items():
        with monkeypatch.context() as patch:
            calls = counted(patch, (ledger, "_entry"), (selection, "_digest_of_entry"), (Store, "read"))
            selection._included.cache_clear()
            fixtures_workspaces.publish(folder / "workspace", tmp_path / f"corpus-{clips}")
            counts.append(calls)
        corpus = effectpairs.open(tmp_path / f"corpus-{clips}")
        assert len(corpus) == clips
        assert verify(corpus) == []
    costs = per_clip(*counts)
    assert costs == {"_entry": 5, "_digest_of_entry": 3, "read": 9}, "gt and mask once more, for near-duplicates"


def test_looking_at_a_corpus_opens_no_shard_however_many_there_are(filled, tmp_path, monkeypatch):
    opened = []
    for clips, folder in filled.items():
        fixtures_workspaces.publish(folder / "workspace", tmp_path / f"c{clips}", shard_bytes=1)
        with monkeypatch.context() as patch:
            calls = counted(patch, (pq, "ParquetFile"))
            corpus = effectpairs.open(tmp_path / f"c{clips}")
            assert len(corpus.ids) == len(corpus.table) == clips
            tables.as_tables(corpus)
            opened.append(calls["ParquetFile"])
    assert opened[0] == opened[1] <= 3


def test_memory_of_a_report_and_of_publishing_does_not_hold_the_rows(filled, tmp_path, monkeypatch):
    """A row of real metadata takes 20 kB as Python values, its results as much again; references to them may stay."""
    monkeypatch.setattr(run_module, "PROGRESS_KEPT", 4)
    monkeypatch.setattr(words, "BLOCK_ROWS", 4)
    monkeypatch.setattr(index, "BLOCK_WRITES", 4)
    monkeypatch.setattr(references, "BLOCK_ROWS", 4)
    peaks = []
    for clips, folder in filled.items():
        (folder / "workspace" / "index.sqlite").unlink()
        selection._included.cache_clear()
        tracemalloc.start()
        write_report(Run(FOOTAGE, load_any(folder / "many.toml"), folder / "workspace", 1))
        fixtures_workspaces.publish(folder / "workspace", tmp_path / f"m{clips}", shard_bytes=1 << 16)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / (SIZES[1] - SIZES[0]) < 15_000  # of some 40,000
