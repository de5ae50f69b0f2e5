"""A corpus goes to a hub by one command: whole, `corpus.json` last, nothing twice, and no token anywhere."""

import os
import subprocess
import sys

import effectpairs
import pytest
from effectpairs.datasets.corpus import hub as hub_module
from effectpairs.datasets.corpus.hub import plan_push, push
from effectpairs.datasets.store.remote_calls import StorageError
from effectpairs.tests import fixtures_workspaces
from effectpairs.tests.fixtures_hub import TOKEN, serve_hub


@pytest.fixture
def hub(monkeypatch, tmp_path):
    settings = {"HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hf")}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    with serve_hub() as served:
        yield served


@pytest.fixture
def corpus(tmp_path):
    fixtures_workspaces.fill_workspace(tmp_path / "w", ["clip-a", "clip-b", "clip-c"])
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus", shard_bytes=1)
    return effectpairs.open(tmp_path / "corpus")


def run_push(corpus, hub, *options):
    command = [sys.executable, "-m", "effectpairs", "push", corpus.location.url, "owner/name", "--endpoint", hub.url]
    return subprocess.run(
        [*command, *options], capture_output=True, text=True, env=os.environ, cwd=corpus.location.local
    )


def test_the_command_says_what_it_would_do_then_does_it_and_writes_no_token(hub, corpus, tmp_path):
    dry = run_push(corpus, hub, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "in a new repository" in dry.stdout
    assert dry.stdout.count("  send ") == 3 + 2 + 4  # shards, words and account, documents and corpus.json
    assert "publish with --url" in dry.stderr
    assert {method for method, _ in hub.requests} == {"GET"}, "a dry run changes nothing"
    done = run_push(corpus, hub, "--private")
    assert done.returncode == 0, done.stderr
    assert hub.visibility == "private"
    assert hub.files == fixtures_workspaces.read_files(tmp_path / "corpus")
    assert hub.commits[-1][-1] == "file corpus.json"
    assert TOKEN not in dry.stdout + dry.stderr + done.stdout + done.stderr
    assert not any(TOKEN.encode() in content for content in fixtures_workspaces.read_files(tmp_path).values())


def test_a_push_that_broke_off_goes_on_and_an_equal_corpus_sends_nothing(hub, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(hub_module, "FILES_PER_COMMIT", 1)
    hub.refuse_uploads_after = 2
    with pytest.raises(StorageError, match=r"name: the hub (answered|does not answer).*; push again|hf auth login"):
        push(corpus, plan_push(corpus, "owner/name", hub.url))
    assert "corpus.json" not in hub.files
    sent = set(hub.files)
    assert sent, "what was committed stays"
    hub.refuse_uploads_after = 10**9
    rest = plan_push(corpus, "owner/name", hub.url)
    assert not sent & set(rest.shards)
    push(corpus, rest)
    assert hub.files["corpus.json"] == (tmp_path / "corpus" / "corpus.json").read_bytes()
    again = plan_push(corpus, "owner/name", hub.url)
    assert (again.shards, again.documents, again.stale, again.size_bytes) == ((), (), (), 0)
    requests = len(hub.requests)
    push(corpus, again)
    assert len(hub.requests) == requests, "of an equal corpus nothing is sent"


def test_shards_of_the_corpus_before_go_in_the_last_commit(hub, corpus, tmp_path):
    push(corpus, plan_push(corpus, "owner/name", hub.url))
    fixtures_workspaces.fill_workspace(tmp_path / "w", ["clip-a", "clip-b"])
    fixtures_workspaces.publish(tmp_path / "w", tmp_path / "corpus", shard_bytes=1)
    smaller = effectpairs.open(tmp_path / "corpus")
    plan = plan_push(smaller, "owner/name", hub.url)
    assert any(name.startswith("data/") for name in plan.stale)
    push(smaller, plan)
    assert hub.files == fixtures_workspaces.read_files(tmp_path / "corpus")
    assert all(f"deletedFile {name}" in hub.commits[-1] for name in plan.stale)


def test_bad_pushes_end_with_a_sentence(hub, corpus, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="'name' is no repository; write OWNER/NAME"):
        plan_push(corpus, "name", hub.url)
    monkeypatch.setattr(hub_module, "VIEWER_SCAN_BYTES", 10)
    plan = plan_push(corpus, "owner/name", hub.url)
    assert "the hub's viewer reads up to 10" in plan.notes[0]
    shard = tmp_path / "corpus" / plan.shards[0]
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="is damaged; see: effectpairs verify"):
        push(corpus, plan)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(StorageError, match="status 401; log in with `hf auth login`"):
        plan_push(corpus, "owner/name", hub.url)
    monkeypatch.setattr("time.sleep", lambda _: None)  # between its tries
    with pytest.raises(StorageError, match="does not answer"):
        plan_push(corpus, "owner/name", "http://127.0.0.1:9")
