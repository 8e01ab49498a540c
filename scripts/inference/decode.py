"""Generation for many prompts at once: shared prefixes are computed and stored once.

Prompts with shared prefixes form a `PrefixTree`. Each forward pass computes one token for every active
sequence of all trees, without padding. A sequence leaves the pass when it is finished. So the steps of a
problem, or many samples of one step, cost one pass over the conversation and a few tokens each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from scripts.inference.attention import AttentionOptions, NewTokens, PromptTokens, TreeTokens
from scripts.inference.prefix_cache import PrefixCache
from scripts.inference.prefix_tree import PrefixTree, common_prefix
from scripts.inference.requests import OnDone

Pick = Callable[[int, Tensor], int]
"""Gets the number of a prompt and its logits, (vocabulary,), float32; returns the next token."""

CHUNK = 256
"""Prompt tokens of one forward pass. Attention to the tokens after a chunk is not computed."""

MAX_ACTIVE = 64
"""Sequences that grow side by side. More of them do not make it faster."""

TREE_TOKENS = 512
"""Distinct prompt tokens of one tree, unless its prompts share most of their tokens."""

_ATTENTION = "prefix_tree"  # the name under which transformers finds `_attention`

_PARTS: ContextVar[Sequence[TreeTokens]] = ContextVar("parts")
"""The parts of the forward pass that runs."""


@dataclass(frozen=True)
class Decoding:
    """How answers are generated.

    Attributes:
        end_tokens: A sequence is finished at one of these tokens, which is not returned.
        max_new_tokens: Tokens of an answer, at most.
        pick: Chooses each token; None is greedy.
    """

    end_tokens: Set[int]
    max_new_tokens: int
    pick: Pick | None = None


def generate_tokens(
    model: Any,
    prompts: Sequence[Sequence[int]],
    settings: Decoding,
    on_done: OnDone | None = None,
    prefixes: PrefixCache | None = None,
) -> list[list[int]]:
    """The answer of `model` to each prompt, as token ids.

    New prompts are prefilled when sequences finish, so that the forward passes stay large.

    Args:
        model: A causal language model of transformers. If its attention cannot be replaced, prompts share
            nothing and are answered one after the other, several times slower.
        prompts: Token ids; none of them is empty.
        settings: When an answer ends, and how its tokens are chosen.
        on_done: Gets the number of answers that were finished since its last call.
        prefixes: The keys and values of earlier calls with the same model; those of this call are added.
    """
    if _needs_own_attention(model):
        return _one_by_one(model, prompts, settings, on_done)
    answers = _Answers(settings, [[] for _ in prompts], on_done)
    waiting = deque(packed(prompts))
    running: list[_Running] = []
    with _prefix_tree_attention(model):
        while waiting or running:
            started: list[_Running] = []
            while waiting and sum(group.size for group in running + started) < MAX_ACTIVE:
                numbers = waiting.popleft()
                tree = PrefixTree([prompts[number] for number in numbers], settings.max_new_tokens)
                started.append(_Running(tree, numbers))
            logits = prefill(model, [group.tree for group in started], prefixes)
            for group, rows in zip(started, logits, strict=True):
                answers.extend(group, rows)
            running = [group for group in running + started if group.size]
            if running:
                rows = decode_step(model, [NewTokens(group.tree, group.tokens) for group in running])
                for group, part in zip(running, rows.split([group.size for group in running]), strict=True):
                    answers.extend(group, part)
    return answers.tokens


@dataclass
class _Running:
    """A tree whose sequences grow: the numbers of its prompts, and the next token of each active sequence."""

    tree: PrefixTree
    numbers: list[int]
    tokens: list[int] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The number of active sequences."""
        return len(self.tree.active)


@dataclass
class _Answers:
    """The tokens of each answer so far."""

    settings: Decoding
    tokens: list[list[int]]
    on_done: OnDone | None

    def extend(self, group: _Running, logits: Tensor) -> None:
        """Choose the next token of each active sequence, (sequences, vocabulary), and drop those that are
        finished.
        """
        numbers = [group.numbers[sequence] for sequence in group.tree.active]
        active, tokens = [], []
        for sequence, number, token in zip(
            group.tree.active, numbers, self._choose(numbers, logits), strict=True
        ):
            answer = self.tokens[number]
            is_end = token in self.settings.end_tokens
            if not is_end:
                answer.append(token)
            if is_end or len(answer) == self.settings.max_new_tokens:
                if self.on_done:
                    self.on_done(1)
            else:
                active.append(sequence)
                tokens.append(token)
        group.tree.active, group.tokens = active, tokens

    def _choose(self, numbers: list[int], logits: Tensor) -> list[int]:
        """The next token of each prompt in `numbers`."""
        pick = self.settings.pick
        if pick is None:
            return logits.argmax(-1).tolist()
        return [pick(number, row) for number, row in zip(numbers, logits, strict=True)]


def prefill(model: Any, trees: Sequence[PrefixTree], prefixes: PrefixCache | None = None) -> list[Tensor]:
    """Compute the prompts of `trees`, except what `prefixes` has.

    The logits of each tree are (prompts, vocabulary).
    """
    todo = [(index, column) for index, tree in enumerate(trees) for column in tree.load_cached(prefixes)]
    logits: dict[tuple[int, int], Tensor] = {}  # by tree and column, where a prompt ends
    for begin in range(0, len(todo), CHUNK):
        chunk = todo[begin : begin + CHUNK]
        parts = [
            PromptTokens(trees[index], [column for _, column in places])
            for index, places in groupby(chunk, lambda place: place[0])
        ]
        rows = [row for row, (index, column) in enumerate(chunk) if trees[index].is_last(column)]
        for row, result in zip(rows, forward(model, parts, rows), strict=True):
            logits[chunk[row]] = result
    if prefixes is not None:
        for tree in trees:
            tree.store(prefixes)
    return [torch.stack([logits[index, column] for column in tree.last]) for index, tree in enumerate(trees)]


def decode_step(model: Any, parts: Sequence[NewTokens]) -> Tensor:
    """Append one token to each active sequence. The logits are (sequences of all trees, vocabulary)."""
    logits = forward(model, parts, list(range(sum(len(part.ids) for part in parts))))
    for part in parts:
        part.tree.generated += 1
    return logits


def forward(model: Any, parts: Sequence[TreeTokens], rows: list[int]) -> Tensor:
    """One forward pass over the tokens of all parts; the logits of `rows` of them, (rows, vocabulary),
    float32.
    """
    ids = [token for part in parts for token in part.ids]
    positions = [position for part in parts for position in part.positions]
    reset = _PARTS.set(parts)
    try:
        with torch.inference_mode():
            output = model(
                input_ids=torch.tensor([ids], device=model.device),
                position_ids=torch.tensor([positions], device=model.device),
                use_cache=False,
                logits_to_keep=torch.tensor(rows, dtype=torch.long, device=model.device),
            )
            return output.logits[0].float()
    finally:
        _PARTS.reset(reset)


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention of one layer, as transformers calls it: each part of the pass attends to the keys of its
    tree.

    `query` is (1, query heads, tokens, width), `key` and `value` are (1, heads, tokens, width). Returns
    (1, tokens, query heads, width).
    """
    options = AttentionOptions(
        scaling=scaling or query.shape[-1] ** -0.5,
        softcap=kwargs.get("softcap"),
        window=kwargs.get("sliding_window"),
        dtype=query.dtype,
    )
    results, start = [], 0
    for part in _PARTS.get():
        own = slice(start, start + len(part.ids))
        results.append(
            part.attend(module.layer_idx, query[0, :, own], key[0, :, own], value[0, :, own], options)
        )
        start = own.stop
    return torch.cat(results, 1).transpose(0, 1)[None], None


def _needs_own_attention(model: Any) -> bool:
    """Whether the attention cannot be replaced: it is a hybrid (Qwen3.5), or has sinks (gpt-oss)."""
    has_sinks = any(name.endswith(".sinks") for name, _ in model.named_parameters())
    return has_sinks or not getattr(model, "_supports_attention_backend", False)


def _one_by_one(
    model: Any, prompts: Sequence[Sequence[int]], settings: Decoding, on_done: OnDone | None
) -> list[list[int]]:
    """The answer to each prompt, with the model's own attention and cache."""
    answers = []
    for number, prompt in enumerate(prompts):
        answer: list[int] = []
        read, cache = torch.tensor([prompt], device=model.device), None
        with torch.inference_mode():
            while len(answer) < settings.max_new_tokens:
                output = model(input_ids=read, past_key_values=cache, use_cache=True)
                logits, cache = output.logits[0, -1].float(), output.past_key_values
                token = settings.pick(number, logits) if settings.pick else int(logits.argmax())
                if token in settings.end_tokens:
                    break
                answer.append(token)
                read = torch.tensor([[token]], device=model.device)
        answers.append(answer)
        if on_done:
            on_done(1)
    return answers


@contextmanager
def _prefix_tree_attention(model: Any) -> Iterator[None]:
    """`_attention` in place of the model's own attention."""
    config = model.config.get_text_config()
    ALL_ATTENTION_FUNCTIONS.register(_ATTENTION, _attention)
    original, config._attn_implementation = config._attn_implementation, _ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = original


def packed(prompts: Sequence[Sequence[int]], budget: int = TREE_TOKENS) -> Iterator[list[int]]:
    """Groups of prompt numbers whose distinct tokens, shared prefixes counted once, stay within `budget`.

    The prompts are sorted by their tokens, so that those with the same prefix meet. A prompt that shares at
    least half of its tokens with its group joins it beyond the budget: to share is cheaper than a new tree.
    """
    group: list[int] = []
    used = 0
    for index in sorted(range(len(prompts)), key=lambda number: list(prompts[number])):
        new = len(prompts[index]) - (common_prefix(prompts[group[-1]], prompts[index]) if group else 0)
        if group and used + new > budget and 2 * new > len(prompts[index]):
            yield group
            group, used, new = [], 0, len(prompts[index])
        group.append(index)
        used += new
    if group:
        yield group
