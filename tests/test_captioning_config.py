"""Captioners as settings: presets, a model for each step, keys that are wrong."""

import numpy as np
import pytest
from effectpairs.captioning.config import (
    AnyCaptioner,
    PerStepCaptioner,
    PresetCaptioner,
    captioner_for_step,
    load_preset,
)
from effectpairs.captioning.interface.captioner import Captioner, ClipContext
from effectpairs.captioning.llm.openai_compatible import OpenAiCaptioner
from effectpairs.captioning.llm.vllm_server import VllmCaptioner
from effectpairs.captioning.rule_based.captioner import RuleBasedCaptioner
from effectpairs.tests.fixtures_llm_server import MODEL, StubServer, sensible
from pydantic import TypeAdapter, ValidationError


def test_the_presets_are_what_their_names_say():
    paper, default = load_preset("paper"), load_preset("default")
    assert isinstance(captioner_for_step(PresetCaptioner(kind="paper"), "describe"), Captioner)
    assert captioner_for_step(PresetCaptioner(kind="paper"), "augment") == paper.augment_by
    assert isinstance(paper.describe_by, VllmCaptioner)
    assert (paper.describe_by.model, paper.refine_by.model) == (
        "openbmb/MiniCPM-V-2_6",
        "meta-llama/Llama-3.1-8B-Instruct",
    )
    assert isinstance(paper.augment_by, OpenAiCaptioner)
    assert paper.augment_by.api_key_env == "OPENAI_API_KEY"
    assert default.describe_by.model == "openbmb/MiniCPM-V-4.6"
    assert default.refine_by.model == paper.refine_by.model
    with pytest.raises(ValueError, match="choose one of default, paper"):
        load_preset("nonesuch")


def test_settings_choose_by_kind_and_refuse_what_they_do_not_know():
    made = TypeAdapter(AnyCaptioner).validate_python({"kind": "openai", "model": "m", "max_frames": 4})
    assert made == OpenAiCaptioner(model="m", max_frames=4)
    assert TypeAdapter(AnyCaptioner).validate_python({"kind": "paper"}) == PresetCaptioner(kind="paper")
    for wrong in ({"kind": "openai", "model": "m", "api_key": "sk-1"}, {"kind": "nobody"}, {"kind": "openai"}):
        with pytest.raises(ValidationError):
            TypeAdapter(AnyCaptioner).validate_python(wrong)


def test_each_step_by_another():
    seen = ClipContext(gt=np.zeros((5, 32, 48, 3), np.uint8), subject="car", effects=("dust",))
    with StubServer(sensible) as server:
        asked = OpenAiCaptioner(model=MODEL, base_url=server.base_url)
        captioner = PerStepCaptioner(describe_by=RuleBasedCaptioner(), refine_by=asked, augment_by=asked)
        assert captioner_for_step(captioner, "describe").describe(seen, seed=0).model != MODEL
        assert captioner_for_step(captioner, "refine").refine("Dust.", seen, max_words=20, seed=0).model == MODEL
        augment = captioner_for_step(captioner, "augment").augment
        assert len(augment("A car drives past, raising dust.", seen, count=3, seed=0)) == 3
