import sys
from pathlib import Path

import nbformat
import pytest
from effectpairs.tests.fixtures_corpus import make_small_corpus
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "inspect.ipynb"


class ThisPython(AsyncKernelManager):
    """A kernel of the interpreter that runs the tests, whatever kernels are installed."""

    @property
    def kernel_spec(self):
        spec = super().kernel_spec
        if spec is not None:
            spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return spec


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    corpus = make_small_corpus(folder, clips=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFFECTPAIRS_CORPUS", corpus.location.url)
        patch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        manager = ThisPython(kernel_name="python3")
        client = NotebookClient(notebook, km=manager, timeout=120, resources={"metadata": {"path": str(folder)}})
        return corpus, client.execute()


def outputs(notebook, kind):
    found = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output["data"][kind] for output in found if kind in output.get("data", {})]


def test_it_is_kept_without_outputs():
    code = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
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
    streams = [output for cell in executed[1].cells for output in cell.get("outputs", []) if "name" in output]
    said = "".join(output["text"] for output in streams if output["name"] == "stdout")
    assert "drawn by the tests (CC0-1.0)" in said
    assert "frames 0 to 12 of the original" in said
    assert [output["text"] for output in streams if output["name"] == "stderr"] == []
