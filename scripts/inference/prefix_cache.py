"""A KV cache for prompts of earlier calls, in blocks that are found by their tokens (Kwon et al., 2023)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor

Layers = dict[int, tuple[Tensor, Tensor]]
"""By layer: keys and values of some tokens, each (heads, tokens, width)."""


class PrefixCache:
    """Keys and values in blocks of `BLOCK` tokens, up to `limit` bytes.

    The least recently used blocks are dropped first.

    With it, a conversation that grows turn by turn is computed once. One cache serves one model with fixed
    weights.
    """

    BLOCK = 32  # tokens; smaller blocks match longer prefixes but cost more copies

    def __init__(self, limit: int = 2**31):
        self.limit = limit
        self.size = 0  # bytes
        self._blocks: OrderedDict[tuple, tuple[int, Layers]] = OrderedDict()
        self._created = 0  # blocks so far; the number of a block is part of the key of the block after it

    def find(self, ids: Sequence[int]) -> list[Layers]:
        """The stored blocks that `ids` begins with, in order."""
        keys: list[tuple] = []
        found: list[Layers] = []
        parent = 0
        for start in range(0, len(ids) - self.BLOCK + 1, self.BLOCK):
            key = (parent, *ids[start : start + self.BLOCK])
            if key not in self._blocks:
                break
            parent, layers = self._blocks[key]
            keys.append(key)
            found.append(layers)
        for key in reversed(keys):  # so that a block is dropped before the block it follows
            self._blocks.move_to_end(key)
        return found

    def add(self, ids: Sequence[int], copy: Callable[[slice], Layers]) -> None:
        """Store the whole blocks of `ids` that are missing.

        `copy` returns the keys and values of a part of `ids`.
        """
        parent = 0
        for start in range(0, len(ids) - self.BLOCK + 1, self.BLOCK):
            part = slice(start, start + self.BLOCK)
            key = (parent, *ids[part])
            if key not in self._blocks:
                layers = copy(part)
                self._created += 1
                self._blocks[key] = self._created, layers
                self.size += _bytes(layers)
            parent = self._blocks[key][0]
        while self.size > self.limit:
            _, (_, layers) = self._blocks.popitem(last=False)
            self.size -= _bytes(layers)


def _bytes(layers: Layers) -> int:
    return sum(part.nbytes for pair in layers.values() for part in pair)
