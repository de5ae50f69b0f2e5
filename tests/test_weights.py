import json
import os
import subprocess
import sys
import time

import pytest
from effectpairs import digests, weights
from effectpairs.weights import LocalModel, WeightsNotFound, WeightsRef, find_weights

huggingface_hub = pytest.importorskip("huggingface_hub", reason="pip install 'effectpairs[models]'")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_model(folder, *names):
    for name in names or ("config.json", "model.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}", encoding="utf-8")
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The hub's local store, with owner/name at main; nothing can be downloaded."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv(weights.DOWNLOAD_ENV, raising=False)
    repository = tmp_path / "hub" / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    write_model(repository / "snapshots" / COMMIT)
    return repository / "snapshots" / COMMIT


def refusal(ref):
    with pytest.raises(WeightsNotFound) as caught:
        find_weights(ref)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_a_file_and_the_hub(hub, tmp_path):
    folder = write_model(tmp_path / "own")
    local = find_weights(WeightsRef(model=str(folder)))
    assert (local.path, local.revision) == (folder, None)
    assert local.version == f"folder-{local.sha256()[:16]}"
    file = folder / "model.safetensors"
    single = find_weights(WeightsRef(model=str(file)))
    assert single == LocalModel(id=str(file), path=file, revision=None)
    assert single.sha256() == digests.digest_of_file(file)
    cached = find_weights(WeightsRef(model="owner/name"))
    assert (cached.path, cached.revision, cached.version) == (hub, COMMIT, COMMIT)
    assert find_weights(WeightsRef(model="owner/name", revision=COMMIT)) == cached
    assert cached.sha256() == local.sha256(), "the same files, wherever they lie"


def test_the_digest_follows_bytes_and_not_pictures_or_hidden_notes(tmp_path):
    local = find_weights(WeightsRef(model=str(write_model(tmp_path))))
    first = local.sha256()
    write_model(tmp_path, "README.md", "page.PNG", ".cache/huggingface/download.lock")
    assert local.sha256() == first
    file = tmp_path / "model.safetensors"
    file.write_text(file.read_text(encoding="utf-8").upper(), encoding="utf-8")
    assert local.sha256() != first, "equal sizes, other bytes"
    assert local.sha256("config.json") != local.sha256("model.safetensors")


def test_a_model_that_is_nowhere(hub, tmp_path):
    sentence = refusal(WeightsRef(model="owner/other", revision="v2"))
    assert sentence.startswith("owner/other: there is no such folder and nothing in ")
    assert str(tmp_path / "hub") in sentence
    assert "fetch it with: hf download owner/other --revision v2, or give its folder" in sentence
    assert "EFFECTPAIRS_DOWNLOAD=1" in sentence
    assert "nothing in" in refusal(WeightsRef(model="owner/name", revision="v2"))
    own = WeightsRef(model="owner/other", remedy="its page has the link: put the file beside it")
    assert refusal(own).endswith("; its page has the link: put the file beside it")
    for name in ("./nowhere", "/no/such/folder", "~/nothing", "owner/file.safetensors"):
        assert refusal(WeightsRef(model=name)) == f"{name} is no folder and no file; correct it"
    for name in ("nowhere", "a/b/c"):
        assert "is no folder and no file, and no model's name of the form owner/name" in refusal(WeightsRef(model=name))


def test_a_part_that_is_not_there(hub, tmp_path):
    parts = ("config.json", "vae", "*.safetensors")
    ref = WeightsRef(model="owner/name", parts=parts)
    assert refusal(ref) == f"owner/name: {hub} has no vae/; fetch it with: hf download owner/name"
    own = write_model(tmp_path / "own", "config.json", "vae/config.json")
    assert refusal(WeightsRef(model=str(own), parts=parts)).endswith(
        f"{own} has no *.safetensors; name the folder of a whole model"
    )


def test_a_shard_that_its_index_names(tmp_path):
    write_model(tmp_path, "config.json", "a.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}), encoding="utf-8")
    assert f"{tmp_path} has no b.safetensors; " in refusal(WeightsRef(model=str(tmp_path)))
    index.write_text("{", encoding="utf-8")
    assert "has no readable model.safetensors.index.json" in refusal(WeightsRef(model=str(tmp_path)))


def test_a_download_happens_where_it_is_allowed_alone(hub, tmp_path, monkeypatch):
    calls = []

    def snapshot_download(model, revision=None, local_files_only=False, ignore_patterns=()):
        calls.append((model, local_files_only))
        if local_files_only:
            raise FileNotFoundError("nothing here")
        assert "*.md" in ignore_patterns
        return str(write_model(tmp_path / "downloaded" / COMMIT))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    refusal(WeightsRef(model="owner/other"))
    assert calls == [("owner/other", True)]
    monkeypatch.setenv(weights.DOWNLOAD_ENV, "1")
    assert find_weights(WeightsRef(model="owner/other")).revision == COMMIT
    assert calls[1:] == [("owner/other", True), ("owner/other", False)]


def test_a_download_that_fails_is_one_sentence_at_once(hub, monkeypatch):
    monkeypatch.setenv(weights.DOWNLOAD_ENV, "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    started = time.monotonic()
    sentence = refusal(WeightsRef(model="owner/other"))
    assert sentence.startswith("owner/other: cannot be downloaded (")
    assert sentence.endswith("fetch it with: hf download owner/other")
    assert time.monotonic() - started < 10


def test_without_the_hubs_library_the_extra_is_named(hub, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    assert "pip install 'effectpairs[models]'" in refusal(WeightsRef(model="owner/name"))


def test_a_large_file_is_read_once_on_a_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "REMEMBERED_BYTES", 4)
    file, reads = tmp_path / "model.safetensors", []
    file.write_bytes(b"weights")
    file_digest = digests.hashlib.file_digest
    monkeypatch.setattr(digests.hashlib, "file_digest", lambda *args: reads.append(1) or file_digest(*args))

    def digest_in_a_new_process(**options):
        digests._digest_of_file.cache_clear()
        return digests.digest_of_file(file, **options)

    first = digest_in_a_new_process()
    assert first == digests.hashlib.sha256(b"weights").hexdigest()
    assert digest_in_a_new_process() == first
    assert len(reads) == 1
    assert digest_in_a_new_process(trust_disk=False) == first
    assert len(reads) == 2, "a check for damage reads the file"
    (note,) = (tmp_path / "cache" / "effectpairs" / "sha256").iterdir()
    note.write_text("[]", encoding="utf-8")
    assert digest_in_a_new_process() == first, "a note that is damaged counts for nothing"
    file.write_bytes(b"others!")
    assert digest_in_a_new_process() != first
    note.chmod(0o400)
    file.write_bytes(b"again!!")
    (tmp_path / "cache" / "effectpairs" / "sha256").chmod(0o500)
    assert digest_in_a_new_process() == digests.hashlib.sha256(b"again!!").hexdigest()
    (tmp_path / "cache" / "effectpairs" / "sha256").chmod(0o700)


def test_of_processes_that_begin_together_one_reads_a_large_file(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights" * 1000)
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from effectpairs import digests\n"
        "digests.REMEMBERED_BYTES, read = 4, digests._read_digest\n"
        "def slow_read(path):\n"
        "    print('read')\n"
        "    time.sleep(1)\n"
        "    return read(path)\n"
        "digests._read_digest = slow_read\n"
        "print(digests.digest_of_file(Path(sys.argv[1])))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "model.safetensors")]
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    processes = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    words = [word for process in processes for word in process.communicate(timeout=120)[0].split()]
    assert words.count("read") == 1
    assert len(set(words)) == 2, "all have the same digest"
