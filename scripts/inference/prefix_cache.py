"""What prompts of earlier calls began with, kept for later ones (Kwon et al., 2023: blocks that are found by their tokens)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

Layers = dict[int, tuple[Any, Any]]
"""By layer: keys and values of some tokens, each (heads, tokens, width)."""


class PrefixCache:
    """Keys and values in blocks of `BLOCK` tokens, up to `limit` bytes; what was not used for longest goes first.

    A conversation that grows turn by turn is so computed once. One cache serves one model whose weights stay as they are.
    """

    BLOCK = 32  # tokens; fewer would be found more exactly and cost more to copy

    def __init__(self, limit: int = 2**31):
        self.limit = limit
        self.size = 0  # bytes
        self._blocks: OrderedDict[tuple, tuple[int, Layers]] = OrderedDict()
        self._made = 0

    def find(self, ids: Sequence[int]) -> list[Layers]:
        """The known blocks that `ids` begins with, in order."""
        keys, found, parent = [], [], 0
        for start in range(0, len(ids) - self.BLOCK + 1, self.BLOCK):
            key = (parent, *ids[start : start + self.BLOCK])
            if key not in self._blocks:
                break
            parent, layers = self._blocks[key]
            keys.append(key)
            found.append(layers)
        for key in reversed(keys):  # a block goes before the one it follows
            self._blocks.move_to_end(key)
        return found

    def keep(self, ids: Sequence[int], take: Callable[[slice], Layers]) -> None:
        """Add the whole blocks of `ids`; `take` gives the keys and values of a part of it, in memory of their own."""
        parent = 0
        for start in range(0, len(ids) - self.BLOCK + 1, self.BLOCK):
            part = slice(start, start + self.BLOCK)
            key = (parent, *ids[part])
            if key not in self._blocks:
                layers = take(part)
                self._made += 1
                self._blocks[key] = self._made, layers
                self.size += _bytes(layers)
            parent = self._blocks[key][0]
        while self.size > self.limit:
            self.size -= _bytes(self._blocks.popitem(last=False)[1][1])


def _bytes(layers: Layers) -> int:
    return sum(part.nbytes for pair in layers.values() for part in pair)
