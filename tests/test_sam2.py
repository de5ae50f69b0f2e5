"""SAM 2 and EdgeTAM with random weights of the true classes: what they get, what is kept of them, what is refused."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from effectpairs.datasets.sources.source import load_source
from effectpairs.datasets.store import codec
from effectpairs.datasets.store.ledger import read_ledger
from effectpairs.flows.footage.source import RealSource
from effectpairs.requirements import RequirementMissing
from effectpairs.stages.sam2 import Sam2, load_network
from effectpairs.stages.subject import SubjectSegmenter
from effectpairs.stages.tracking.prompted_tracking import run_pass, to_matte
from effectpairs.stages.tracking.prompts import PromptPoint, SubjectPrompt
from effectpairs.stages.tracking.sam2_networks import SegmenterUnavailable
from effectpairs.tests import fixtures_segmenters as tiny
from effectpairs.tests.fixtures_scene import sliding_square, write_h264
from effectpairs.tests.fixtures_videos import sliding_clip
from effectpairs.tests.fixtures_workspaces import run_source
from effectpairs.weights import WeightsNotFound, find_weights

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
torch.set_num_threads(1)
FRAMES, HEIGHT, WIDTH = 22, 48, 80
POINT = SubjectPrompt(points={0: (PromptPoint(x=20.0, y=30.0), PromptPoint(x=70.0, y=5.0, is_subject=False))})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny.write_sam2(tmp_path_factory.mktemp("models") / "sam2")


@pytest.fixture(scope="module")
def edgetam(tmp_path_factory) -> Path:
    return tiny.write_edgetam(tmp_path_factory.mktemp("models") / "edgetam")


@pytest.fixture(scope="module")
def gt() -> np.ndarray:
    return sliding_clip(FRAMES, HEIGHT, WIDTH)


def key_mask() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(mask, (34, 20), (18, 11), 20, 0, 360, 255, cv2.FILLED)
    return mask


def load(folder: Path, **settings):
    segmenter = Sam2(model=str(folder), device="cpu", **settings)
    return load_network(
        find_weights(segmenter.required_weights[0]),
        segmenter.door,
        "cpu",
        segmenter.dtype,
        segmenter.max_prompted_frames,
    )


def plain_use(folder: Path, gt: np.ndarray, add, *, start: int, reverse: bool) -> list[np.ndarray]:
    """The library as its documentation shows it: the whole clip at once, nothing dropped."""
    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    processors = {"Sam3VideoModel": ("Sam3TrackerVideoModel", "Sam3TrackerVideoProcessor")}
    network_name, processor_name = processors.get(name, (name, "Sam2VideoProcessor"))
    model = getattr(transformers, network_name).from_pretrained(folder).eval()
    model.config.max_cond_frame_num = 8
    processor = getattr(transformers, processor_name).from_pretrained(folder)
    session = processor.init_video_session(video=gt)
    with torch.inference_mode():
        for frame, inputs in add:
            processor.add_inputs_to_inference_session(session, frame_idx=frame, obj_ids=1, **inputs)
            model(session, frame_idx=frame)
        run = model.propagate_in_video_iterator(session, start_frame_idx=start, reverse=reverse)
        return [output.pred_masks[0, 0].numpy() for output in run]


# ---------------------------------------------------------------- what the networks get and give


@pytest.fixture(scope="module")
def sam3(tmp_path_factory) -> Path:
    return tiny.write_sam3(tmp_path_factory.mktemp("models") / "sam3")


@pytest.mark.parametrize(
    ("family", "reverse"), [("folder", False), ("folder", True), ("edgetam", True), ("sam3", False)]
)
def test_logits_are_those_of_a_plain_use_of_transformers(request, family, reverse, gt):
    """Frames one by one, dropped outputs and a prompt of each kind change not a bit."""
    path = request.getfixturevalue(family)
    key = key_mask()
    (session,) = load(path).open_sessions(gt, 1)
    points = (PromptPoint(x=20.0, y=30.0), PromptPoint(x=70.5, y=5.25, is_subject=False))
    session.add_prompt(0, None, points, (4.0, 6.0, 30.0, 20.0))
    session.add_prompt(21, key, (), None)
    ours = [mask.logits for mask in session.track(range(21, -1, -1) if reverse else range(22))]
    marks = {"input_points": [[[[20, 30], [70.5, 5.25]]]], "input_labels": [[[1, 0]]]}
    marks["input_boxes"] = [[[4, 6, 34, 26]]]
    plain = plain_use(
        path,
        gt,
        [
            (0, marks),
            (21, {"input_masks": key > 127}),
        ],
        start=21 if reverse else 0,
        reverse=reverse,
    )
    assert len(ours) == len(plain) == FRAMES
    for frame, (one, other) in enumerate(zip(ours, plain, strict=True)):
        assert np.array_equal(one, other), frame


def test_only_what_the_memory_reaches_is_kept(folder, gt):
    (session,) = load(folder).open_sessions(gt, 1)
    session.add_prompt(0, key_mask(), (), None)
    for _ in session.track(range(FRAMES)):
        outputs = session.state.output_dict_per_obj[0]
        assert len(outputs["non_cond_frame_outputs"]) <= 17
    assert min(outputs["non_cond_frame_outputs"]) == FRAMES - 16
    assert len(session.state.frames_tracked_per_obj[0]) <= 17
    assert len(session.state.cache._vision_features) == 1
    assert "high_res_masks" not in outputs["non_cond_frame_outputs"][FRAMES - 2]
    assert all(value.device.type == "cpu" for value in outputs["cond_frame_outputs"][0].values())


def test_subjects_share_the_image_encoder_and_nothing_else(folder, gt):
    network = load(folder)
    count = 0

    def increment(*_):
        nonlocal count
        count += 1

    hook = network.model.vision_encoder.register_forward_hook(increment)
    key = SubjectPrompt(keys={0: key_mask()})
    spans = [range(6), range(6)]
    together = run_pass(network, gt[:6], [POINT, key], spans)
    assert count <= 8, "each frame once, and the prompted one for either subject"
    hook.remove()
    for part, prompt in zip(together, (POINT, key), strict=True):
        (alone,) = run_pass(network, gt[:6], [prompt], [range(6)])
        assert np.array_equal(part.matte, alone.matte)
        assert np.array_equal(part.predicted_iou, alone.predicted_iou)


@pytest.mark.parametrize("size", [(48, 80), (90, 40), (33, 129)])
def test_a_mask_comes_back_in_place_from_the_network(folder, size):
    """Squeezed to the network's square and stretched back: the mask's own frame is the mask."""
    mask = np.zeros(size, np.uint8)
    cv2.ellipse(mask, (size[1] * 2 // 5, size[0] // 2), (size[1] // 5, size[0] // 4), 0, 0, 360, 255, cv2.FILLED)
    clip = np.full((2, *size, 3), 90, np.uint8)
    (part,) = run_pass(load(folder), clip, [SubjectPrompt(keys={1: mask})], [range(1, 2)])
    back, truth = part.matte[1] > 127, mask > 127
    assert np.count_nonzero(back & truth) / np.count_nonzero(back | truth) > 0.88
    for ours, theirs in zip(np.nonzero(back), np.nonzero(truth), strict=True):
        assert abs(ours.mean() - theirs.mean()) < 0.5
    assert part.predicted_iou[1] == 1


def test_points_and_boxes_reach_the_prompt_encoder_in_its_own_pixels(folder, gt):
    network, seen = load(folder), []
    hook = network.model.prompt_encoder.register_forward_pre_hook(
        lambda module, args, options: seen.append(options), with_kwargs=True
    )
    (session,) = network.open_sessions(gt, 1)
    session.add_prompt(2, None, (PromptPoint(x=20, y=30), PromptPoint(x=0, y=0, is_subject=False)), (8, 12, 40, 24))
    hook.remove()
    scale = np.array([tiny.SIDE_PX / WIDTH, tiny.SIDE_PX / HEIGHT])
    corners = np.array([[8, 12], [48, 36], [20, 30], [0, 0]])
    assert np.allclose(seen[-1]["input_points"][0, 0], corners * scale)
    assert seen[-1]["input_labels"][0, 0].tolist() == [2, 3, 1, 0]


def test_frames_are_normalised_as_the_checkpoint_says(folder):
    frame = np.empty((1, 30, 50, 3), np.uint8)
    frame[:] = (255, 0, 51)
    values = load(folder).normalise(frame)
    assert values.shape == (3, tiny.SIDE_PX, tiny.SIDE_PX)
    expected = (np.array([1, 0, 0.2]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert np.allclose(values.mean((1, 2)), expected, atol=1e-5)


def test_a_matte_is_the_sigmoid_of_stretched_logits():
    logits = np.array([[-1024, 0], [2, 1024]], np.float32)
    assert to_matte(logits, (2, 2)).tolist() == [[0, 128], [225, 255]]
    ramp = to_matte(np.linspace(-6, 6, 32, dtype=np.float32)[None].repeat(4, 0), (48, 80))
    assert (np.diff(ramp[0].astype(int)) >= 0).all()
    assert np.count_nonzero((ramp[0] > 5) & (ramp[0] < 250)) > 20, "soft, not cut at one half"


def test_bfloat16_gives_nearly_the_same(folder, gt):
    (exact,) = run_pass(load(folder), gt[:3], [SubjectPrompt(keys={0: key_mask()})], [range(3)])
    (short,) = run_pass(load(folder, dtype="bfloat16"), gt[:3], [SubjectPrompt(keys={0: key_mask()})], [range(3)])
    assert np.abs(exact.matte.astype(int) - short.matte).mean() < 3


@pytest.mark.slow
def test_two_thousand_frames_take_the_memory_of_few(folder):
    psutil = pytest.importorskip("psutil")
    clip = np.zeros((2000, 32, 48, 3), np.uint8)
    clip[:, 8:20, 10:30] = 200
    mask = clip[0, ..., 0].copy()
    mask[mask > 0] = 255
    (session,) = load(folder).open_sessions(clip, 1)
    session.add_prompt(0, mask, (), None)
    process, rss, kept = psutil.Process(), [], []
    for frame, _ in enumerate(session.track(range(2000))):
        if frame % 100 == 99:
            rss.append(process.memory_info().rss)
        kept.append(len(session.state.output_dict_per_obj[0]["non_cond_frame_outputs"]))
    assert max(kept) <= 17
    assert rss[-1] - rss[1] < 30 * 2**20, "1,800 frames more; undropped they are 170 MB"


# ---------------------------------------------------------------- the package


def test_the_package_is_the_same_behind_another_door(tmp_path, gt):
    pytest.importorskip("sam2", reason="optional: pip install sam2")
    path = tiny.write_package_checkpoint(tmp_path / "package")
    network = load(path, door="package")
    key = key_mask()
    prompts = [SubjectPrompt(keys={2: key}), POINT]
    spans = [range(2, 20), range(20)]
    together = run_pass(network, gt, prompts, spans)
    back = together[0].matte[2] > 127
    assert np.count_nonzero(back & (key > 127)) / np.count_nonzero(back | (key > 127)) > 0.88
    for part, prompt, span in zip(together, prompts, spans, strict=True):
        (alone,) = run_pass(network, gt, [prompt], [span])
        assert np.array_equal(part.matte, alone.matte)
    (session,) = network.open_sessions(gt, 1)
    session.add_prompt(2, key, (), None)
    ours = [mask.logits for mask in session.track(range(2, 20))]
    assert len(session.state["output_dict_per_obj"][0]["non_cond_frame_outputs"]) <= 16

    write_images = [cv2.imwrite(str(tmp_path / f"{number:05d}.jpg"), gt[number, ..., ::-1]) for number in range(FRAMES)]
    assert all(write_images)
    state = network.model.init_state(str(tmp_path), offload_video_to_cpu=True)
    state["images"] = torch.stack([network.normalise(gt[number : number + 1]) for number in range(FRAMES)])
    state["cached_features"] = {}
    network.model.add_new_mask(state, 2, 1, key > 127)
    plain = [masks[0, 0].numpy() for _, _, masks in network.model.propagate_in_video(state)]
    assert all(np.array_equal(one, other) for one, other in zip(ours, plain, strict=False)), "nothing dropped matters"


def test_a_package_that_is_not_there_is_a_sentence(tmp_path, monkeypatch, gt):
    (tmp_path / "sam2.1_hiera_tiny.pt").write_bytes(b"x")
    monkeypatch.setitem(__import__("sys").modules, "sam2", None)
    with pytest.raises(
        SegmenterUnavailable, match=r"needs sam2, which is not installed; pip install 'effectpairs\[sam2\]'"
    ):
        load(tmp_path / "sam2.1_hiera_tiny.pt", door="package")


# ---------------------------------------------------------------- the backend


def test_a_track_has_a_soft_mask_and_a_confidence_with_reasons(folder, gt):
    segmenter = Sam2(model=str(folder), device="cpu")
    assert isinstance(segmenter, SubjectSegmenter)
    key = key_mask()
    track = segmenter.track(gt[:9], SubjectPrompt(keys={3: key}, others=(POINT, SubjectPrompt(text="dog"))))
    assert (track.mask.shape, track.mask.dtype) == ((9, HEIGHT, WIDTH), np.uint8)
    assert np.array_equal(track.mask[3], key), "a key mask stands as it was given"
    assert track.others.shape == track.mask.shape
    assert track.confidence.shape == (9,)
    assert ((track.confidence >= 0) & (track.confidence <= 1)).all()
    assert track.confidence.min() < 0.5, "random weights: to review"
    assert any("tracked forwards and backwards it is not the same" in note for note in track.notes)
    assert track.model["id"] == str(folder)
    assert track.model["revision"].startswith("folder-")
    again = segmenter.track(gt[:9], SubjectPrompt(keys={3: key}, others=(POINT,)))
    assert np.array_equal(again.mask, track.mask)


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        (SubjectPrompt(), "no point, box or key mask to start from; give --point X,Y with --at"),
        (SubjectPrompt(text="camel"), "a noun alone is for subject.kind=sam3"),
        (SubjectPrompt(masks=np.zeros((22, 48, 80), np.uint8)), "with a mask for every frame take subject.kind="),
        (SubjectPrompt(points={22: (PromptPoint(x=1, y=1),)}), "frame 22 lies outside the clip of 22 frames"),
        (SubjectPrompt(points={0: (PromptPoint(x=80, y=1),)}), "the point 80,1 of frame 0 lies outside the picture"),
        (SubjectPrompt(keys={0: np.zeros((48, 80), np.uint8)}), "the key masks are all empty; mark the subject"),
        (SubjectPrompt(keys={0: np.full((9, 9), 255, np.uint8)}), "the key mask of frame 0 is full, or not 48x80"),
    ],
)  # fmt: skip
def test_prompts_that_say_nothing_are_refused_before_anything_is_loaded(gt, prompt, sentence):
    with pytest.raises(ValueError, match="") as caught:
        Sam2(model="/nowhere").track(gt, prompt)
    assert sentence in str(caught.value)


def test_an_empty_key_says_that_the_subject_is_not_there(folder, gt):
    empty = np.zeros((HEIGHT, WIDTH), np.uint8)
    track = Sam2(model=str(folder), device="cpu", check_directions=False).track(
        gt[:5], SubjectPrompt(keys={0: key_mask(), 4: empty})
    )
    assert not track.mask[4].any()


def test_the_package_has_one_precision():
    with pytest.raises(ValueError, match="the package computes in float32"):
        Sam2(door="package", dtype="bfloat16")


def refusal(folder: Path, **settings) -> str:
    load_network.cache_clear()
    with pytest.raises(SegmenterUnavailable) as caught:
        load(folder, **settings)
    sentence = str(caught.value)
    assert sentence.startswith(str(folder))
    assert "\n" not in sentence
    return sentence


def test_weights_that_are_cut_off(folder, tmp_path):
    path = tiny.copy_model(folder, tmp_path / "copy")
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    assert "cut off, damaged, or of another size or architecture" in refusal(path)


def test_weights_of_another_size(folder, tmp_path):
    path = tiny.copy_model(folder, tmp_path / "copy")
    tiny.change_config(path, memory_fuser_intermediate_dim=64)
    assert "fetch the whole model again, or correct the name" in refusal(path)


def test_weights_that_lack_the_memory(folder, tmp_path):
    """A checkpoint for images alone has the encoder and no memory: random weights would stand in for it."""
    from safetensors.torch import load_file, save_file

    path = tiny.copy_model(folder, tmp_path / "copy")
    weights = {name: value for name, value in load_file(path / "model.safetensors").items() if "memory" not in name}
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    assert "of its weights are missing or of another shape, such as memory" in refusal(path)


def test_another_kind_of_model(folder, tmp_path):
    path = tiny.copy_model(folder, tmp_path / "copy")
    tiny.change_config(path, model_type="clip")
    assert "is a 'clip' and tracks nothing; name a model of sam2_video, edgetam_video" in refusal(path)
    (path / "config.json").write_text("{")
    assert "no readable config.json" in refusal(path)


def test_a_checkpoint_of_the_package_that_names_no_size(tmp_path):
    pytest.importorskip("sam2", reason="optional: pip install sam2")
    (tmp_path / "mine.pt").write_bytes(b"x")
    assert "its name says no size of SAM 2" in refusal(tmp_path / "mine.pt", door="package")
    path = (tmp_path / "mine.pt").rename(tmp_path / "sam2.1_hiera_tiny.pt")
    assert "cut off, damaged" in refusal(path, door="package")


def test_masks_that_are_no_numbers(folder, tmp_path, gt):
    from safetensors.torch import load_file, save_file

    path = tiny.copy_model(folder, tmp_path / "copy")
    weights = load_file(path / "model.safetensors")
    weights = {name: value * float("nan") if "hyper" in name else value for name, value in weights.items()}
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SegmenterUnavailable, match="its masks are no numbers; fetch it again"):
        Sam2(model=str(path), device="cpu").track(gt[:5], POINT)


def test_too_little_memory_is_a_sentence_with_a_way_out(folder, gt, monkeypatch):
    network = load(folder)

    def forward(*args, **options):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    monkeypatch.setattr(network.model, "get_image_features", forward)
    with pytest.raises(SegmenterUnavailable, match="too little memory on cpu") as caught:
        run_pass(network, gt, [POINT], [range(3)])
    assert "take a smaller model, such as facebook/sam2.1-hiera-tiny" in str(caught.value)
    assert caught.value.is_sentence
    assert caught.value.is_unavailable
    monkeypatch.setattr(network.model, "get_image_features", lambda *args, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_pass(network, gt, [POINT], [range(3)])


def test_a_gpu_that_is_not_there(folder):
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    load_network.cache_clear()
    local = find_weights(Sam2(model=str(folder)).required_weights[0])
    with pytest.raises(SegmenterUnavailable, match="cannot run on cuda"):
        load_network(local, "transformers", "cuda", "float32", 8)


def test_missing_weights_name_the_model_and_the_command(gt, tmp_path, monkeypatch):
    monkeypatch.delenv("EFFECTPAIRS_DOWNLOAD", raising=False)
    with pytest.raises(WeightsNotFound, match=r"hf download facebook/sam2\.1-hiera-large") as caught:
        Sam2().track(gt, POINT)
    assert "facebook/sam2.1-hiera-large: there is no such folder" in str(caught.value)


# ---------------------------------------------------------------- through the flow


@pytest.fixture
def footage(tmp_path) -> Path:
    """A video with a prompts file of two subjects beside it."""
    root = tmp_path / "footage"
    scene = sliding_square(13)
    write_h264(root / "clip.mp4", scene.gt)
    cv2.imwrite(str(root / "key.png"), scene.subject_mask[6])
    subjects = [{"masks": {"6": "key.png"}}, {"points": {"0": [[70, 40]]}, "not_points": {"0": [[5, 20]]}}]
    (root / "clip_prompts.json").write_text(json.dumps({"subjects": subjects}))
    return root


def source_of(root: Path, model: object) -> RealSource:
    changes = [f"root={root}", "masks=[]", "keys={stem}_prompts.json", "normalise.size=48x80", "subject.kind=sam2"]
    return load_source("videos", [*changes, f"subject.model={model}", "subject.device=cpu"], into=RealSource)


def test_a_source_goes_through_with_a_path_in_its_settings(footage, folder, tmp_path):
    source = source_of(footage, folder)
    workspace = tmp_path / "workspace"
    summary = run_source(source, workspace, workers=1)
    assert (summary.inputs, summary.failed) == (2, 0)
    first, second = sorted(read_ledger(workspace, source.name), key=lambda clip: clip.name)
    assert {first.outcome, second.outcome} <= {"review", "reject"}, "random weights are doubted"
    provenance = first.row["provenance"]
    assert provenance["models"][0]["id"] == str(folder)
    assert provenance["models"][0]["revision"].startswith("folder-")
    again = run_source(source, workspace, workers=1)
    assert vars(again) == vars(summary)


def test_missing_weights_stop_a_run_before_it_starts(footage, tmp_path):
    with pytest.raises(RequirementMissing, match="/nowhere/sam2"):
        run_source(source_of(footage, "/nowhere/sam2"), tmp_path / "workspace", workers=1)


def test_a_damaged_model_fails_each_clip_in_a_sentence(footage, folder, tmp_path):
    path = tiny.copy_model(folder, tmp_path / "copy")
    (path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:9999])
    source = source_of(footage, path)
    summary = run_source(source, tmp_path / "workspace", workers=1)
    assert (summary.inputs, summary.failed) == (2, 2)
    for clip in read_ledger(tmp_path / "workspace", source.name):
        assert str(path) in clip.reasons[0]
        assert "fetch the whole model again" in clip.reasons[0]


def test_pair_takes_a_point(footage, folder, tmp_path):
    from effectpairs.cli.app import app
    from typer.testing import CliRunner

    arguments = ["pair", str(footage / "clip.mp4"), "--point", "12,20", "--not-point", "70,5@3", "--point", "20,20@3"]
    arguments += ["--at", "0", "--size", "48x80", "--out", str(tmp_path / "out"), "--set", f"subject.model={folder}"]
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 0, ran.output
    record = json.loads((tmp_path / "out" / "pair.json").read_text())
    assert record["settings"]["subject"]["kind"] == "sam2"
    assert record["models"][0]["id"] == str(folder)
    mask = codec.decode((tmp_path / "out" / "subject_mask.mkv").read_bytes())
    assert mask.shape == (13, 48, 80)
    (network,) = [load(folder)]
    scene = codec.decode((tmp_path / "out" / "gt.mkv").read_bytes())
    prompt = SubjectPrompt(
        points={
            0: (PromptPoint(x=12.0, y=20.0),),
            3: (PromptPoint(x=20.0, y=20.0), PromptPoint(x=70.0, y=5.0, is_subject=False)),
        }
    )
    (plain,) = run_pass(network, scene, [prompt], [range(13)])
    assert np.array_equal(mask[3:], plain.matte[3:]), "the points are those of the options"


def test_a_point_without_weights_says_what_is_missing(footage, tmp_path, monkeypatch):
    from effectpairs.cli.app import app
    from typer.testing import CliRunner

    monkeypatch.delenv("EFFECTPAIRS_DOWNLOAD", raising=False)
    ran = CliRunner().invoke(app, ["pair", str(footage / "clip.mp4"), "--point", "12,20", "--size", "48x80"])
    assert ran.exit_code != 0
    sentence = str(ran.exception) if ran.exception is not None else ran.output
    assert "hf download facebook/sam2.1-hiera-large" in sentence + ran.output
