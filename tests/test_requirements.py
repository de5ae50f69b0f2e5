import json
import shutil
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from effectpairs import requirements
from effectpairs.captioning.config import PresetCaptioner
from effectpairs.captioning.llm.openai_compatible import OpenAiCaptioner
from effectpairs.captioning.llm.vllm_server import PYTHON_ENV, VllmCaptioner
from effectpairs.cli.app import app
from effectpairs.datasets.sources.source import load_source
from effectpairs.flows.captions.stages import Captioning
from effectpairs.flows.doctor import BROWSERS, can_run, survey_machine, survey_source
from effectpairs.flows.engine.local_runner import run_locally
from effectpairs.flows.footage.single_pair import PairRequest, make_pair
from effectpairs.flows.footage.source import RealSource
from effectpairs.flows.sources import load_any, open_run
from effectpairs.requirements import GIB, Lack, RequirementMissing, check_requirements, list_lacks
from effectpairs.weights import WeightsRef
from typer.testing import CliRunner

MODEL = ("caption.kind=transformers", "caption.model=nobody/nothing")


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Settings that need one of each."""

    required_packages: ClassVar[dict[str, str]] = {"json": "models", "no_such_module": "models", "no_other": "models"}
    required_memory_bytes: ClassVar[int] = 10**15
    required_gpu_bytes: ClassVar[int] = 8 * GIB
    model: str = "nobody/nothing"

    @property
    def required_weights(self) -> tuple[WeightsRef, ...]:
        return (WeightsRef(model=self.model),)

    def missing_programs(self) -> tuple[Lack, ...]:
        return (Lack(kind="program", fault="no program", remedy="make one"),)


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A source with the same backend twice, once in a tuple."""

    backend: Backend = Backend()
    others: tuple[Any, ...] = field(default=(Backend(), "word"))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty local store of the hub."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="pip install 'effectpairs[models]'")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("EFFECTPAIRS_DOWNLOAD", raising=False)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(requirements, "gpu_memory_bytes", lambda: ())


def test_each_lack_is_named_once_with_its_remedy(hub, no_gpu):
    lacks = {lack.kind: str(lack) for lack in list_lacks(Owner())}
    assert len(lacks) == len(list_lacks(Owner())) == 5
    assert lacks["package"] == "no_such_module and no_other are not installed; pip install 'effectpairs[models]'"
    assert lacks["weights"].startswith("nobody/nothing: there is no such folder and nothing in ")
    assert "hf download nobody/nothing" in lacks["weights"]
    assert lacks["program"] == "no program; make one"
    assert "931323 GiB of memory are needed, this machine has " in lacks["memory"]
    assert lacks["gpu"] == "a GPU of 8 GiB is advised, there is none; run it where one is"
    assert [lack.kind for lack in list_lacks(Backend)] == ["package", "memory", "gpu"], "a class has no weights yet"


def test_the_start_of_a_run_checks_what_no_clip_gets_past(hub, no_gpu):
    with pytest.raises(RequirementMissing) as caught:
        check_requirements(Owner())
    sentence = str(caught.value)
    assert sentence.count("nobody/nothing:") == 1
    assert "no_such_module and no_other are not installed" in sentence
    assert "GiB" not in sentence
    check_requirements(Captioning())


def test_memory_of_gpus_is_read_from_the_drivers_program(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 24564\necho 8192\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    requirements.gpu_memory_bytes.cache_clear()
    try:
        assert requirements.gpu_memory_bytes() == (24564 * 2**20, 8192 * 2**20)
        assert not [lack for lack in list_lacks(Backend()) if lack.kind == "gpu"]
    finally:
        requirements.gpu_memory_bytes.cache_clear()


def test_a_preset_needs_what_its_steps_need(hub, monkeypatch):
    monkeypatch.delenv(PYTHON_ENV, raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    text = "\n".join(map(str, list_lacks(PresetCaptioner(kind="paper"))))
    for part in (
        "openbmb/MiniCPM-V-2_6: ",
        "meta-llama/Llama-3.1-8B-Instruct: ",
        PYTHON_ENV,
        "OPENAI_API_KEY is not set",
    ):
        assert part in text
    lacks = list_lacks(VllmCaptioner(python_path="/no/such/python"))
    assert "/no/such/python is no program; make one (python -m venv DIR" in "\n".join(map(str, lacks))


def test_a_server_of_this_machine_that_does_not_listen():
    with socket.create_server(("127.0.0.1", 0)) as server:
        captioner = OpenAiCaptioner(model="m", base_url=f"http://127.0.0.1:{server.getsockname()[1]}/v1")
        assert captioner.missing_programs() == ()
    (lack,) = captioner.missing_programs()
    assert (lack.kind, lack.remedy) == ("server", "start one, e.g. vllm serve m")
    assert OpenAiCaptioner(model="m", base_url="https://example.invalid/v1").missing_programs() == (), "is not asked"


def test_a_run_says_at_its_start_which_model_is_missing(source_file, tmp_path, hub):
    source = load_any(source_file, MODEL)
    started = time.monotonic()
    with pytest.raises(RequirementMissing, match="hf download nobody/nothing"):
        run_locally(open_run(source, tmp_path / "w"))
    assert time.monotonic() - started < 20
    assert not list((tmp_path / "w").rglob("gt.mkv")), "nothing was computed"
    second = tmp_path / "second.toml"
    second.write_text(
        Path(source_file).read_text(encoding="utf-8") + '[caption]\nkind = "transformers"\nmodel = "nobody/nothing"\n'
    )
    result = CliRunner().invoke(
        app, ["run", str(source_file), str(second), "--workspace", str(tmp_path / "v"), "--no-prefect"]
    )
    assert isinstance(result.exception, RequirementMissing)
    assert not list((tmp_path / "v").rglob("gt.mkv")), "what the second source lacks is said before the first begins"


def test_a_run_with_nothing_left_to_do_needs_no_model(source_file, tmp_path, hub, monkeypatch):
    source = load_any(source_file)
    run_locally(open_run(source, tmp_path / "w", workers=1))
    run = open_run(source, tmp_path / "w", workers=1)
    monkeypatch.setattr(Captioning, "missing_programs", Backend.missing_programs, raising=False)
    run.check_requirements()
    with pytest.raises(RequirementMissing, match="no program; make one"):
        open_run(source, tmp_path / "other", workers=1).check_requirements()


def test_prefect_flows_check_too(source_file, tmp_path, hub):
    from effectpairs.flows.prefect_runner import run_with_prefect

    with pytest.raises(RequirementMissing, match="nobody/nothing"):
        run_with_prefect(open_run(load_any(source_file, MODEL), tmp_path / "w"))


def test_pair_checks_its_segmenter_and_decomposer(tmp_path, monkeypatch):
    source = load_source("videos", ["root=."], into=RealSource)
    monkeypatch.setattr(type(source.decompose), "missing_programs", Backend.missing_programs, raising=False)
    with pytest.raises(RequirementMissing, match="no program; make one"):
        make_pair(PairRequest(video=tmp_path / "gone.mp4"), source, tmp_path / "pair")


# ---------------------------------------------------------------- doctor


def doctor(*arguments):
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


def test_doctor_lists_every_backend_that_settings_can_choose(hub, no_gpu):
    states = survey_machine()
    names = {(state.task, state.name) for state in states}
    kinds = {"subject": "subject masks", "decompose": "decomposition"}
    for field_name, task in kinds.items():
        for kind in ("provided", "propagate") if field_name == "subject" else ("plate", "external"):
            assert (task, kind) in names
    assert {name for task, name in names if task == "captions"} >= {
        "measured",
        "openai",
        "vllm",
        "transformers",
        "paper",
    }
    assert {("text to video", "rendered"), ("text to video", "cogvideox"), ("scenes", "kubric")} <= names
    assert len([task for task, _ in names if task == "metrics"]) == 6
    by_name = {state.name: state for state in states}
    assert by_name["cogvideox"].state == "lacks"
    assert {lack.kind for lack in by_name["cogvideox"].lacks} == {"weights", "gpu"}
    assert [state.name for state in states if state.is_embedded] == ["effectpairs", "provided", "plate", "measured"]
    assert can_run(states, embedded_alone=True)


def test_a_backend_that_is_added_to_the_type_is_listed(monkeypatch, hub):
    import typing

    from effectpairs.stages.subject import Provided

    @dataclass(frozen=True, kw_only=True)
    class Added(Backend):
        """A new segmenter."""

        kind: typing.Literal["added"] = "added"

    monkeypatch.setitem(RealSource.__annotations__, "subject", Provided | Added)
    (added,) = (state for state in survey_machine() if state.name == "added")
    assert added.task == "subject masks"
    assert {lack.kind for lack in added.lacks} >= {"package", "weights", "program", "memory"}


def test_doctor_prints_a_table_that_fits_and_whole_commands(hub, no_gpu, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = doctor()
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    table = lines[: next(number for number, line in enumerate(lines) if "chromium" in line)]
    assert max(map(len, table)) <= 80
    assert "the embedded defaults can run here" in lines[-1]
    commands = [line for line in lines if "hf download zai-org/CogVideoX-5b" in line]
    assert len(commands) == 1, "each lack once, its command in one line"


def test_doctor_as_json(hub, no_gpu):
    values = json.loads(doctor("--json").stdout)
    assert values["can_run"] is True
    assert values["machine"]["cores"] >= 1
    assert values["machine"]["gpus_gib"] == []
    (model,) = (backend for backend in values["backends"] if backend["name"] == "transformers")
    assert (model["task"], model["state"]) == ("captions", "lacks")
    assert "hf download" in model["lacks"][0]["remedy"]


def test_doctor_for_one_source(hub, source_file, tmp_path):
    result = doctor(source_file)
    assert result.exit_code == 0, result.stdout
    assert "tiny can run here" in result.stdout
    states = survey_source(load_any(source_file))
    assert {(state.task, state.name) for state in states} >= {
        ("tiny: subject", "provided"),
        ("tiny: caption", "measured"),
    }
    missing = doctor(source_file, *(word for override in MODEL for word in ("--set", override)))
    assert missing.exit_code == 1
    assert "hf download nobody/nothing" in missing.stdout
    assert "tiny cannot run here" in missing.stdout
    empty = doctor(source_file, "--set", f"root={tmp_path / 'nowhere'}")
    assert empty.exit_code == 1
    assert "is no folder" in empty.stdout
    assert doctor("davos").exit_code == 2


def test_doctor_fails_where_the_core_lacks_a_package(monkeypatch, hub):
    monkeypatch.setattr(requirements, "is_installed", lambda module: module != "av")
    result = doctor("--json")
    assert result.exit_code == 1
    core = json.loads(result.stdout)["backends"][0]
    assert core["lacks"][0] == {"kind": "package", "fault": "av is not installed", "remedy": "pip install effectpairs"}


def test_a_browser_that_is_not_there(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None if name in BROWSERS else name)
    (chromium,) = (state for state in survey_machine() if state.name == "chromium")
    assert [lack.remedy for lack in chromium.lacks if lack.kind == "program"] == ["apt install chromium"]
