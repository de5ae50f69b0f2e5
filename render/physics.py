"""Rigid bodies that fall, slide and collide: the one file that talks to Kubric (and through it to PyBullet)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from .effects.effect import Contact
from .scene import Scene


@dataclass(frozen=True, kw_only=True, eq=False)
class Fall:
    """What becomes of one body."""

    at: Float64[np.ndarray, "T 3"]
    """Its middle, metres."""
    turn: Float64[np.ndarray, "T 4"]
    """Unit quaternions, w first."""
    contacts: tuple[Contact, ...] = ()


def simulate(scene: Scene) -> tuple[Fall, ...]:
    """The way of the subject and of every prop, in that order.

    Raises:
        ImportError: Kubric is not installed.
    """
    raise NotImplementedError
