"""Licences of footage: SPDX expressions or named texts, what they allow, and which of them go together.

A licence of a source is an SPDX expression (`CC-BY-4.0`, `CC-BY-4.0 AND CC0-1.0`), or any other text, which then is the
name of its terms: `LicenseRef-` and its letters is how SPDX spells that. Terms are known of the licences that footage
comes under; of all others nothing is assumed, so they count as not allowed wherever something must be allowed.
The pairs of a corpus are adaptations of their footage (parts are removed and put together anew), and a corpus with
several licences is a collection; nothing here is legal advice.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, partial
from typing import Any, Literal

import license_expression

from .settings import nearest

MAX_LICENCE = 200
"""Characters of a licence: an expression or the name of a text, not the text itself."""
UNKNOWN = "NOASSERTION"
"""SPDX's word for a licence of which nothing is said."""
COMMERCIAL = "commercial"
"""Word among allowed licences that stands for all which are known to allow commercial use."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Terms of a licence that matter to a corpus; None where they are not known."""

    commercial: bool | None = None
    derivatives: bool | None = None
    attribution: bool | None = None
    share_alike: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Licence:
    """One licence as it stands in a corpus."""

    expression: str
    """SPDX expression; `LicenseRef-...` for a named text."""
    name: str
    """The expression, or the name of the text."""
    url: str
    """Address of the text; empty where it is not known."""
    text: str
    """As rows hold it: the expression, or the words where SPDX has none."""
    terms: Terms


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """Consequence of two licences in one corpus."""

    verdict: Literal["together", "restricted", "apart", "unclear"]
    """together: no term of one touches the other. restricted: the whole may be used under the stricter alone. apart:
    no work may be made of both. unclear: terms of one are not known."""
    reason: str


_FREE = Terms(commercial=True, derivatives=True, attribution=False, share_alike=False)
_NAMED = Terms(commercial=True, derivatives=True, attribution=True, share_alike=False)
_SHARED = Terms(commercial=True, derivatives=True, attribution=True, share_alike=True)
_TERMS = {
    **dict.fromkeys(("CC0-1.0", "CC-PDDC", "PDDL-1.0", "Unlicense", "0BSD"), _FREE),
    **dict.fromkeys(("MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ODC-By-1.0", "CDLA-Permissive-2.0"), _NAMED),
    **dict.fromkeys(("ODbL-1.0", "CDLA-Sharing-1.0", "GPL-2.0-only", "GPL-3.0-only", "GPL-3.0-or-later"), _SHARED),
}
_TEXTS = {
    "LicenseRef-Pexels": ("Pexels licence: no resale of unaltered copies", "https://www.pexels.com/license/", _FREE),
    "LicenseRef-Each-Clip-Its-Own": ("each clip has a licence of its own: see its origin", "", Terms(attribution=True)),
    "LicenseRef-See-Download": ("the terms that come with the download", "", Terms(attribution=True)),
}
"""Texts that SPDX has no name for: name, address, terms."""
_CREATIVE_COMMONS = re.compile(r"CC-BY(-NC)?(-ND)?(-SA)?-(\d\.\d)(-[A-Z]+)?")
_LICENCE_REF = re.compile(r"(DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+")


@cache
def read_licence(text: str) -> Licence:
    """Read a licence: an SPDX expression, or a named text; "CC BY-NC 4.0" and its like are read as SPDX spells them."""
    text = " ".join(text.split())
    if not text or text.lower() in ("unknown", UNKNOWN.lower()):
        return Licence(expression=UNKNOWN, name="unknown", url="", text="unknown", terms=Terms())
    tree = _parse(text)
    if tree is None:
        digits = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:6]
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", text)[:40].strip("-")
        address = re.search(r"https?://[^\s<>\"']+", text)
        url = address[0].rstrip(".,;)") if address else ""
        return Licence(expression=f"LicenseRef-{slug}-{digits}", name=text, url=url, text=text, terms=Terms())
    expression = str(tree.render())
    is_one = isinstance(tree, license_expression.BaseSymbol)
    name, url, _ = _TEXTS.get(expression, (expression, "", None))
    if is_one and not url and not expression.startswith(("LicenseRef-", "DocumentRef-")) and " " not in expression:
        url = f"https://spdx.org/licenses/{expression}.html"
    terms = {term: _combined(tree, partial(_term_of, term), term) for term in Terms.__dataclass_fields__}
    return Licence(expression=expression, name=name, url=url, text=expression, terms=Terms(**terms))


def check_licence(text: str) -> None:
    """Check a licence in settings.

    Raises:
        ValueError: it is too long, or looks like an SPDX identifier that there is not.
    """
    if len(text) > MAX_LICENCE:
        raise ValueError(
            f"licence has {len(text):,} characters; write an SPDX expression, or the name of the text, not the text"
        )
    if re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9.+]+)+", text) and _parse(text) is None:
        raise ValueError(
            f"licence={text!r} is no SPDX identifier{nearest(text, _identifiers())} A text of its own is named "
            "LicenseRef-NAME, or by words"
        )


def is_allowed(text: str, allowed: Iterable[str]) -> bool:
    """Whether a licence is among those that are allowed: one of an OR is enough, an AND needs all of its parts.

    Args:
        text: the licence.
        allowed: SPDX identifiers, names of texts, shell patterns of them, or the word `commercial`.
    """
    patterns, licence = tuple(allowed), read_licence(text)

    def has(leaf: str) -> bool:
        return any(
            _terms_of(leaf).commercial is True if pattern == COMMERCIAL else fnmatchcase(leaf.lower(), pattern.lower())
            for pattern in patterns
        )

    tree = _parse(licence.expression)
    names = (licence.expression, licence.name)
    if tree is None or any(fnmatchcase(name.lower(), pattern.lower()) for name in names for pattern in patterns):
        return tree is not None or has(licence.expression)
    return bool(_combined(tree, has, "commercial"))


def check_allowed(allowed: Iterable[str]) -> None:
    """Check a list of allowed licences: a slip of the pen would leave everything out.

    Raises:
        ValueError: an entry is neither an SPDX identifier, `LicenseRef-...`, a pattern, nor the word `commercial`.
    """
    for entry in allowed:
        is_pattern = entry in (COMMERCIAL, "unknown", UNKNOWN) or any(sign in entry for sign in "*?[ ")
        if not is_pattern and _parse(entry) is None:
            raise ValueError(
                f"licence_allow has {entry!r}, which is no SPDX identifier{nearest(entry, _identifiers())} Write one, "
                f"LicenseRef-NAME, a pattern such as CC-BY-[1-4]*, or {COMMERCIAL}"
            )


def matches_licence(text: str, pattern: str) -> bool:
    """Whether a licence matches a shell pattern, in whichever spelling both are written."""
    return fnmatchcase(text, pattern) or fnmatchcase(read_licence(text).text, read_licence(pattern).text)


def pairing(one: Licence, other: Licence) -> Pairing:
    """Tell what it means that clips under two licences stand in one corpus, by the known terms of both."""
    pair = (one, other)
    if one.expression == other.expression:
        return Pairing(verdict="together", reason="the same licence")
    if any(licence.terms.derivatives is False for licence in pair):
        return Pairing(verdict="apart", reason="one allows no adaptations, and pairs are adaptations")
    unclear = [licence.name for licence in pair if None in (licence.terms.commercial, licence.terms.share_alike)]
    if unclear:
        return Pairing(verdict="unclear", reason=f"the terms of {unclear[0]} are not known here")
    restrictive = [licence for licence in pair if licence.terms.commercial is False]
    sharing = [licence for licence in pair if licence.terms.share_alike]
    if len(sharing) == 2 and not _same_family(*sharing):
        return Pairing(verdict="apart", reason="each asks that what is made of it comes under its own terms")
    if sharing and len(restrictive) == 1 and (len(sharing) == 2 or sharing != restrictive):
        return Pairing(verdict="apart", reason="one asks for its own terms, which the other's ban on commerce breaks")
    if restrictive:
        return Pairing(verdict="restricted", reason="no commercial use of the whole")
    if sharing:
        return Pairing(verdict="restricted", reason=f"what is made of both comes under {sharing[0].name}")
    return Pairing(verdict="together", reason="both are named where they ask for it")


def warnings_of(licences: Iterable[Licence]) -> list[str]:
    """Sentences for whoever publishes clips under these licences together."""
    known = sorted({licence.expression: licence for licence in licences}.values(), key=lambda one: one.expression)
    restrictive = [licence.name for licence in known if licence.terms.commercial is False]
    others = [licence.name for licence in known if licence.terms.commercial is not False]
    fixed = [licence.name for licence in known if licence.terms.derivatives is False]
    sentences = []
    if restrictive and others:
        sentences.append(
            f"non-commercial clips ({', '.join(restrictive)}) stand beside others ({', '.join(others)}): nobody may "
            "use the whole commercially; leave them out with --licence-allow commercial"
        )
    if fixed:
        sentences.append(f"{', '.join(fixed)} allows no adaptations, and pairs are adaptations; leave those clips out")
    for number, one in enumerate(known):
        for other in known[number + 1 :]:
            if pairing(one, other).verdict == "apart" and not {one.name, other.name} & set(fixed):
                sentences.append(f"{one.name} and {other.name} do not go together: {pairing(one, other).reason}")
    if unclear := [licence.name for licence in known if licence.terms.commercial is None]:
        sentences.append(f"the terms of {', '.join(unclear)} are not known here; look them up before you publish")
    return sentences


_PERMISSIONS = ("commercial", "derivatives")


def _terms_of(leaf: str) -> Terms:
    if match := _CREATIVE_COMMONS.fullmatch(leaf):
        return Terms(commercial=not match[1], derivatives=not match[2], attribution=True, share_alike=bool(match[3]))
    return _TERMS.get(leaf) or _TEXTS.get(leaf, ("", "", Terms()))[2]


def _term_of(term: str, leaf: str) -> bool | None:
    value: bool | None = getattr(_terms_of(leaf), term)
    return value


def _same_family(one: Licence, other: Licence) -> bool:
    """Whether two share-alike licences are versions of one, whose works may be put together under the later."""
    matches = [_CREATIVE_COMMONS.fullmatch(licence.expression) for licence in (one, other)]
    return all(matches) and len({match[1] for match in matches if match}) == 1


def _combined(tree: Any, value_of: Callable[[str], bool | None], term: str) -> bool | None:
    """Value of an expression: the user of an OR takes the better part, of an AND all hold; None where not known."""
    if isinstance(tree, license_expression.BaseSymbol):
        return value_of(getattr(tree, "license_symbol", tree).key)
    values = [_combined(part, value_of, term) for part in tree.args]
    is_or = isinstance(tree, license_expression.OR)
    decisive = is_or == (term in _PERMISSIONS)  # True decides an OR of permissions, and an AND of duties
    return decisive if decisive in values else None if None in values else not decisive


@cache
def _spdx() -> Any:
    return license_expression.get_spdx_licensing()


@cache
def _identifiers() -> tuple[str, ...]:
    return tuple(name for name in _spdx().known_symbols if not name.startswith("LicenseRef-"))


def _parse(text: str) -> Any:
    """Tree of an SPDX expression; None where a text is none."""
    if len(text) > MAX_LICENCE:
        return None
    text = re.sub(r"\bCC0\b(?!-)( 1\.0)?", "CC0-1.0", text, flags=re.IGNORECASE)
    text = re.sub(r"\bCC[ -]BY((?:-(?:NC|ND|SA))*) (\d\.\d)", r"CC-BY\1-\2", text, flags=re.IGNORECASE)
    try:
        tree = _spdx().parse(text)
    except (license_expression.ExpressionError, license_expression.ParseError):
        return None
    if tree is None:
        return None
    unknown = [key for key in _spdx().unknown_license_keys(tree) if not _LICENCE_REF.fullmatch(key)]
    return None if unknown else tree
