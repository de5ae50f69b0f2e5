"""vLLM as a child process: against a false server that behaves or not, and the true one if EFFECTPAIRS_VLLM is set."""

import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from effectpairs.captioning.interface.captioner import Captioner, ClipContext
from effectpairs.captioning.llm import vllm_server
from effectpairs.captioning.llm.llm_captioner import ChatRequest, LlmCaptioner, ModelUnavailable
from effectpairs.captioning.llm.vllm_server import PYTHON_ENV, VllmCaptioner
from effectpairs.tests import fixtures_fake_vllm
from effectpairs.tests.fixtures_llm_server import ask_many

SEEN = ClipContext(gt=np.zeros((13, 32, 48, 3), np.uint8), subject="dog")


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    return fixtures_fake_vllm.install(tmp_path_factory.mktemp("vllm"))


@pytest.fixture
def captioner(python):
    made = VllmCaptioner(model="some/model", python_path=python, startup_timeout_s=60.0, timeout_s=30.0)
    yield made
    made.close()


def ask(text="Hello.", **over):
    return ChatRequest(system="s", user=text, **over)


def test_the_steps_and_what_reaches_vllm(captioner):
    assert isinstance(captioner, Captioner)
    assert isinstance(captioner, LlmCaptioner)
    described = json.loads(captioner.describe(SEEN, seed=7).text)
    assert (described["parts"], described["seed"], described["guided"]) == (1, 7, False)
    assert {"dtype", "max_model_len", "limit_mm_per_prompt", "media_io_kwargs"} <= set(described["options"])
    assert not {"enforce_eager", "trust_remote_code", "revision"} & set(described["options"])
    refined = captioner.refine("A dog runs.", SEEN, max_words=20, seed=1)
    assert (refined.text, refined.tokens_in, refined.tokens_out) == ("A dog runs.", 10, 3)
    assert json.loads(captioner.chat(ask(schema={"type": "object"})).text)["guided"]


def test_questions_that_wait_become_a_batch(captioner):
    captioner.chat(ask())
    found = [json.loads(answer.text)["batch"] for _, answer in ask_many(captioner, (ask(seed=n) for n in range(64)))]
    assert len(found) == 64
    assert max(found) >= 8


def test_answers_find_their_questions(captioner):
    for question, answer in ask_many(captioner, (ask(seed=n) for n in range(50))):
        assert json.loads(answer.text)["seed"] == question.seed


def test_one_question_that_is_refused_does_not_spoil_the_batch(captioner):
    captioner.chat(ask())

    def answer(question):
        try:
            return captioner.chat(question).text
        except ModelUnavailable as error:
            return str(error)

    asks = [ask("too long" if n == 3 else "fine", seed=n) for n in range(8)]
    with ThreadPoolExecutor(8) as threads:
        found = dict(enumerate(threads.map(answer, asks)))
    assert "longer than the maximum" in found[3]
    assert "lower max_frames, or raise max_model_len" in found[3]
    assert all("A dog runs." in text for seed, text in found.items() if seed != 3)


def test_an_engine_that_dies_is_told_and_started_anew(captioner):
    captioner.chat(ask())
    with pytest.raises(ModelUnavailable, match=r"some/model in vLLM ended \(exit code 1\): RuntimeError: CUDA error"):
        captioner.chat(ask("die now"))
    assert "A dog runs." in captioner.chat(ask()).text


def test_an_engine_that_hangs_is_ended_and_started_anew(python, monkeypatch):
    monkeypatch.setattr(vllm_server, "HEALTH_TIMEOUT_S", 0.5)
    captioner = VllmCaptioner(model="some/model", python_path=python, timeout_s=0.5)
    with pytest.raises(
        ModelUnavailable, match=r"some/model in vLLM did not finish an answer in 0.5 s; raise timeout_s"
    ):
        captioner.chat(ask("hang now"))
    assert "A dog runs." in captioner.chat(ask()).text
    captioner.close()


def test_a_slow_start_is_waited_for(python):
    captioner = VllmCaptioner(model="slow/start", python_path=python, startup_timeout_s=60.0)
    assert "A dog runs." in captioner.chat(ask()).text
    captioner.close()


def test_the_server_ends_with_its_parent(python):
    """Killed outright, a parent has no time to end anything."""
    program = (
        "import os, signal, sys\n"
        "from effectpairs.captioning.llm import vllm_server\n"
        f"captioner = vllm_server.VllmCaptioner(model='some/model', python_path={python!r})\n"
        f"server = vllm_server._running_server(captioner, {python!r})\n"
        "print(server._port, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    address, deadline = ("127.0.0.1", int(parent.stdout)), time.monotonic() + 20
    while socket.socket().connect_ex(address) == 0:
        assert time.monotonic() < deadline, "the server outlived its parent"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("too/large", "OutOfMemoryError: CUDA out of memory.*lower max_model_len or gpu_memory_utilization"),
        ("dies/early", r"ended \(exit code 139\): Segmentation fault"),
        ("hangs", "did not get ready in 1 s"),
    ],
)
def test_an_engine_that_does_not_start(python, model, sentence):
    start = time.monotonic()
    with pytest.raises(ModelUnavailable, match=sentence):
        VllmCaptioner(model=model, python_path=python, startup_timeout_s=1.0 if model == "hangs" else 60.0).chat(ask())
    assert time.monotonic() - start < 30


def test_no_environment_no_python_no_vllm(monkeypatch, tmp_path):
    monkeypatch.delenv(PYTHON_ENV, raising=False)
    with pytest.raises(ModelUnavailable, match=f"set python_path or {PYTHON_ENV} to DIR/bin/python"):
        VllmCaptioner().chat(ask())
    with pytest.raises(ModelUnavailable, match=r"cannot be started \(No such file"):
        VllmCaptioner(python_path=str(tmp_path / "python")).chat(ask())
    with pytest.raises(
        ModelUnavailable, match="No module named 'vllm'; name the python of an environment that has vLLM"
    ):
        VllmCaptioner(python_path=sys.executable).chat(ask())


@pytest.mark.parametrize("over", [{"max_concurrency": 0}, {"gpu_memory_utilization": 1.5}, {"startup_timeout_s": 0.0}])
def test_settings_are_checked(over):
    with pytest.raises(ValueError, match=next(iter(over))):
        VllmCaptioner(**over)


@pytest.mark.models
@pytest.mark.skipif(
    not os.environ.get(PYTHON_ENV),
    reason=f"{PYTHON_ENV} names no python of an environment with vLLM; see docs/captions.md",
)
def test_true_vllm_with_a_tiny_model(tmp_path):
    pytest.importorskip("transformers")
    from effectpairs.tests import fixtures_language_models

    captioner = VllmCaptioner(
        model=str(fixtures_language_models.tiny_llama(tmp_path / "llama")),
        max_model_len=2048,
        dtype="float32",
        enforce_eager=True,
        startup_timeout_s=500.0,
        max_tokens=64,
    )
    try:
        first = captioner.refine("A dog runs.", SEEN, max_words=20, seed=1)
        start = time.monotonic()
        tokens = sum(
            answer.tokens_out for _, answer in ask_many(captioner, (ask(seed=n, max_tokens=64) for n in range(64)))
        )
        print(f"{tokens / (time.monotonic() - start):.0f} tokens/s")
    finally:
        captioner.close()
    assert first.tokens_out > 0
    assert tokens > 64
