"""Masks in the forms of other tools: recognised, named, and read by one setting; soft mattes are none of them."""

import itertools

import cv2
import numpy as np
import pytest
from effectpairs.datasets.footage.images import load_values
from effectpairs.datasets.footage.key_masks import read_keys
from effectpairs.datasets.footage.listing import list_footage
from effectpairs.datasets.footage.mask_meaning import recognise_meaning, subject_matte
from effectpairs.datasets.footage.masks import open_masks
from effectpairs.datasets.footage.reader import open_frames
from effectpairs.datasets.footage.types import FootageInfo
from effectpairs.datasets.sources.source import FootageSource, load_source
from effectpairs.flows.footage.single_pair import PairRequest, make_pair
from effectpairs.flows.footage.source import RealSource
from effectpairs.tests.fixtures_videos import encode_video, sliding_clip, write_images

FORMS = ("quadmask", "trimask", "inverted")
SIZE = (96, 160)


def subject(frames=5, size=SIZE):
    """A disc that moves to the right over a still ground."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.stack([(rows - 40) ** 2 + (columns - 40 - 6 * (frame % 13)) ** 2 < 20**2 for frame in range(frames)])


def written_as(form, is_subject, effect=(12, 9)):
    """The subject's mask in a form, with an effect that lies below and beside it; the matte where form is None."""
    affected = np.stack([np.roll(frame, effect, (0, 1)) for frame in is_subject])
    values = np.full(is_subject.shape, {"trimask": 128, "inverted": 255, "quadmask": 255}.get(form, 0), np.uint8)
    if form == "quadmask":
        values[affected] = 127
        values[is_subject & affected] = 63
    if form == "trimask":
        values[:, :20, -30:] = 255  # another subject, which stays
    values[is_subject & (values != 63)] = 0 if form else 255
    return values


def as_jpeg(values, quality):
    return np.stack([cv2.imdecode(cv2.imencode(".jpg", frame, [1, quality])[1], 0) for frame in values])


def as_video(values, folder, crf):
    path = encode_video(
        folder / f"{crf}.mp4", np.repeat(values[..., None], 3, -1), codec="libx264", pix_fmt="yuv420p", crf=str(crf)
    )
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for _, frame in open_frames(path)])


def damaged(values, folder):
    """The mask as other programs hand it on."""
    yield "lossless", values
    yield from ((f"JPEG {quality}", as_jpeg(values, quality)) for quality in (30, 60, 90))
    yield from ((f"H.264 crf {crf}", as_video(values, folder, crf)) for crf in (18, 28, 36))
    yield "studio range", np.rint(values.astype(float) * 219 / 255 + 16).astype(np.uint8)


def iou(matte, truth):
    return np.count_nonzero((matte >= 128) & truth) / np.count_nonzero((matte >= 128) | truth)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_recognised_through_codecs_and_gives_the_subject(form, tmp_path):
    truth = subject()
    for damage, values in damaged(written_as(form, truth), tmp_path):
        assert recognise_meaning(list(values)) == form, damage
        mattes = np.stack([subject_matte(frame, form) for frame in values])
        assert iou(mattes, truth) > 0.95, damage


@pytest.mark.parametrize("blur", [0, 1, 3, 8, 25])
@pytest.mark.parametrize("level", [255, 191, 127, 63])
def test_soft_and_see_through_mattes_are_no_form(blur, level, tmp_path):
    matte = np.where(subject(), np.uint8(level), np.uint8(0))
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), blur) if blur else frame for frame in matte])
    for damage, values in damaged(soft, tmp_path):
        assert recognise_meaning(list(values)) is None, damage


def test_a_matte_with_a_ramp_of_every_value_is_no_form():
    ramp = np.tile(np.linspace(0, 255, SIZE[1]).astype(np.uint8), (SIZE[0], 1))
    for values in (
        ramp,
        ramp[:, ::-1],
        np.ascontiguousarray(np.tile(np.linspace(0, 255, 96), (160, 1)).T.astype(np.uint8)),
    ):
        assert recognise_meaning([np.ascontiguousarray(values)]) is None


def test_an_effect_that_begins_late_is_seen(tmp_path):
    values = written_as("inverted", subject(60))
    values[50:] = written_as("quadmask", subject(60))[50:]
    video = FootageInfo(width=SIZE[1], height=SIZE[0], fps=24.0, frames=60)
    with pytest.raises(ValueError, match="looks like a quadmask"):
        open_masks(write_images(tmp_path / "masks", values), video, 60)


@pytest.fixture
def video(tmp_path):
    return encode_video(tmp_path / "video.mp4", sliding_clip(13, *SIZE))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["images", "video"])
def test_masks_are_refused_by_name_and_read_by_the_setting(form, kind, video, tmp_path):
    truth, info = subject(13), open_frames(video).info
    values = written_as(form, truth)
    path = tmp_path / "masks"
    if kind == "images":
        write_images(path, values)
    else:
        path = encode_video(
            tmp_path / "mask.mp4", np.repeat(values[..., None], 3, -1), codec="libx264", pix_fmt="yuv420p", crf="20"
        )
    with pytest.raises(ValueError) as caught:
        open_masks(path, info, 13)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: looks like a")
    assert f"mask_meaning='{form}' (pair: --mask-meaning {form})" in sentence
    assert "\n" not in sentence
    mattes = np.stack(list(open_masks(path, info, 13, meaning=form)))
    assert iou(mattes, truth) > 0.97
    taken = np.stack(list(open_masks(path, info, 13, meaning="subject")))
    assert np.abs(taken.astype(int) - values).mean() < 3, "at its word: as it is"


@pytest.mark.parametrize(("form", "meaning"), itertools.permutations(FORMS, 2))
def test_another_form_than_the_setting_says(form, meaning, video, tmp_path):
    path = write_images(tmp_path / "masks", written_as(form, subject(13)))
    info = open_frames(video).info
    if form == "inverted" or (form, meaning) == ("trimask", "quadmask"):  # the same subject by either
        assert iou(np.stack(list(open_masks(path, info, 13, meaning=meaning))), subject(13)) == 1
    else:
        with pytest.raises(ValueError, match=f"looks like a {form}.*not like an? {meaning}.*mask_meaning='{form}'"):
            open_masks(path, info, 13, meaning=meaning)


@pytest.mark.parametrize("meaning", FORMS)
def test_a_plain_mask_that_the_setting_turns_over(meaning, video, tmp_path):
    path = write_images(tmp_path / "masks", written_as(None, subject(13)))
    with pytest.raises(ValueError, match=r"covers the border and most of the picture; leave mask_meaning out"):
        open_masks(path, open_frames(video).info, 13, meaning=meaning)


def test_key_masks_too(video, tmp_path):
    info, truth = open_frames(video).info, subject(1)
    write_images(tmp_path / "keys", written_as("quadmask", truth))
    with pytest.raises(ValueError, match=r"00000\.png: looks like a quadmask"):
        read_keys(tmp_path / "keys", info)[0]()
    assert np.array_equal(read_keys(tmp_path / "keys", info, "quadmask")[0]() > 0, truth[0])


def test_grey_label_images_of_one_value_in_the_middle_are_no_label(tmp_path):
    write_images(tmp_path / "JPEGImages" / "bear", sliding_clip(5, *SIZE))
    write_images(tmp_path / "Annotations" / "bear", np.where(subject(), np.uint8(0), np.uint8(127)))
    source = FootageSource(name="own", root=str(tmp_path), layout="davis")
    (footage,) = list_footage(source)
    assert [subject_files.label for subject_files in footage.subjects] == [None]
    info = open_frames(footage.video).info
    with pytest.raises(ValueError, match="looks like a trimask"):
        open_masks(footage.subjects[0].masks, info, 5)
    (footage,) = list_footage(FootageSource(name="own", root=str(tmp_path), layout="davis", mask_meaning="trimask"))
    (files,) = footage.subjects
    mattes = np.stack(list(open_masks(files.masks, info, 5, meaning=files.meaning)))
    assert np.array_equal(mattes > 0, subject())


def test_pair_takes_the_setting(video, tmp_path):
    masks = write_images(tmp_path / "masks", written_as("quadmask", subject(13)))
    plain = load_source("videos", ["root=.", "normalise.size=96x160", "normalise.fps=24"], into=RealSource)
    request = PairRequest(video=video, masks=masks)
    with pytest.raises(ValueError, match="--mask-meaning quadmask"):
        make_pair(request, plain, tmp_path / "pair")
    told = load_source(
        "videos", ["root=.", "normalise.size=96x160", "normalise.fps=24", "mask_meaning=quadmask"], into=RealSource
    )
    make_pair(request, told, tmp_path / "pair")
    frames = open_frames(tmp_path / "pair" / "subject_mask.mkv")
    mattes = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for _, frame in frames])
    truth = subject(13)[: len(mattes)]
    assert iou(mattes, truth) > 0.97


@pytest.mark.clips
def test_real_masks_are_no_form_and_are_found_in_every_form(clips_dir):
    videos = sorted([*clips_dir.rglob("*mask*.mp4")])
    if not videos:
        pytest.skip(f"no masks under {clips_dir}")
    masks = {
        path: [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for _, frame in itertools.islice(open_frames(path), 0, 60, 20)]
        for path in videos
    }
    masks |= {
        folder: [(load_values(file) > 0).astype(np.uint8) * 255 for file in sorted(folder.glob("*.png"))[::20]]
        for folder in clips_dir.rglob("Annotations/480p/*")
        if folder.is_dir()
    }
    for path, values in masks.items():
        assert recognise_meaning(values) is None, path
        for form in FORMS:
            written = written_as(form, np.stack(values) >= 128, effect=(20, 15))
            assert recognise_meaning(list(as_jpeg(written, 75))) == form, (path, form)
