"""Vocabulary of effects: nouns, verbs and adjectives of each effect, and of any other that somebody names.

Captions, augmentation and checks share it, so that no caption says "red shadow" or "wispy puddle", and every caption
that the rules write passes the checks. It is open: `words_for` has words for an effect that nobody foresaw.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

Slot = Literal["intensity", "spread", "texture", "colour"]
SLOTS: tuple[Slot, ...] = ("spread", "intensity", "texture", "colour")
"""Kinds of adjectives, in the order in which they stand before a noun."""
Words = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EffectWords:
    """Words for one effect. "-" marks adjectives of weak effects, "+" those of strong ones; the two never combine."""

    noun: str
    takes_article: bool = True
    """Whether "a" may stand before the noun; dust and plurals take none."""
    is_plural: bool = False
    """Whether the noun takes a verb in the plural."""
    names: Words
    """Words by which a caption may name it. The first two mean nothing else; the others may be mere scenery."""
    scenery: Words = ()
    """Words that name it only where something throws it up or it moves by itself: snow that lies is a ground."""
    kin: Words = ()
    """Effects so similar that their names may stand for it."""
    causes: Words
    """Verbs for what a subject does to make it: "cast" a shadow."""
    appears: Words
    """Verbs for what the effect itself does, that say no more than that it is visible."""
    positions: Words
    """Sides of its subject on which it can be: a splash is around it, whatever the picture shows below it."""
    intensity: Words
    spread: Words
    texture: Words
    colour: Words

    def adjectives(self, slot: Slot) -> Words:
        """Return the adjectives of a slot without their marks."""
        words: Words = getattr(self, slot)
        return tuple(word.lstrip("+-") for word in words)

    def strength(self, adjective: str) -> int:
        """Return -1 for an adjective of weak effects, 1 for one of strong effects, else 0."""
        marked = (*self.intensity, *self.spread, *self.texture)
        return -1 if f"-{adjective}" in marked else 1 if f"+{adjective}" in marked else 0


_DUST = "tan brown grey pale_grey white reddish sandy ochre orange dark_brown yellow beige"
_SMOKE = "white grey black blue-grey pale_blue red orange yellow green violet brown pink dark_grey pale_grey blue"
_WATER = "clear white silvery murky brown greenish"
_LIGHT = "warm amber orange yellow white blue green red violet pink pale_blue cyan"


def terms(text: str) -> Words:
    """Split a text into words; "_" joins two words to one term."""
    return tuple(word.replace("_", " ") for word in text.split())


_AROUND = terms("left right ahead behind sides around")
EFFECTS: dict[str, EffectWords] = {
    "shadow": EffectWords(
        noun="shadow", names=terms("shadow shadows shade silhouette silhouettes"), causes=terms("cast throw"),
        appears=terms("fall lie"), intensity=terms("-faint -pale distinct +dark +deep"),
        spread=terms("small short narrow broad long large"),
        texture=terms("soft soft-edged blurred crisp hard-edged"),
        colour=terms("grey bluish"), positions=(*_AROUND, "below", "lower left", "lower right"),
    ),
    "reflection": EffectWords(
        noun="reflection", names=terms("reflection reflections mirror mirrored reflected reflecting reflects"),
        causes=terms("cast"), appears=terms("show appear"), positions=(*_AROUND, "below", "lower left", "lower right"),
        intensity=terms("-faint -dim clear dark +bright +vivid"), spread=terms("small narrow broad long large"),
        texture=terms("blurred hazy wavering rippled mirror-like glossy sharp"),
        colour=terms("cool-toned warm-toned silvery bluish greenish brownish"),
    ),
    "splash": EffectWords(
        noun="splash", names=terms("splash splashes splashing droplets drops"), kin=("spray",),
        causes=("throw up", "kick up", "send up"), appears=terms("rise burst"), positions=_AROUND,
        intensity=terms("-slight -gentle -light +strong +heavy +violent"), spread=terms("low narrow tall wide"),
        texture=terms("fine foamy ragged beaded"), colour=terms(_WATER),
    ),
    "wake": EffectWords(
        noun="wake", names=terms("wake wakes"), kin=("ripple",), causes=terms("leave trail"),
        appears=terms("spread"), positions=("behind", "sides", "around"),
        intensity=terms("-faint -gentle -mild lively +strong +turbulent"),
        spread=terms("narrow short long wide V-shaped"), texture=terms("smooth foamy frothy choppy"),
        colour=terms("white silvery greenish"),
    ),
    "ripple": EffectWords(
        noun="ripples", takes_article=False, is_plural=True,
        names=terms("ripple ripples rippling wavelets rings"), kin=("wake",),
        causes=("send out", "raise"), appears=terms("spread run"), positions=_AROUND,
        intensity=terms("-faint -gentle -mild +strong +pronounced"),
        spread=terms("small wide concentric far-reaching"),
        texture=terms("smooth fine glassy choppy"), colour=terms("silvery dark bluish"),
    ),
    "spray": EffectWords(
        noun="spray", names=terms("spray sprays mist droplets drops"), kin=("splash",), causes=("throw up", "kick up"),
        appears=terms("hang rise"), positions=_AROUND, intensity=terms("-thin -light +dense +heavy"),
        spread=terms("low narrow tall wide"),
        texture=terms("fine misty coarse"), colour=terms("white silvery grey brown"),
    ),
    "dust": EffectWords(
        noun="dust", takes_article=False, names=terms("dust dusts dusty grit haze"),
        causes=("kick up", "raise", "stir up"), appears=terms("hang rise"), positions=_AROUND,
        intensity=terms("-thin -light -sparse +dense +thick +heavy"), spread=terms("low-hanging widespread"),
        texture=terms("powdery -hazy gritty swirling +billowing"), colour=terms(_DUST),
    ),
    "smoke": EffectWords(
        noun="smoke", takes_article=False, names=terms("smoke smokes smoky fumes exhaust haze steam vapour vapor"),
        causes=("trail", "give off"), appears=terms("hang drift"), positions=(*_AROUND, "above"),
        intensity=terms("-thin -light -sparse +dense +thick +heavy"),
        spread=terms("low-hanging widespread"), texture=terms("-wispy -hazy curling swirling +billowing +rolling"),
        colour=terms(_SMOKE),
    ),
    "glow": EffectWords(
        noun="glow", names=terms("glow glows glowing halo aura radiance"), kin=("light",), causes=("give off", "shed"),
        appears=terms("hang linger"), positions=("around",), intensity=terms("-faint -dim +strong +bright +intense"),
        spread=terms("small narrow wide"), texture=terms("soft hazy steady shimmering"), colour=terms(_LIGHT),
    ),
    "light": EffectWords(
        noun="light", takes_article=False, names=terms("light lights lamplight beam glow illumination glimmer"),
        kin=("glow",),
        causes=terms("cast shed throw"), appears=terms("fall spill"),
        positions=(*_AROUND, "below", "above", "lower left", "lower right"),
        intensity=terms("-faint -dim +strong +bright"),
        spread=terms("far-reaching"), texture=terms("soft steady flickering patchy"), colour=terms(_LIGHT),
    ),
    "snow": EffectWords(
        noun="snow", takes_article=False, names=terms("snowflakes snowfall"), scenery=terms("snow slush"),
        kin=("spray",), causes=("kick up", "throw up"), appears=terms("fly hang"), positions=_AROUND,
        intensity=terms("-light -sparse +dense +heavy"), spread=terms("low narrow wide widespread"),
        texture=terms("fine powdery wet glittering"), colour=terms("white grey pale_grey pale_blue"),
    ),
    "mud": EffectWords(
        noun="mud", takes_article=False, names=terms("sludge mudflow"), scenery=("mud",), kin=("splash", "spray"),
        causes=("kick up", "throw up"), appears=terms("fly spatter"), positions=_AROUND,
        intensity=terms("-light -sparse +heavy +thick"), spread=terms("low narrow tall wide"),
        texture=terms("wet clumpy gritty"), colour=terms("brown dark_brown grey black reddish"),
    ),
    "sparks": EffectWords(
        noun="sparks", takes_article=False, is_plural=True, names=terms("sparks spark embers"),
        causes=("throw off", "send up"), appears=terms("fly scatter"), positions=(*_AROUND, "above", "below"),
        intensity=terms("-faint -sparse +bright +intense"), spread=terms("narrow wide far-reaching"),
        texture=terms("fine flickering glittering"), colour=terms("orange yellow white amber red"),
    ),
    "fog": EffectWords(
        noun="fog", takes_article=False, names=terms("fogbank fogbanks fog mist"), scenery=("fog",), causes=("stir",),
        appears=terms("hang drift"), positions=(*_AROUND, "above", "below"),
        intensity=terms("-thin -light +dense +thick +heavy"), spread=terms("low-hanging widespread"),
        texture=terms("-wispy -hazy drifting +rolling"), colour=terms("white grey pale_grey blue-grey"),
    ),
    "leaves": EffectWords(
        noun="leaves", takes_article=False, is_plural=True, names=(), scenery=("leaves",),
        causes=("kick up", "stir up"), appears=terms("swirl whirl"), positions=_AROUND,
        intensity=terms("-sparse -scattered +dense"), spread=terms("low wide widespread"),
        texture=terms("dry crisp wet curled"), colour=terms("brown golden orange yellow reddish"),
    ),
    "debris": EffectWords(
        noun="debris", takes_article=False, names=terms("debris rubble shards fragments splinters gravel"),
        causes=("scatter", "kick up"), appears=terms("fly scatter"), positions=_AROUND,
        intensity=terms("-light -sparse +dense +heavy"), spread=terms("low wide widespread"),
        texture=terms("fine coarse jagged"), colour=terms("grey brown dark_grey white"),
    ),
    "footprints": EffectWords(
        noun="footprints", takes_article=False, is_plural=True,
        names=terms("footprints footprint pawprints hoofprints tracks"), causes=("leave",),
        appears=terms("show appear"), positions=terms("behind around sides left right below"),
        intensity=terms("-faint -shallow +deep"), spread=terms("small narrow large"),
        texture=terms("crisp blurred wet"), colour=terms("grey brown"),
    ),
    "fire": EffectWords(
        noun="fire", takes_article=False, names=terms("fire flames flame blaze campfire bonfire"),
        kin=("glow", "light"), causes=("spit", "throw out"), appears=terms("burn flicker"),
        positions=(*_AROUND, "above", "below"), intensity=terms("-faint -gentle +bright +fierce +intense"),
        spread=terms("small low tall wide"), texture=terms("flickering steady leaping"),
        colour=terms("orange yellow red blue"),
    ),
}  # fmt: skip
"""Words by effect; the keys are the corpus's own (`datasets.corpus.schema.EFFECTS`)."""
OTHER = re.compile(r"^\s*other\s*:\s*", re.IGNORECASE)
"""Mark of an effect's word that is in no vocabulary, as settings have it: "other: pollen"."""

CONTAINERS = terms(
    "cloud clouds plume plumes trail trails puff puffs veil haze burst bursts sheet sheets column wisps pool shower "
    "showers flurry flurries spatter clods lumps clumps swirl swirls spray sprays splash splashes"
)
MODEL_ADJECTIVES = frozenset(
    terms(
        "fine rising lingering drifting sweeping massive huge tiny subtle slight sharp rich rolling churning elongated "
        "stretched moving dramatic delicate swift sudden whirling glistening sparkling shimmering dusty cold cool hot "
        "big little great"
    )
)
"""Adjectives that models write of effects, beside the vocabulary's own."""
DETERMINERS = frozenset(["a", "an", "the", "its", "their", "his", "her", "some"])
"""Nouns that hold an effect: "a cloud of dust" is dust."""
SYNONYMS = {
    "water": None, "moderate": None, "medium": None, "none": None, "slightly soft": "soft", "hard": "hard-edged",
    "wide": "wide", "calm": "gentle", "light grey": "pale grey", "charcoal": "dark grey",
    "rust-red": "reddish", "cream": "white", "gray": "grey", "blue-gray": "blue-grey",
}  # fmt: skip
"""The vocabulary's word for a word of scenes and models; None where that is not worth saying."""
COLOURS = frozenset(
    terms(f"{_DUST} {_SMOKE} {_WATER} {_LIGHT} golden crimson scarlet gray purple teal olive dark_red dark_blue "
           "dark_green silver beige blue-gray bluish brownish turquoise cyan")
)  # fmt: skip
"""All colour words that our captions may use."""
TONES = frozenset(terms("silvery clear murky warm cool-toned warm-toned bluish greenish brownish"))
"""Colour words that are listed with other adjectives by commas; a plain colour takes no comma."""
VIVID = frozenset(terms("red orange yellow green blue violet purple pink crimson scarlet golden teal cyan turquoise"))
"""Colours that neither a shadow nor water has."""
INCOMPATIBLE = frozenset(
    frozenset(pair.split("/"))
    for pair in terms(
        "narrow/wide small/long small/large short/long crisp/faint soft/soft-edged low/tall clear/hazy fine/heavy "
        "sharp/faint sharp/dim blurred/distinct blurred/clear blurred/vivid hazy/vivid hazy/bright smooth/turbulent "
        "smooth/strong smooth/lively smooth/choppy misty/heavy coarse/thin concentric/choppy soft/intense "
        "glassy/strong glassy/pronounced low/violent fine/violent fine/large beaded/violent choppy/gentle "
        "choppy/faint choppy/mild "
        "dry/wet wet/powdery wet/crisp wet/curled wet/glittering fine/jagged shallow/blurred "
        "fine/coarse gentle/leaping faint/leaping small/fierce frothy/faint light/dark "
        "large/narrow wavering/mirror-like glossy/dim glossy/faint "
        "dark/silvery mirror-like/faint mirror-like/dim powdery/heavy small/concentric tall/light"
    )
)
"""Pairs of adjectives that are never used together, beside those of a weak and of a strong effect."""


@cache
def words_for(effect: str) -> EffectWords:
    """Return the words of an effect; of one that is in no vocabulary its own noun with what may be said of anything.

    "produce" is its verb, for whoever makes it; a noun that ends in "s" takes plural forms, any other no article.
    """
    if effect in EFFECTS:
        return EFFECTS[effect]
    noun = effect_word(effect)
    return EffectWords(
        noun=noun, takes_article=False, is_plural=noun.endswith("s") and not noun.endswith("ss"), names=(noun,),
        causes=("produce",), appears=terms("show appear"), positions=(*_AROUND, "above", "below"),
        intensity=terms("-faint -slight +strong +intense"), spread=terms("small wide widespread"),
        texture=terms("fine coarse swirling"), colour=terms("pale_grey white dark_grey"),
    )  # fmt: skip


def effect_word(text: str) -> str:
    """Return an effect's plain word, as the corpus has it: "pollen" for "other: Pollen".

    Raises:
        ValueError: it is no word.
    """
    word = " ".join(OTHER.sub("", text).lower().split())
    if not re.fullmatch(r"[a-z][a-z '-]{1,39}", word):
        raise ValueError(f"{text!r} names no effect; give one noun in letters, such as 'other: pollen'")
    return word


def vocabulary_word(effect: str, slot: Slot, word: object) -> str | None:
    """Return the vocabulary's word for a scene's, or None where it has none that fits this effect."""
    text = SYNONYMS.get(str(word).strip().lower(), str(word).strip().lower())
    if text is None:
        return None
    if effect in ("glow", "light") and text.endswith("grey"):
        return "white" if slot == "colour" else None  # light is never grey
    if slot == "colour" and effect in ("dust", "smoke", "glow", "light", "splash", "spray"):
        return text if text in COLOURS else None
    return text if text in words_for(effect).adjectives(slot) else None


@cache
def all_adjectives() -> frozenset[str]:
    """Return every adjective of every effect, in single words."""
    adjectives = {word for words in EFFECTS.values() for slot in SLOTS for word in words.adjectives(slot)}
    return frozenset(part for adjective in adjectives | COLOURS for part in adjective.split())


def are_compatible(effect: str, first: str, second: str) -> bool:
    """Whether both adjectives may describe one effect: not a weak with a strong one, nor one twice."""
    words = words_for(effect)
    if first == second or words.strength(first) * words.strength(second) < 0:
        return False
    return frozenset((first, second)) not in INCOMPATIBLE
