"""SAM 3 with random weights of the true classes: from a noun to one subject, its score, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from effectpairs.stages.sam3 import Sam3
from effectpairs.stages.subject import SubjectSegmenter
from effectpairs.stages.tracking.prompted_tracking import to_matte
from effectpairs.stages.tracking.prompts import SubjectPrompt
from effectpairs.stages.tracking.sam2_networks import SegmenterUnavailable
from effectpairs.tests import fixtures_segmenters as tiny
from effectpairs.tests.fixtures_videos import sliding_clip
from effectpairs.weights import WeightsNotFound

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)
FRAMES, HEIGHT, WIDTH = 6, 48, 80


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny.write_sam3(tmp_path_factory.mktemp("models") / "sam3")


@pytest.fixture(scope="module")
def gt() -> np.ndarray:
    return sliding_clip(FRAMES, HEIGHT, WIDTH)


def plain_use(folder: Path, gt: np.ndarray, noun: str) -> tuple[np.ndarray, list[float]]:
    """The library as its documentation shows it, with the whole clip at once; all things of the noun united."""
    model = transformers.Sam3VideoModel.from_pretrained(folder).eval()
    processor = transformers.Sam3VideoProcessor.from_pretrained(folder)
    session = processor.init_video_session(video=gt)
    session = processor.add_text_prompt(session, noun)
    mattes, scores = np.zeros(gt.shape[:3], np.uint8), [1.0] * len(gt)
    for output in model.propagate_in_video_iterator(session):
        shown = processor.postprocess_outputs(session, output)["object_ids"].tolist()
        for thing in shown:
            matte = to_matte(output.obj_id_to_mask[thing].numpy().squeeze(), gt.shape[1:3])
            mattes[output.frame_idx] = np.maximum(mattes[output.frame_idx], matte)
            scores[output.frame_idx] = min(scores[output.frame_idx], float(output.obj_id_to_score[thing]))
    return mattes, scores


def test_a_noun_gives_what_a_plain_use_of_transformers_gives(folder, gt):
    segmenter = Sam3(model=str(folder), device="cpu")
    assert isinstance(segmenter, SubjectSegmenter)
    track = segmenter.track(gt, SubjectPrompt(text="camel"))
    mattes, scores = plain_use(folder, gt, "camel")
    assert np.array_equal(track.mask > 127, mattes > 127)
    assert (track.confidence <= np.array(scores) + 1e-6).all(), "no surer than the network's own score"
    assert track.confidence.min() < 0.5
    assert "sam3 found 4 things that it calls 'camel'; they are one subject." in track.notes
    assert track.model["revision"].startswith("folder-")
    assert track.others is None


def test_nouns_of_other_subjects_are_others(folder, gt):
    both = Sam3(model=str(folder), device="cpu").track(
        gt, SubjectPrompt(text="camel", others=(SubjectPrompt(text="dog"),))
    )
    assert both.others.shape == both.mask.shape
    assert both.others.any()
    one = Sam3(model=str(folder), device="cpu", text="camel").track(gt, SubjectPrompt())
    assert one.mask.shape == both.mask.shape, "the settings' noun serves where the prompt has none"


def test_old_outputs_are_dropped(folder):
    from effectpairs.stages import sam3
    from effectpairs.weights import find_weights

    network = sam3._load(find_weights(Sam3(model=str(folder)).required_weights[0]), "cpu", "float32")
    states = []
    original = network.processor.init_video_session
    network.processor.init_video_session = lambda **options: states.append(original(**options)) or states[-1]
    network.find(sliding_clip(24, 32, 48), ("camel",))
    network.processor.init_video_session = original
    for outputs in states[0].output_dict_per_obj.values():
        assert len(outputs["non_cond_frame_outputs"]) <= 16


def test_what_is_refused(folder, gt, tmp_path, monkeypatch):
    monkeypatch.delenv("EFFECTPAIRS_DOWNLOAD", raising=False)
    with pytest.raises(ValueError, match="there is no noun to look for; give --text NOUN"):
        Sam3(model=str(folder)).track(gt, SubjectPrompt())
    with pytest.raises(WeightsNotFound, match="hf download facebook/sam3"):
        Sam3().track(gt, SubjectPrompt(text="camel"))
    strict = tiny.copy_model(folder, tmp_path / "strict")
    tiny.change_config(strict, new_det_thresh=1.0, score_threshold_detection=1.0)
    with pytest.raises(
        ValueError, match="sam3 finds no 'camel' in this clip; try another noun, or give a point to sam2"
    ):
        Sam3(model=str(strict), device="cpu").track(gt, SubjectPrompt(text="camel"))
    broken = tiny.copy_model(folder, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:9999])
    with pytest.raises(SegmenterUnavailable, match="cut off, damaged"):
        Sam3(model=str(broken), device="cpu").track(gt, SubjectPrompt(text="camel"))
