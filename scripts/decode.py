"""Generation for many prompts at once over one key-value cache, where what prompts share is computed once.

All texts of a `Forest` lie in one cache; a token attends to the tokens of its own branch only, so that branches grow
side by side without padding, fork wherever they part, and drop out the moment they are finished. Scoring the steps of
a problem needs one pass over its conversation and then a few tokens a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Pick = Callable[[int, Any], int]
"""Number of a prompt and its logits (vocabulary,) in, the next token out."""


@dataclass
class Branch:
    """One text of a forest: its tokens, and the column of the cache that holds each."""

    tokens: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)


class Forest:
    """Branches of text over one cache of `model`, a causal language model in evaluation mode."""

    def __init__(self, model: Any):
        from transformers import DynamicCache

        self.model = model
        self.cache = DynamicCache(config=model.config)
        self.branches: list[Branch] = []
        self.width = 0  # columns of the cache in use

    def open(self, tokens: Sequence[int]) -> tuple[Branch, list[int]]:
        """A branch for `tokens` that starts with what another branch has already; and the tokens still to compute.

        At least the last token is left, because its logits are wanted.
        """
        best, shared = None, 0
        for branch in self.branches:
            length = _common(branch.tokens, tokens)
            if length > shared:
                best, shared = branch, length
        shared = min(shared, len(tokens) - 1)
        branch = Branch(best.tokens[:shared], best.columns[:shared]) if best else Branch()
        self.branches.append(branch)
        return branch, list(tokens[shared:])

    def extend(self, growth: Sequence[tuple[Branch, Sequence[int]]]) -> Any:
        """Append tokens to branches in one pass; the logits behind the last token of each, (branches, vocabulary), float32."""
        import torch

        model = self.model
        count = sum(len(tokens) for _, tokens in growth)
        allowed = torch.zeros(count, self.width + count, dtype=torch.bool)
        ids, positions, last, row = [], [], [], 0
        for branch, tokens in growth:
            size, column = len(tokens), self.width + row
            allowed[row : row + size, torch.tensor(branch.columns, dtype=torch.long)] = True
            allowed[row : row + size, column : column + size] = torch.ones(size, size, dtype=torch.bool).tril()
            positions += range(len(branch.tokens), len(branch.tokens) + size)
            ids += tokens
            branch.tokens += tokens
            branch.columns += range(column, column + size)
            row += size
            last.append(row - 1)
        self.width += count
        mask = torch.zeros(allowed.shape, dtype=model.dtype).masked_fill_(~allowed, torch.finfo(model.dtype).min)
        with torch.inference_mode():
            hidden = _backbone(model)(
                input_ids=torch.tensor([ids], device=model.device), position_ids=torch.tensor([positions], device=model.device),
                attention_mask=mask[None, None].to(model.device), past_key_values=self.cache, use_cache=True,
            ).last_hidden_state[0]
            return model.get_output_embeddings()(hidden[last]).float()

    def write(self, prompts: Sequence[Sequence[int]], ends: set[int], max_new_tokens: int, pick: Pick | None = None) -> list[list[int]]:
        """What the model writes after each prompt, greedily or by `pick`, up to an end token (not returned) or the limit.

        Prompts that start alike are computed once: the longest first, the others fork from it.
        """
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
        written: list[list[int]] = [[] for _ in prompts]
        live: dict[int, Branch] = {}
        logits: dict[int, Any] = {}
        while order:  # prompts that fork from one that is still to be computed wait for the next pass
            ready, waiting, fresh = [], [], []
            for index in order:
                if any(_common(prompts[index], prompts[other]) > _best(self.branches, prompts[index]) for other in fresh):
                    waiting.append(index)
                else:
                    ready.append(index)
                    fresh.append(index)
            opened = [self.open(prompts[index]) for index in ready]
            for index, (branch, _), row in zip(ready, opened, self.extend(opened), strict=True):
                live[index], logits[index] = branch, row
            order = waiting
        for _ in range(max_new_tokens):
            growth = []
            for index in list(live):
                token = pick(index, logits[index]) if pick else int(logits[index].argmax())
                if token in ends:
                    del live[index]
                else:
                    written[index].append(token)
                    growth.append((index, live[index], [token]))
            if not growth:
                break
            rows = self.extend([(branch, tokens) for _, branch, tokens in growth])
            logits = {index: row for (index, _, _), row in zip(growth, rows, strict=True)}
        return written


def _backbone(model: Any) -> Any:
    """The model below its language head (under an adapter, the model that the adapter is in)."""
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    return inner.base_model


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """The length of the common beginning."""
    size = min(len(left), len(right))
    if left[:size] == right[:size]:
        return size
    return next(index for index in range(size) if left[index] != right[index])


def _best(branches: Sequence[Branch], tokens: Sequence[int]) -> int:
    return max((_common(branch.tokens, tokens) for branch in branches), default=0)


def packed(prompts: Sequence[Sequence[int]], budget: int = 1536) -> Iterator[list[int]]:
    """Groups of prompt numbers whose distinct tokens, shared beginnings counted once, stay within `budget`.

    Groups are filled in the order of the tokens, so that prompts with the same beginning meet; a prompt that shares
    most of its tokens with the group joins it over the budget.
    """
    group: list[int] = []
    used = 0
    for index in sorted(range(len(prompts)), key=lambda i: list(prompts[i])):
        new = len(prompts[index]) - (_common(prompts[group[-1]], prompts[index]) if group else 0)
        if group and used + new > budget and 2 * new > len(prompts[index]):  # sharing is cheaper than starting anew
            yield group
            group, used, new = [], 0, len(prompts[index])
        group.append(index)
        used += new
    if group:
        yield group


def write(model: Any, prompts: Sequence[Sequence[int]], ends: set[int], max_new_tokens: int = 160,
          pick: Pick | None = None, on_done: Callable[[int], None] | None = None) -> list[list[int]]:
    """What `model` writes after each of any number of prompts; `on_done` hears how many more are finished."""
    written: list[list[int]] = [[] for _ in prompts]
    for group in packed(prompts):
        choose = (lambda row, logits, group=group: pick(group[row], logits)) if pick else None
        for index, tokens in zip(group, Forest(model).write([list(prompts[i]) for i in group], ends, max_new_tokens, choose), strict=True):
            written[index] = tokens
        if on_done:
            on_done(len(group))
    return written
