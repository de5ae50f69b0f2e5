"""Clips purged from a workspace: `purged.json` names them, every run leaves them out, and the account says so."""

from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal, get_args

from ...licences import matches_licence
from .atomic_io import CorruptFile, key_digest, seal_json, unseal_json
from .location import Location, Place

FILE = "purged.json"
Subject = Literal["source", "licence", "origin", "clip"]


@dataclass(frozen=True, kw_only=True)
class Purge:
    """One purge as it was asked for, and the clips that it took out."""

    by: Subject
    pattern: str
    """Name or pattern that sources, licences, origins or ids of clips match."""
    names: tuple[str, ...] = ()
    """Ids of the clips, and of the videos, scenes or prompts that they were all of."""

    def matches(self, by: Subject, value: str) -> bool:
        """Whether a value of that kind is purged."""
        return self.by == by and (matches_licence if by == "licence" else fnmatchcase)(value, self.pattern)


@dataclass(frozen=True, kw_only=True)
class Purges:
    """All purges of a workspace."""

    purges: tuple[Purge, ...] = ()

    @property
    def digest(self) -> str:
        """Digest of all of them."""
        return key_digest(asdict(self))

    @cached_property
    def _names(self) -> dict[str, str]:
        return {name: _reason(purge) for purge in self.purges for name in purge.names}

    def source_reason(self, source: Any) -> str | None:
        """Why nothing of a source may be used; None where it may. It is asked for its name, licence and origin."""
        values: dict[Subject, str] = {"source": source.name, "licence": source.licence, "origin": source.origin}
        return next((_reason(purge) for purge in self.purges for by in values if purge.matches(by, values[by])), None)

    def reason(self, name: str) -> str | None:
        """Why a clip, or what it is made of, may not be used; None where it may."""
        by_pattern = (_reason(purge) for purge in self.purges if purge.matches("clip", name))
        return self._names.get(name) or next(by_pattern, None)

    def row_reason(self, row: Any) -> str | None:
        """The same by a finished clip's row, whose origin is its own."""
        origin = row["provenance"]["origin"] or ""
        return next((_reason(purge) for purge in self.purges if purge.matches("origin", origin)), None)


def read_purges(workspace: Place) -> Purges:
    """Purges of a workspace.

    Raises:
        CorruptFile: the list is damaged; nothing may be run before it is mended, since it says what may not be used.
    """
    location = Location.of(workspace)
    try:
        values = unseal_json(location.read(FILE))["purges"]
        purges = tuple(Purge(**{**value, "names": tuple(value["names"])}) for value in values)
        if any(purge.by not in get_args(Subject) for purge in purges):
            raise ValueError("unknown")
    except FileNotFoundError:
        return Purges()
    except (ValueError, KeyError, TypeError) as broken:
        raise CorruptFile(
            f"{location.path(FILE)} is damaged; it lists what was purged: put back a copy of it, or purge anew after "
            "deleting it"
        ) from broken
    return Purges(purges=purges)


def write_purges(workspace: Place, purges: Purges) -> None:
    """Write the purges of a workspace, whole or not at all."""
    Location.of(workspace).write(FILE, seal_json(asdict(purges)))


def _reason(purge: Purge) -> str:
    return f"was purged by {purge.by} '{purge.pattern}'"
