"""The words for effects: what each is called, what a subject does to make it, and which adjectives fit it.

One vocabulary serves wording, augmentation and checks, so that no caption says "red shadow" or "wispy puddle", and what
the grammar writes is what the checks understand.
"""

from dataclasses import dataclass
from typing import Literal

Slot = Literal["intensity", "spread", "texture", "colour"]
SLOTS: tuple[Slot, ...] = ("spread", "intensity", "texture", "colour")
"""In the order in which adjectives stand before a noun."""
Words = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EffectWords:
    """How one effect is spoken of. Adjectives marked "-" are of weak effects, "+" of strong ones: they never meet."""

    noun: str
    article: bool = True
    """Does "a" stand before it? Dust has none, neither have plurals."""
    names: Words
    """Every word by which a caption may name it."""
    kin: Words = ()
    """Effects so near that their names may stand for it."""
    makes: Words
    """What a subject does: "cast a shadow"."""
    lies: Words
    """What the effect itself does, without saying more than that it is there."""
    intensity: Words
    spread: Words
    texture: Words
    colour: Words


_DUST = "tan brown grey pale_grey white reddish sandy ochre orange dark_brown black yellow beige"
_SMOKE = "white grey black blue-grey pale_blue red orange yellow green violet brown pink dark_grey pale_grey blue"
_WATER = "clear white silvery murky brown greenish"
_LIGHT = "warm amber orange yellow white blue green red violet pink pale_blue cyan"


def _words(text: str) -> Words:
    return tuple(word.replace("_", " ") for word in text.split())


EFFECTS: dict[str, EffectWords] = {
    "shadow": EffectWords(
        noun="shadow", names=_words("shadow shadows shade silhouette silhouettes"), makes=_words("cast throw"),
        lies=_words("fall lie"), intensity=_words("-faint -pale -light distinct +dark +deep"),
        spread=_words("small short narrow broad long large"),
        texture=_words("soft soft-edged blurred crisp hard-edged"),
        colour=_words("grey bluish brownish violet-tinted"),
    ),
    "reflection": EffectWords(
        noun="reflection", names=_words("reflection reflections mirror mirrored reflected reflecting reflects"),
        makes=_words("throw cast"), lies=_words("show appear"),
        intensity=_words("-faint -dim clear dark +bright +vivid"), spread=_words("small narrow broad long large"),
        texture=_words("blurred hazy wavering rippled mirror-like glossy sharp"),
        colour=_words("cool-toned warm-toned silvery muted"),
    ),
    "splash": EffectWords(
        noun="splash", names=_words("splash splashes splashing droplets drops"), kin=("spray",),
        makes=("throw up", "kick up", "send up"), lies=_words("rise burst"),
        intensity=_words("-small -gentle -light +large +heavy +violent"), spread=_words("low narrow tall wide"),
        texture=_words("fine foamy ragged beaded"), colour=_words(_WATER),
    ),
    "wake": EffectWords(
        noun="wake", names=_words("wake wakes"), kin=("ripple",), makes=_words("leave trail draw"),
        lies=_words("spread"), intensity=_words("-faint -gentle -mild lively +strong +turbulent"),
        spread=_words("narrow short long wide V-shaped"), texture=_words("smooth foamy frothy choppy"),
        colour=_words("white pale dark silvery"),
    ),
    "ripple": EffectWords(
        noun="ripples", article=False, names=_words("ripple ripples rippling wavelets rings"), kin=("wake",),
        makes=("send out", "spread", "raise"), lies=_words("spread run"),
        intensity=_words("-faint -gentle -mild +strong +pronounced"),
        spread=_words("small wide concentric far-reaching"),
        texture=_words("smooth fine glassy choppy"), colour=_words("silvery pale dark bluish"),
    ),
    "spray": EffectWords(
        noun="spray", names=_words("spray sprays mist droplets drops"), kin=("splash",), makes=("throw up", "kick up"),
        lies=_words("hang rise"), intensity=_words("-thin -light +dense +heavy"), spread=_words("low narrow tall wide"),
        texture=_words("fine misty coarse"), colour=_words("white silvery grey brown"),
    ),
    "dust": EffectWords(
        noun="dust", article=False, names=_words("dust dusty sand grit haze dirt"), kin=("smoke",),
        makes=("kick up", "raise", "stir up"), lies=_words("hang rise"),
        intensity=_words("-thin -light +dense +thick +heavy"), spread=_words("low narrow wide low-hanging"),
        texture=_words("powdery -hazy -wispy gritty swirling +billowing"), colour=_words(_DUST),
    ),
    "smoke": EffectWords(
        noun="smoke", article=False, names=_words("smoke smoky fumes exhaust haze steam vapour vapor"), kin=("dust",),
        makes=("trail", "give off"), lies=_words("hang drift"), intensity=_words("-thin -light +dense +thick +heavy"),
        spread=_words("low narrow wide"), texture=_words("-wispy -hazy curling swirling +billowing +rolling"),
        colour=_words(_SMOKE),
    ),
    "glow": EffectWords(
        noun="glow", names=_words("glow glows glowing halo aura radiance"), kin=("light",), makes=("give off", "shed"),
        lies=_words("hang linger"), intensity=_words("-faint -dim +strong +bright +intense"),
        spread=_words("small narrow wide"), texture=_words("soft hazy steady shimmering"), colour=_words(_LIGHT),
    ),
    "light": EffectWords(
        noun="light", article=False, names=_words("light lights lamplight beam glow illumination glimmer"),
        kin=("glow",),
        makes=_words("cast shed throw"), lies=_words("fall spill"), intensity=_words("-faint -dim +strong +bright"),
        spread=_words("narrow wide"), texture=_words("soft steady flickering patchy"), colour=_words(_LIGHT),
    ),
}  # fmt: skip
"""By the corpus's own words (`datasets.schema.EFFECTS`)."""

CONTAINERS = _words(
    "cloud clouds plume plumes trail trails puff puffs veil haze burst bursts sheet sheets column wisps pool"
)
"""Of what effects come in: "a cloud of dust" is dust."""
ALIKE = {
    "water": None, "moderate": None, "medium": None, "none": None, "slightly soft": "soft", "hard": "hard-edged", "sharp": "crisp",
    "mild": "mild", "calm": "gentle", "thick": "thick", "light grey": "pale grey", "charcoal": "dark grey",
    "rust-red": "reddish", "cream": "white", "gray": "grey", "blue-gray": "blue-grey",
}  # fmt: skip
"""Words of scenes and models for which the vocabulary has one of its own; None: nothing worth saying."""
COLOURS = frozenset(
    _words(f"{_DUST} {_SMOKE} {_WATER} {_LIGHT} golden crimson scarlet gray purple teal olive dark_red dark_blue "
           "dark_green silver beige blue-gray bluish brownish violet-tinted turquoise cyan")
)  # fmt: skip
"""Every word for a colour that a caption of ours may use."""
VIVID = frozenset(_words("red orange yellow green blue violet purple pink crimson scarlet golden teal cyan turquoise"))
"""Colours that no shadow has, nor any water."""


def known_word(effect: str, slot: Slot, word: object) -> str | None:
    """The vocabulary's word for a scene's, or None where it has none that fits this effect."""
    text = ALIKE.get(str(word).strip().lower(), str(word).strip().lower())
    if text is None:
        return None
    if slot == "colour" and effect in ("dust", "smoke", "glow", "light", "splash", "spray"):
        return text if text in COLOURS else None
    return text if text in plain(getattr(EFFECTS[effect], slot)) else None


def plain(words: Words) -> Words:
    """Adjectives without their marks."""
    return tuple(word.lstrip("+-") for word in words)


def strength(effect: str, word: str) -> int:
    """−1 for an adjective of weak effects, 1 for one of strong effects, else 0."""
    words = EFFECTS[effect]
    every = (*words.intensity, *words.spread, *words.texture)
    return -1 if f"-{word}" in every else 1 if f"+{word}" in every else 0


def adjectives() -> frozenset[str]:
    """Every adjective of every effect, in single words."""
    every = {word for words in EFFECTS.values() for slot in SLOTS for word in plain(getattr(words, slot))}
    return frozenset(part for word in every | COLOURS for part in word.split())
