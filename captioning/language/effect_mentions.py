"""Effects that a caption names: by words that mean nothing else, by scenery that is thrown up, by any noun so thrown.

Snow, mud, leaves and fog are grounds and weather until something moves them, so their words count where a verb or a
container carries them ("kicks up mud", "a plume of snow") or where they move by themselves ("autumn leaves swirl").
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from .inflection import participle, stem, third_person, tokenize
from .vocabulary import (
    CONTAINERS,
    DETERMINERS,
    EFFECTS,
    MODEL_ADJECTIVES,
    OTHER,
    all_adjectives,
    effect_word,
    terms,
    words_for,
)

STOP_WORDS = frozenset(
    terms(
        "a an the and or of in on at to by as it its is are with while from into over under behind below beneath above "
        "around through across that which their his her he she them him along for be then this these"
    )
)
"""Words of grammar, which say nothing about the scene."""


def _forms(verbs: str, irregular: str = "") -> frozenset[str]:
    bases = terms(verbs)
    return frozenset((*bases, *map(third_person, bases), *map(participle, bases), *terms(irregular)))


THROWING = _forms(
    "kick throw stir send churn whip fling toss scatter spray splatter spatter hurl flick spit spew raise lift blow "
    "launch shower eject dislodge fan whirl",
    "threw thrown flung sent spat blew blown kicked stirred churned whipped tossed scattered sprayed whipping",
)
"""Verbs by which something is set in motion."""
LIFTING = _forms(
    "kick throw stir send churn whip fling toss blow whirl", "threw sent flung kicked stirred churned whipping"
)
"""Verbs that with "up" or "off" make any noun an effect: "kicks up pollen"."""
SHOWING = _forms("spew emit scatter")
"""Verbs that do so alone."""
PARTICLES = frozenset(terms("up off out aside away"))
FLYING = _forms(
    "fly swirl scatter whirl billow spray splatter spatter burst drift erupt shoot tumble hang flutter dance spin "
    "explode splash fall rise rain fan arc swarm curl roll blow settle follow accompany",
    "flew hung fell rose spun shot swirled scattered drifted",
)
"""Verbs of what moves by itself."""
CARRIERS = frozenset(
    terms("cloud clouds plume plumes puff puffs shower showers spray flurry flurries swirl trail trails")
)
"""Containers that make any noun an effect: "a trail of pollen"."""
BODY = frozenset(terms("arm arms hand hands leg legs heel heels foot feet head tail wing wings board ball kite birds"))
"""Nouns that are thrown up and are no effect."""
SEASONAL = frozenset(terms("autumn fallen dead maple oak birch loose fresh more wet dry deep"))
"""Words before leaves, snow and mud that are no adjectives of theirs."""
COMPOUNDS = {
    "fire": terms("truck trucks engine engines hydrant station fighter fighters brigade escape department pit"),
    "fog": terms("lamp lamps light lights horn"), "spark": terms("plug plugs"), "dust": terms("jacket bin"),
    "shadow": ("box",), "smoke": terms("alarm detector"),
}  # fmt: skip
"""Words behind an effect's name that make it part of another thing's."""
COMMA = "comma"
"""Token of a comma, which parts adjectives and ends a noun."""
SAME_AS = {"water": "splash", "foam": "splash", "stones": "debris", "rocks": "debris", "pebbles": "debris"}
"""Effects that a noun stands for once it is thrown up."""
QUALIFIED_BY_LIGHT = frozenset(
    {name for words in EFFECTS.values() for name in (*words.names, *words.scenery)}
    | all_adjectives()
    | {"grey", "gray", *CONTAINERS}
)
"""Words before which "light" is a quality and names no effect."""
QUALIFIERS = all_adjectives() | MODEL_ADJECTIVES | DETERMINERS | SEASONAL | {"and"}
NAMES = {
    name: frozenset(effect for effect, words in EFFECTS.items() if name in words.names)
    for name in {name for words in EFFECTS.values() for name in words.names}
}
"""Effects that each name may stand for."""
SURE = frozenset(name for words in EFFECTS.values() for name in words.names[:2])
SCENERY = {name: effect for effect, words in EFFECTS.items() for name in words.scenery}
"""Effect of each word that names it only in motion."""
WATER = frozenset(("splash", "spray"))
BEFORE_LEAVES = QUALIFIERS | PARTICLES | THROWING | set(SCENERY) | {"", "of"}
AFTER_LEAVES = (STOP_WORDS | FLYING | {""}) - DETERMINERS - {"behind"}
"""Words around leaves of trees; between others it is the verb: "leaves a wake", "and leaves footprints"."""


class Mention(NamedTuple):
    """A word of a caption that names an effect, or may."""

    word: str
    effects: frozenset[str]
    """Effects that it may stand for."""
    is_certain: bool
    """Whether it means nothing else here."""


@lru_cache(maxsize=4096)
def effect_mentions(text: str) -> tuple[Mention, ...]:
    """Return the words of a text that name an effect of the vocabulary, or may, in the order of reading."""
    tokens = tokenize(text)
    mentions = []
    for index, token in enumerate(tokens):
        after = tokens[index + 1 : index + 2]
        is_quality = token in ("light", "lights") and not QUALIFIED_BY_LIGHT.isdisjoint(after)
        if is_quality or not set(COMPOUNDS.get(token, ())).isdisjoint(after) or _is_container(tokens, index):
            continue
        if token in SCENERY and _is_in_motion(tokens, index):
            mentions.append(Mention(token, frozenset({SCENERY[token]}), True))
            continue
        if effects := NAMES.get(token):
            mentions.append(Mention(token, effects, token in SURE))
    return tuple(mentions)


def effect_words(text: str, expected: Iterable[str] = ()) -> dict[str, frozenset[str]]:
    """Return every word that may name an effect, with the effects it may stand for.

    Args:
        text: a caption.
        expected: effects that are there: their words count wherever they stand, also one that is in no vocabulary.
    """
    words: dict[str, frozenset[str]] = {}
    for mention in effect_mentions(text):
        words[mention.word] = words.get(mention.word, frozenset()) | mention.effects
    for effect in expected:
        nouns = EFFECTS[effect].scenery if effect in EFFECTS else words_for(effect).noun.split()[-1:]
        stems = {stem(noun) for noun in nouns}
        words |= {token: frozenset({effect}) for token in tokenize(text) if stem(token) in stems}
    return words


def named_effects(text: str) -> tuple[str, ...]:
    """Return the effects that a caption names, in the vocabulary's order.

    A word that may stand for several counts only where no other word names an effect, and then for the first of them.
    Where no word of the vocabulary does, any noun that something throws up is an effect: "kicks up pollen".
    """
    mentions = effect_mentions(text)
    effects: set[str] = set()
    for mention in mentions:
        if mention.is_certain:
            own = {effect for effect in mention.effects if mention.word in EFFECTS[effect].names[:2]}
            effects |= own or mention.effects
    if not effects:
        effects = {min(mention.effects, key=list(EFFECTS).index) for mention in mentions}
    if not effects and (noun := _thrown_noun(text)):
        return (SAME_AS.get(noun, noun),)
    return tuple(effect for effect in EFFECTS if effect in effects)


def related_effects(effects: Iterable[str]) -> set[str]:
    """Return the effects, and those so similar that their names may stand for them."""
    return {related for effect in effects for related in (effect, *words_for(effect).kin)}


def plain_effects(words: Iterable[str]) -> tuple[str, ...]:
    """Return effects as the corpus has them; a word out of the vocabulary is marked, so that no slip becomes one.

    Raises:
        ValueError: a word is neither in the vocabulary nor marked with "other:".
    """
    effects = []
    for text in words:
        effect = effect_word(text)
        if effect not in EFFECTS and not OTHER.match(text):
            raise ValueError(
                f"effects: {text!r} is not in the vocabulary ({', '.join(EFFECTS)}); "
                f"write 'other: {effect}' where it is meant as it stands"
            )
        effects.append(effect)
    return tuple(dict.fromkeys(effects))


def _is_container(tokens: list[str], index: int) -> bool:
    """Whether a splash or spray is one of something else: "a spray of snow", "mud splashes"."""
    if WATER.isdisjoint(NAMES.get(tokens[index], ())):
        return False
    if index and tokens[index - 1] in SCENERY:
        return True
    after = [token for token in tokens[index + 1 : index + 5] if token not in QUALIFIERS]
    if after[:1] != ["of"]:
        return False
    return any(token in SCENERY or NAMES.get(token, WATER) - WATER for token in after[1:2])


def _is_in_motion(tokens: list[str], index: int) -> bool:
    """Whether scenery at a place in the text is carried by a verb or a container, or moves by itself."""
    before, after = tokens[index - 1] if index else "", tokens[index + 1] if index + 1 < len(tokens) else ""
    if tokens[index] == "leaves":
        is_carried = before in PARTICLES | {"of"} | (THROWING - NAMES.keys())
        objects = {*QUALIFIERS, *NAMES, *SCENERY} - FLYING - {"and"}
        has_object = after in DETERMINERS or (not is_carried and after in objects)
        if has_object or (before == "and" and after not in AFTER_LEAVES) or before not in BEFORE_LEAVES:
            return False
    following = [token for token in tokens[index + 1 : index + 4] if not token.endswith("ly")]
    if following and following[0] in FLYING:
        return True
    place = index - 1
    while place >= 0 and (tokens[place] in QUALIFIERS or _is_listed(tokens[place])):
        place -= 1
    if place < 0:
        return False
    token, earlier = tokens[place], tokens[max(place - 3, 0) : place]
    if token == "of":
        return not set(CONTAINERS).isdisjoint(earlier)
    return token in THROWING or (token in PARTICLES and not THROWING.isdisjoint(earlier))


def _is_listed(token: str) -> bool:
    """Whether a token may stand between a verb and a noun of its list: "kicks up swirling dust and snow"."""
    if token in THROWING:
        return False
    return token in SCENERY or token in NAMES or token.endswith("ing")


def _thrown_noun(text: str) -> str | None:
    """Return the noun that something throws up, gives off or trails, whatever it is; None where there is none."""
    for part in re.split(r"[.;:!?]", text):
        tokens = tokenize(part.replace(",", f" {COMMA} "))
        for place, (verb, particle) in enumerate(pairwise(tokens)):
            is_carried = particle == "of" and verb in CARRIERS
            is_lifted = (verb in LIFTING and particle in PARTICLES) or (verb.startswith("giv") and particle == "off")
            if is_carried or is_lifted:
                noun = _noun_phrase(tokens[place + 2 :])
            elif verb in SHOWING:
                noun = _noun_phrase(tokens[place + 1 :])
            else:
                continue
            if noun:
                return noun
    return None


def _noun_phrase(tokens: list[str]) -> str | None:
    """Return the noun, of two words at most, at the head of what follows a verb; its adjectives are passed over."""
    passed = (QUALIFIERS | {COMMA}) - {"its", "their", "his", "her"}
    while tokens and (tokens[0] in passed or tokens[1:2] == ["of"]):
        tokens = tokens[2:] if tokens[1:2] == ["of"] else tokens[1:]
    words: list[str] = []
    for token in tokens[:2]:
        if token in {COMMA} | STOP_WORDS | FLYING | THROWING | PARTICLES | BODY or token.endswith(("ing", "ly")):
            break
        words.append(token)
    noun = " ".join(words)
    return noun if len(noun) > 2 and noun.replace(" ", "").replace("-", "").isalpha() else None
