"""Effects of any kind in captions: held-out captions that no rule was made from word for word, true ones and false."""

import numpy as np
import pytest
from effectpairs.captioning.checks.validators import check_caption, check_refinement, check_variant
from effectpairs.captioning.language.effect_mentions import named_effects, plain_effects
from effectpairs.captioning.language.inflection import effect_phrase, is_plural_effect
from effectpairs.captioning.language.vocabulary import effect_word, words_for
from effectpairs.captioning.rule_based.augment import restyle

NAMED = [
    ("A rally car slides through a bend and kicks up mud behind its wheels.", "mud"),
    ("Mud splatters over the legs of a cyclist who rides through the forest.", "mud"),
    ("A tractor churns up thick brown mud as it climbs the bank.", "mud"),
    ("A quad bike races past, throwing clods of wet mud against the fence.", "mud"),
    ("A boy walks away over the dune, leaving a trail of footprints in the snow.", "footprints"),
    ("Pawprints appear behind a fox that crosses the fresh snow.", "footprints"),
    ("Sparks fly from the grinder as a man cuts a steel beam.", "sparks"),
    ("A welder bends over the hull, showers of bright sparks raining down.", "sparks"),
    ("Autumn leaves swirl around a girl who runs along the path.", "leaves"),
    ("A dog dashes through the park, kicking up dry leaves.", "leaves"),
    ("A street sweeper drives a cloud of leaves across the square.", "leaves"),
    ("A skier carves down the slope, throwing up a plume of fine snow.", "snow"),
    ("A snowmobile sends snow flying as it turns.", "snow"),
    ("A spray of snow bursts from the skis of a racer.", "snow"),
    ("A sled glides downhill with powdery snow billowing behind it.", "snow"),
    ("Thick fog rolls around a ferry that glides across the bay.", "fog"),
    ("A rowing boat slips away through dense fog.", "fog"),
    ("A dragster spits flames from its exhaust pipes.", "fire"),
    ("A torch bearer runs past, fire flickering above her hand.", "fire"),
    ("A digger swings its arm, scattering debris over the yard.", "debris"),
    ("A wall collapses beside a truck, shards flying in all directions.", "debris"),
    ("A dog runs through a meadow, sending up clouds of pollen.", "pollen"),
    ("A hen hurries across the yard and kicks up straw.", "straw"),
    ("A man scatters confetti over the street.", "confetti"),
    ("A horse gallops along the beach, kicking up sand.", "sand"),
    ("A girl jumps into the pool, throwing up water.", "splash"),
    ("A bus drives past, whirling up fallen leaves and dust.", "dust leaves"),
    ("A truck passes, throwing mud and spray against the lens.", "spray mud"),
]
SCENERY = [
    ("A boat leaves the harbour, trailing a foamy wake.", "wake"),
    ("A boat leaves swirling ripples on the lake.", "ripple"),
    ("A husky trots over deep snow, casting a long shadow.", "shadow"),
    ("A walker in the mud casts a soft shadow to her left.", "shadow"),
    ("A red fire truck casts a long shadow on the road.", "shadow"),
    ("The fog lights of a car cast yellow light on the road.", "light"),
    ("A lorry crosses a muddy track, its shadow gliding along.", "shadow"),
    ("A swan drifts past dry leaves, its reflection beneath it.", "reflection"),
    ("A car leaves the garage.", ""),
    ("A wheel turns in the mud.", ""),
    ("A man kicks up his heels.", ""),
    ("A child stands in the snow.", ""),
]


@pytest.mark.parametrize(("caption", "effects"), NAMED + SCENERY)
def test_an_effect_is_told_from_scenery(caption, effects):
    assert sorted(named_effects(caption)) == sorted(effects.split())


@pytest.mark.parametrize(("caption", "effects"), NAMED)
def test_a_true_caption_passes_and_one_of_another_effect_does_not(caption, effects):
    assert check_caption(caption, max_words=25, effects=effects.split()) == ()
    objections = " ".join(check_caption(caption, max_words=25, effects=["reflection"]))
    assert "does not name what is there: reflection" in objections


@pytest.mark.parametrize(
    ("original", "good", "swapped"),
    [
        ("A truck crosses a field, kicking up thick mud.", "kicking up sparse grey mud", "kicking up thick dust"),
        ("A truck crosses a field, kicking up thick mud.", "throwing up wet brown mud", "throwing up a tall splash"),
        (
            "A skier turns, throwing up a plume of snow.",
            "throwing up a wide plume of fine snow",
            "trailing white smoke",
        ),
        ("A skier turns, throwing up a plume of snow.", "kicking up heavy wet snow", "throwing up a plume of spray"),
        ("A wheel grinds, throwing off bright sparks.", "throwing off faint red sparks", "giving off dark smoke"),
        ("A dog runs past, kicking up dry leaves.", "kicking up wet golden leaves", "kicking up brown dust"),
        ("A boy walks by, leaving deep footprints.", "leaving faint, blurred footprints", "casting a faint shadow"),
        ("A ferry glides by, stirring thin fog.", "stirring dense, rolling grey fog", "trailing dense grey smoke"),
        ("A car turns over, scattering fine debris.", "scattering coarse grey debris", "scattering bright sparks"),
        ("A torch sways, throwing out tall fire.", "throwing out low blue flames", "giving off black smoke"),
        ("A dog runs by, kicking up thin pollen.", "kicking up dense yellow pollen", "kicking up dense confetti"),
        ("A car slides by, kicking up pale dust.", "kicking up dense brown dust", "kicking up dense brown smoke"),
        ("A duck lands, throwing up a tall splash.", "throwing up a wide, foamy splash", "throwing up dense spray"),
    ],
)
def test_an_augmentation_keeps_its_effect(original, good, swapped):
    head = original.split(",")[0]
    assert check_variant(f"{head}, {good}.", original) == ()
    assert any("no longer names" in text for text in check_variant(f"{head}, {swapped}.", original))


@pytest.mark.parametrize("caption", [caption for caption, effects in NAMED if len(effects.split()) == 1])
def test_the_rules_restyle_any_effect(caption):
    variants = restyle(caption, (), count=3, rng=np.random.default_rng(3))
    assert len(set(variants)) == 3, variants
    for variant in variants:
        assert named_effects(variant) == named_effects(caption), variant


def test_a_variant_of_a_caption_without_an_effect_adds_none():
    objections = check_variant("A dog sits on a step in dense smoke.", "A dog sits on a step in the sun.")
    assert any("It adds smoke" in text for text in objections)


@pytest.mark.parametrize(
    ("description", "caption", "objection"),
    [
        ("A car drives over wet sand. Snow and mud lie about.", "A car drives by, kicking up mud.", None),
        ("A car drives by. Spray rises from its wheels.", "A car drives by, trailing black smoke.", "names smoke"),
        ("A car drives by. Spray rises from its wheels.", "A car drives by, throwing up a splash.", None),
        ("A car drives by under a grey sky.", "A car drives by, trailing black smoke.", None),
    ],
)
def test_a_caption_keeps_to_the_effects_of_its_description(description, caption, objection):
    found = " ".join(check_refinement(caption, description))
    assert (objection in found) if objection else found == ""


def test_a_word_out_of_the_vocabulary_is_marked():
    assert plain_effects(["shadow", "other: Pollen", "Other:  soap bubbles", "mud"]) == (
        "shadow", "pollen", "soap bubbles", "mud",
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"'shadwo' is not in the vocabulary .*write 'other: shadwo' where"):
        plain_effects(["shadwo"])
    for text in ("other:", "other: a|b", "other: <b>", "other: " + "x" * 60):
        with pytest.raises(ValueError, match="names no effect; give one noun"):
            effect_word(text)


def test_any_word_has_a_grammar():
    assert words_for("mud") is words_for("mud")
    assert (is_plural_effect("soap bubbles"), is_plural_effect("pollen"), is_plural_effect("moss")) == (
        True,
        False,
        False,
    )
    assert effect_phrase("soap bubbles", ("faint",)) == "faint soap bubbles"
    assert effect_phrase("sparks", ("fine", "orange")) == "fine orange sparks"
