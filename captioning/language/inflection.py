"""English inflection: words and stems, verb forms, articles, noun phrases of effects, enumerations and sentences.

The few rules here take the place of the package `inflect`: that one needs 1.7 s to import in every worker, and takes
"bus" and "torus" for plurals.
"""

import re
from collections.abc import Sequence

from .vocabulary import COLOURS, TONES, words_for

UNKNOWN = {"darkening": "darkened patch", "brightening": "brightened patch"}
"""Nouns of effects of unknown kind, which say all that is known of them."""
DOUBLED = frozenset({"emit", "fan", "run", "shed", "spin", "spit", "stir", "swim", "whip"})
"""Verbs that double their last consonant before "-ing"."""


def tokenize(text: str) -> list[str]:
    """Return a text's words in lower case; hyphens join words."""
    tokens: list[str] = re.findall(r"[a-z0-9]+(?:[-'][a-z0-9]+)*", text.lower().replace("’", "'"))
    return tokens


def stem(word: str) -> str:
    """Return a word without its ending, so that "drives" and "driving" are equal."""
    word = word.removesuffix("'s")
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return re.sub(r"(ing|es|ed|s|e)$", "", word) if len(word) > 3 else word


def third_person(verb: str, *, plural: bool = False) -> str:
    """Return the present tense for "it", or for "they": "kicks up", "kick up"."""
    if plural:
        return verb
    first, *particles = verb.split(" ", 1)
    if first.endswith("y") and first[-2] not in "aeiou":
        first = first[:-1] + "ies"
    else:
        first += "es" if first.endswith(("s", "sh", "ch", "x", "o")) else "s"
    return " ".join([first, *particles])


def participle(verb: str) -> str:
    """Return the present participle: "kicking up"."""
    first, *particles = verb.split(" ", 1)
    if first.endswith("ie"):
        first = first[:-2] + "y"
    elif first.endswith("e"):
        first = first[:-1]
    elif first in DOUBLED:
        first += first[-1]
    return " ".join([first + "ing", *particles])


def with_article(phrase: str) -> str:
    """Put "a" or "an" before a phrase, by the sound of its first word."""
    first = phrase.lower()
    vowel = first[:1] in "aeio" or (first[:1] == "u" and not re.match(r"u(ni|s[aeiu]|k|til)", first))
    sounds_vowel = (vowel and not re.match(r"(one|eu)", first)) or re.match(r"(hour|honest)", first)
    return f"an {phrase}" if sounds_vowel else f"a {phrase}"


def effect_noun(effect: str) -> str:
    """Return an effect's noun, also of an effect of unknown kind."""
    return UNKNOWN.get(effect) or words_for(effect).noun


def is_plural_effect(effect: str) -> bool:
    """Whether the effect's noun takes a verb in the plural."""
    return effect not in UNKNOWN and words_for(effect).is_plural


def effect_phrase(effect: str, adjectives: Sequence[str]) -> str:
    """Return an effect's noun phrase: "a long, faint shadow"; adjectives in the order of `SLOTS`."""
    phrase = noun_phrase(adjectives, effect_noun(effect))
    return with_article(phrase) if effect in UNKNOWN or words_for(effect).takes_article else phrase


def noun_phrase(adjectives: Sequence[str], noun: str, *, container: str = "") -> str:
    """Put adjectives before a noun, colours last and without a comma: "soft, silvery ripples", "dense white smoke"."""
    colours = [adjective for adjective in adjectives if adjective in COLOURS - TONES]
    separated = ", ".join(adjective for adjective in adjectives if adjective not in colours)
    return " ".join(part for part in (separated, container, *colours, noun) if part)


def join_list(parts: Sequence[str]) -> str:
    """Enumerate: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def make_sentence(*parts: str | None) -> str:
    """Join parts to a sentence: capital first, full stop last, empty parts left out, no blank before a comma."""
    text = " ".join(part for part in parts if part).replace(" ,", ",")
    return text[:1].upper() + text[1:] + "."
