"""Trackers of a run by accelerate's names: numbers, time left, and strips of validation samples."""

import cv2
import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
for needed in ("diffusers", "accelerate", "tensorboard"):
    pytest.importorskip(needed, reason="pip install 'effectpairs[train]'")
from accelerate import tracking  # noqa: E402
from effectpairs.tests.fixtures_latent_cache import make_small_cache, training_settings  # noqa: E402
from effectpairs.training.configs.config import ValidationSettings  # noqa: E402
from effectpairs.training.fitting.loop import train  # noqa: E402
from effectpairs.training.fitting.step_log import read_step_log  # noqa: E402

torch.set_num_threads(1)
pytestmark = pytest.mark.usefixtures("fresh_accelerator")
VALIDATION = ValidationSettings(every_steps=2, steps=1, count=1, guidance=1.0, decode_on="cpu")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return make_small_cache(tmp_path_factory.mktemp("small"), clips=3)


class Notebook(tracking.GeneralTracker):
    """A tracker that keeps what it is told, and takes pictures as accelerate's own do."""

    name = "notebook"
    requires_logging_directory = False
    main_process_only = False
    open_ones: list = []  # noqa: RUF012

    def __init__(self, run_name: str, **_) -> None:
        super().__init__()
        self.run_name, self.numbers, self.pictures, self.is_finished = run_name, {}, {}, False
        self.open_ones.append(self)

    @property
    def tracker(self):
        return self

    def start(self) -> None:
        self.settings = None

    def store_init_configuration(self, values: dict) -> None:
        self.settings = values["settings"]

    def log(self, values: dict, step=None, **_) -> None:
        self.numbers[step] = values

    def log_images(self, values: dict, step=None, **_) -> None:
        assert not self.is_finished
        self.pictures |= {(name, step): picture for name, (picture,) in values.items()}

    def finish(self) -> None:
        self.is_finished = True


def test_any_tracker_gets_numbers_time_left_and_strips(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "notebook", Notebook)
    monkeypatch.setattr(tracking, "_available_trackers", [*tracking._available_trackers, "notebook"])
    train(training_settings(small, tmp_path, trackers=("notebook",), validation=VALIDATION))
    (notebook,) = Notebook.open_ones
    Notebook.open_ones.clear()
    assert notebook.run_name == "effectpairs"
    assert "TrainingConfig" in notebook.settings
    assert list(notebook.numbers) == [1, 2, 3, 4]
    assert {"loss", "learning_rate", "left_s", "mix/real"} <= set(notebook.numbers[4])
    assert notebook.numbers[1]["left_s"] == pytest.approx(3 * read_step_log(tmp_path)[0]["step_s"])
    assert notebook.numbers[4]["left_s"] == 0
    said = capsys.readouterr().out
    assert "0:00:00 left (of 4)" in said
    assert said.startswith("unpaired: 1 generated, 0 rendered\n")
    folder, clip_id = tmp_path / "validation" / "step-00000004", next(name for name, _ in notebook.pictures)
    strip = cv2.imread(str(folder / f"{clip_id.removeprefix('validation/')}.png"))
    assert strip.shape == (4 * 32, 4 * 48, 3)  # four frames of composite, mask, result and truth
    assert (notebook.pictures[clip_id, 4] == strip[..., ::-1]).all()
    mask = small.cache.read(small.cache.rows[0]["key"]).mask
    assert ((strip[:32, 48:96] > 127).all(axis=2) == mask[0]).all()
    assert notebook.is_finished
    assert (folder / f"{clip_id.removeprefix('validation/')}.mp4").exists()


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_the_trackers_that_take_videos_keep_a_run_offline(small, tmp_path, monkeypatch, name, capsys):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is first imported
    pytest.importorskip(name, reason=f"pip install {name}")
    train(training_settings(small, tmp_path / "run", trackers=(name,), validation=VALIDATION))
    assert "does not take" not in capsys.readouterr().out
    where = tmp_path / ("run/wandb" if name == "wandb" else "trackio")
    assert {".png", ".mp4"} <= {path.suffix for path in where.rglob("*")}, sorted(map(str, where.rglob("*")))
