"""The order in which training sees the rows. It is the same for both engines."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from random import Random

from utils_ft import UserError


def batches(n_rows: int, rows_per_step: int, max_steps: int, seed: int) -> list[list[int]]:
    """The row indices of each training step: epoch after epoch, each shuffled anew.

    A step may take rows from the end of one epoch and the start of the next, so each row is seen equally often. The
    order depends on the seed only. The steps of a shorter run are the first steps of a longer one, so a resumed run
    sees the same rows as an uninterrupted one.

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
