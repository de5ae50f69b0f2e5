"""`effectpairs train`: from a corpus to a model card, killed in between, refused in one sentence."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
for needed in ("diffusers", "accelerate", "tensorboard"):
    pytest.importorskip(needed, reason="pip install 'effectpairs[train]'")
from effectpairs import processes, requirements  # noqa: E402
from effectpairs.datasets.store.atomic_io import _host  # noqa: E402
from effectpairs.tests.fixtures_corpus import make_small_corpus  # noqa: E402
from effectpairs.tests.fixtures_workspaces import read_files  # noqa: E402
from effectpairs.training import run as training_run  # noqa: E402
from effectpairs.training.base import checkpoint  # noqa: E402
from effectpairs.training.base.shares import PROGRAM  # noqa: E402
from effectpairs.training.base.tiny import write_tiny_model  # noqa: E402
from effectpairs.training.corpus_videos import choose_request, make_corpus_videos  # noqa: E402
from effectpairs.training.fitting.step_log import read_step_log  # noqa: E402
from effectpairs.training.generate import DeviceSettings  # noqa: E402
from effectpairs.training.results import (  # noqa: E402
    average_steps,
    describe_clips,
    evaluate_samples,
    generate_samples,
    write_model_card,
)
from effectpairs.training.sampling.sample import SamplingSettings  # noqa: E402

QUICK = ("cache.size=[32, 48]", "validation.steps=2")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_small_corpus(tmp_path_factory.mktemp("corpus"), clips=6, size=(32, 48)).location.url


def asked(corpus: str, output: Path, *more: str) -> tuple[str, ...]:
    return (f'corpus="{corpus}"', f'output="{output}"', *QUICK, *more)


def command(corpus: str, output: Path, *more: str) -> list[str]:
    sets = [part for change in asked(corpus, output, *more) for part in ("--set", change)]
    return [sys.executable, "-m", "effectpairs", "train", "tiny", *sets, "--eval-clips", "1", "--no-prefect"]


def living(output: Path) -> list[psutil.Process]:
    """Programs of a run that are still there."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = " ".join(process.info["cmdline"] or ())
        if str(output) in words and "effectpairs.training" in words and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


@pytest.mark.slow
def test_killed_and_run_again_it_goes_on_to_the_card(corpus, tmp_path):
    """Killed without a warning; its programs end too, and the same command ends what was begun."""
    running = subprocess.Popen(command(corpus, tmp_path, "steps=100000"), cwd=tmp_path)
    try:
        deadline = time.monotonic() + 240
        while not list((tmp_path / "checkpoints").glob("step-*10/checkpoint.json")):
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    deadline = time.monotonic() + 60
    while living(tmp_path):
        assert time.monotonic() < deadline, "a killed run's programs went on without it"
        time.sleep(0.1)
    place = checkpoint.latest_checkpoint(tmp_path / "checkpoints")
    assert place is not None
    done = checkpoint.read_manifest(place)["step"]
    again = subprocess.run(
        command(corpus, tmp_path, f"steps={done + 10}", "validation.every_steps=0"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert again.returncode == 0, again.stderr
    assert [line["step"] for line in read_step_log(tmp_path)][: done + 10] == list(range(1, done + 11))
    card = (tmp_path / "trained" / "README.md").read_text()
    assert f"| steps | {done + 10} of 4 samples |" in card
    assert "This is the tiny model" in card
    assert "of the training split, for the corpus holds no pair back" in card
    assert "| trained | –" in card  # no CLIP weights are here, so there is no number for it
    assert (tmp_path / "evaluation" / "metrics.parquet").is_file()
    assert len(list((tmp_path / "samples").glob("*.mkv"))) == 1


def kill_a_program(parent: int, step: str, is_ready: Callable[[], bool]) -> None:
    """Kill one of a process's programs of a step without a warning, once there is something to go on from."""
    deadline = time.monotonic() + 240
    while not is_ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    commands = {process: process.cmdline() for process in psutil.Process(parent).children(recursive=True)}
    programs = [process for process, words in commands.items() if step in words and PROGRAM in words]
    next(process for process in programs if "torch.distributed.run" not in commands[process]).kill()


@pytest.mark.slow
def test_two_processes_come_to_what_one_does_though_one_of_them_is_killed(corpus, tmp_path):
    """Training by gloo, sampling and measuring in shares: one sentence, nothing is lost, the next call goes on."""
    two, output = ("--processes", "2", "--eval-clips", "2"), tmp_path / "run"
    endless = [*command(corpus, output, "steps=100000", "checkpoint_every=2", "validation.every_steps=0"), *two]
    running = subprocess.Popen(endless, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    kill_a_program(running.pid, "train", lambda: bool(list(output.glob("checkpoints/step-*/checkpoint.json"))))
    words = " ".join(running.communicate(timeout=120)[1].split())
    assert (running.returncode, "Traceback" in words) == (1, False)
    assert "error: a program of the run was killed; run again to go on" in words
    assert not living(output)
    done = checkpoint.read_manifest(checkpoint.latest_checkpoint(output / "checkpoints"))["step"]
    changes = (f"steps={done + 2}", "validation.every_steps=0")
    again = subprocess.run([*command(corpus, output, *changes), *two], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert [line["step"] for line in read_step_log(output)] == list(range(1, done + 3))
    settings = training_run.open_job("tiny", asked(corpus, output, *changes)).settings
    shared = {name: read_files(output / name) for name in ("samples", "evaluation")}
    assert len([name for name in shared["samples"] if name.endswith(".mkv")]) == 2
    for name in shared:
        shutil.rmtree(output / name)
    list(generate_samples(settings, 2))
    evaluate_samples(settings, lambda *_: None)
    assert {name: read_files(output / name) for name in shared} == shared


@pytest.mark.slow
def test_two_processes_make_the_videos_of_a_corpus_though_one_of_them_is_killed(corpus, tmp_path):
    model = DeviceSettings(base=str(write_tiny_model(tmp_path / "model")), device="cpu")
    options = {"model": model, "sampling": SamplingSettings(steps=10), "size": (32, 48)}
    shared, alone = (
        choose_request(corpus, "train", None, "mask", folder=tmp_path / name, **options) for name in ("shared", "alone")
    )
    killer = threading.Thread(
        target=kill_a_program, args=(os.getpid(), "videos", lambda: bool(list(shared.folder.glob("tiny-*.json"))))
    )
    killer.start()
    with pytest.raises(processes.ProgramKilled, match=r"^a program of the run was killed; run again to go on"):
        make_corpus_videos(shared, 2)
    killer.join()
    whole = {path: path.stat().st_mtime_ns for path in shared.folder.glob("tiny-*.json")}
    (shared.folder / f"tiny-000.mkv.partial-{_host()}-{2**22 - 1}-1").touch()  # as a killed program leaves it
    make_corpus_videos(shared, 2)
    assert {path: path.stat().st_mtime_ns for path in whole} == whole, "what is whole is not made again"
    make_corpus_videos(alone)
    files = [read_files(request.folder) for request in (shared, alone)]
    assert {name: data for name, data in files[0].items() if not name.endswith(".log")} == files[1]
    assert len(alone.clip_ids) == len(list(alone.folder.glob("*.mkv"))) == 4


@pytest.mark.slow
def test_the_flow_runs_under_prefect_to_the_card(corpus, tmp_path):
    arguments = [
        word for word in command(corpus, tmp_path, "steps=2", "validation.every_steps=0") if word != "--no-prefect"
    ]
    home = os.environ | {"PREFECT_HOME": str(tmp_path / "prefect")}
    done = subprocess.run(arguments, cwd=tmp_path, env=home, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "model card: " in done.stdout
    assert (tmp_path / "trained" / "README.md").is_file()


@pytest.mark.parametrize(
    ("changes", "launch", "said"),
    [
        ((), {"processes": 3}, "does not divide by batch=1 x 3 processes"),
        ((), {"processes": 0}, "--processes 0 is below 1"),
        ((), {"accelerate": "gone.yaml"}, "gone.yaml: is not there; write it with: accelerate config"),
        (("cache.frames=12",), {}, "cache.frames: 12 frames are not 8k\\+5"),
        (("cache.size=[20, 48]",), {}, "do not divide by 16"),
        (("nonsense=1",), {}, "nonsense = 1: is no setting"),
        (("data.split=test",), {}, "split test\\): has no clips to train on"),
        (("data.mix.uniform=false", "data.mix.unpaired=1e-3", "data.split=validation"), {}, "has no clips to train on"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(corpus, tmp_path, changes, launch, said):
    with pytest.raises(ValueError, match=said):
        training_run.open_job("tiny", asked(corpus, tmp_path / "run", *changes), **launch)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("line", ["distributed_type: DEEPSPEED", '  "distributed_type": "FSDP",'])
def test_sharding_without_gpus_is_refused_before_anything_starts(corpus, tmp_path, line):
    if torch.accelerator.is_available():
        pytest.skip("this machine has a GPU, so it can share")
    file = tmp_path / "sharded.yaml"
    file.write_text(f"compute_environment: LOCAL_MACHINE\n{line}\nnum_processes: 2\n")
    with pytest.raises(ValueError, match=r"sharded\.yaml: shares the model out by (DEEPSPEED|FSDP), which wants GPUs"):
        training_run.open_job("tiny", asked(corpus, tmp_path / "run"), accelerate=str(file))


def test_a_lora_without_peft_is_refused_before_anything_starts(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(requirements, "is_installed", lambda module: module != "peft")
    with pytest.raises(
        requirements.RequirementMissing, match=r"peft is not installed; pip install .*effectpairs\[lora\]"
    ):
        training_run.open_job("tiny", asked(corpus, tmp_path / "run", "lora.rank=4"))


def test_a_corpus_or_a_config_that_is_not_there_is_named(corpus, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match="nowhere"):
        training_run.open_job("tiny", asked(str(tmp_path / "nowhere"), tmp_path))
    with pytest.raises(ValueError, match="huge: is neither a settings file nor one of overpp-8gpu, overpp-ab"):
        training_run.open_job("huge")


def test_every_config_of_the_house_is_valid(corpus, tmp_path):
    for path in training_run.CONFIGS.glob("*.toml"):  # the corpus has a clip of each kind, as an ablation asks
        job = training_run.open_job(path.stem, (f'corpus="{corpus}"', f'output="{tmp_path}"'))
        # Machines have 1, 2, 4 or 8 GPUs, and any share a step as it is; what computes in 32 bits is for one process.
        counts = (1, 2, 4, 8) if job.settings.precision == "bf16" else (1,)
        assert all(job.settings.accumulation_steps(count) for count in counts), path.stem


def test_a_program_ends_in_its_own_words_or_is_said_to_be_killed(tmp_path):
    def run(program: str) -> None:
        processes.run_program([sys.executable, "-c", program], tmp_path / "log", lambda: None)

    run("print('fine')")
    with pytest.raises(processes.ProgramFailed, match=r"^no room; make some$"):
        run("import sys; print('error: no room; make some'); print('noise'); sys.exit(2)")
    with pytest.raises(processes.ProgramFailed, match="ended with status 3: the last word"):
        run("import sys; print('the last word'); sys.exit(3)")
    with pytest.raises(processes.ProgramKilled, match="run again to go on"):
        run("import os; os.kill(os.getpid(), 9)")


@pytest.mark.parametrize(("options", "status"), [(["--end-with-stdin"], 4), ([], 2)])
def test_a_step_ends_with_its_input_only_where_it_is_told_to(options, status):
    program = (
        "import time, sys\n"
        "from effectpairs.training import __main__ as program\n"
        "def load_training(*_): time.sleep(2 if sys.argv[3:] == [] else 60); raise ValueError('no settings')\n"
        "program.load_training = load_training\n"
        "sys.exit(program.main(sys.argv[1:]))"
    )
    arguments = [sys.executable, "-c", program, "train", "run.toml", *options]
    ended = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50)
    assert ended.returncode == status, ended.stderr


def test_lines_are_handed_on_whole_and_once(tmp_path):
    program = "import time\nfor n in range(3):\n print('piece', n, flush=True); time.sleep(0.2)"
    heard: list[str] = []
    for _ in range(2):
        processes.run_program([sys.executable, "-c", program], tmp_path / "log", lambda: None, heard.append)
    assert heard == [f"piece {n}" for n in range(3)] * 2


def test_the_card_of_an_unfinished_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no training.json; train to the last step first"):
        write_model_card(tmp_path)


def test_losses_are_told_in_at_most_ten_lines():
    one = {"loss": 1.0, "grad_norm": 2.0, "step_s": 0.5, "wait_s": 0.0}
    lines = average_steps([{**one, "step": step, "loss": float(step)} for step in range(1, 26)])
    assert [line["step"] for line in lines] == [3, 6, 9, 12, 15, 18, 21, 24, 25]
    assert lines[0]["loss"] == 2.0
    assert average_steps([]) == []


def test_the_job_is_small_enough_to_travel(corpus, tmp_path):
    job = training_run.open_job("tiny", asked(corpus, tmp_path))
    assert job.settings.model.id == str(tmp_path / "tiny")
    assert dataclasses.replace(job, processes=2).overrides == job.overrides


@pytest.mark.parametrize(
    ("split", "trained_on", "said"),
    [
        ("test", "train", "1 clip of the test split, held out of training"),
        ("validation", "all", "1 clip of the validation split, on which this run was trained"),
        ("train", "train", "1 clip of the training split, for the corpus holds no pair back: the model may have"),
    ],
)
def test_it_is_said_whether_clips_were_trained_on(split, trained_on, said):
    assert describe_clips(split, 1, trained_on=trained_on).startswith(said)
