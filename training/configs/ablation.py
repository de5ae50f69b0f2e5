"""What a source of data is worth: the same run without it, and the paper's Table 3 of the results.

An ablation is a table in a run's settings. Each of its variants is the run itself with a folder of its own, the latents
of all, and a mix that lacks some kinds of clips; the clips that it is measured on are the same for all.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..base.strict import STRICT
from ..latents.sampler import KINDS

Kind = Literal["real", "synthetic", "unpaired"]


@dataclass(frozen=True, kw_only=True)
class AblationVariant:
    """One line of the table."""

    __pydantic_config__ = STRICT
    name: str
    """Of its folder in the run's output: small letters, digits and dashes."""
    without: tuple[Kind, ...] = ()
    """Kinds of clips that it does not see."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", self.name):
            raise ValueError(f"ablation.name='{self.name}' names a folder; write small letters, digits and dashes")
        if set(self.without) >= set(KINDS):
            raise ValueError(f"ablation '{self.name}' goes without all kinds of clips; leave it one to learn from")

    @property
    def seen(self) -> tuple[str, ...]:
        """The kinds that are left, in the order of the table."""
        return tuple(kind for kind in KINDS if kind not in self.without)


def check_variants(variants: Sequence[AblationVariant]) -> None:
    """Can these be lines of one table?

    Raises:
        ValueError: two have one name, or see the same.
    """
    for what, found in (("name", [one.name for one in variants]), ("mix", [one.seen for one in variants])):
        double = next((value for number, value in enumerate(found) if value in found[:number]), None)
        if double is not None:
            said = double if isinstance(double, str) else ", ".join(double)
            raise ValueError(f"ablation has two variants of one {what} ({said}); leave one of them out")


def check_counts(variants: Sequence[AblationVariant], counts: Mapping[str, int], what: str) -> None:
    """Does each variant differ from the others on these clips?

    Args:
        variants: the lines.
        counts: how many clips of each kind are there to learn from.
        what: names the corpus in an error.

    Raises:
        ValueError: a kind that a variant goes without is not there anyway, or a variant has nothing left.
    """
    for variant in variants:
        for kind in variant.without:
            if not counts.get(kind):
                raise ValueError(
                    f"{what}: has no {kind} clips to learn from, so the variant '{variant.name}' would show nothing; "
                    f"add some, or take the variant out of the ablation"
                )
        if not any(counts.get(kind) for kind in variant.seen):
            raise ValueError(
                f"{what}: has nothing to learn from for the variant '{variant.name}'; add {' or '.join(variant.seen)} "
                "clips, or take the variant out of the ablation"
            )
