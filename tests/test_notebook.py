import os
import sys
from pathlib import Path

import effectpairs
import nbformat
import pytest
from effectpairs.datasets.store.ledger import write_ledger
from effectpairs.tests import fixtures_corpus, fixtures_workspaces
from effectpairs.tests.fixtures_corpus import make_small_corpus
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
ESCAPE = "\x1b"
EVIL = f"<script>alert(1)</script>|`{ESCAPE}[2J]({ESCAPE}]8;;http://evil"


class ThisPython(AsyncKernelManager):
    """A kernel of the interpreter that runs the tests, whatever kernels are installed."""

    @property
    def kernel_spec(self):
        spec = super().kernel_spec
        if spec is not None:
            spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return spec


def execute(name, folder, corpus=None):
    with pytest.MonkeyPatch.context() as patch:
        if corpus is not None:
            patch.setenv("EFFECTPAIRS_CORPUS", corpus.location.url)
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        patch.setenv("OMP_NUM_THREADS", "1")
        notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        manager = ThisPython(kernel_name="python3")
        client = NotebookClient(notebook, km=manager, timeout=300, resources={"metadata": {"path": str(folder)}})
        executed = client.execute()
    if saved := os.environ.get("EFFECTPAIRS_SAVE_NOTEBOOKS"):  # to be looked at
        nbformat.write(executed, Path(saved) / f"{name}.ipynb")
    return executed


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    corpus = make_small_corpus(folder, clips=4)
    return corpus, execute("inspect", folder, corpus)


def outputs(notebook, kind):
    found = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output["data"][kind] for output in found if kind in output.get("data", {})]


def printed(notebook, stream="stdout"):
    streams = [output for cell in notebook.cells for output in cell.get("outputs", []) if output.get("name") == stream]
    return "".join(output["text"] for output in streams)


@pytest.mark.parametrize("name", ["build", "inspect", "train"])
def test_it_is_kept_without_outputs(name):
    code = [cell for cell in nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


def test_it_plays_a_clip_and_lists_them_all(executed):
    corpus, notebook = executed
    pages = outputs(notebook, "text/html")
    assert sum("<video" in page and "data:video/mp4;base64," in page for page in pages) == 1
    listed = next(page for page in pages if "<table" in page)
    assert all(clip_id in listed for clip_id in corpus.ids)


def test_it_plots_the_mask_over_time_and_the_statistics(executed):
    assert len(outputs(executed[1], "image/png")) == 2


def test_it_says_where_the_clip_comes_from_and_nothing_complains(executed):
    said = printed(executed[1])
    assert "drawn by the tests (CC0-1.0)" in said
    assert "frames 0 to 12 of the original" in said
    assert printed(executed[1], "stderr") == ""


def test_it_selects_clips_by_pandas_and_duckdb(executed):
    corpus, notebook = executed
    rows = corpus.table.to_pylist()
    shown = [row for row in rows if (row["quality"]["effect_area"] or 0) > 0.01]
    accepted = sum(row["quality"]["verdict"] == "accept" for row in shown)
    shadows = sum("shadow" in row["effects"] for row in shown)
    assert f"{accepted} of {len(rows)} clips are accepted and show their effect, {shadows} a shadow" in printed(
        notebook
    )


def test_hostile_words_run_no_script_and_steer_no_terminal_in_a_notebook(tmp_path):
    provenance = {**fixtures_corpus.provenance("clip", 5), "origin": EVIL, "licence": EVIL}
    quality = {**fixtures_workspaces.accepted_quality(), "reasons": [EVIL]}
    entries = fixtures_workspaces.fill_workspace(tmp_path / "w", ["clip-a"], caption=EVIL, provenance=provenance)
    entries[0].row["quality"] = quality
    write_ledger(tmp_path / "w", "tiny", entries, {})
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus")
    notebook = execute("inspect", tmp_path, effectpairs.open(tmp_path / "corpus"))
    assert ESCAPE not in printed(notebook)
    assert "<script>" in printed(notebook), "as words"
    assert not any("<script>" in page for page in outputs(notebook, "text/html"))


def test_a_corpus_is_built_from_a_video_in_ten_lines(tmp_path):
    notebook = execute("build", tmp_path)
    lines = [line for line in notebook.cells[1].source.splitlines() if line and not line.startswith(("from", "import"))]
    assert len(lines) <= 10
    assert "demo: 1 clips = " in printed(notebook)
    assert len(outputs(notebook, "image/png")) == 1
    assert "Big Buck Bunny" in outputs(notebook, "text/markdown")[0]
    assert (tmp_path / "corpus" / "croissant.json").is_file()


def test_a_model_is_trained_and_compared_with_doing_nothing(tmp_path):
    pytest.importorskip("diffusers", reason="pip install 'effectpairs[train]'")
    notebook = execute("train", tmp_path, make_small_corpus(tmp_path, clips=2, size=(32, 48), kinds=("real",)))
    assert len(outputs(notebook, "image/png")) == 2
    table = outputs(notebook, "text/html")[-1]
    assert "<th>trained</th>" in table
    assert "<th>composite</th>" in table
