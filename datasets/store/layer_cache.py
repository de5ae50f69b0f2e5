"""Decoded layers kept in memory, so that the next stage over the same clip need not decode what the last one made."""

from collections import OrderedDict

import numpy as np

from .codec import Frames


class LayerCache:
    """The most recently used layers by the digest of their stored bytes, up to a number of bytes."""

    def __init__(self, *, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._frames: OrderedDict[str, Frames] = OrderedDict()
        self._held_bytes = 0

    def find(self, digest: str) -> Frames | None:
        """The layer's frames, or None; the caller must not write into them."""
        frames = self._frames.get(digest)
        if frames is not None:
            self._frames.move_to_end(digest)
        return frames

    def keep(self, digest: str, frames: Frames) -> None:
        """Remember a layer, letting go of the least recently used ones where the budget asks for it."""
        if frames.dtype == bool:
            frames = frames.view(np.uint8) * np.uint8(255)  # as decoding would give it
        if digest in self._frames or frames.nbytes > self.budget_bytes:
            return
        frames = frames.view()
        frames.flags.writeable = False  # a change in place would belie the digest
        self._frames[digest] = frames
        self._held_bytes += frames.nbytes
        while self._held_bytes > self.budget_bytes:
            _, oldest = self._frames.popitem(last=False)
            self._held_bytes -= oldest.nbytes
