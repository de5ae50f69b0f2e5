"""A step's clips shared among programs: how many, on which GPU, and that results do not depend on it."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from effectpairs.datasets.store import codec
from effectpairs.processes import Program, ProgramFailed, run_programs
from effectpairs.tests.fixtures_corpus import make_small_corpus
from effectpairs.training.base import shares
from effectpairs.training.evaluation.evaluate import EvaluationSettings, ResultCache, evaluate, measure_share
from effectpairs.training.evaluation.frame_metrics import PixelMetrics
from effectpairs.training.evaluation.sharing import evaluate_shared
from effectpairs.training.evaluation.videos import Method

pytestmark = pytest.mark.usefixtures("nothing_is_fetched")


@pytest.mark.parametrize(
    ("processes", "gpus", "count"), [(0, 2, 2), (8, 2, 2), (1, 8, 1), (3, 0, 3), (0, 0, 1), (2, 4, 2)]
)
def test_a_program_for_each_process_but_no_more_than_gpus(monkeypatch, processes, gpus, count):
    monkeypatch.setattr(shares, "visible_gpus", lambda: tuple(map(str, range(gpus))))
    assert shares.share_count(processes) == count


def test_each_program_has_its_share_its_log_and_a_gpu_of_its_own(monkeypatch, tmp_path):
    started = []
    monkeypatch.setattr(shares, "visible_gpus", lambda: ("5", "7"))
    monkeypatch.setattr(shares, "run_programs", lambda programs, on_line: started.extend(programs))
    shares.run_shares(["sample", "run.toml"], 2, tmp_path / "run.log")
    assert [program.env for program in started] == [{"CUDA_VISIBLE_DEVICES": "5"}, {"CUDA_VISIBLE_DEVICES": "7"}]
    assert [program.log.name for program in started] == ["run.log", "run-1.log"]
    ends = [list(program.command[-3:]) for program in started]
    assert ends == [["--share", f"{number}/2", "--end-with-stdin"] for number in range(2)]
    shares.run_shares(["encode"], 2, tmp_path / "run.log", bind_gpus=False)
    assert [program.env for program in started[2:]] == [{}, {}]


def test_the_first_program_that_fails_ends_the_others_in_its_own_words(tmp_path):
    waiting = "import sys; sys.stdin.read()"
    failing = "import sys; print('error: clip a is broken; mend it'); sys.exit(2)"
    programs = [
        Program(command=[sys.executable, "-c", words], log=tmp_path / f"{number}.log")
        for number, words in enumerate((waiting, failing, waiting))
    ]
    with pytest.raises(ProgramFailed, match=r"^clip a is broken; mend it$"):
        run_programs(programs)


def test_a_share_that_is_none_is_refused():
    for share in ("2/2", "1", "a/b", "-1/2"):
        with pytest.raises(ValueError, match="is not K/N with K from 0 to N-1"):
            shares.parse_share(share)


def test_an_evaluation_is_the_same_whatever_the_number_of_programs(tmp_path):
    corpus = make_small_corpus(tmp_path / "corpus", clips=3, kinds=("real",), size=(32, 48))
    for clip in corpus:
        (tmp_path / f"{clip.clip_id}.mkv").write_bytes(codec.encode(clip.over, fps=16.0))
    methods = [Method(name="copy", folder=tmp_path)]
    alone = EvaluationSettings(scorers=(PixelMetrics(),), cache=ResultCache(folder=tmp_path / "alone" / "clips"))
    shared = replace(alone, cache=ResultCache(folder=tmp_path / "shared" / "clips"))
    seen = []
    measured = evaluate_shared(corpus, methods, shared, 2, lambda *progress: seen.append(progress))
    assert measured == evaluate(corpus, methods, alone)
    assert (3, 3) in seen[:3], "the programs' clips are counted"
    names = [{path.name for path in (tmp_path / name).rglob("*.json")} for name in ("alone", "shared")]
    assert names[0] == names[1] != set()
    assert list(measure_share(corpus, methods, shared, (1, 2))) == [corpus.ids[1]]


def test_metrics_compute_on_the_device_that_holds_their_weights(monkeypatch):
    """With tensors that have a device and no memory: an operand left on the CPU raises."""
    torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
    from effectpairs.tests.fixtures_metrics import alexnet, heads
    from effectpairs.training.evaluation import frame_metrics
    from torch._subclasses import FakeTensorMode

    frames = np.zeros((2, 64, 64, 3), np.uint8)
    with FakeTensorMode(allow_non_fake_inputs=True):
        trunk = {name: weight.to("cuda") for name, weight in alexnet().items()}
        features = frame_metrics._alexnet_features(trunk, frames)
        assert {layer.device.type for layer in features} == {"cuda"}
        assert len(heads()) == len(features)
    assert torch is not None
