"""The small change of grammar: verb forms, noun phrases of effects, where something lies, lists."""

from collections.abc import Sequence

from .subjects import SubjectName, with_article
from .vocabulary import COLOURS, EFFECTS, TONES

UNKNOWN = {"darkening": "darkened patch", "brightening": "brightened patch"}
"""What an effect of unknown kind is called: all that is known of it."""
DOUBLED = frozenset({"run", "shed", "spin", "stir", "swim"})


def third_person(verb: str, *, many: bool = False) -> str:
    """The form for "it", or for "they": "kicks up", "kick up"."""
    first, _, rest = verb.partition(" ")
    if not many:
        if first.endswith("y") and first[-2] not in "aeiou":
            first = first[:-1] + "ies"
        else:
            first += "es" if first.endswith(("s", "sh", "ch", "x", "o")) else "s"
    return f"{first} {rest}".strip()


def participle(verb: str) -> str:
    """The participle: "kicking up"."""
    first, _, rest = verb.partition(" ")
    if first.endswith("ie"):
        first = first[:-2] + "y"
    elif first.endswith("e"):
        first = first[:-1]
    elif first in DOUBLED:
        first += first[-1]
    return f"{first}ing {rest}".strip()


def effect_noun(word: str) -> str:
    """What an effect is called: its noun, or that of an unknown one."""
    return UNKNOWN.get(word) or EFFECTS[word].noun


def is_plural(word: str) -> bool:
    """Does its verb stand in the plural?"""
    return word == "ripple"


def effect_phrase(word: str, adjectives: Sequence[str], *, article: bool = True) -> str:
    """A noun phrase: "a long, faint shadow", "dense white smoke".

    Args:
        word: of the corpus's vocabulary, or of an unknown effect.
        adjectives: in the order in which they are to stand; colours come last and take no comma.
        article: with "a", where the noun takes one.
    """
    phrase = noun_phrase(adjectives, effect_noun(word))
    return with_article(phrase) if article and (word in UNKNOWN or EFFECTS[word].article) else phrase


def noun_phrase(adjectives: Sequence[str], noun: str, *, container: str = "") -> str:
    """Adjectives before a noun: "soft, silvery ripples", "dense white smoke", "thick clouds of brown dust"."""
    plain = [adjective for adjective in adjectives if adjective not in COLOURS - TONES]
    colours = [adjective for adjective in adjectives if adjective in COLOURS - TONES]
    return " ".join([part for part in (", ".join(plain), container, *colours, noun) if part])


def location_phrase(side: str | None, who: SubjectName | None, *, named: bool) -> str:
    """Where an effect lies.

    Args:
        side: as measured in the picture; None gives nothing.
        who: the subject, or None where it has no name.
        named: by the noun with its article, for sentences in which it was not named before; else by the pronoun.
    """
    them = who.them if who else "it"
    their = who.their if who else "its"
    if named:
        them = who.a if who else "the subject"
    ways = {
        "left": f"to the left of {them}" if named else f"to {their} left",
        "right": f"to the right of {them}" if named else f"to {their} right",
        "above": f"above {them}",
        "below": f"beneath {them}",
        "lower left": f"to the lower left of {them}" if named else f"to {their} lower left",
        "lower right": f"to the lower right of {them}" if named else f"to {their} lower right",
        "sides": f"on both sides of {them}",
        "around": f"around {them}",
        "ahead": f"ahead of {them}",
        "behind": f"behind {them}",
    }
    return ways.get(side or "", "")


def join_list(parts: Sequence[str]) -> str:
    """A list as it is spoken: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def make_sentence(*parts: str | None) -> str:
    """Parts to one sentence: empty ones left out, a capital first, a full stop last, no blank before a comma."""
    text = " ".join(part for part in parts if part).replace(" ,", ",")
    return text[:1].upper() + text[1:] + "."
