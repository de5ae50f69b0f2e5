"""Checks of captions, descriptions and variants, whoever wrote them: model, rules or user.

Every check returns its objections as sentences that go back to the author with the next request, so they say what to
do; a good text has none. It is plain English without markup, of the right length, about effects that are there.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise

from ..language.caption_parsing import content_stems, split_caption
from ..language.effect_mentions import effect_mentions, effect_words, named_effects, related_effects
from ..language.inflection import stem, tokenize
from ..language.subjects import INTERCHANGEABLE, SubjectName
from ..language.vocabulary import EFFECTS, VIVID, all_adjectives, terms

MIN_WORDS = 4
"""Words of the shortest caption; a description has twice as many."""
LENGTH_RATIOS = (0.6, 1.7)
"""Range of a variant's length, as a multiple of the original's."""
MAX_OVERLAP = 0.8
"""Share of common words (Jaccard) above which two effect clauses say the same. Heads are equal by intention."""
ENGLISH = frozenset(
    terms(
        "a an the and of in on at to by as it its is are with while from into over under behind below beneath above "
        "around through across that which their his her along for then off out up down toward towards onto"
    )
)
FOREIGN = frozenset(
    terms(
        "der die das und ein eine einen mit auf von im ist le la les un une et dans sur avec des el los las una y en "
        "con por il lo che di per sul uma com para em o os het een van op met"
    )
)
SENTENCE_ENDS = frozenset(terms("it along behind below above around through off out up down across by"))
"""Words of grammar with which a sentence may end."""
REFUSAL = re.compile(
    r"\b(i['’]?m|i am|i|we) (sorry|unable|cannot|can['’]?t|can not|could ?n[o'’]t|am|do not|don['’]?t|apologi[sz]e)\b"
    r"|\bsorry\b|\bas an ai\b|\blanguage model\b"
    r"|\b(can(no|['’])t|unable to) (assist|help|see|view|access|provide|describe)\b"
    r"|\bplease (provide|upload|share)\b|\bno (video|image|frames?) (was|were|is|are|has|have)\b"
    r"|(?-i:\bI\b)(?!\.)",
    re.IGNORECASE,
)
REMARKS = re.compile(
    r"^\W*(sure|certainly|absolutely|of course|okay|ok|yes|great|understood|here (is|are)|here['’]s|the following)\b"
    r"|^\W*(below (is|are) (the|a|my|your)|as (you )?(requested|asked)|based on (the|this|your) \w+|to summari[sz]e)\b"
    r"|^\W*((the|this|a|an|my|your|one|final|new|revised|refined|rewritten|short|concise|possible|video) )*"
    r"(captions?|prompts?|output|answer|response|note|variations?|variants?)\b"
    r"|^\W*(the|this|a|my) description (is|of|shows|for|reads)\b|^\W*description:"
    r"|\b(json|markdown|word (limit|count)|\d+ words|system prompt|instructions?|previous (prompt|message))\b"
    r"|\b(let me know|hope (this|that|it) (helps|works|fits|meets))\b",
    re.IGNORECASE,
)
"""Phrases about the answer, which stand before or behind it."""
MARKUP = re.compile(r"^[\"“]|[*_#`~|<>{}\[\]\\^=]|https?:|www\.|^\s*(-|•|\d+[.)])\s", re.MULTILINE)
VIDEO_FIRST = re.compile(r"^(the|this|in (the|this)|a) (video|clip|scene|frames?|image|footage)\b", re.IGNORECASE)
CORE_NAMES = {name for effect, words in EFFECTS.items() if effect != "light" for name in words.names[:2]}
"""Names that always mean an effect, and may not be denied; others, as "sand" or "beam", may be mere scenery."""


def check_text(text: str) -> tuple[str, ...]:
    """Check a text as such, whatever it says: no refusal, markup, remarks, other language or endless repetition."""
    if not text.strip():
        return ("It is empty; answer with the caption.",)
    if any(unicodedata.category(character)[0] == "C" or unicodedata.category(character) == "So" for character in text):
        return ("It holds control characters, pictographs or line breaks; write plain text in one line.",)
    if REFUSAL.search(text):
        return ("It refuses or speaks of yourself; describe what is there.",)
    if MARKUP.search(text) or REMARKS.search(text):
        return ("It holds markup, remarks or instructions; answer with the sentence alone.",)
    # Single quotation marks are apostrophes too.
    if text.count('"') % 2 or text.count("“") != text.count("”") or text.count("(") != text.count(")"):
        return ("Quotation marks or brackets are opened and not closed; write the sentence without them.",)
    tokens = tokenize(text)
    if not _is_english(text, tokens):
        return ("It is not plain English; write English words.",)
    if _repeats(tokens):
        return ("It repeats itself; say each thing once.",)
    if tokens and tokens[-1] in ENGLISH - SENTENCE_ENDS:
        return ("It breaks off; finish the sentence.",)
    return ()


def check_caption(
    text: str, *, max_words: int, effects: Iterable[str] = (), subject: str | None = None
) -> tuple[str, ...]:
    """Check a concise caption; it names at least one of the effects, where these are known, and no others."""
    if form_objections := check_text(text):
        return form_objections
    count, effects = len(text.split()), tuple(effects)
    sentences = sum(bool(part.strip()) for part in re.split(r"[.!?]+(?:\s+|$)", text))
    objections: list[str] = []
    if count > max_words:
        objections.append(f"It has {count} words; use at most {max_words}.")
    if count < MIN_WORDS:
        objections.append(f"It has {count} words; write a whole sentence.")
    if sentences > 2:
        objections.append(f"It has {sentences} sentences; write one, or two.")
    if VIDEO_FIRST.search(text):
        objections.append("Begin with the subject or the effect, not with the video or the scene.")
    if effects and not _names_any(text, effects):
        objections.append(f"It does not name what is there: {', '.join(effects)}.")
    if effects and (foreign := _foreign_names(text, effects)):
        objections.append(f"It names {', '.join(foreign)}, which is not there; there is {', '.join(effects)}.")
    denial = re.search(rf"\b(no|without(?: an?| any)?) (\w+ )?({'|'.join(sorted(CORE_NAMES))})\b", text.lower())
    if denial:
        objections.append(f"It denies an effect ('{denial.group()}'); say what is there.")
    return (*objections, *_check_colours(text), *_check_subject(text, subject))


def check_refinement(text: str, description: str) -> tuple[str, ...]:
    """Check that a caption speaks of no effect that the description it was made of does not; any, where it has none."""
    described = {effect for meanings in effect_words(description, EFFECTS).values() for effect in meanings}
    if not described or not (foreign := _foreign_names(text, described)):
        return ()
    return (f"It names {', '.join(foreign)}, of which the description does not speak; keep to the description.",)


def check_description(
    text: str, *, effects: Iterable[str] = (), subject: str | None = None, max_words: int = 450
) -> tuple[str, ...]:
    """Check a dense description: it may be long and of several lines, and names subject and effects."""
    if form_objections := check_text(" ".join(text.split("\n"))):
        return form_objections
    count, effects = len(text.split()), tuple(effects)
    objections: list[str] = []
    if count > max_words:
        objections.append(f"It has {count} words; use at most {max_words}.")
    if count < 2 * MIN_WORDS:
        objections.append(f"It has {count} words; describe effects, subject and course of events in several sentences.")
    if effects and not _names_any(text, effects):
        objections.append(f"It does not speak of what is there: {', '.join(effects)}.")
    return (*objections, *_check_subject(text, subject))


def check_variant(
    text: str, original: str, *, effects: Iterable[str] = (), subject: str | None = None, accepted: Sequence[str] = ()
) -> tuple[str, ...]:
    """Check a caption that should show the same scene with another style of the same effect.

    The head (who does what) and the effect clause are checked apart: the head's words are kept and none are added to
    them; the clause is free but for the effects it names: those given, else those of the original. It differs from the
    original and from the variants that were accepted before.
    """
    if form_objections := check_text(text):
        return form_objections
    original_effects = named_effects(original)
    effects = tuple(effects) or original_effects
    ratio = len(tokenize(text)) / max(len(tokenize(original)), 1)
    objections: list[str] = []
    if not LENGTH_RATIOS[0] <= ratio <= LENGTH_RATIOS[1]:
        objections.append(f"It is {ratio:.1f} times as long as the original; keep about its length.")
    objections += _check_head(text, original, effects)
    for effect in original_effects:
        if not _names_itself(text, effect):
            objections.append(f"It no longer names the {effect}.")
    if foreign := _foreign_names(text, {*effects, *original_effects}):
        objections.append(f"It adds {', '.join(foreign)}; keep to the effects of the original.")
    objections += _check_colours(text)
    if _clause_overlap(text, original, effects) > MAX_OVERLAP:
        objections.append("It says the same as the original; change the style of the effect.")
    if any(_clause_overlap(text, variant, effects) > MAX_OVERLAP for variant in accepted):
        objections.append("It says the same as another of the captions; make them differ.")
    return (*objections, *(_check_subject(text, subject) if _check_subject(original, subject) == () else ()))


def _is_english(text: str, tokens: Sequence[str]) -> bool:
    letters = [character for character in text if character.isalpha()]
    if len(letters) < 6 or sum(letter.isascii() for letter in letters) < 0.98 * len(letters):
        return False
    if any(len(token) > 24 for token in tokens) or len("".join(letters)) < 0.6 * len(text.replace(" ", "")):
        return False
    english = sum(token in ENGLISH for token in tokens)
    return english > sum(token in FOREIGN - ENGLISH for token in tokens) and english >= 0.08 * len(tokens)


def _repeats(tokens: Sequence[str]) -> bool:
    """Whether three words come thrice (six in a longer text), or one word twice in a row."""
    length = 3 if len(tokens) <= 45 else 6
    runs = [tuple(tokens[start : start + length]) for start in range(len(tokens) - length + 1)]
    doubled = any(first == second for first, second in pairwise(tokens) if first not in ("very", "that", "leaves"))
    return doubled or any(runs.count(run) > 2 for run in set(runs))


def _foreign_names(text: str, effects: Iterable[str]) -> list[str]:
    """Return the words that name other effects than these; "light" is too often a quality or the sun's."""
    related = related_effects(effects)
    foreign = (
        mention.word
        for mention in effect_mentions(text)
        if mention.is_certain and not mention.effects & related and mention.effects != {"light"}
    )
    return sorted(set(foreign))


def _names_any(text: str, effects: Iterable[str]) -> bool:
    effects = tuple(effects)
    related = related_effects(effects)
    named = (set(named_effects(text)), *effect_words(text, effects).values())
    return any(meanings & related for meanings in named)


def _names_itself(text: str, effect: str) -> bool:
    """Whether an effect is named by a word of its own: smoke is no dust, nor a splash spray."""
    return effect in named_effects(text) or any(
        effect in meanings for meanings in effect_words(text, [effect]).values()
    )


def _check_colours(text: str) -> list[str]:
    tokens = tokenize(text)
    for index, token in enumerate(tokens):
        vivid = [word for word in tokens[max(0, index - 2) : index] if word in VIVID]
        if token in ("shadow", "shadows") and vivid:
            return [f"A shadow is not {vivid[0]}; choose what a shadow can be."]
    return []


def _check_subject(text: str, subject: str | None) -> tuple[str, ...]:
    """Check that the subject is named, by its noun or an interchangeable one."""
    if not subject or not tokenize(subject):
        return ()
    noun = SubjectName(noun=subject).head_noun
    stems = {stem(noun)}
    for nouns in INTERCHANGEABLE:
        if noun in nouns or noun.removesuffix("s") in nouns:
            stems |= {stem(word) for word in nouns}
    return () if stems & {stem(word) for word in tokenize(text)} else (f"It does not name the subject: {subject}.",)


def _check_head(text: str, original: str, effects: tuple[str, ...]) -> list[str]:
    head = split_caption(original, effects).head
    added = content_stems(split_caption(text, effects).head) - content_stems(original)
    added -= {stem(word) for word in all_adjectives()}
    if content_stems(head) - content_stems(text):
        return [f"It changes who does what: keep the words of '{head}'."]
    return [f"It adds to who does what ({', '.join(sorted(added))}); change the effect alone."] if added else []


def _clause_overlap(first: str, second: str, effects: Iterable[str]) -> float:
    """Return the share of words common to the effect clauses of two captions; to the captions, where they have none."""
    a, b = (set(tokenize(split_caption(text, effects).clause or text)) for text in (first, second))
    return len(a & b) / max(len(a | b), 1)
