"""Subjects of clips: nouns found in the names of clips, their number, article and pronouns, words for one another."""

import re
from dataclasses import dataclass

from .inflection import with_article
from .vocabulary import terms

PEOPLE = frozenset(
    terms(
        "person people man woman boy girl child children boys girls men women baby runner walker dancer skater surfer "
        "skier snowboarder cyclist rider swimmer driver player hiker"
    )
)
NOUNS = PEOPLE | frozenset(
    terms(
        "bear swan blackswan bmx boat bus camel car cars cow cat dog dogs duck ducks elephant flamingo goat hippo "
        "horse horses kite lion mallard motorbike motorcycle rhino scooter sheep skateboard swing tractor train truck "
        "tuk-tuk van bike bicycle bird birds ball balloon plane airplane aeroplane helicopter drone ship ferry canoe "
        "kayak surfboard parkour penguin pig rabbit bunny fox wolf deer monkey squirrel crab fish whale dolphin seal "
        "turtle frog robot toy cart wagon sled snowmobile quad tank trolley wheelchair pram stroller umbrella lantern "
        "candle crate rock cube sphere cone torus cylinder chair table lamp cup bottle"
    )
)
"""Nouns that are recognised in the names of clips."""
CLIP_NAMES = {
    "blackswan": "black swan", "bmx": "cyclist", "kite": "kite surfer", "parkour": "runner", "bunny": "rabbit",
    "mallard": "duck",
}  # fmt: skip
"""Subjects of well-known clips whose names do not say it."""
FEMALE = frozenset({"woman", "girl"})
MALE = frozenset({"man", "boy"})
PLURALS = frozenset({"people", "children", "men", "women"})
SINGULARS_IN_S = frozenset(terms("bus glass cactus octopus compass bass torus walrus canvas lens"))
SINGULAR = {"people": "person", "children": "child", "men": "man", "women": "woman", "boys": "boy", "girls": "girl"}
PRONOUN_FORMS = {"they": ("them", "their"), "she": ("her", "her"), "he": ("him", "his"), "it": ("it", "its")}
MIN_SUFFIX = 5
"""Letters of a noun that is searched for at the end of words run together; shorter ones end many words."""
INTERCHANGEABLE = (
    {*PEOPLE, "figure", "pedestrian", "mannequin"},
    {"car", "truck", "van", "bus", "lorry", "jeep", "buggy", "vehicle"},
    {"motorbike", "motorcycle", "scooter", "moped"},
    {"bike", "bicycle", "cyclist", "rider", "bmx"},
    {"boat", "ship", "ferry", "canoe", "kayak", "barge", "vessel"},
    {"ball", "sphere", "orb"},
    {"box", "cube", "crate", "block"},
    {"plane", "airplane", "aeroplane", "aircraft", "drone", "helicopter"},
    {"lantern", "lamp", "light"},
    {"rabbit", "bunny", "hare"},
    {"swan", "duck", "mallard", "bird", "gull"},
)
"""Groups of nouns that may stand for each other where a caption names the subject."""
MOTION_VERBS = {
    "drive": ("car", "truck", "van", "bus", "tram", "tuk-tuk", "motorbike", "motorcycle", "scooter"),
    "ride": ("cyclist", "rider"), "glide": ("boat", "ship", "ferry", "canoe", "kayak"), "walk": ("walker", "hiker"),
    "run": ("runner",), "swim": ("swimmer",), "ski": ("skier",), "skate": ("skater",), "surf": ("surfer",),
}  # fmt: skip
"""Verbs for subjects whose very name says how they move; all others "move"."""


@dataclass(frozen=True, kw_only=True)
class SubjectName:
    """A subject's noun with the forms that a sentence needs."""

    noun: str
    """Without an article: "red car"."""
    is_named: bool = True

    @property
    def head_noun(self) -> str:
        """The noun itself, without its adjectives: "walker" of "tall walker in blue"."""
        core = re.split(r"\s+(?:in|with|of|on|from|without)\s+", self.noun.strip().lower())[0]
        return str(core.split()[-1])

    @property
    def is_plural(self) -> bool:
        """Whether it is several."""
        noun = self.head_noun
        return noun in PLURALS or (noun.endswith("s") and not noun.endswith("ss") and noun not in SINGULARS_IN_S)

    @property
    def pronoun(self) -> str:
        """It, he, she or they."""
        if self.is_plural or (self.head_noun in PEOPLE and self.head_noun not in FEMALE | MALE):
            return "they"
        return "she" if self.head_noun in FEMALE else "he" if self.head_noun in MALE else "it"

    @property
    def with_article(self) -> str:
        """The noun with its indefinite article, which plurals do not have; "the subject" without a name."""
        if not self.is_named:
            return f"the {self.noun}"
        return self.noun if self.is_plural else with_article(self.noun)


UNNAMED = SubjectName(noun="subject", is_named=False)


def location_phrase(side: str | None, subject: SubjectName, *, by_noun: bool) -> str:
    """Return where an effect is by the subject's noun, "to the left of a camel", or pronoun, "beneath it".

    It is empty without a side. Sentences that have not named the subject want its noun.
    """
    object_pronoun, possessive = PRONOUN_FORMS[subject.pronoun]
    target = subject.with_article if by_noun else object_pronoun
    if side in ("left", "right", "lower left", "lower right"):
        return f"to the {side} of {target}" if by_noun else f"to {possessive} {side}"
    prepositions = {"below": "beneath", "sides": "on both sides of", "ahead": "ahead of"}
    return f"{prepositions.get(side, side)} {target}" if side else ""


def find_subject(name: str, *, pieces: int = 1) -> str | None:
    """Return the subject that a clip's name names: "davis_camel" gives "camel", "x17" nothing.

    Args:
        name: somebody's words; only nouns of our own list are taken from it.
        pieces: separate pieces in the subject's mask: one of the "boys" is a boy.
    """
    words: list[str] = re.findall(r"[a-z]+", name.lower())
    for word in words:
        singular = SINGULAR.get(word, word[:-1] if word.endswith("s") and word[:-1] in NOUNS else word)
        noun = singular if pieces == 1 else word
        if noun in NOUNS or word in NOUNS:
            return CLIP_NAMES.get(noun, noun)
        for suffix in sorted(NOUNS, key=len, reverse=True):
            if len(suffix) >= MIN_SUFFIX and word.endswith(suffix):  # "bigbuckbunny"
                return CLIP_NAMES.get(suffix, suffix)
    return None
