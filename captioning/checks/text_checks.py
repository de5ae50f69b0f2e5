"""Is an answer plain English at all: no refusal, no markup, no remarks, no other language, no endless loop?"""

import re
import unicodedata
from itertools import pairwise

from ..language.caption_parsing import tokenize
from ..language.vocabulary import terms

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
ENDS = frozenset(terms("it along behind below above around through off out up down across by"))
"""Of the words of grammar, those with which a sentence may end."""
REFUSAL = re.compile(
    r"\b(i['’]?m|i am|i|we) (sorry|unable|cannot|can['’]?t|can not|could ?n[o'’]t|am|do not|don['’]?t|apologi[sz]e)\b"
    r"|\bsorry\b|\bas an ai\b|\blanguage model\b"
    r"|\b(can(no|['’])t|unable to) (assist|help|see|view|access|provide|describe)\b"
    r"|\bplease (provide|upload|share)\b|\bno (video|image|frames?) (was|were|is|are|has|have)\b"
    r"|(?-i:\bI\b)(?!\.)",
    re.IGNORECASE,
)
TALK = re.compile(
    r"^\W*(sure|certainly|absolutely|of course|okay|ok|yes|great|understood|here (is|are)|here['’]s|the following)\b"
    r"|^\W*(below (is|are) (the|a|my|your)|as (you )?(requested|asked)|based on (the|this|your) \w+|to summari[sz]e)\b"
    r"|^\W*((the|this|a|an|my|your|one|final|new|revised|refined|rewritten|short|concise|possible|video) )*"
    r"(captions?|prompts?|output|answer|response|note|variations?|variants?)\b"
    r"|^\W*(the|this|a|my) description (is|of|shows|for|reads)\b|^\W*description:"
    r"|\b(json|markdown|word (limit|count)|\d+ words|system prompt|instructions?|previous (prompt|message))\b"
    r"|\b(let me know|hope (this|that|it) (helps|works|fits|meets))\b",
    re.IGNORECASE,
)
"""What is said about the answer, before or behind it, rather than by it."""
MARKUP = re.compile(r"^[\"“]|[*_#`~|<>{}\[\]\\^=]|https?:|www\.|^\s*(-|•|\d+[.)])\s", re.MULTILINE)


def check_text(text: str) -> tuple[str, ...]:
    """What is wrong with a text as such; what it says is looked at only where nothing is."""
    if not text.strip():
        return ("It is empty; answer with the caption.",)
    if any(unicodedata.category(character)[0] == "C" or unicodedata.category(character) == "So" for character in text):
        return ("It holds control characters, pictographs or line breaks; write plain text in one line.",)
    if REFUSAL.search(text):
        return ("It refuses or speaks of yourself; describe what is there.",)
    if MARKUP.search(text) or TALK.search(text):
        return ("It holds markup, remarks or instructions; answer with the sentence alone.",)
    if not _paired(text):
        return ("Quotation marks or brackets are opened and not closed; write the sentence without them.",)
    if not _english(text):
        return ("It is not plain English; write English words.",)
    if _repeats(text):
        return ("It repeats itself; say each thing once.",)
    if tokenize(text)[-1:] and tokenize(text)[-1] in ENGLISH - ENDS:
        return ("It breaks off; finish the sentence.",)
    return ()


def _paired(text: str) -> bool:
    """Is every double quotation mark and bracket one of a pair? Single ones are apostrophes too."""
    return text.count('"') % 2 == 0 and text.count("“") == text.count("”") and text.count("(") == text.count(")")


def _english(text: str) -> bool:
    letters = [character for character in text if character.isalpha()]
    tokens = tokenize(text)
    if len(letters) < 6 or sum(letter.isascii() for letter in letters) < 0.98 * len(letters):
        return False
    if any(len(token) > 24 for token in tokens) or len("".join(letters)) < 0.6 * len(text.replace(" ", "")):
        return False
    english = sum(token in ENGLISH for token in tokens)
    foreign = sum(token in FOREIGN - ENGLISH for token in tokens)
    return english > foreign and english >= 0.08 * len(tokens)


def _repeats(text: str) -> bool:
    """Three words thrice in a caption, six in a longer text, or one word twice in a row."""
    tokens = tokenize(text)
    long = 3 if len(tokens) <= 45 else 6
    runs = [tuple(tokens[start : start + long]) for start in range(len(tokens) - long + 1)]
    twice = any(one == other for one, other in pairwise(tokens) if one not in ("very", "that"))
    return twice or any(runs.count(run) > 2 for run in set(runs))
