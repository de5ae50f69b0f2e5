"""What a subject is called: nouns found in the names of clips and files, number, article, pronoun."""

import re
from dataclasses import dataclass


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


THINGS = _words(
    """bear swan blackswan bmx boat bus camel car cars cow cat dog dogs duck ducks elephant flamingo goat hippo horse
    horses kite lion mallard motorbike motorcycle rhino scooter sheep skateboard swing tractor train truck tuk-tuk
    van bike bicycle bird birds ball balloon plane airplane aeroplane helicopter drone ship ferry canoe kayak
    surfboard person people man woman boy girl child children boys girls men women baby runner walker dancer skater
    surfer skier snowboarder cyclist rider swimmer driver player hiker parkour penguin pig rabbit bunny fox wolf
    deer monkey squirrel crab fish whale dolphin seal turtle frog robot toy cart wagon sled snowmobile quad tank
    trolley wheelchair pram stroller umbrella lantern candle crate rock cube sphere cone torus cylinder chair table
    lamp cup bottle"""
)
CALLED = {
    "blackswan": "black swan", "bmx": "cyclist", "kite": "kite surfer", "parkour": "runner", "bunny": "rabbit",
    "mallard": "duck",
}  # fmt: skip
"""Names of well-known clips that do not say what their subject is."""
PEOPLE = _words(
    """person people man woman boy girl child children boys girls men women baby runner walker dancer skater surfer
    skier snowboarder cyclist rider swimmer driver player hiker"""
)
SHE = frozenset({"woman", "girl"})
HE = frozenset({"man", "boy"})
MANY = frozenset({"people", "children", "men", "women"})
LONG = 5
"""Letters from which on a noun is looked for at the end of words run together; shorter ones end many words."""
ONE = frozenset({"bus", "glass", "cactus", "octopus", "compass", "bass", "torus", "walrus", "canvas", "lens"})
SINGLE = {"people": "person", "children": "child", "men": "man", "women": "woman", "boys": "boy", "girls": "girl"}


@dataclass(frozen=True, kw_only=True)
class SubjectName:
    """A subject as a sentence needs it."""

    noun: str
    """Without an article: "red car"."""

    @property
    def last(self) -> str:
        """The noun itself, without its adjectives: "walker" of "tall walker in blue"."""
        core = re.split(r"\s+(?:in|with|of|on|from|without)\s+", self.noun.strip().lower())[0]
        return str(core.split()[-1])

    @property
    def many(self) -> bool:
        """Is it several?"""
        last = self.last
        return last in MANY or (last.endswith("s") and not last.endswith("ss") and last not in ONE)

    @property
    def pronoun(self) -> str:
        """It, he, she or they."""
        if self.many or (self.last in PEOPLE and self.last not in SHE | HE):
            return "they"
        return "she" if self.last in SHE else "he" if self.last in HE else "it"

    @property
    def them(self) -> str:
        """The pronoun as an object."""
        return {"they": "them", "she": "her", "he": "him", "it": "it"}[self.pronoun]

    @property
    def their(self) -> str:
        """The pronoun's possessive."""
        return {"they": "their", "she": "her", "he": "his", "it": "its"}[self.pronoun]

    @property
    def a(self) -> str:
        """With the indefinite article; several have none."""
        return self.noun if self.many else with_article(self.noun)


def with_article(phrase: str) -> str:
    """Put "a" or "an" before a phrase, by how its first word sounds."""
    first = phrase.lower()
    vowel = first[:1] in "aeio" or (first[:1] == "u" and not re.match(r"u(ni|s[aeiu]|k|til)", first))
    return (
        f"an {phrase}"
        if (vowel and not re.match(r"(one|eu)", first)) or re.match(r"(hour|honest)", first)
        else f"a {phrase}"
    )


def find_subject(name: str, *, pieces: int = 1) -> str | None:
    """The thing that a clip's name names, if it is one we know: "davis_camel" gives "camel", "x17" nothing.

    Args:
        name: somebody's words; only nouns of our own list are taken from it.
        pieces: how many separate pieces the subject's mask has: one of the "boys" is a boy.
    """
    words: list[str] = re.findall(r"[a-z]+", name.lower())
    for word in words:
        single = SINGLE.get(word, word[:-1] if word.endswith("s") and word[:-1] in THINGS else word)
        found = single if pieces == 1 else word
        if found in THINGS or word in THINGS:
            return CALLED.get(found, found)
        for thing in sorted(THINGS, key=len, reverse=True):
            if len(thing) >= LONG and word.endswith(thing):  # "bigbuckbunny"
                return CALLED.get(thing, thing)
    return None
