"""Trees of text: what prompts share is kept once, and the branches that grow from them attend to it together.

A `Tree` holds, layer by layer, the keys and values of all distinct tokens of its prompts (the stem) and, for each branch,
of the few tokens that grew from one prompt (a twig). Masks say which columns of the stem belong to a branch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from scripts.inference.prefix_cache import PrefixCache

BLOCK = 8  # branches whose attention is one product: each sees a part of the stem only


class Tree:
    """The branches that grow from `prompts`, at most `room` tokens each. Sorted prompts share most."""

    def __init__(self, prompts: Sequence[Sequence[int]], room: int):
        import torch

        self.prompts = prompts
        self.room = room
        self.ids: list[int] = []  # the distinct tokens of all prompts, those that a token follows before it
        self.positions: list[int] = []
        self.lengths = [len(prompt) for prompt in prompts]
        self.paths: list[list[int]] = []  # the columns of each prompt
        self.grown = 0  # tokens behind the prompts, the same for all living branches
        self.living = list(range(len(prompts)))
        visible: list[Any] = []
        columns: list[int] = []
        before: Sequence[int] = []
        for prompt in prompts:
            shared, start = common(before, prompt), len(self.ids)
            columns = columns[:shared] + list(range(start, start + len(prompt) - shared))
            self.ids += prompt[shared:]
            self.positions += range(shared, len(prompt))
            self.paths.append(columns)
            visible.append((start, torch.tensor(columns[:shared], dtype=torch.long)))
            before = prompt
        self.last = [path[-1] for path in self.paths]
        self.ends = set(self.last)
        size = len(self.ids)
        self.sees = torch.ones(
            size, size, dtype=torch.bool
        ).tril_()  # whether the token of a row attends to that of a column
        for (start, shared), end in zip(visible, [*(start for start, _ in visible[1:]), size], strict=True):
            self.sees[start:end, :start] = False
            self.sees[start:end, shared] = True
        self.stem: dict[
            int, tuple[Any, Any]
        ] = {}  # by layer: keys and values of the prompts, (heads, tokens, width)
        self.twigs: dict[int, tuple[Any, Any]] = {}  # and of what grew, (branches, heads, room, width)

    def recall(self, prefixes: PrefixCache | None) -> list[int]:
        """Take over the keys and values that `prefixes` knows; the columns that are left to compute, in order.

        The last column of each prompt is always among them: its logits are wanted.
        """
        known: set[int] = set()
        for prompt, path in zip(self.prompts, self.paths, strict=True):
            found = prefixes.find(prompt) if prefixes is not None else []
            for number, layers in enumerate(found):
                columns = path[number * PrefixCache.BLOCK : (number + 1) * PrefixCache.BLOCK]
                if not known.issuperset(columns):
                    for layer, (key, value) in layers.items():
                        keys, values = self._stem(layer, key, value)
                        keys[:, columns], values[:, columns] = key, value
                    known.update(columns)
        return [column for column in range(len(self.ids)) if column not in known or column in self.ends]

    def remember(self, prefixes: PrefixCache) -> None:
        """Give `prefixes` the keys and values of all prompts."""
        for prompt, path in zip(self.prompts, self.paths, strict=True):
            prefixes.keep(
                prompt,
                lambda part, path=path: {
                    layer: (keys[:, path[part]], values[:, path[part]])
                    for layer, (keys, values) in self.stem.items()
                },
            )

    def _stem(self, layer: int, key: Any, value: Any) -> tuple[Any, Any]:
        return _kept(self.stem, layer, key, value, lambda new: (new.shape[0], len(self.ids), new.shape[2]))

    def attend_stem(
        self, layer: int, query: Any, key: Any, value: Any, options: dict, columns: list[int], masks: dict
    ) -> Any:
        """Attention of the prompt tokens in `columns`, whose keys and values are new; all (heads, tokens, width).

        Whatever stands before the last of them is there. `masks` is one dictionary for all layers of a pass: the mask is
        the same in each, but for its window.
        """
        import torch
        from torch.nn.functional import scaled_dot_product_attention

        end = columns[-1] + 1
        keys, values = self._stem(layer, key, value)
        keys[:, columns], values[:, columns] = key, value
        keys, values, heads = keys[:, :end], values[:, :end], key.shape[0]
        window = options["window"]
        if window not in masks:
            mask = self._mask(columns, end, window, [self.positions[column] for column in columns])
            masks[window] = mask.repeat(query.shape[0] // heads, 1).to(query)
        packed_query = query.reshape(
            heads, -1, query.shape[2]
        )  # query heads that share a key head lie one after another
        if options["softcap"]:
            out = _weights(packed_query @ keys.transpose(1, 2), masks[window], options) @ values
        else:
            mask = masks[window][None, None]
            out = scaled_dot_product_attention(
                packed_query[None], keys[None], values[None], mask, scale=options["scaling"]
            )[0]
        return torch.reshape(out, (query.shape[0], query.shape[1], values.shape[2]))

    def attend_twigs(self, layer: int, query: Any, key: Any, value: Any, options: dict, masks: dict) -> Any:
        """Attention of one new token of each living branch; all are (heads, branches, width)."""
        import torch

        twigs, room = len(self.last), self.room
        keys, values = _kept(
            self.twigs, layer, key, value, lambda new: (twigs, new.shape[0], room, new.shape[2])
        )
        living = torch.tensor(self.living) if len(self.living) < len(self.last) else slice(None)
        keys[living, :, self.grown], values[living, :, self.grown] = (
            key.transpose(0, 1),
            value.transpose(0, 1),
        )
        stem_keys, stem_values = self.stem[layer]
        heads, length, window = key.shape[0], self.grown + 1, options["window"]
        out = []
        for start in range(0, len(self.living), BLOCK):
            branches = self.living[start : start + BLOCK]
            size = max(self.last[branch] for branch in branches) + 1
            if (window, start) not in masks:
                masks[window, start] = self._twig_mask(branches, size, length, window, query)
            part = query[:, start : start + BLOCK].reshape(heads, -1, len(branches), query.shape[2])
            flat = part.reshape(heads, -1, query.shape[2])
            whole = branches[-1] - branches[0] + 1 == len(branches)
            rows = slice(branches[0], branches[-1] + 1) if whole else torch.tensor(branches)
            own = part.permute(2, 0, 1, 3)  # (branches, heads, group, width)
            own = own @ keys[rows, :, :length].transpose(2, 3)
            own = own.permute(1, 2, 0, 3).reshape(heads, -1, length)
            weights = _weights(
                torch.cat((flat @ stem_keys[:, :size].transpose(1, 2), own), -1),
                masks[window, start],
                options,
            )
            found = weights[:, :, :size] @ stem_values[:, :size]
            own = (
                weights[:, :, size:].reshape(heads, -1, len(branches), length).permute(2, 0, 1, 3)
                @ values[rows, :, :length]
            )
            found = found.reshape(heads, -1, len(branches), found.shape[2]) + own.permute(1, 2, 0, 3)
            out.append(found.reshape(query.shape[0], len(branches), -1))
        return torch.cat(out, 1)

    def _mask(self, rows: Any, size: int, window: int | None, positions: Sequence[int]) -> Any:
        """Float32, 0 where `rows` attend to the first `size` columns of the stem and the least number elsewhere."""
        import torch

        sees = self.sees[rows, :size]
        if window and max(positions) >= window:
            sees = sees & (torch.tensor(positions)[:, None] - torch.tensor(self.positions[:size]) < window)
        return torch.zeros(sees.shape).masked_fill_(~sees, torch.finfo(torch.float32).min)

    def _twig_mask(self, branches: list[int], size: int, length: int, window: int | None, like: Any) -> Any:
        """The mask of a block of branches for `size` columns of the stem and `length` of their own; None where all see all."""
        import torch

        rows = torch.tensor([self.last[branch] for branch in branches])
        mask = self._mask(rows, size, window, [self.lengths[branch] + length - 1 for branch in branches])
        own = torch.zeros(len(branches), length)
        if window and length > window:
            own[:, : length - window] = torch.finfo(torch.float32).min
        mask = torch.cat((mask, own), 1)
        group = like.shape[0] // self.stem[0][0].shape[0]
        return mask.repeat(group, 1).to(like.device) if mask.any() else None


def _kept(
    store: dict, layer: int, key: Any, value: Any, shape: Callable[[Any], tuple[int, ...]]
) -> tuple[Any, Any]:
    """The keys and values that `store` has for a layer, made on first use."""
    if layer not in store:
        store[layer] = key.new_empty(shape(key)), value.new_empty(shape(value))
    return store[layer]


def _weights(scores: Any, mask: Any, options: dict) -> Any:
    """Attention weights from the products of queries and keys."""
    import torch

    scores = scores.float() * options["scaling"]
    if options["softcap"]:
        scores = torch.tanh(scores / options["softcap"]) * options["softcap"]
    if mask is not None:
        scores = scores + mask
    return scores.softmax(-1).to(options["dtype"])


def common(left: Sequence[int], right: Sequence[int]) -> int:
    """The length of the common beginning."""
    size = min(len(left), len(right))
    if left[:size] == right[:size]:
        return size
    return next(index for index in range(size) if left[index] != right[index])
