"""Documents beside `corpus.json`, each made of that alone: data card, attribution, and `croissant.json`."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import jinja2

from ...licences import Licence, pairing, read_licence
from ...untrusted_input import markdown_text
from ..store.atomic_io import json_bytes
from .croissant import croissant
from .publish import ATTRIBUTION, CARD, CROISSANT, DOCUMENT_MARKS

MAX_PAIRINGS = 60
"""Rows of the table of licences: 11 licences with each other; more of them make a list that nobody reads."""
HUB_LICENCES = frozenset({"CC0-1.0", "MIT", "Apache-2.0", "ODbL-1.0", "PDDL-1.0", "CDLA-Permissive-2.0"})
"""Licences, beside those of Creative Commons, that a data card's front matter names in lower case."""


def render_documents(manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """Data card, attribution and `croissant.json` of a corpus: whoever reads its `corpus.json` can write them again."""
    licences = sorted(
        {read_licence(name) for names in manifest["licences"].values() for name in names},
        key=lambda licence: licence.expression,
    )
    values = {
        "corpus": manifest,
        "licences": licences,
        "pairings": list(_pairings(licences))[:MAX_PAIRINGS],
        "left_out": manifest.get("left_out", {}),
        "credits": list(_credits(manifest)),
        "hub_licence": _hub_licence(licences),
        "marks": DOCUMENT_MARKS,
        "dumps": json.dumps,
    }
    # A page that shows the document inside its own HTML is not left by a text that ends a script.
    description = json_bytes(croissant(manifest, licences)).replace(b"<", b"\\u003c")
    return {
        CARD: _template("card.md.j2").render(values).encode(),
        ATTRIBUTION: _template("attribution.md.j2").render(values).encode(),
        CROISSANT: description,
    }


@cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    environment.filters["text"] = markdown_text
    return environment.get_template(name)


def _pairings(licences: list[Licence]) -> Iterator[dict[str, str]]:
    for one, other in combinations(licences, 2):
        result = pairing(one, other)
        yield {"one": one.name, "other": other.name, "verdict": result.verdict, "reason": result.reason}


def _credits(manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Everybody who must be named, and those of whom it is not known."""
    for entry in manifest.get("origins", ()):
        licence = read_licence(entry["licence"])
        if licence.terms.attribution is not False:
            yield {**entry, "licence": licence.name, "url": licence.url}


def _hub_licence(licences: list[Licence]) -> str:
    """Identifier for a data card's front matter, which has one licence or "other"."""
    only = licences[0].expression if len(licences) == 1 else ""
    is_listed = only in HUB_LICENCES or (only.startswith("CC-BY-") and only[-3:] in ("2.0", "2.5", "3.0", "4.0"))
    return only.lower() if is_listed else "other"
