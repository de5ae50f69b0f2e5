"""Asking: again with the reasons, at most so often; then the grammar, or a person."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from effectpairs.captioning.checks.validators import check_caption
from effectpairs.captioning.interface.captioner import Captioner, ClipContext, Reply
from effectpairs.captioning.pipeline import CaptionSettings, augment_caption, describe_clip, refine_description
from effectpairs.captioning.rule_based.captioner import MODEL

GOOD = "A dog trots over the sand, casting a soft shadow to its left."
FRAMES = np.zeros((5, 16, 16, 3), np.uint8)
SEEN = ClipContext(gt=FRAMES, effects=("shadow",), subject="dog", facts={"motion": "walk", "effects": {"shadow": {}}})


def reply(text: str) -> Reply:
    return Reply(text=text, model="stub", revision="7", prompt_sha256="ab", tokens_in=10, tokens_out=3)


@dataclass
class Script:
    """A captioner that says what it is told to, and remembers what it was asked."""

    answers: list
    asked: list = field(default_factory=list)

    def _next(self, *about):
        self.asked.append(about)
        return self.answers.pop(0)

    def describe(self, seen, *, seed, objections=()):
        return reply(self._next(seed, objections))

    def refine(self, description, seen, *, max_words, seed, objections=()):
        return reply(self._next(seed, objections))

    def augment(self, caption, seen, *, count, seed, objections=()):
        return tuple(reply(text) for text in self._next(count, seed, objections))


def test_a_good_answer_is_asked_for_once():
    script = Script([GOOD])
    assert isinstance(script, Captioner)
    found = refine_description(script, "a description", SEEN)
    assert (found.reply.text, found.verdict, found.filled, len(found.attempts)) == (GOOD, "ok", 0, 1)
    assert script.asked == [(0, ())]


def test_a_bad_answer_is_asked_again_with_the_reason_and_another_seed():
    script = Script(["I cannot help with that.", "A dog trots over the sand, trailing smoke.", GOOD])
    found = refine_description(script, "a description", SEEN, seed=4)
    assert found.reply.text == GOOD
    assert [seed for seed, _ in script.asked] == [4, 5, 6]
    assert "refuses" in script.asked[1][1][0]
    assert "not name what is there: shadow" in " ".join(script.asked[2][1])


def test_after_three_tries_the_grammar_answers_and_that_is_said():
    script = Script(["", "<html>502</html>", "x" * 100_000])
    found = refine_description(script, "a description", SEEN)
    assert len(found.attempts) == 3
    assert found.filled == 1
    assert found.verdict == "ok"
    assert found.reply.model.startswith("measured")
    assert check_caption(found.reply.text, max_words=30, effects=["shadow"], subject="dog") == ()
    kept = found.as_record()
    assert [attempt["replies"][0]["model"] for attempt in kept["attempts"]] == ["stub"] * 3
    assert kept["attempts"][0]["replies"][0] | {"text": ""} == reply("").__dict__
    assert len(kept["attempts"][2]["replies"][0]["text"]) == 2000


def test_where_the_grammar_knows_nothing_somebody_is_to_look():
    unknown = ClipContext(gt=FRAMES)
    found = refine_description(Script(["", "", ""]), "a description", unknown)
    assert (found.reply, found.replies, found.verdict) == (None, (), "review")
    assert found.attempts[-1].objections == ("It is empty; answer with the caption.",)


def test_without_filling_a_bad_model_leads_to_review():
    found = describe_clip(Script(["no", "no", "no"]), SEEN, CaptionSettings(fallback_to_rules=False))
    assert (found.reply, found.verdict) == (None, "review")


def test_good_variants_are_kept_and_only_the_missing_ones_asked_for():
    first = "A dog trots over the sand, casting a long, deep shadow to its left."
    second = "A dog trots over the sand, casting a faint, blurred shadow to its left."
    third = "A dog trots over the sand, casting a small, crisp, bluish shadow to its left."
    script = Script([[first, GOOD, "A cat sleeps under a tree, casting a faint shadow."], [second], [third]])
    found = augment_caption(script, GOOD, SEEN)
    assert [one.text for one in found.replies] == [first, second, third]
    assert [count for count, _, _ in script.asked] == [3, 2, 1]
    assert "same as the original" in " ".join(script.asked[1][2])
    assert "more are wanted" in " ".join(script.asked[2][2])


def test_missing_variants_are_filled_from_the_grammar():
    script = Script([["{}"], [], ["A dog trots over the sand, casting a long, deep shadow to its left."]])
    found = augment_caption(script, GOOD, SEEN)
    assert (len(found.replies), found.filled, found.verdict) == (3, 2, "ok")
    assert [one.model for one in found.replies] == ["stub", MODEL, MODEL]
    assert len({one.text for one in found.replies}) == 3


class Unavailable(RuntimeError):
    pass


def test_what_a_backend_raises_passes_through_untouched():
    problem = Unavailable("http://localhost:1: nobody answers; start the server")

    class Down(Script):
        def describe(self, seen, *, seed, objections=()):
            raise problem

    with pytest.raises(Unavailable) as raised:
        describe_clip(Down([]), SEEN)
    assert raised.value is problem


def test_asking_never_or_for_nothing_is_refused():
    with pytest.raises(ValueError, match="must be 1 or more"):
        augment_caption(Script([]), GOOD, SEEN, CaptionSettings(variants=0))
    with pytest.raises(ValueError, match="max_attempts=0"):
        CaptionSettings(max_attempts=0)
