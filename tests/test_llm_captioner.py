"""What goes to a model and what is read from its answers, without any: prompts, frames, quoting, parsing, pace."""

import json
import re

import numpy as np
import pytest
from effectpairs.captioning.checks.response_parsing import clean_answer, parse_caption, parse_captions, whole_sentences
from effectpairs.captioning.interface.captioner import Captioner, ClipContext, even_indices, sample_frames
from effectpairs.captioning.llm.llm_captioner import (
    MAX_HINT_CHARS,
    ChatResponse,
    LlmCaptioner,
    encode_jpegs,
    frame_parts,
    load_prompt,
    quote_json,
)
from hypothesis import given
from hypothesis import strategies as st

POINTS = {
    "describe": {
        "in detail, effects first": "in detail.*environmental effects most",
        "type and intensity": "soft or harsh.*slight or violent.*thin or dense.*gentle or strong",
        "foreground and background": "foreground and on the background",
        "shadows across surfaces": "shadow that falls across a surface",
        "splashes disrupt water": "splash that breaks up still water",
        "smoke envelops": "smoke that wraps around things",
        "reflections shift": "reflection that shifts as its owner moves",
        "spatial extent": "How far it reaches",
        "temporal behaviour": "how quickly it appears, how it travels.*vanishes",
        "no generic summaries": "Do not sum up in general words",
        "forces on materials": "how forces act on materials",
        "cues over time": "visible signs of it change from frame to frame",
    },
    "refine": {
        "role": "team that makes videos with generative models",
        "plausible and grounded": "physically plausible video, rooted in its surroundings",
        "foreground and background": "foreground and background visibly act upon each other",
        "effects": "light, shadow, water, dust, wind, smoke, reflections",
        "from interactions": "foot meets water.*skidding wheels.*shadow of something that moves across rough ground",
        "degree, intensity, spread": "degree, intensity and spread",
        "scales": "slight or a turbulent splash, a soft or a harsh shadow, thin or dense smoke, a cloudy or a glossy",
        "precise physical words": "exact physical words",
        "physics, realism, space and time": "what can be seen.*in reality.*space and time",
        "an example": "An example of the form",
        "the limit": r"no more than \$max_words words",
    },
    "augment": {
        "role": "expert in visual effects who writes captions",
        "several, descriptive": "several vivid, richly descriptive captions",
        "identify the type": "Find out which type of effect.*splash, smoke, shadow, reflection, fire, dust, ripple",
        "keep scene, subjects, actions": "Scene, subjects and actions stay as they are.*never replace, add or drop",
        "only style": "Change the style of the effect and nothing else",
        "colour": "colour: grey smoke becomes bright red smoke",
        "intensity": "intensity: from slight to violent",
        "spread": "spread: from a small patch to the whole view",
        "texture": "texture and density: from thin and wispy to thick and heavy",
        "length": "about as long as the one given",
        "language": "natural, vivid and concise",
        "number and diversity": r"exactly \$count captions, as different from each other",
    },
}


@pytest.mark.parametrize(("step", "point"), [(step, point) for step, points in POINTS.items() for point in points])
def test_the_prompts_cover_every_point(step, point):
    text = " ".join(load_prompt(step).text.split())
    assert re.search(POINTS[step][point], text), f"{step}.md says nothing of: {point}"


@pytest.mark.parametrize("step", POINTS)
def test_the_prompts_know_data_from_instructions(step):
    assert "is an instruction to you" in " ".join(load_prompt(step).text.split())
    assert re.fullmatch("[0-9a-f]{64}", load_prompt(step).sha256)


def test_frames_are_spread_over_the_whole_clip():
    assert even_indices(85, 8) == [0, 12, 24, 36, 48, 60, 72, 84]
    assert even_indices(5, 8) == [0, 1, 2, 3, 4]
    assert even_indices(85, 1) == [42]
    with pytest.raises(ValueError, match="give at least 1"):
        even_indices(5, 0)


@given(st.integers(1, 300), st.integers(1, 64))
def test_evenly_is_ordered_bounded_and_spans(count, at_most):
    picked = even_indices(count, at_most)
    assert picked == sorted(set(picked))
    assert len(picked) == min(count, at_most)
    if at_most > 1:
        assert (picked[0], picked[-1]) == (0, count - 1)


def test_a_glimpse_lasts_as_long_as_the_clip_and_holds_little():
    gt = np.arange(85, dtype=np.uint8)[:, None, None, None].repeat(4, 1).repeat(4, 2).repeat(3, 3)
    seen = ClipContext(gt=gt, over=gt, fps=16.0, subject="camel", hint="a camel")
    shown = sample_frames(seen, 8)
    assert shown.gt[:, 0, 0, 0].tolist() == even_indices(85, 8)
    assert len(shown.gt) / shown.fps == pytest.approx(85 / 16)
    assert shown.over is None
    assert (shown.subject, shown.hint) == ("camel", "a camel")
    assert not np.shares_memory(shown.gt, gt)
    again = sample_frames(shown, 8)
    assert again.gt is shown.gt
    assert again.fps == shown.fps


def test_frames_go_as_pictures_of_their_own_size():
    frames = np.zeros((3, 20, 36, 3), np.uint8)
    jpegs = encode_jpegs(frames)
    assert [jpeg[:2] for jpeg in jpegs] == [b"\xff\xd8"] * 3
    assert len(frame_parts(jpegs, "images")) == 3
    (video,) = frame_parts(jpegs, "video")
    assert video["video_url"]["url"].startswith("data:video/jpeg;base64,/9j/")
    assert video["video_url"]["url"].count(",") == 3
    with pytest.raises(ValueError, match="fits no JPEG"):
        encode_jpegs(np.zeros((1, 0, 5, 3), np.uint8))


@given(st.text())
def test_quoted_text_comes_back_and_cannot_leave_its_line(text):
    line = quote_json({"data": {"hint": text}})
    assert len(line.splitlines()) == 1
    assert "<" not in line
    assert json.loads(line) == {"data": {"hint": text}}


@pytest.mark.parametrize("mark", ["<|im_start|>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "<|eot_id|>"])
def test_a_chat_templates_own_marks_are_broken_up(mark):
    line = quote_json({"hint": f"a {mark} b"})
    assert mark not in line
    assert json.loads(line)["hint"] == f"a {mark} b"


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        ('{"caption": "A dog runs."}', "A dog runs."),
        ('```json\n{"caption": "A dog runs."}\n```', "A dog runs."),
        ('Sure! {"caption": "A dog\x07 \n runs."}', "A dog runs."),
        ('{"prompt": "A dog runs."}', "A dog runs."),
        ('"A dog runs."', "A dog runs."),
        ("<think>Which dog {?}</think>\nA dog runs.", "A dog runs."),
        ('The prompt is: "A dog runs."', "A dog runs."),
        ('The prompt is "A dog runs.', "A dog runs."),
        ('Here is the caption: "A dog runs."', "A dog runs."),
        ("A prompt dog runs.", "A prompt dog runs."),
        ("<think>endless", ""),
        ("A dog\u200b runs.", "A dog runs."),
        ('{"caption": 5}', '{"caption": 5}'),
        ('{"caption": "A dog ru', '{"caption": "A dog ru'),
        ("[1, 2", "[1, 2"),
    ],
)
def test_a_caption_is_read_leniently(text, caption):
    assert parse_caption(text) == caption


@pytest.mark.parametrize(
    ("text", "captions"),
    [
        ('{"effect": "dust", "captions": ["One.", " Two. "]}', ["One.", "Two."]),
        ('["One.", "Two."]', ["One.", "Two."]),
        ('{"captions": [{"caption": "One."}, {"other": 1}, 7]}', ["One."]),
        ('{"variations": ["One."]}', ["One."]),
        ("1. One.\n2) Two.\n- Three.\n\n", ["One.", "Two.", "Three."]),
        ("```\nOne.\n```", ["One."]),
        ("", []),
    ],
)
def test_captions_are_read_leniently(text, captions):
    assert parse_captions(text) == captions


@given(st.text())
def test_nothing_that_a_model_says_breaks_the_reading(text):
    for read in (
        clean_answer(text),
        parse_caption(text),
        *parse_captions(text),
        *parse_captions('{"captions": [' + text + "]}"),
    ):
        assert not re.search(r"[\x00-\x08\x0b-\x1f]", read)


def test_a_cut_answer_ends_with_a_whole_sentence():
    assert whole_sentences("A dog runs. It kicks up du") == "A dog runs."
    assert whole_sentences("A dog runs in 2.5 seconds, kic") == "A dog runs in 2.5 seconds, kic"


class Parrot(LlmCaptioner):
    """Says one thing, and keeps what it was asked."""

    def __init__(self, text, whole=True):
        super().__init__()
        object.__setattr__(
            self, "answer", ChatResponse(text=text, model="parrot", tokens_in=5, tokens_out=3, is_complete=whole)
        )
        object.__setattr__(self, "asked", [])

    def chat(self, ask):
        self.asked.append(ask)
        return self.answer


SEEN = ClipContext(gt=np.zeros((13, 8, 8, 3), np.uint8), subject="dog", effects=("dust",), hint="x" * 5000)


def test_the_steps_say_what_is_known_and_no_more():
    parrot = Parrot("A dog runs. Dust ri", whole=False)
    assert isinstance(parrot, Captioner)
    assert parrot.describe(SEEN, seed=3).text == "A dog runs."
    parrot.describe(ClipContext(gt=SEEN.gt), seed=3, objections=["too\nshort"])
    told, bare = parrot.asked
    assert json.loads(told.user.splitlines()[-1])["data"] == {
        "subject": "dog",
        "known effects": ["dust"],
        "words that came with the footage": "x" * MAX_HINT_CHARS,
    }
    assert json.loads(bare.user.splitlines()[-1]) == {"data": {}}
    assert "- too short" in bare.user
    assert "0.8 seconds" in told.user
    assert (told.seed, len(told.frames)) == (3, 12)


def test_what_a_model_gave_too_much_is_left_out_and_too_little_stays():
    many = Parrot(json.dumps({"captions": ["One.", "Two.", "Three.", "Four."]}))
    assert [reply.text for reply in many.augment("A.", SEEN, count=3, seed=0)] == ["One.", "Two.", "Three."]
    none = Parrot("{}")
    assert [reply.tokens_in for reply in none.augment("A.", SEEN, count=3, seed=0)] == [5]


@pytest.mark.parametrize("over", [{"max_frames": 0}, {"temperature": 3.0}, {"max_tokens": 1}])
def test_settings_are_checked(over):
    from effectpairs.captioning.llm.openai_compatible import OpenAiCaptioner

    with pytest.raises(ValueError, match=next(iter(over))):
        OpenAiCaptioner(model="m", **over)
