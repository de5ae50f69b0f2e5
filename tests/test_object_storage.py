"""Workspace and corpus on object storage: the same bytes as on a disk, whatever happens to connections and servers."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import effectpairs
import numpy as np
import pytest
from effectpairs.datasets.corpus.selection import PublishSettings
from effectpairs.datasets.corpus.verify import verify
from effectpairs.datasets.store import remote_calls
from effectpairs.datasets.store.atomic_io import partial_beside
from effectpairs.datasets.store.ledger import read_ledger
from effectpairs.datasets.store.location import Location
from effectpairs.datasets.store.remote_calls import StorageError
from effectpairs.datasets.store.store import DamagedLayer, Store
from effectpairs.flows.engine.local_runner import publish_locally
from effectpairs.flows.engine.workers import Worker
from effectpairs.flows.sources import load_any
from effectpairs.tests import fixtures_s3
from effectpairs.tests.fixtures_workspaces import read_files, run_source
from effectpairs.tests.test_store import WORK, draw, layers

pytest.importorskip("s3fs", reason="pip install 'effectpairs[s3]'")
pytest.importorskip("moto", reason="pip install 'moto[server]'")
EVERYTHING = PublishSettings(include=("accept", "review", "reject"))
RUN = (
    "import sys\n"
    "from effectpairs.flows.sources import load_any, open_run\n"
    "from effectpairs.flows.engine.local_runner import run_locally\n"
    "if __name__ == '__main__':\n"
    "    print(run_locally(open_run(load_any(sys.argv[1]), sys.argv[2], workers=1)))\n"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with fixtures_s3.s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def workspace(server, tmp_path, monkeypatch):
    """URL of an empty workspace, whose scratch folder is the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fixtures_s3.forget_connections()
    return f"s3://{fixtures_s3.BUCKET}/{tmp_path.name}"


@pytest.fixture
def mortal(workspace, tmp_path):
    """A server of the test's own, to be killed: the less it has to replay, the sooner it is back."""
    with fixtures_s3.s3_server(tmp_path) as server:
        fixtures_s3.forget_connections()
        yield server
    fixtures_s3.forget_connections()


def test_a_result_is_the_same_as_on_a_disk(workspace, tmp_path):
    store = Store(workspace)
    result = store.once(WORK, draw)
    assert result == Store(workspace).find(WORK) == Store(tmp_path / "local").once(WORK, draw)
    assert read_files(workspace) == read_files(tmp_path / "local")
    assert np.array_equal(Store(workspace).layer(result.layers["gt"]), layers()["gt"])
    assert not list(store.workspace.scratch_folder.iterdir())


def test_a_result_costs_few_requests(workspace, server):
    store = Store(workspace)
    store.workspace.names()

    def requests_of(work) -> list[str]:
        before = len(server.requests())
        work()
        return [request["method"] for request in server.requests()[before:]]

    assert requests_of(lambda: store.find(WORK)) == ["GET"]
    assert Counter(requests_of(lambda: store.once(WORK, draw))) == {"GET": 1, "PUT": 4}
    assert requests_of(lambda: store.find(WORK)) == ["GET", "GET"]


def test_a_refused_input_leaves_its_reason_alone(workspace):
    def refuse(draft):
        draft.add("gt", layers()["gt"])
        raise ValueError("clip.mp4: is all black; choose another clip")

    assert Store(workspace).once(WORK, refuse).refused == "clip.mp4: is all black; choose another clip"
    assert Location.of(workspace).names() == [f"store/draw/{WORK.key[:2]}/{WORK.key}/result.json"]


def test_a_making_that_fails_leaves_no_object(workspace):
    def fail(draft):
        draft.add("gt", layers()["gt"])
        raise KeyError("x")

    with pytest.raises(KeyError):
        Store(workspace).once(WORK, fail)
    assert Location.of(workspace).names() == []


def test_what_killed_runs_left_is_swept_and_what_lives_or_is_of_another_machine_stays(workspace):
    place, living = Location.of(workspace), partial_beside(Path("batches")).name
    killed, other = living.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-"), "batches.partial-elsewhere-1-a"
    for name in (killed, living, other):
        place.write(f"sources/tiny/{name}/spell-0000.json", b"{}")
    place.write(f"{killed.replace('batches', 'lease')}/alive", b"7")
    assert Store(workspace).sweep() == 2
    assert place.top("sources/tiny") == sorted([living, other])
    assert place.top() == ["sources"]


def test_of_two_that_make_the_same_one_wins_and_the_loser_cleans_up(workspace):
    def other(draft):
        draft.add("gt", layers(seed=9)["gt"])

    def overtaken(draft):
        Store(workspace).once(WORK, other)
        draw(draft)

    result = Store(workspace).once(WORK, overtaken)
    assert list(result.layers) == ["gt"]
    names = {*(layer.file for layer in result.layers.values()), f"{result.folder}/result.json"}
    assert set(Location.of(workspace).names()) == names


@pytest.mark.parametrize("harm", ["changed", "gone", "manifest"])
def test_what_is_damaged_is_made_anew(workspace, harm):
    place = Location.of(workspace)
    result = Store(workspace).once(WORK, draw)
    clean = read_files(workspace)
    name = f"{result.folder}/result.json" if harm == "manifest" else result.layers["gt"].file
    place.remove(name) if harm == "gone" else place.write(name, clean[name][:-9] + b"x" + clean[name][-8:])
    if harm == "changed":
        with pytest.raises(DamagedLayer, match=rf"{workspace}/store/.*gt-\w+.mkv is damaged or gone"):
            Store(workspace).layer(result.layers["gt"])
    assert Store(workspace).find(WORK) is None
    assert Store(workspace).once(WORK, draw) == result
    assert read_files(workspace) == clean


def test_a_conditional_put_that_is_not_known_falls_back(workspace, tmp_path, monkeypatch):
    def refuse(path, content):
        raise OSError(38, "Function not implemented")

    place = Location.of(workspace)
    real = place._filesystem[0].pipe_file
    monkeypatch.setattr(
        place._filesystem[0],
        "pipe_file",
        lambda *a, mode="overwrite", **_: refuse(*a) if mode == "create" else real(*a),
    )
    for number, expected in enumerate((True, False)):
        (tmp_path / "file").write_bytes(b"%d" % number)
        assert place.take_new(tmp_path / "file", "result.json") is expected
    assert place.read("result.json") == b"0"


def test_no_bucket_no_rights_and_no_server_are_sentences(workspace, server, monkeypatch):
    with pytest.raises(StorageError, match=r"s3://nowhere/w/.*: there is no such bucket; create it"):
        Store("s3://nowhere/w").once(WORK, draw)
    monkeypatch.setattr(remote_calls, "PATIENCE_S", 0.5)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{fixtures_s3.free_port()}")
    fixtures_s3.forget_connections()
    with pytest.raises(StorageError, match=r"the storage does not answer .* what is done stays: run again") as caught:
        Store("s3://bucket/w").find(WORK)
    assert str(caught.value).startswith("s3://bucket/w/store/draw/")
    for name in fixtures_s3.ENVIRONMENT:
        if "KEY" in name:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    fixtures_s3.forget_connections()
    with pytest.raises(StorageError, match=r"no credentials are here; see docs/object_storage\.md"):
        Store("s3://bucket/w").find(WORK)


KILLED = """
import os, signal, sys
from effectpairs.datasets.store.location import Location
from effectpairs.datasets.store.store import Store
from effectpairs.tests.test_store import WORK, draw

real, calls = Location._call, 0

def call(location, name, verb, **options):
    global calls
    calls += 1
    if calls == moment:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        return real(location, name, verb, **options)
    finally:
        if calls == -moment:
            os.kill(os.getpid(), signal.SIGKILL)

Location._call = call
for moment in (1, -1, 2, -2, 3, -3):
    child = os.fork()
    if child == 0:
        Store(f"{sys.argv[1]}/{moment}").once(WORK, draw)
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), moment
"""
"""Before and after each exchange of a commit: the look-up, the layers, the manifest."""


def test_killed_at_any_request_of_a_commit_nothing_half_counts(workspace, tmp_path):
    Store(tmp_path / "clean").once(WORK, draw)
    subprocess.run([sys.executable, "-c", KILLED, workspace], check=True, timeout=120)
    counts = {}
    for moment in (1, -1, 2, -2, 3, -3):
        store = Store(f"{workspace}/{moment}")
        counts[moment] = store.find(WORK) is not None
        store.once(WORK, draw)
        store.sweep()
        assert read_files(store.workspace.url) == read_files(tmp_path / "clean")
        assert not list(store.workspace.scratch_folder.iterdir()), "and the local leftovers are swept"
    assert counts == {1: False, -1: False, 2: False, -2: False, 3: False, -3: True}


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The source's settings file, the store and the corpus of a run on a local disk that nobody disturbed."""
    from effectpairs.tests.fixtures_scene import sliding_square, write_h264

    folder = tmp_path_factory.mktemp("clean")
    for name, seed in (("first", 1), ("second", 2)):
        scene = sliding_square(29, seed=seed)
        write_h264(folder / "footage" / name / "input_video.mp4", scene.gt)
        write_h264(folder / "footage" / name / "mask_00.mp4", scene.subject_mask)
    settings = folder / "tiny.toml"
    settings.write_text(
        f'root = "{folder}/footage"\nlayout = "gen-omnimatte"\nlicence = "CC0"\norigin = "made by the tests"\n'
        "[normalise]\nsize = [48, 80]\nmax_frames = 13\n"
    )
    run_source(load_any(settings), folder / "w", workers=1)
    publish_locally(str(folder / "corpus"), folder / "w", EVERYTHING, "tiny")
    return settings, read_files(folder / "w" / "store"), read_files(folder / "corpus")


def assert_clean(workspace: str, clean, *, corpus: str | None = None) -> None:
    """The workspace has the store of the clean run and nothing else, and gives its corpus, byte for byte."""
    _, store, files = clean
    assert read_files(f"{workspace}/store") == store
    place = corpus or f"{workspace}-corpus"
    publish_locally(place, workspace, EVERYTHING, "tiny")
    assert read_files(place) == files
    assert not verify(effectpairs.open(place))


def test_a_source_gives_the_store_and_corpus_of_a_disk(workspace, clean, tmp_path):
    summary = run_source(load_any(clean[0]), workspace, workers=2)
    assert (summary.inputs, summary.failed) == (4, 0)
    assert len(read_ledger(workspace, "tiny")) == 4
    assert_clean(workspace, clean)
    assert_clean(workspace, clean, corpus=str(tmp_path / "corpus"))
    before = read_files(workspace)
    assert run_source(load_any(clean[0]), workspace, workers=2) == summary
    assert read_files(workspace) == before, "and nothing is left over"


def start_worker(source: Path, workspace: str, folder: Path, *, host: str = "") -> subprocess.Popen[str]:
    """Run a source on a machine of its own, as far as one has it: home, temporary folder, cache, and host name."""
    (folder / "tmp").mkdir(parents=True)
    (folder / "run.py").write_text(RUN)
    environment = os.environ | {"HOME": str(folder), "TMPDIR": str(folder / "tmp")}
    environment.pop("XDG_CACHE_HOME", None)
    command = [sys.executable, str(folder / "run.py"), str(source), workspace]
    if host:
        command = ["unshare", "--uts", "sh", "-c", f'hostname {host}; exec "$@"', "sh", *command]
    return subprocess.Popen(command, env=environment, cwd=folder, text=True, stdout=subprocess.PIPE)


def may_unshare() -> bool:
    return subprocess.run(["unshare", "--uts", "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.slow
def test_two_machines_on_one_workspace_end_with_the_bytes_of_one(workspace, clean, tmp_path):
    hosts = ("one", "two") if may_unshare() else ("", "")
    workers = [start_worker(clean[0], workspace, tmp_path / f"m{n}", host=host) for n, host in enumerate(hosts)]
    for worker in workers:
        text, _ = worker.communicate(timeout=300)
        assert worker.returncode == 0
        assert "4 clips = 0 accepted + 4 review + 0 rejected + 0 failed" in text or "+ 0 failed" in text
    assert_clean(workspace, clean)


@pytest.mark.slow
def test_connections_that_are_cut_cost_nothing(workspace, server, clean, tmp_path, monkeypatch):
    proxy = fixtures_s3.CuttingProxy(server.port, share=0.05)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    worker = start_worker(clean[0], workspace, tmp_path / "m")
    text, _ = worker.communicate(timeout=300)
    proxy.close()
    assert worker.returncode == 0
    assert "+ 0 failed" in text
    assert proxy.cuts >= 5
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    fixtures_s3.forget_connections()
    assert_clean(workspace, clean)


@pytest.mark.parametrize("way", ["write", "take", "take_new"])
def test_an_upload_that_nobody_takes_is_sent_again(server, workspace, tmp_path, monkeypatch, way):
    """The client waits for leave to send a body, and would do so for ever."""
    proxy = fixtures_s3.CuttingProxy(server.port, share=0.0)
    proxy.swallows = 1
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    fixtures_s3.forget_connections()
    monkeypatch.setattr(remote_calls, "SILENCE_S", 3.0)
    place, scratch = Location(workspace), tmp_path / "layer"
    scratch.write_bytes(b"content")
    if way == "write":
        place.write("layer", b"content")
    else:
        getattr(place, way)(scratch, "layer")
    assert place.read("layer") == b"content"
    assert not proxy.swallows
    proxy.close()
    fixtures_s3.forget_connections()


@pytest.mark.slow
def test_a_server_that_is_killed_and_comes_back_costs_nothing(workspace, mortal, clean, tmp_path):
    worker = start_worker(clean[0], workspace, tmp_path / "m")
    kills = 0
    while worker.poll() is None and kills < 3:
        time.sleep(2)
        mortal.kill()
        time.sleep(0.5)
        mortal.start()
        kills += 1
    text, _ = worker.communicate(timeout=300)
    assert worker.returncode == 0
    assert "+ 0 failed" in text
    assert kills
    # The stand-in may forget what it took just before its end, as no real storage does: the next run sees to that.
    assert start_worker(clean[0], workspace, tmp_path / "next").wait(300) == 0
    assert_clean(workspace, clean)


def test_a_server_that_stays_away_ends_the_run_and_the_next_goes_on(workspace, mortal, clean, monkeypatch):
    monkeypatch.setattr(Worker, "call", lambda self, function, *arguments, **_: function(*arguments))
    commits = []
    real = Location.take_new

    def die(location, scratch, name):
        commits.append(name)
        if len(commits) == 6:
            mortal.kill()
        return real(location, scratch, name)

    with monkeypatch.context() as patch:
        patch.setattr(remote_calls, "PATIENCE_S", 1.0)
        patch.setattr(Location, "take_new", die)
        with pytest.raises(StorageError, match=r"s3://bucket/.*: the storage does not answer .*: run again"):
            run_source(load_any(clean[0]), workspace, workers=1)
    assert len(commits) == 6, "no item is tried without a storage"
    mortal.start()
    assert run_source(load_any(clean[0]), workspace, workers=1).failed == 0
    assert read_files(f"{workspace}/store") == clean[1]
