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
    """Every word by which a caption may name it. The first two mean nothing else; others may be mere scenery."""
    kin: Words = ()
    """Effects so near that their names may stand for it."""
    makes: Words
    """What a subject does: "cast a shadow"."""
    lies: Words
    """What the effect itself does, without saying more than that it is there."""
    places: Words
    """Where it may be said to lie: a splash is around its subject, whatever the picture shows below it."""
    intensity: Words
    spread: Words
    texture: Words
    colour: Words


_DUST = "tan brown grey pale_grey white reddish sandy ochre orange dark_brown yellow beige"
_SMOKE = "white grey black blue-grey pale_blue red orange yellow green violet brown pink dark_grey pale_grey blue"
_WATER = "clear white silvery murky brown greenish"
_LIGHT = "warm amber orange yellow white blue green red violet pink pale_blue cyan"


def terms(text: str) -> Words:
    """Words written one after another; "_" holds two together."""
    return tuple(word.replace("_", " ") for word in text.split())


_AROUND = terms("left right ahead behind sides around")
EFFECTS: dict[str, EffectWords] = {
    "shadow": EffectWords(
        noun="shadow", names=terms("shadow shadows shade silhouette silhouettes"), makes=terms("cast throw"),
        lies=terms("fall lie"), intensity=terms("-faint -pale distinct +dark +deep"),
        spread=terms("small short narrow broad long large"),
        texture=terms("soft soft-edged blurred crisp hard-edged"),
        colour=terms("grey bluish"), places=(*_AROUND, "below", "lower left", "lower right"),
    ),
    "reflection": EffectWords(
        noun="reflection", names=terms("reflection reflections mirror mirrored reflected reflecting reflects"),
        makes=terms("cast"), lies=terms("show appear"), places=(*_AROUND, "below", "lower left", "lower right"),
        intensity=terms("-faint -dim clear dark +bright +vivid"), spread=terms("small narrow broad long large"),
        texture=terms("blurred hazy wavering rippled mirror-like glossy sharp"),
        colour=terms("cool-toned warm-toned silvery bluish greenish brownish"),
    ),
    "splash": EffectWords(
        noun="splash", names=terms("splash splashes splashing droplets drops"), kin=("spray",),
        makes=("throw up", "kick up", "send up"), lies=terms("rise burst"), places=_AROUND,
        intensity=terms("-slight -gentle -light +strong +heavy +violent"), spread=terms("low narrow tall wide"),
        texture=terms("fine foamy ragged beaded"), colour=terms(_WATER),
    ),
    "wake": EffectWords(
        noun="wake", names=terms("wake wakes"), kin=("ripple",), makes=terms("leave trail"),
        lies=terms("spread"), places=("behind", "sides", "around"),
        intensity=terms("-faint -gentle -mild lively +strong +turbulent"),
        spread=terms("narrow short long wide V-shaped"), texture=terms("smooth foamy frothy choppy"),
        colour=terms("white silvery greenish"),
    ),
    "ripple": EffectWords(
        noun="ripples", article=False, names=terms("ripple ripples rippling wavelets rings"), kin=("wake",),
        makes=("send out", "raise"), lies=terms("spread run"), places=_AROUND,
        intensity=terms("-faint -gentle -mild +strong +pronounced"),
        spread=terms("small wide concentric far-reaching"),
        texture=terms("smooth fine glassy choppy"), colour=terms("silvery dark bluish"),
    ),
    "spray": EffectWords(
        noun="spray", names=terms("spray sprays mist droplets drops"), kin=("splash",), makes=("throw up", "kick up"),
        lies=terms("hang rise"), places=_AROUND, intensity=terms("-thin -light +dense +heavy"),
        spread=terms("low narrow tall wide"),
        texture=terms("fine misty coarse"), colour=terms("white silvery grey brown"),
    ),
    "dust": EffectWords(
        noun="dust", article=False, names=terms("dust dusts dusty grit haze"), kin=("smoke",),
        makes=("kick up", "raise", "stir up"), lies=terms("hang rise"), places=_AROUND,
        intensity=terms("-thin -light -sparse +dense +thick +heavy"), spread=terms("low-hanging widespread"),
        texture=terms("powdery -hazy gritty swirling +billowing"), colour=terms(_DUST),
    ),
    "smoke": EffectWords(
        noun="smoke", article=False, names=terms("smoke smokes smoky fumes exhaust haze steam vapour vapor"),
        kin=("dust",), makes=("trail", "give off"), lies=terms("hang drift"), places=(*_AROUND, "above"),
        intensity=terms("-thin -light -sparse +dense +thick +heavy"),
        spread=terms("low-hanging widespread"), texture=terms("-wispy -hazy curling swirling +billowing +rolling"),
        colour=terms(_SMOKE),
    ),
    "glow": EffectWords(
        noun="glow", names=terms("glow glows glowing halo aura radiance"), kin=("light",), makes=("give off", "shed"),
        lies=terms("hang linger"), places=("around",), intensity=terms("-faint -dim +strong +bright +intense"),
        spread=terms("small narrow wide"), texture=terms("soft hazy steady shimmering"), colour=terms(_LIGHT),
    ),
    "light": EffectWords(
        noun="light", article=False, names=terms("light lights lamplight beam glow illumination glimmer"),
        kin=("glow",),
        makes=terms("cast shed throw"), lies=terms("fall spill"),
        places=(*_AROUND, "below", "above", "lower left", "lower right"),
        intensity=terms("-faint -dim +strong +bright"),
        spread=terms("far-reaching"), texture=terms("soft steady flickering patchy"), colour=terms(_LIGHT),
    ),
}  # fmt: skip
"""By the corpus's own words (`datasets.schema.EFFECTS`)."""

CONTAINERS = terms(
    "cloud clouds plume plumes trail trails puff puffs veil haze burst bursts sheet sheets column wisps pool"
)
"""Of what effects come in: "a cloud of dust" is dust."""
SYNONYMS = {
    "water": None, "moderate": None, "medium": None, "none": None, "slightly soft": "soft", "hard": "hard-edged",
    "wide": "wide", "calm": "gentle", "light grey": "pale grey", "charcoal": "dark grey",
    "rust-red": "reddish", "cream": "white", "gray": "grey", "blue-gray": "blue-grey",
}  # fmt: skip
"""Words of scenes and models for which the vocabulary has one of its own; None: nothing worth saying."""
COLOURS = frozenset(
    terms(f"{_DUST} {_SMOKE} {_WATER} {_LIGHT} golden crimson scarlet gray purple teal olive dark_red dark_blue "
           "dark_green silver beige blue-gray bluish brownish turquoise cyan")
)  # fmt: skip
"""Every word for a colour that a caption of ours may use."""
TONES = frozenset(terms("silvery clear murky warm cool-toned warm-toned bluish greenish brownish"))
"""Those of them that are strung together with other adjectives by commas; a plain colour takes none."""
VIVID = frozenset(terms("red orange yellow green blue violet purple pink crimson scarlet golden teal cyan turquoise"))
"""Colours that no shadow has, nor any water."""


def vocabulary_word(effect: str, slot: Slot, word: object) -> str | None:
    """The vocabulary's word for a scene's, or None where it has none that fits this effect."""
    text = SYNONYMS.get(str(word).strip().lower(), str(word).strip().lower())
    if text is None:
        return None
    if effect in ("glow", "light") and text.endswith("grey"):
        return "white" if slot == "colour" else None  # light is never grey
    if slot == "colour" and effect in ("dust", "smoke", "glow", "light", "splash", "spray"):
        return text if text in COLOURS else None
    return text if text in without_marks(getattr(EFFECTS[effect], slot)) else None


def without_marks(words: Words) -> Words:
    """Adjectives without their marks."""
    return tuple(word.lstrip("+-") for word in words)


def adjective_strength(effect: str, word: str) -> int:
    """−1 for an adjective of weak effects, 1 for one of strong effects, else 0."""
    words = EFFECTS[effect]
    every = (*words.intensity, *words.spread, *words.texture)
    return -1 if f"-{word}" in every else 1 if f"+{word}" in every else 0


def all_adjectives() -> frozenset[str]:
    """Every adjective of every effect, in single words."""
    every = {word for words in EFFECTS.values() for slot in SLOTS for word in without_marks(getattr(words, slot))}
    return frozenset(part for word in every | COLOURS for part in word.split())


INCOMPATIBLE = frozenset(
    frozenset(pair.split("/"))
    for pair in terms(
        "narrow/wide small/long small/large short/long crisp/faint soft/soft-edged low/tall clear/hazy fine/heavy "
        "sharp/faint sharp/dim blurred/distinct blurred/clear blurred/vivid hazy/vivid hazy/bright smooth/turbulent "
        "smooth/strong smooth/lively smooth/choppy misty/heavy coarse/thin concentric/choppy soft/intense "
        "glassy/strong glassy/pronounced low/violent fine/violent fine/large beaded/violent choppy/gentle "
        "choppy/faint choppy/mild frothy/faint light/dark large/narrow wavering/mirror-like glossy/dim glossy/faint "
        "dark/silvery mirror-like/faint mirror-like/dim powdery/heavy small/concentric tall/light"
    )
)
"""Adjectives that never stand together, though neither is of weak and the other of strong effects."""


def are_compatible(effect: str, word: str, other: str) -> bool:
    """May both adjectives be said of one effect? Weak and strong ones may not, nor may what is twice the same."""
    if word == other or adjective_strength(effect, word) * adjective_strength(effect, other) < 0:
        return False
    return frozenset((word, other)) not in INCOMPATIBLE
