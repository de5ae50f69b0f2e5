"""Points, boxes, outlines, masks and nouns beside a video: read, refused, and brought along by every resize."""

import json

import cv2
import numpy as np
import pytest
from effectpairs.datasets.footage.listing import list_footage
from effectpairs.datasets.footage.prompts import read_prompts
from effectpairs.datasets.footage.types import Footage, SubjectFiles, VideoPrompts
from effectpairs.datasets.sources.source import FootageSource
from effectpairs.flows.footage.ingest import NormalizedClip, normalize_footage
from effectpairs.stages.normalise import Normalise, UnusableShot, fit_frame, fit_point
from effectpairs.stages.tracking.prompts import PromptPoint, SubjectPrompt
from effectpairs.tests.fixtures_videos import encode_video, sliding_clip, square_mask

HEIGHT, WIDTH = 48, 80
SUBJECTS = [
    {"points": {"0": [[12, 9]], "8": [[30, 20], [31, 21]]}, "not_points": {"8": [[70, 40]]}, "text": "camel"},
    {"boxes": {"3": [10, 8, 20, 16]}, "polygons": {"9": [[[10, 10], [40, 10], [40, 30]]]}, "masks": {"12": "key.png"}},
]


def written(folder, subjects):
    path = folder / "clip_prompts.json"
    path.write_text(json.dumps({"subjects": subjects}))
    return path


def test_a_file_names_several_subjects(tmp_path):
    first, second = read_prompts(written(tmp_path, SUBJECTS))
    assert first.points == {0: ((12, 9),), 8: ((30, 20), (31, 21))}
    assert (first.not_points, first.text) == ({8: ((70, 40),)}, "camel")
    assert second.boxes == {3: (10, 8, 20, 16)}
    assert second.masks == {12: tmp_path / "key.png"}
    assert second.frames == {3, 9, 12}


def test_each_subject_of_the_file_is_listed_with_its_files(tmp_path):
    encode_video(tmp_path / "clip.mp4", sliding_clip(13, HEIGHT, WIDTH))
    cv2.imwrite(str(tmp_path / "key.png"), square_mask(13, HEIGHT, WIDTH)[12])
    path = written(tmp_path, SUBJECTS)
    source = FootageSource(name="s", root=str(tmp_path), layout="videos", video="*.mp4", keys="{stem}_prompts.json")
    (footage,) = list_footage(source)
    assert [subject.prompts.text for subject in footage.subjects] == ["camel", ""]
    roles = dict(footage.files())
    assert (roles["prompts-0"], roles["prompts-1"]) == (path, tmp_path / "key.png"), "what decides the result is hashed"
    settings = Normalise(size=(HEIGHT, WIDTH), fps=24.0, max_frames=13)
    (clip,) = normalize_footage(footage, settings)
    (_, first), (_, second) = clip.prompts_with_others()
    assert first.points[8][2] == PromptPoint(x=70, y=40, is_subject=False)
    assert np.array_equal(second.keys[12], square_mask(13, HEIGHT, WIDTH)[12])
    assert second.keys[9][12, 35] == 255
    assert first.others[0].boxes == second.boxes
    assert second.others[0].text == "camel"


def test_a_prompt_survives_its_way_through_the_store():
    keys = {2: square_mask(1)[0], 4: square_mask(2)[1]}
    other = SubjectPrompt(keys={7: square_mask(3)[2]}, boxes={1: (1.5, 2, 3, 4)})
    prompt = SubjectPrompt(keys=keys, points={0: (PromptPoint(x=1.25, y=3, is_subject=False),)}, others=(other,))
    values = json.loads(json.dumps(prompt.to_json()))
    back = SubjectPrompt.from_json(values, [*keys.values(), *other.keys.values()])
    assert back.to_json() == prompt.to_json()
    assert all(np.array_equal(back.keys[frame], mask) for frame, mask in keys.items())
    assert np.array_equal(back.others[0].keys[7], other.keys[7])


@pytest.mark.parametrize("picture", [(48, 80), (90, 60), (101, 333)])
@pytest.mark.parametrize("size", [(48, 80), (64, 32), (32, 96)])
@pytest.mark.parametrize("fit", ["cover", "pad"])
def test_a_point_a_box_and_a_mask_go_where_the_picture_goes(tmp_path, picture, size, fit):
    """The mark is a blob in the picture; its place after the resize is where the prompts say it is."""
    height, width = picture
    y, x = height // 2 + 3, width // 2 - 4
    box = (x - 6, y - 5, 13, 11)
    image = np.zeros(picture, np.uint8)
    image[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = 255
    colour = np.repeat(np.repeat(image[None, ..., None], 5, 0), 3, -1)
    video = encode_video(tmp_path / "video.mp4", colour)
    corners = ((x - 6, y - 5), (x + 6, y - 5), (x + 6, y + 5), (x - 6, y + 5))  # a polygon's rim is filled too
    prompts = VideoPrompts(points={0: ((x, y),)}, boxes={2: box}, polygons={4: (corners,)})
    footage = Footage(name="clip", video=video, subjects=(SubjectFiles(prompts=prompts),))
    (clip,) = normalize_footage(footage, Normalise(size=size, fps=24.0, max_frames=5, fit=fit))
    ((_, prompt),) = clip.prompts
    blob = clip.gt[0, ..., 0] > 127
    rows, columns = np.nonzero(blob)
    (point,) = prompt.points[0]
    assert abs(point.x - columns.mean()) <= 0.6
    assert abs(point.y - rows.mean()) <= 0.6
    left, top, box_width, box_height = prompt.boxes[2]
    edges = (left, top, left + box_width, top + box_height)
    truth = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert np.abs(np.subtract(edges, truth)).max() <= 1
    key = prompt.keys[4] > 127
    assert np.count_nonzero(key & blob) / np.count_nonzero(key | blob) > 0.8


def test_a_turned_video_is_prompted_as_it_is_shown(tmp_path):
    """Points are pixels of the upright picture, whatever way the file stores it."""
    frames = np.zeros((5, 48, 80, 3), np.uint8)
    frames[:, 6:16, 60:74] = 255
    turned = encode_video(tmp_path / "turned.mp4", frames, turn=(90.0, False, False))
    whole = Footage(name="clip", video=turned)
    settings = Normalise(size=(80, 48), fps=24.0, max_frames=5)
    (clip,) = normalize_footage(whole, settings)
    rows, columns = np.nonzero(clip.gt[0, ..., 0] > 127)
    shown = (float(columns.mean()), float(rows.mean()))
    assert rows.mean() < 30, "turned upright, the mark is above"
    footage = Footage(name="clip", video=turned, subjects=(SubjectFiles(prompts=VideoPrompts(points={0: (shown,)})),))
    (prompted,) = normalize_footage(footage, Normalise(size=(160, 96), fps=24.0, max_frames=5))
    (point,) = prompted.prompts[0][1].points[0]
    assert prompted.gt[0, round(point.y), round(point.x), 0] > 127


def test_what_is_cropped_away_is_dropped():
    assert fit_point((0.5, 0.5), (48, 80), (48, 48)) == (-15.5, 0.5)
    assert fit_point((0.5, 0.5), (48, 80), (48, 112), "pad") == (16.5, 0.5)
    image = np.zeros((48, 80), np.uint8)
    image[0, 16] = 255
    assert fit_frame(image, (48, 48))[0, 0] == 255


def parts(tmp_path, prompts, settings):
    video = encode_video(tmp_path / "video.mp4", sliding_clip(13, HEIGHT, WIDTH))
    footage = Footage(name="clip", video=video, subjects=(SubjectFiles(prompts=prompts),))
    return list(normalize_footage(footage, settings))


def test_a_prompt_in_the_margin_that_is_cropped_is_a_reason(tmp_path):
    square = Normalise(size=(48, 48), fps=24.0, max_frames=13)
    (shot,) = parts(tmp_path, VideoPrompts(points={0: ((2, 2),)}), square)
    assert isinstance(shot, UnusableShot)
    assert "cropped away; set normalise.fit='pad'" in shot.reason
    (clip,) = parts(tmp_path, VideoPrompts(points={0: ((2, 2), (40, 20))}, not_points={0: ((78, 2),)}), square)
    assert clip.prompts[0][1].points == {0: (PromptPoint(x=24, y=20),)}, "what is left of it serves"
    (clip,) = parts(tmp_path, VideoPrompts(boxes={0: (-9, 0, 40, 20)}), square)
    assert clip.prompts[0][1].boxes == {0: (0, 0, 15, 20)}


def test_points_beside_the_subject_stay_with_a_box_alone(tmp_path):
    square = Normalise(size=(48, 48), fps=24.0, max_frames=13)
    prompts = VideoPrompts(boxes={0: (20, 10, 30, 20)}, not_points={0: ((60, 40),)}, points={6: ((40, 20),)})
    (clip,) = parts(tmp_path, prompts, square)
    assert clip.prompts[0][1].points[0] == (PromptPoint(x=44, y=40, is_subject=False),)
    prompts = VideoPrompts(boxes={0: (0, 10, 9, 9)}, not_points={0: ((60, 40),)}, points={6: ((40, 20),)})
    (clip,) = parts(tmp_path, prompts, square)
    assert clip.prompts[0][1].frames == (6,), "its box was cropped away"


def test_a_clip_without_a_prompt_says_where_one_may_be(tmp_path):
    short = Normalise(size=(HEIGHT, WIDTH), fps=24.0, max_frames=5, min_remainder_frames=5)
    first, second = parts(tmp_path, VideoPrompts(points={1: ((20, 20),)}), short)
    assert isinstance(first, NormalizedClip)
    assert second.reason == "no prompt lies in this clip; give a prompt between frames 5 and 9"
    assert [part.prompts[0][1].text for part in parts(tmp_path, VideoPrompts(text="camel"), short)] == ["camel"] * 2


@pytest.mark.parametrize(
    ("prompts", "sentence"),
    [
        ({"points": {13: ((1, 1),)}}, "frame 13 is not in the video, which has frames 0 to 12"),
        ({"points": {2: ((80, 9),)}}, "the point 80,9 of frame 2 lies outside the picture of 80x48"),
        ({"points": {2: ((9, 9),)}, "not_points": {2: ((9, -2),)}}, "the point 9,-2 of frame 2 lies outside"),
        ({"not_points": {2: ((9, 9),)}}, "frame 2 has points beside the subject alone; give one on it"),
        ({"boxes": {0: (80, 0, 9, 9)}}, "the box 80,0,9,9 of frame 0 lies outside the picture of 80x48"),
        ({"boxes": {0: (5, 5, 0, 9)}}, "the box 5,5,0,9 of frame 0 lies outside"),
        ({"points": {2: ((9, 9),)}, "polygons": {2: (((1, 1), (9, 1), (9, 9)),)}}, "has a mask, and points or a box"),
        ({"polygons": {2: (((900, 900), (950, 900), (950, 950)),)}}, "the mask of frame 2 is empty"),
    ],
)
def test_prompts_that_the_video_has_no_place_for(tmp_path, prompts, sentence):
    with pytest.raises(ValueError, match=r"video\.mp4: ") as caught:
        parts(tmp_path, VideoPrompts(**prompts), Normalise(size=(HEIGHT, WIDTH), fps=24.0, max_frames=13))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("subjects", "sentence"),
    [
        ([], "names no subject"),
        ({}, "names no subject"),
        ([{}], "subject 0 has no prompt; give points, boxes, polygons, masks or text"),
        ([{"text": " "}], "subject 0 has no prompt"),
        ([{"points": {"0": []}}], "subject 0: points of frame 0 is empty"),
        ([{"text": "camel"}, {"point": {"0": [[1, 2]]}}], "subject 1 has more than points, not_points"),
        ([{"points": {"first": [[1, 2]]}}], "its frames or coordinates are no numbers"),
        ([{"points": {"0": [[1, 2, 3]]}}], "[1.0, 2.0, 3.0] is not a point [x, y]"),
        ([{"points": {"0": [[1, 1e7]]}}], "is not a point"),
        ([{"boxes": {"0": [1, 2, 3]}}], "is not a box [x, y, width, height]"),
        ([{"polygons": {"0": [[[1, 2], [3, 4]]]}}], "a polygon has fewer than three points"),
        ([{"points": [1]}], "its frames or coordinates are no numbers"),
    ],
)
def test_files_of_another_form(tmp_path, subjects, sentence):
    path = written(tmp_path, subjects)
    with pytest.raises(ValueError, match=str(path)) as caught:
        read_prompts(path)
    assert sentence in str(caught.value)
    encode_video(tmp_path / "clip.mp4", sliding_clip(5, HEIGHT, WIDTH))
    source = FootageSource(name="s", root=str(tmp_path), layout="videos", video="*.mp4", keys="{stem}_prompts.json")
    (unusable,) = list_footage(source)
    assert sentence in unusable.reason, "the source goes on"
