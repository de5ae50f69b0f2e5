"""`effectpairs generate`: what a request's files become, what is written, and what is refused in one sentence."""

import inspect
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
pytest.importorskip("diffusers", reason="pip install 'effectpairs[train]'")
from effectpairs.datasets.store import codec  # noqa: E402
from effectpairs.tests.fixtures_corpus import square_with_shadow  # noqa: E402
from effectpairs.training.base.cogvideox import CogVideoXFamily  # noqa: E402
from effectpairs.training.base.families import family_record  # noqa: E402
from effectpairs.training.base.latent_shapes import LatentGrid  # noqa: E402
from effectpairs.training.base.tiny import write_tiny_model  # noqa: E402
from effectpairs.training.generate import DeviceSettings, read_training  # noqa: E402
from effectpairs.training.generate_request import (  # noqa: E402
    GenerateRequest,
    TrainedOn,
    parse_downsample,
    parse_keyframes,
    parse_size,
    read_inputs,
)

FRAMES, SIZE = 29, (32, 48)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A clip's layers as lossless videos, its first background and one mask as images."""
    folder, layers = tmp_path_factory.mktemp("files"), square_with_shadow(FRAMES, SIZE)
    for name in ("gt", "over", "background", "subject_mask", "effect_mask"):
        (folder / f"{name}.mkv").write_bytes(codec.encode(layers[name], fps=24.0))
    cv2.imwrite(str(folder / "background.png"), layers["background"][0][..., ::-1])
    cv2.imwrite(str(folder / "mask.png"), layers["effect_mask"][20].astype(np.uint8) * 255)
    return folder, layers


def inputs_of(request: GenerateRequest):
    return read_inputs(request, TrainedOn(grid=LatentGrid(frames_together=2), size=SIZE))


def test_drawn_strokes_take_max_and_the_rest_what_the_run_took(files):
    folder = files[0]
    trained_on = TrainedOn(grid=LatentGrid(frames_together=2), size=SIZE, mask_downsample="area")
    masks = {"effect_mask.mkv": "area", "mask.png": "max", f"20={folder / 'mask.png'}": "max"}
    for mask, expected in masks.items():
        name = mask if "=" in mask else str(folder / mask)
        inputs, _ = read_inputs(asked(folder, over="over.mkv", effect_mask=(name,)), trained_on)
        assert inputs.mask_downsample == expected
        request = asked(folder, over="over.mkv", effect_mask=(name,), mask_downsample="trilinear")
        assert read_inputs(request, trained_on)[0].mask_downsample == "trilinear"
    assert parse_downsample("max") == "max"
    with pytest.raises(ValueError, match="--mask-downsample cubic is not one of trilinear, area, max"):
        parse_downsample("cubic")


@pytest.mark.parametrize("top", range(8))
def test_a_drawn_stroke_of_three_pixels_is_seen_at_every_height(files, top, tmp_path):
    stroke = np.zeros(SIZE, np.uint8)
    stroke[8 + top : 11 + top] = 255
    cv2.imwrite(str(tmp_path / "stroke.png"), stroke)
    inputs, _ = inputs_of(asked(files[0], over="over.mkv", effect_mask=(f"5={tmp_path / 'stroke.png'}",)))
    pixels = torch.from_numpy(inputs.effect_mask)[None]
    visible, layers = torch.ones(8, dtype=torch.bool), {"video": torch.zeros(1, 8, 16, 4, 6)}
    fed = CogVideoXFamily().condition(layers, pixels, visible, inputs.mask_downsample)
    assert (fed[0, 2, 0].amin(dim=0) == 0).all()


def test_without_a_size_the_one_that_was_trained_is_taken(files, tmp_path):
    trained, base = tmp_path / "trained", write_tiny_model(tmp_path / "model")
    trained.mkdir()
    record = {
        "base": {"id": str(base), "revision": None},
        "family": family_record(CogVideoXFamily()),
        "latents": {"size": [16, 32]},
        "settings": {"data": {"mask_downsample": "area"}},
    }
    (trained / "training.json").write_text(json.dumps(record))
    inputs, _ = read_inputs(asked(files[0], over="over.mkv"), read_training(DeviceSettings(trained=trained)))
    assert (inputs.over.shape[1:3], inputs.mask_downsample) == ((16, 32), "area")
    assert read_training(DeviceSettings(base=str(base))).size == (384, 672)


def test_steps_of_denoising_have_one_default():
    from effectpairs.cli.models import generate
    from effectpairs.training.configs.config import ValidationSettings
    from effectpairs.training.sampling.sample import SamplingSettings

    given = inspect.signature(generate).parameters["steps"].default
    assert given == ValidationSettings().steps == SamplingSettings().steps == 50


def asked(folder: Path, **given) -> GenerateRequest:
    """A request; names of files become their paths."""
    paths = {
        name: folder / value for name, value in given.items() if name in ("over", "foreground", "mask", "background")
    }
    return GenerateRequest(prompt="a shadow", **{**given, **paths})


def test_a_finished_composite_is_taken_as_it_is(files):
    folder, layers = files
    found, fps = inputs_of(asked(folder, over="over.mkv", effect_mask=(str(folder / "effect_mask.mkv"),)))
    assert (found.over == layers["over"]).all()
    assert (found.effect_mask == layers["effect_mask"].astype(np.uint8) * 255).all()
    assert (found.size, fps) == ((FRAMES, *SIZE), 24)


@pytest.mark.parametrize("background", ["background.mkv", "background.png"])
def test_layers_are_composited_by_eq_2(files, background):
    folder, layers = files
    found, _ = inputs_of(asked(folder, foreground="gt.mkv", mask="subject_mask.mkv", background=background))
    assert (found.over == layers["over"]).all()
    assert found.effect_mask is None


def test_one_image_holds_for_all_frames_and_a_keyframe_for_its_own(files):
    folder, layers = files
    drawn = layers["effect_mask"][20]
    whole = inputs_of(asked(folder, over="over.mkv", effect_mask=(str(folder / "mask.png"),)))[0].effect_mask
    assert (whole == drawn[None].astype(np.uint8) * 255).all()
    keyed = inputs_of(asked(folder, over="over.mkv", effect_mask=(f"20={folder / 'mask.png'}",)))[0].effect_mask
    assert (keyed[17:21] == drawn).all()  # the latent frame that frame 20 falls into
    assert (keyed[:17] == 0.5).all()
    assert (keyed[21:] == 0.5).all()


def test_another_size_is_cropped_to_all_files_alike(files):
    folder, _ = files
    found, _ = inputs_of(asked(folder, over="over.mkv", effect_mask=(str(folder / "mask.png"),), size=(16, 32)))
    assert found.size == (FRAMES, 16, 32)
    assert found.effect_mask.shape == found.size


def test_text_alone_has_a_shape_and_no_pictures():
    found, _ = inputs_of(GenerateRequest(prompt="rain", frames=13, size=(16, 32)))
    assert (found.over, found.effect_mask, found.shape) == (None, None, (13, 16, 32))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"over": "over.mkv", "mask": "subject_mask.mkv"}, "--over is a finished composite; leave out --mask"),
        ({"foreground": "gt.mkv"}, "--foreground is there and --mask is not"),
        ({"over": "gone.mkv"}, r"gone.mkv: is not there"),
        ({"effect_mask": ("mask.png",)}, "--effect-mask needs a composite"),
        ({"over": "over.mkv", "effect_mask": ("a.png", "b.png")}, "a.png is not FRAME=PNG"),
        ({"frames": 0}, "--frames 0 is below 1"),
    ],
)
def test_what_does_not_go_together_is_refused(files, given, said):
    with pytest.raises(ValueError, match=said):
        inputs_of(asked(files[0], **given))


def test_a_mask_of_another_length_is_refused(files, tmp_path):
    folder, layers = files
    short = tmp_path / "short.mkv"
    short.write_bytes(codec.encode(layers["effect_mask"][:5], fps=24.0))
    with pytest.raises(
        ValueError, match=r"short.mkv: has 5 masks and the video 29 frames; give a mask for every frame"
    ):
        inputs_of(asked(folder, over="over.mkv", effect_mask=(str(short),)))


def test_sizes_and_keyframes_are_read():
    assert parse_size("384x672") == (384, 672)
    for wrong, said in (("384", "not HxW"), ("0x16", "not HxW")):
        with pytest.raises(ValueError, match=said):
            parse_size(wrong)
    assert parse_keyframes(["0=a.png", "50=b.png"]) == {0: Path("a.png"), 50: Path("b.png")}
    with pytest.raises(ValueError, match="frame 5 is given twice"):
        parse_keyframes(["5=a.png", "5=b.png"])


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    import torch
    from effectpairs.training.base.tiny import write_tiny_model
    from effectpairs.training.generate import DeviceSettings

    torch.set_num_threads(1)
    return DeviceSettings(base=str(write_tiny_model(tmp_path_factory.mktemp("model"))), device="cpu")


def made(files, machine, out, **given) -> np.ndarray:
    from effectpairs.training.generate import generate
    from effectpairs.training.sampling.sample import SamplingSettings, WindowSettings

    sampling = SamplingSettings(steps=2, windows=WindowSettings(length=4, overlap=2))
    assert generate(asked(files[0], **{"size": SIZE} | given), sampling, machine, out) == out / "video.mp4"
    return codec.decode((out / "video.mkv").read_bytes())


@pytest.mark.parametrize("guided", [{}, {"effect_mask": "effect_mask.mkv"}])
def test_a_composite_becomes_a_video_a_map_and_both_side_by_side(files, machine, tmp_path, guided):
    masks = {name: (str(files[0] / file),) for name, file in guided.items()}
    video = made(files, machine, tmp_path, over="over.mkv", **masks)
    assert video.shape == (FRAMES, *SIZE, 3)
    wide = codec.probe((tmp_path / "side_by_side.mp4").read_bytes())
    assert (wide.num_frames, wide.width) == (FRAMES, SIZE[1] * (3 if guided else 2))
    assert codec.probe((tmp_path / "difference.mp4").read_bytes()).num_frames == FRAMES
    said = json.loads((tmp_path / "generate.json").read_text())
    assert (said["fps"], said["sampling"]["seed"], said["num_frames"]) == (24, 43, FRAMES)
    assert not list(tmp_path.glob("*.partial-*"))


def test_equal_seeds_make_equal_videos_and_a_keyframe_changes_them(files, machine, tmp_path):
    plain, again = (made(files, machine, tmp_path / name, over="over.mkv") for name in ("a", "b"))
    assert (plain == again).all()
    key = (f"20={files[0] / 'mask.png'}",)
    assert (made(files, machine, tmp_path / "c", over="over.mkv", effect_mask=key) != plain).any()


def test_text_alone_becomes_a_video(files, machine, tmp_path):
    assert made(files, machine, tmp_path, frames=6, size=(16, 32)).shape == (6, 16, 32, 3)
    assert not (tmp_path / "difference.mp4").exists()


def test_the_map_is_black_where_nothing_changed():
    from effectpairs.training.generate import difference_map

    over = np.full((1, 16, 16, 3), 90, np.uint8)
    new = over.copy()
    new[0, :8, :, 1] += 100
    shown = difference_map(new, over)
    assert shown[0, 8:].max() <= 4
    assert shown[0, :8].min(axis=2).max() > shown[0, 8:].max()


def test_weights_of_no_finished_run_are_refused(tmp_path):
    from effectpairs.training.generate import DeviceSettings, load_pipeline

    with pytest.raises(ValueError, match=r"has no training.json of a finished run; give a run's folder `trained`"):
        load_pipeline(DeviceSettings(trained=tmp_path))
