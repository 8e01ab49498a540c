"""Generation for many prompts at once, where what prompts share is computed once and kept once.

Prompts that begin alike make a `Tree`. All branches of all trees take part in one pass of the model a token, without
padding, and drop out the moment they are finished. So the steps of a problem, or many samples of one step, cost one
pass over the conversation and then a few tokens each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from itertools import groupby
from typing import Any

from scripts.inference.prefix_cache import PrefixCache
from scripts.inference.prefix_tree import Tree, common
from utils_ft import UserError

Pick = Callable[[int, Any], int]
"""Number of a prompt and its logits (vocabulary,), float32, in; the next token out."""

CHUNK = 256  # tokens of a prompt in one pass: what is ahead of a chunk is never multiplied
BRANCHES = 64  # that grow side by side; more of them gain nothing

_WORK: ContextVar[list[tuple[int, Callable]]] = ContextVar("work")
"""During a pass: for each strip of its rows how many there are, and the attention to compute for them."""


def _attention(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Any, None]:
    """The attention that takes the place of the model's own: strip by strip, each among the keys of its own tree."""
    import torch

    if kwargs.get("s_aux") is not None:
        raise UserError(
            "the model has attention sinks, which this generator does not know",
            remedy="use another base model",
        )
    options = {
        "scaling": scaling or query.shape[-1] ** -0.5,
        "softcap": kwargs.get("softcap"),
        "window": kwargs.get("sliding_window"),
        "dtype": query.dtype,
    }
    out, row = [], 0
    for size, attend in _WORK.get():
        strip = slice(row, row + size)
        out.append(
            attend(module.layer_idx, query[0, :, strip], key[0, :, strip], value[0, :, strip], options)
        )
        row += size
    return torch.cat(out, 1).transpose(0, 1)[None], None


@contextmanager
def _attending(model: Any) -> Iterator[None]:
    """The model with `_attention` in place of its own."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    config = model.config.get_text_config()
    if not getattr(model, "_supports_attention_backend", False):
        raise UserError(
            f"{type(model).__name__} lets nobody replace its attention",
            remedy="use a Llama, Qwen, Mistral or Gemma model",
        )
    ALL_ATTENTION_FUNCTIONS.register("forest", _attention)
    own, config._attn_implementation = config._attn_implementation, "forest"
    try:
        yield
    finally:
        config._attn_implementation = own


def _logits(
    model: Any, ids: list[int], positions: list[int], rows: list[int], work: list[tuple[int, Callable]]
) -> Any:
    """One pass: the logits of `rows`, (rows, vocabulary), float32."""
    import torch

    token = _WORK.set(work)
    try:
        with torch.inference_mode():
            return (
                model(
                    input_ids=torch.tensor([ids], device=model.device),
                    position_ids=torch.tensor([positions], device=model.device),
                    use_cache=False,
                    logits_to_keep=torch.tensor(rows, dtype=torch.long, device=model.device),
                )
                .logits[0]
                .float()
            )
    finally:
        _WORK.reset(token)


def plant(model: Any, trees: Sequence[Tree], prefixes: PrefixCache | None = None) -> list[Any]:
    """Compute the prompts of `trees`, but for what `prefixes` knows; for each tree the logits behind its prompts, (prompts, vocabulary)."""
    import torch

    todo = [(index, column) for index, tree in enumerate(trees) for column in tree.recall(prefixes)]
    found = {}
    for begin in range(0, len(todo), CHUNK):
        chunk = todo[begin : begin + CHUNK]
        strips = [
            (trees[index], [column for _, column in pairs])
            for index, pairs in groupby(chunk, lambda pair: pair[0])
        ]
        work = [
            (len(columns), partial(tree.attend_stem, columns=columns, masks={})) for tree, columns in strips
        ]
        ids, positions = (
            [values(tree)[column] for tree, columns in strips for column in columns]
            for values in (lambda tree: tree.ids, lambda tree: tree.positions)
        )
        wanted = [row for row, (index, column) in enumerate(chunk) if column in trees[index].ends]
        found |= zip(
            [chunk[row] for row in wanted], _logits(model, ids, positions, wanted, work), strict=True
        )
    if prefixes is not None:
        for tree in trees:
            tree.remember(prefixes)
    return [torch.stack([found[index, column] for column in tree.last]) for index, tree in enumerate(trees)]


def grow(model: Any, trees: Sequence[Tree], tokens: Sequence[Sequence[int]]) -> Any:
    """Append one token to each living branch of each tree, in one pass; the logits behind them, tree after tree."""
    positions = [tree.lengths[branch] + tree.grown for tree in trees for branch in tree.living]
    work = [(len(tree.living), partial(tree.attend_twigs, masks={})) for tree in trees]
    ids = [token for row in tokens for token in row]
    logits = _logits(model, ids, positions, list(range(len(ids))), work)
    for tree in trees:
        tree.grown += 1
    return logits


# --- many prompts -----------------------------------------------------------------------------------------------


def write(
    model: Any,
    prompts: Sequence[Sequence[int]],
    ends: set[int],
    max_new_tokens: int = 160,
    pick: Pick | None = None,
    on_done: Callable[[int], None] | None = None,
    prefixes: PrefixCache | None = None,
) -> list[list[int]]:
    """What `model` writes after each prompt, greedily or by `pick`, up to an end token (not returned) or the limit.

    Trees are planted as branches finish, so that the passes stay full. `on_done` hears how many more prompts are finished.
    `prefixes` keeps what this call computes for the next one; it belongs to one model.
    """
    written: list[list[int]] = [[] for _ in prompts]
    waiting = deque(packed(prompts))
    growing: list[tuple[Tree, list[int]]] = []  # a tree and the numbers of its prompts
    fresh: list[list[int]] = []  # the token that comes next on each living branch of each growing tree

    def advance(tree: Tree, group: list[int], logits: Any) -> list[int]:
        """Choose the next tokens, drop the branches that end; the tokens of those that live on."""
        numbers = [group[branch] for branch in tree.living]
        chosen = (
            [pick(number, row) for number, row in zip(numbers, logits, strict=True)]
            if pick
            else logits.argmax(-1).tolist()
        )
        living, tokens = [], []
        for branch, number, token in zip(tree.living, numbers, chosen, strict=True):
            if token not in ends:
                written[number].append(token)
            if token in ends or len(written[number]) == max_new_tokens:
                if on_done:
                    on_done(1)
            else:
                living.append(branch)
                tokens.append(token)
        tree.living = living
        return tokens

    with _attending(model):
        while waiting or growing:
            planted: list[tuple[Tree, list[int]]] = []
            while waiting and sum(map(len, fresh)) + sum(len(group) for _, group in planted) < BRANCHES:
                group = waiting.popleft()
                planted.append((Tree([prompts[index] for index in group], max_new_tokens), group))
            growing += planted
            logits = plant(model, [tree for tree, _ in planted], prefixes)
            fresh += [advance(*pair, rows) for pair, rows in zip(planted, logits, strict=True)]
            alive = [(pair, tokens) for pair, tokens in zip(growing, fresh, strict=True) if tokens]
            growing, fresh = [pair for pair, _ in alive], [tokens for _, tokens in alive]
            if growing:
                parts = grow(model, [tree for tree, _ in growing], fresh).split(
                    [len(tokens) for tokens in fresh]
                )
                fresh = [advance(*pair, part) for pair, part in zip(growing, parts, strict=True)]
    return written


def packed(prompts: Sequence[Sequence[int]], budget: int = 512) -> Iterator[list[int]]:
    """Groups of prompt numbers whose distinct tokens, shared beginnings counted once, stay within `budget`.

    Groups are filled in the order of the tokens, so that prompts with the same beginning meet; a prompt that shares
    most of its tokens with the group joins it over the budget.
    """
    group: list[int] = []
    used = 0
    for index in sorted(range(len(prompts)), key=lambda i: list(prompts[i])):
        new = len(prompts[index]) - (common(prompts[group[-1]], prompts[index]) if group else 0)
        if (
            group and used + new > budget and 2 * new > len(prompts[index])
        ):  # sharing is cheaper than starting anew
            yield group
            group, used, new = [], 0, len(prompts[index])
        group.append(index)
        used += new
    if group:
        yield group
