"""Attention in a prefix tree: the tokens of one tree in a forward pass attend to the keys of this tree only.

A forward pass computes tokens of several trees in one row, without padding. `PromptTokens` and `NewTokens`
are the parts of such a row; each computes the attention of its own tokens, layer by layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from scripts.inference.prefix_tree import PrefixTree

BLOCK = 8
"""Sequences whose attention is one product.

Each sees a part of the prompt tokens only, so a larger block wastes work.
"""


@dataclass(frozen=True)
class AttentionOptions:
    """How a layer weighs its keys.

    Attributes:
        scaling: The factor of the products of queries and keys.
        softcap: The bound c of c·tanh(x/c), or None.
        window: The tokens that a token sees, itself included; None for all.
        dtype: Of the result.
    """

    scaling: float
    softcap: float | None
    window: int | None
    dtype: torch.dtype


@dataclass
class PromptTokens:
    """Prompt tokens of a tree in one forward pass: the ascending `columns`, the keys before which are stored.

    `_masks` has, by window, the mask of all layers: (query heads a key head × tokens, columns).
    """

    tree: PrefixTree
    columns: list[int]
    _masks: dict[int | None, Tensor] = field(default_factory=dict)

    @property
    def ids(self) -> list[int]:
        return [self.tree.ids[column] for column in self.columns]

    @property
    def positions(self) -> list[int]:
        return [self.tree.positions[column] for column in self.columns]

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions
    ) -> Tensor:
        """The attention of these tokens; their keys and values are stored in the tree.

        `query` is (query heads, tokens, width), `key` and `value` are (heads, tokens, width). Returns
        (query heads, tokens, width).
        """
        end = self.columns[-1] + 1
        keys, values = self.tree.prompt_layer(layer, key, value)
        keys[:, self.columns], values[:, self.columns] = key, value
        keys, values, heads = keys[:, :end], values[:, :end], key.shape[0]
        if options.window not in self._masks:
            mask = _prompt_mask(self.tree, self.columns, end, options.window, self.positions)
            self._masks[options.window] = mask.repeat(query.shape[0] // heads, 1).to(query)
        mask = self._masks[options.window]
        # The query heads that share a key head lie one after another.
        grouped = query.reshape(heads, -1, query.shape[2])
        if options.softcap:
            out = _weights(grouped @ keys.transpose(1, 2), mask, options) @ values
        else:
            out = scaled_dot_product_attention(
                grouped[None], keys[None], values[None], mask[None, None], scale=options.scaling
            )[0]
        return torch.reshape(out, (query.shape[0], query.shape[1], values.shape[2]))


@dataclass
class NewTokens:
    """One new token of each active sequence of a tree in one forward pass.

    `_masks` has, by window and first sequence of a block, the mask of all layers; None where every token is
    visible.
    """

    tree: PrefixTree
    ids: list[int]
    _masks: dict[tuple[int | None, int], Tensor | None] = field(default_factory=dict)

    @property
    def positions(self) -> list[int]:
        return [self.tree.lengths[sequence] + self.tree.generated for sequence in self.tree.active]

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions
    ) -> Tensor:
        """The attention of these tokens, with the shapes of `PromptTokens.attend`; one token for each
        sequence.
        """
        tree = self.tree
        keys, values = tree.generated_layer(layer, key, value)
        all_active = len(tree.active) == len(tree.prompts)
        active = slice(None) if all_active else torch.tensor(tree.active)
        keys[active, :, tree.generated] = key.transpose(0, 1)
        values[active, :, tree.generated] = value.transpose(0, 1)
        return torch.cat(
            [
                self._attend_block(layer, query[:, start : start + BLOCK], start, options)
                for start in range(0, len(tree.active), BLOCK)
            ],
            1,
        )

    def _attend_block(self, layer: int, query: Tensor, start: int, options: AttentionOptions) -> Tensor:
        """The attention of the active sequences from `start` on, as many as `query` has tokens."""
        tree, length = self.tree, self.tree.generated + 1
        prompt_keys, prompt_values = tree.prompt_kv[layer]
        keys, values = tree.generated_kv[layer]
        heads = prompt_keys.shape[0]
        sequences = tree.active[start : start + BLOCK]
        size = max(tree.last[sequence] for sequence in sequences) + 1  # columns that one of them may see
        group = query.shape[0] // heads  # query heads that share a key head
        if (options.window, start) not in self._masks:
            self._masks[options.window, start] = self._block_mask(
                sequences, size, options.window, group, query.device
            )
        contiguous = sequences[-1] - sequences[0] + 1 == len(sequences)
        rows = slice(sequences[0], sequences[-1] + 1) if contiguous else torch.tensor(sequences)
        part = query.reshape(heads, -1, len(sequences), query.shape[2])  # (heads, group, sequences, width)
        prompt_scores = part.reshape(heads, -1, query.shape[2]) @ prompt_keys[:, :size].transpose(1, 2)
        own_scores = part.permute(2, 0, 1, 3) @ keys[rows, :, :length].transpose(2, 3)
        own_scores = own_scores.permute(1, 2, 0, 3).reshape(heads, -1, length)
        weights = _weights(
            torch.cat((prompt_scores, own_scores), -1), self._masks[options.window, start], options
        )
        own_weights = weights[:, :, size:].reshape(heads, -1, len(sequences), length).permute(2, 0, 1, 3)
        from_prompt = weights[:, :, :size] @ prompt_values[:, :size]
        from_own = (own_weights @ values[rows, :, :length]).permute(1, 2, 0, 3)
        out = from_prompt.reshape(heads, -1, len(sequences), from_prompt.shape[2]) + from_own
        return out.reshape(query.shape[0], len(sequences), -1)

    def _block_mask(
        self, sequences: list[int], size: int, window: int | None, group: int, device: torch.device
    ) -> Tensor | None:
        """The mask for `size` columns and the generated tokens: (group × sequences, columns + tokens),
        float32.
        """
        length = self.tree.generated + 1
        columns = [self.tree.last[sequence] for sequence in sequences]
        positions = [self.tree.lengths[sequence] + length - 1 for sequence in sequences]
        mask = _prompt_mask(self.tree, columns, size, window, positions)
        own = torch.zeros(len(sequences), length)
        if window and length > window:
            own[:, : length - window] = torch.finfo(torch.float32).min
        mask = torch.cat((mask, own), 1)
        return mask.repeat(group, 1).to(device) if mask.any() else None


TreeTokens = PromptTokens | NewTokens
"""The tokens of one tree in a forward pass."""


def _prompt_mask(
    tree: PrefixTree, rows: list[int], size: int, window: int | None, positions: Sequence[int]
) -> Tensor:
    """(rows, size), float32: 0 where a token at the column of `rows` sees a column, the least number
    elsewhere.
    """
    visible = tree.visible(rows, size)
    if window and max(positions) >= window:
        distance = torch.tensor(positions)[:, None] - torch.tensor(tree.positions[:size])
        visible = visible & (distance < window)
    return torch.zeros(visible.shape).masked_fill_(~visible, torch.finfo(torch.float32).min)


def _weights(scores: Tensor, mask: Tensor | None, options: AttentionOptions) -> Tensor:
    """Attention weights from the products of queries and keys, computed in float32."""
    scores = scores.float() * options.scaling
    if options.softcap:
        scores = torch.tanh(scores / options.softcap) * options.softcap
    if mask is not None:
        scores = scores + mask
    return scores.softmax(-1).to(options.dtype)
