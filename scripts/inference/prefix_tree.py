"""A KV cache for prompts with shared prefixes: each distinct prefix token is stored once.

A `PrefixTree` holds, for each layer, the keys and values of the distinct tokens of its prompts
(`prompt_kv`) and of the tokens that are generated after each prompt (`generated_kv`). A prompt with its
generated tokens is a sequence.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import torch
from torch import Tensor

from scripts.inference.prefix_cache import Layers, PrefixCache


class PrefixTree:
    """The sequences of `prompts`, each with up to `max_new_tokens` generated tokens.

    Sort the prompts to share most.

    A column is the place of a prompt token in the tree.

    Attributes:
        ids, positions: The token of each column, and its position in the prompts that share it.
        paths: The columns of each prompt, in the order of its tokens.
        last: The column of the last token of each prompt.
        lengths: The tokens of each prompt.
        active: The numbers of the sequences that still grow.
        generated: The tokens behind the prompt, the same number in all active sequences.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], max_new_tokens: int):
        self.prompts = prompts
        self.max_new_tokens = max_new_tokens
        self.lengths = [len(prompt) for prompt in prompts]
        self.active = list(range(len(prompts)))
        self.generated = 0
        self.prompt_kv: Layers = {}  # each (heads, columns, width)
        self.generated_kv: Layers = {}  # each (sequences, heads, max_new_tokens, width)
        self._build()
        self.last = [path[-1] for path in self.paths]
        self._last = set(self.last)

    def _build(self) -> None:
        """Lay out the distinct tokens of the prompts in columns, each token after the tokens that it
        follows.
        """
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.paths: list[list[int]] = []
        self._starts: list[int] = []  # of each prompt, the first column of its own
        self._shared: list[Tensor] = []  # and the columns that it shares with the prompt before it
        before: Sequence[int] = []
        path: list[int] = []
        for prompt in self.prompts:
            shared, start = common_prefix(before, prompt), len(self.ids)
            path = path[:shared] + list(range(start, start + len(prompt) - shared))
            self.ids += prompt[shared:]
            self.positions += range(shared, len(prompt))
            self.paths.append(path)
            self._starts.append(start)
            self._shared.append(torch.tensor(path[:shared], dtype=torch.long))
            before = prompt

    def visible(self, columns: Sequence[int], size: int) -> Tensor:
        """Whether the token of each of `columns` attends to the tokens of the first `size` columns.

        (columns, size), bool. No column is at `size` or after it.
        """
        result = torch.zeros(len(columns), size, dtype=torch.bool)
        for row, column in enumerate(columns):
            # A prompt without a column of its own has the same start as the prompt after it.
            prompt = bisect_right(self._starts, column) - 1
            result[row, self._shared[prompt]] = True
            result[row, self._starts[prompt] : column + 1] = True
        return result

    def is_last(self, column: int) -> bool:
        """Whether a prompt ends at this column."""
        return column in self._last

    def load_cached(self, cache: PrefixCache | None) -> list[int]:
        """Take over the keys and values that `cache` has.

        Returns the columns that must be computed, in order.

        The last column of each prompt is always among them, because its logits are needed.
        """
        known: set[int] = set()
        for prompt, path in zip(self.prompts, self.paths, strict=True):
            blocks = cache.find(prompt) if cache is not None else []
            for number, layers in enumerate(blocks):
                columns = path[number * PrefixCache.BLOCK : (number + 1) * PrefixCache.BLOCK]
                if not known.issuperset(columns):
                    for layer, (key, value) in layers.items():
                        keys, values = self.prompt_layer(layer, key, value)
                        keys[:, columns], values[:, columns] = key, value
                    known.update(columns)
        return [column for column in range(len(self.ids)) if column not in known or column in self._last]

    def store(self, cache: PrefixCache) -> None:
        """Copy the keys and values of all prompts to `cache`."""
        for prompt, path in zip(self.prompts, self.paths, strict=True):
            cache.add(prompt, lambda part, path=path: self._copy(path[part]))

    def _copy(self, columns: list[int]) -> Layers:
        """The keys and values of some columns."""
        return {
            layer: (keys[:, columns], values[:, columns]) for layer, (keys, values) in self.prompt_kv.items()
        }

    def prompt_layer(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The stored keys and values of the prompts; new ones with the type and the sizes of `key` and
        `value`.

        `key` and `value` are (heads, tokens, width).
        """
        if layer not in self.prompt_kv:
            self.prompt_kv[layer] = tuple(
                part.new_empty(part.shape[0], len(self.ids), part.shape[2]) for part in (key, value)
            )
        return self.prompt_kv[layer]

    def generated_layer(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The same for the generated tokens."""
        if layer not in self.generated_kv:
            self.generated_kv[layer] = tuple(
                part.new_empty(len(self.prompts), part.shape[0], self.max_new_tokens, part.shape[2])
                for part in (key, value)
            )
        return self.generated_kv[layer]


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """The number of tokens that both begin with."""
    size = min(len(left), len(right))
    if left[:size] == right[:size]:
        return size
    return next(index for index in range(size) if left[index] != right[index])
