"""A real language model of 135 million weights behind a real server: poor answers, and machinery that holds.

Opt-in: EFFECTPAIRS_SMALL_MODEL names a folder that `tests/fixtures_small_language_model.py` made.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from effectpairs.captioning.checks.validators import check_caption, check_variant
from effectpairs.captioning.interface.captioner import ClipContext
from effectpairs.captioning.llm.openai_compatible import OpenAiCaptioner
from effectpairs.captioning.pipeline import CaptionSettings, augment_caption, refine_description

VARIABLE = "EFFECTPAIRS_SMALL_MODEL"
FOLDER = os.environ.get(VARIABLE, "")
MAKER = "tests/fixtures_small_language_model.py"
pytestmark = [
    pytest.mark.models,
    pytest.mark.skipif(not FOLDER, reason=f"set {VARIABLE} to a model's folder; {MAKER} makes one"),
]
DESCRIBED = (
    ("car", "dust", "A car drives along a dry track from left to right. Behind its wheels a low, pale cloud of dust "
     "rises, spreads to both sides and thins out within a second."),
    ("boat", "wake", "A boat crosses a calm bay. Behind its stern a narrow, foamy wake opens and slowly fades away."),
    ("dog", "shadow", "A dog walks over grass. A soft, dark shadow lies below it, to the right, and moves along."),
)  # fmt: skip


@pytest.fixture(scope="module")
def captioner():
    program = [sys.executable, str(Path(__file__).with_name("fixtures_model_server.py")), FOLDER]
    server = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield OpenAiCaptioner(
        model="SmolLM2-135M-Instruct", base_url=server.stdout.readline().strip(), max_tokens=120, max_concurrency=1
    )
    server.stdin.close()
    server.wait(30)


@pytest.mark.parametrize(("subject", "effect", "description"), DESCRIBED)
def test_what_comes_out_is_valid_or_the_grammars(captioner, subject, effect, description):
    facts = {}
    seen = ClipContext(gt=np.full((5, 32, 48, 3), 90, np.uint8), subject=subject, effects=(effect,), facts=facts)
    wanted = CaptionSettings(max_words=30, variants=2, max_attempts=2)
    short = refine_description(captioner, description, seen, wanted)
    original = description.split(". ")[-1]
    styles = augment_caption(captioner, original, seen, wanted)
    for name, found in (("refine", short), ("augment", styles)):
        print(f"\n{subject}, {name}: {found.verdict}, {found.filled} filled, {len(found.attempts)} attempts")
        for attempt in found.attempts:
            for reply in attempt.replies:
                print(f"  said ({reply.tokens_in} in, {reply.tokens_out} out): {reply.text[:160]!r}")
            print(f"    objections: {attempt.objections}")
        print("  kept:", [reply.text for reply in found.replies])
    for reply in short.replies:
        assert not check_caption(reply.text, max_words=30, effects=(effect,), subject=subject)
    for reply in styles.replies:
        assert not check_variant(reply.text, original, effects=(effect,))
    for found, count in ((short, 1), (styles, 2)):
        assert found.attempts
        assert all(reply.model for attempt in found.attempts for reply in attempt.replies)
        assert found.verdict == ("ok" if len(found.replies) == count else "review")
        if found.attempts[-1].objections:
            assert found.filled or found.verdict == "review"
