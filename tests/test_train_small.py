"""`effectpairs train small`: the clips it draws, the encoder without loss, its measures, and that it learns masks."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install 'effectpairs[train]'")
for needed in ("diffusers", "accelerate", "tensorboard"):
    pytest.importorskip(needed, reason="pip install 'effectpairs[train]'")
from effectpairs.datasets.corpus.reader import open_corpus  # noqa: E402
from effectpairs.datasets.corpus.verify import verify  # noqa: E402
from effectpairs.render.shadow_clips import ShadowClips, draw_clip  # noqa: E402
from effectpairs.training import __main__ as program  # noqa: E402
from effectpairs.training import effect_check  # noqa: E402
from effectpairs.training.base.encoders import frames_to_video, video_to_frames  # noqa: E402
from effectpairs.training.base.families import open_family  # noqa: E402
from effectpairs.training.base.pixel_shuffle import PixelShuffleFamily  # noqa: E402
from effectpairs.training.base.tiny import write_tiny_model  # noqa: E402
from effectpairs.training.generate import DeviceSettings, load_pipeline  # noqa: E402
from effectpairs.training.results import select_evaluation_clips  # noqa: E402
from effectpairs.training.run import open_job, run_step  # noqa: E402
from effectpairs.training.sampling.pipeline import PipelineInput  # noqa: E402
from effectpairs.training.sampling.sample import SamplingSettings  # noqa: E402
from effectpairs.training.shadow_corpus import draw_corpus  # noqa: E402

ONE = SamplingSettings(steps=1, guidance=1.0)
FEW = ShadowClips(clips=4, frames=5, size=(32, 48))


def test_a_drawn_clip_is_a_pair_of_two_noisy_passes_and_its_shadow():
    clip = draw_clip(3, FEW)
    assert all(np.array_equal(*layers) for layers in zip(clip[:5], draw_clip(3, FEW)[:5], strict=True))
    dark, calm = clip.shadow == 255, (clip.shadow == 0) & (clip.subject_mask == 0)
    light = [(clip.gt.astype(float) / np.maximum(clip.over, 1))[region].mean() for region in (dark, calm)]
    assert 0.35 < light[0] < 0.6
    assert abs(light[1] - 1) < 0.01
    difference = (clip.gt.astype(float) - clip.over)[calm]
    assert difference.std() == pytest.approx(FEW.noise * 2**0.5, rel=0.1)
    assert np.array_equal(clip.gt[clip.subject_mask == 255], clip.over[clip.subject_mask == 255])


def test_a_drawn_corpus_is_sound_and_drawn_once(tmp_path):
    workspace, corpus = tmp_path / "workspace", tmp_path / "corpus"
    drawing = draw_corpus(FEW, workspace, str(corpus))
    begun = [next(drawing), next(drawing)]
    drawing.close()  # as if it was killed
    results = {path: path.stat().st_mtime_ns for path in workspace.glob("store/draw/*/*/result.json")}
    assert len(results) == 2
    assert list(draw_corpus(FEW, workspace, str(corpus)))[:2] == begun
    assert all(path.stat().st_mtime_ns == time for path, time in results.items())
    opened = open_corpus(str(corpus))
    assert len(opened) == FEW.clips
    assert not verify(opened)
    clip = opened[opened.ids[0]]
    assert np.array_equal(clip.gt, draw_clip(int(opened.ids[0].split("-")[2]), FEW).gt)


def test_pixels_become_channels_and_come_back_bit_for_bit(tmp_path):
    family = open_family(write_tiny_model(tmp_path / "model", kind="small"))
    assert family == PixelShuffleFamily()
    frames = np.random.default_rng(0).integers(0, 256, (13, 16, 24, 3), np.uint8)
    vae = family.load_vae(tmp_path / "model")
    latents = family.encode_video(vae, frames_to_video(frames)).mean
    assert latents.shape == (1, 4, 48, 8, 12)
    for f, colour, t, y, x in np.ndindex(4, 3, 4, 2, 2):
        frame = max(0, 4 * f - 3 + t) if f else 0
        pixels = frames[frame, y::2, x::2, colour] / 127.5 - 1
        channel = latents[0, f, ((colour * 4 + t) * 2 + y) * 2 + x].numpy()
        assert np.allclose(channel, pixels * family.scale, atol=1e-6)
    decoded = np.concatenate([video_to_frames(run) for run in family.decode_in_runs(vae, latents)])
    assert np.array_equal(decoded, frames)


def test_errors_and_moved_masks_follow_by_hand():
    gt = np.full((1, 4, 8, 3), 100, np.uint8)
    over, video = gt + np.uint8(2), gt + np.uint8(1)
    mask = np.zeros((1, 4, 8), bool)
    mask[0, 1:3, 0:2] = True
    over[mask], video[mask] = 140, 110
    record = (effect_check.measure_errors(video, over, gt, mask) + effect_check.EffectErrors()).to_record()
    assert record == {
        **{"inside": 10.0, "outside": 1.0, "over_inside": 40.0, "over_outside": 2.0},
        **{"inside_ratio": 0.25, "outside_ratio": 0.5},
    }
    assert effect_check.darkening(video, over, mask) == 30
    moved = effect_check.move_mask(mask, mask)
    assert moved.sum() == mask.sum()
    assert not (moved & mask).any()
    assert effect_check.move_mask(mask, np.ones_like(mask)) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [(("drawing.clips=0",), "drawing.clips=0 is not in"), (("drawing.noise=-1",), "drawing.noise=-1 is not in")],
)
def test_what_cannot_be_drawn_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        open_job("small", changes)


def test_steps_out_of_order_are_refused_in_one_sentence(tmp_path, capsys):
    assert program.main(["draw", str(Path("training/configs/tiny.toml").absolute())]) == 2
    assert "have no table [drawing]" in capsys.readouterr().err


@pytest.mark.slow
def test_it_learns_to_darken_where_the_mask_says_so(tmp_path):
    """From random weights in two minutes, through every step of the run but the evaluation."""
    changes = (
        *(f'corpus="{tmp_path / "corpus"}"', f'output="{tmp_path / "run"}"'),
        *("drawing.clips=60", "drawing.frames=5", "drawing.size=[32, 48]", "cache.frames=5"),
        *("steps=450", "optimiser.ema=0.98", "validation.every_steps=0", "validation.steps=1"),
    )
    job = open_job("small", changes)
    for step in ("draw", "encode", "train", "sample", "check"):
        run_step(step, job, lambda *_: None)
    record = json.loads((job.settings.output_path / "evaluation" / effect_check.RECORD).read_text())
    assert record["inside_ratio"] < 0.9
    assert record["outside_ratio"] < 1.4

    pipeline = load_pipeline(DeviceSettings(trained=job.settings.output_path / "trained"))
    corpus = open_corpus(job.settings.corpus)
    darker = {"as it is": 0.0, "turned over": 0.0}
    for clip in map(corpus.clip, select_evaluation_clips(corpus, 3)[1]):
        for name, mask in zip(darker, (clip.effect_mask, ~clip.effect_mask), strict=True):
            video = pipeline(PipelineInput(prompt="", over=clip.over, effect_mask=mask), ONE)
            darker[name] += effect_check.darkening(video, clip.over, clip.effect_mask)
    assert darker["as it is"] > 2 * darker["turned over"], "where the mask says keep, nothing darkens"
