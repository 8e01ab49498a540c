"""The rows of a training run, and the order in which training sees them. Both engines use the same order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from random import Random
from typing import Any

from scripts.lm.chat import Encoded
from scripts.training.recipe import Recipe
from utils_ft import UserError


def batches(n_rows: int, rows_per_step: int, max_steps: int, seed: int) -> list[list[int]]:
    """The row indices of each training step: epoch after epoch, each shuffled anew.

    A step may take rows from the end of one epoch and the start of the next, so each row is seen equally
    often. The order depends on the seed only. The steps of a shorter run are the first steps of a longer one,
    so a resumed run sees the same rows as an uninterrupted one.

    Raises UserError when there are no rows.
    """
    if n_rows < 1:
        raise UserError(
            "there are no rows to train on", remedy="convert more problems, or allow more tokens a row"
        )
    indices = _shuffled_epochs(n_rows, seed)
    return [list(islice(indices, rows_per_step)) for _ in range(max_steps)]


def _shuffled_epochs(n_rows: int, seed: int) -> Iterator[int]:
    """Row indices without end: every epoch has each row once."""
    for epoch in count():
        order = list(range(n_rows))
        Random(f"{seed}/{epoch}").shuffle(order)  # a text gives the same numbers on every machine
        yield from order


@dataclass(frozen=True)
class TrainingRows:
    """Encoded rows in the order of the training steps."""

    tokenizer: Any
    """The tokenizer that encoded them."""
    train: Sequence[Encoded]
    order: Sequence[Sequence[int]]
    """The indices into `train` of each training step."""
    valid: Sequence[Encoded] = ()
    """The rows on which the validation loss is measured."""

    @classmethod
    def for_recipe(
        cls, tokenizer: Any, train: Sequence[Encoded], recipe: Recipe, valid: Sequence[Encoded] = ()
    ) -> TrainingRows:
        """`train` in the order that `recipe` gives. Raises UserError when `train` is empty."""
        order = batches(len(train), recipe.rows_per_step, recipe.max_steps, recipe.seed)
        return cls(tokenizer, train, order, valid)

    def step(self, index: int) -> list[Encoded]:
        """The rows of one training step. `index` counts from 0."""
        return [self.train[row] for row in self.order[index]]

    @cached_property
    def step_tokens(self) -> list[int]:
        """The number of tokens in each training step."""
        return [sum(len(row.input_ids) for row in self.step(index)) for index in range(len(self.order))]

    @property
    def tokens(self) -> int:
        """The number of tokens in all training steps."""
        return sum(self.step_tokens)

    @cached_property
    def supervised_tokens(self) -> int:
        """The number of supervised tokens in all training steps."""
        return sum(sum(row.supervised) for index in range(len(self.order)) for row in self.step(index))

    @property
    def longest(self) -> Encoded:
        """The training row with the most tokens."""
        return max(self.train, key=lambda row: len(row.input_ids))
