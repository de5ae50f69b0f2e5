"""The casper backend: trimasks, solo runs, one set of layers, and both families through the flow."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
pytest.importorskip("diffusers", reason="pip install 'effectpairs[train]'")
from effectpairs.datasets.sources.source import load_source  # noqa: E402
from effectpairs.datasets.store.ledger import read_ledger  # noqa: E402
from effectpairs.flows.footage.source import RealSource  # noqa: E402
from effectpairs.stages.decompose import Decomposer  # noqa: E402
from effectpairs.tests.fixtures_scene import sliding_square, write_h264  # noqa: E402
from effectpairs.tests.fixtures_video_models import write_cogvideox_removal, write_wan_removal  # noqa: E402
from effectpairs.tests.fixtures_workspaces import run_source  # noqa: E402
from effectpairs.training.removal import casper  # noqa: E402
from effectpairs.training.removal.casper import Casper, build_trimask, widen  # noqa: E402
from effectpairs.training.removal.omnimatte import Omnimatte, OmnimatteSettings  # noqa: E402

torch.set_num_threads(1)
STEP = OmnimatteSettings(steps=1)


class Recorder:
    """A removal model that returns the true background, with a little noise, and keeps what it is asked."""

    def __init__(self, background):
        self.background, self.asked = background, []

    def remove(self, gt, trimask, prompt):
        self.asked.append((trimask, prompt))
        noise = np.random.default_rng(0).integers(-3, 4, gt.shape)
        return np.clip(self.background.astype(int) + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def exact(monkeypatch):
    """Alpha of the scene's truth in place of the optimisation's."""

    def install(scene):
        alpha = np.where(scene.shadow, np.uint8(115), scene.subject_mask)
        calls = []

        def optimise(gt, background, subject_mask, settings, *, device):
            calls.append((gt, background))
            return Omnimatte(alpha=alpha, foreground=np.zeros_like(gt), reconstruction_psnr_db=40.0)

        monkeypatch.setattr(casper, "optimise", optimise)
        return calls

    return install


def test_a_trimask_says_what_goes_and_what_stays_and_going_wins():
    keep, remove = np.zeros((2, 1, 4), bool)
    keep[..., :2], remove[..., 1:3] = True, True
    assert build_trimask(keep[None], remove[None]).tolist() == [[[255, 0, 0, 128]]]


def test_masks_are_widened_by_the_square_of_the_training():
    mask = np.zeros((1, 21, 21), bool)
    mask[0, 10, 10] = True
    assert widen(mask, 5).sum() == 11 * 11
    assert widen(mask, 5)[0, 5:16, 5:16].all()


def test_one_subject_takes_one_run_with_the_rest_undecided(exact):
    scene = sliding_square(5, 48, 80)
    exact(scene)
    model = Recorder(scene.background)
    Casper(omnimatte=STEP, prompt="a video of a floor.").decompose_with(model, scene.gt, scene.subject_mask, None)
    ((trimask, prompt),) = model.asked
    assert prompt == "a video of a floor."
    assert set(np.unique(trimask)) == {0, 128}
    np.testing.assert_array_equal(trimask == 0, widen(scene.subject_mask > 127, 5))


def test_other_subjects_stay_and_alpha_is_found_with_the_subject_alone(exact):
    scene = sliding_square(5, 48, 80)
    optimised = exact(scene)
    others = np.zeros(scene.subject_mask.shape, bool)
    others[:, 2:8, 30:40] = True
    model = Recorder(scene.background)
    layers = Casper(omnimatte=STEP, dilate_px=1).decompose_with(model, scene.gt, scene.subject_mask, others)
    subject, others_wide = widen(scene.subject_mask > 127, 1), widen(others, 1)
    without_subject, alone, empty = (trimask for trimask, _ in model.asked)
    assert (without_subject[subject] == 0).all()
    assert (without_subject[others_wide & ~subject] == 255).all()
    assert (alone[others_wide] == 0).all()
    assert (alone[subject & ~others_wide] == 255).all()
    assert (empty[subject | others_wide] == 0).all()
    assert all((trimask[~(subject | others_wide)] == 128).all() for trimask in (without_subject, alone, empty))
    assert len(optimised) == 1
    assert optimised[0][0] is not scene.gt  # the run with the subject alone
    np.testing.assert_array_equal(layers.background[others], scene.gt[others])
    assert not layers.alpha[others].any()
    together = Recorder(scene.background)
    Casper(omnimatte=STEP, solo=False).decompose_with(together, scene.gt, scene.subject_mask, others)
    assert len(together.asked) == 1
    assert optimised[1][0] is scene.gt


def test_background_is_the_clip_bit_for_bit_away_from_subject_and_effect(exact):
    scene = sliding_square(9, 96, 160)
    exact(scene)
    layers = Casper(omnimatte=STEP).decompose_with(Recorder(scene.background), scene.gt, scene.subject_mask, None)
    layer = (scene.subject_mask > 0) | scene.shadow
    away = ~widen(layer, 8)  # the recipe of stage 5 makes its mask a little loose, and the rim fades over 3 more
    assert away.any()
    np.testing.assert_array_equal(layers.background[away], scene.gt[away])
    np.testing.assert_array_equal(layers.foreground[away], scene.gt[away])
    assert not layers.alpha[away].any()
    nothing = layers.alpha == 0
    np.testing.assert_array_equal(layers.foreground[nothing], layers.background[nothing])
    error = np.abs(layers.background.astype(int) - scene.background)
    assert error[layer].mean() < 3  # the noise is 1.7, the shadow 60 and the subject more
    np.testing.assert_array_equal(layers.foreground[scene.subject_mask > 127], scene.gt[scene.subject_mask > 127])
    assert (layers.alpha >= scene.subject_mask).all()
    assert layers.facts["omnimatte_psnr_db"] == 40.0
    assert layers.facts["layer_psnr_db"] == pytest.approx(10 * np.log10(255**2 / 4), abs=0.3)  # noise of ±3


def test_the_backend_is_a_decomposer_and_refuses_masks_of_nothing():
    assert isinstance(Casper(), Decomposer)
    scene = sliding_square(3, 32, 48)
    with pytest.raises(ValueError, match="the subject mask is empty in every frame"):
        Casper().decompose(scene.gt, np.zeros_like(scene.subject_mask), None, None)


@pytest.mark.parametrize("wrong", ["decompose.steps=0", "decompose.lora_weight=9", "decompose.omnimatte.batch=0"])
def test_senseless_settings_are_refused(source_file, wrong):
    with pytest.raises(ValueError, match=r"is not in \["):
        load_source(source_file, ["decompose.kind=casper", wrong], into=RealSource)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"prompt": " "}, "prompt is empty; describe the background alone"),
        ({"window_frames": 84}, "window_frames=84 is not 4k"),
        ({"overlap_frames": 12}, "overlap_frames=12 is not a multiple of 8"),
        ({"window_frames": 13, "overlap_frames": 16}, "of at most half a window"),
    ],
)
def test_windows_and_prompts_that_do_not_go_are_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        Casper(**wrong)


@pytest.fixture
def footage(tmp_path):
    """One video with two subjects, in the gen-omnimatte layout."""
    scene = sliding_square(13, 48, 80)
    other = np.zeros_like(scene.subject_mask)
    other[:, 2:10, 60:70] = 255
    write_h264(tmp_path / "footage" / "two" / "input_video.mp4", scene.gt)
    write_h264(tmp_path / "footage" / "two" / "mask_00.mp4", scene.subject_mask)
    write_h264(tmp_path / "footage" / "two" / "mask_01.mp4", other)
    return tmp_path / "footage"


def source_of(footage, files, *overrides):
    path = footage.parent / "source.toml"
    weights, base = (json.dumps(str(file)) for file in (files.weights, files.base))
    path.write_text(
        f"root = {json.dumps(str(footage))}\nlayout = 'gen-omnimatte'\nlicence = 'CC0'\norigin = 'tests'\n"
        "[normalise]\nsize = [48, 80]\nmax_frames = 13\n"
        f"[decompose]\nkind = 'casper'\nweights = {weights}\nbase = {base}\n"
        "steps = 1\nwindow_frames = 13\noverlap_frames = 8\ndevice = 'cpu'\n"
        "[decompose.omnimatte]\nsteps = 2\nbatch = 4\n"
    )
    return load_source(path, overrides, into=RealSource)


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_cogvideox_removal, write_wan_removal], ids=["cogvideox", "wan"])
def test_a_source_runs_end_to_end(footage, tmp_path, write):
    source, workspace = source_of(footage, write(tmp_path / "model")), tmp_path / "workspace"
    account = run_source(source, workspace, workers=1)
    assert (account.inputs, account.failed) == (2, 0)
    entries = read_ledger(workspace, source.name)
    assert len(entries) == 2
    for entry in entries:
        assert entry.row is not None
        assert entry.row["num_frames"] == 13
        models = entry.row["provenance"]["models"]
        assert [model["id"] for model in models[:2]] == [source.decompose.weights, source.decompose.base]
        assert models[0]["revision"].startswith("folder-")


def test_weights_of_no_use_cost_the_clip_and_not_the_source(footage, tmp_path):
    files = write_cogvideox_removal(tmp_path / "model")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(files.weights.read_bytes()[:5000])
    source, workspace = source_of(footage, files._replace(weights=broken)), tmp_path / "workspace"
    account = run_source(source, workspace, workers=1)
    assert account.failed == account.inputs == 2
    reasons = [reason for entry in read_ledger(workspace, source.name) for reason in entry.reasons]
    assert all("broken.safetensors: is damaged or cut short" in reason for reason in reasons)
